//! Who we are, in which network, by which guard.

use borsh::{BorshDeserialize, BorshSerialize};
use rand_core::CryptoRng;
use whist_netdoc::{Consensus, Network, NoRoute, route};
use whist_ratchet::IdentitySecret;
use whist_types::{Family, NodeId, Now, Secret, Wall};

use crate::rows::{Rows, Table};

/// The one row of [`Table::Account`].
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct Account {
    network: String,
    identity: [u8; 32],
    decoys: [u8; 32],
    /// Which rate; 0, 1 or 2.
    pub(crate) profile: u8,
    made_ms: u64,
    /// The entry guard, once there is a consensus to pick it from.
    pub(crate) entry: Option<NodeId>,
}

impl Account {
    pub(crate) fn row(&self) -> Vec<u8> {
        borsh::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn network(&self) -> Option<Network> {
        Network::parse(&self.network).ok()
    }

    pub(crate) const fn identity(&self) -> IdentitySecret {
        IdentitySecret::from_seed(Secret::new(self.identity))
    }

    /// The same line with nobody on it.
    pub(crate) fn vacant(&self) -> Self {
        let mut line = self.clone();
        zeroize::Zeroize::zeroize(&mut line.identity);
        zeroize::Zeroize::zeroize(&mut line.decoys);
        line
    }

    /// Another identity; the one before is forgotten.
    pub(crate) fn rotate(&mut self, rng: &mut impl CryptoRng) {
        zeroize::Zeroize::zeroize(&mut self.identity);
        self.identity = *IdentitySecret::generate(rng).seed().expose();
    }

    pub(crate) const fn decoy_key(&self) -> &[u8; 32] {
        &self.decoys
    }

    /// How long ago `init` was.
    pub(crate) const fn age(&self, now: Now) -> std::time::Duration {
        now.wall.since(Wall::from_millis(self.made_ms))
    }
}

/// The one row of [`Table::Line`]: what whoever watches the wire knows of an account.
#[derive(BorshSerialize, BorshDeserialize)]
struct Line {
    network: String,
    profile: u8,
    made_ms: u64,
    entry: Option<NodeId>,
}

/// The row of the line that belongs to an account's row.
pub(crate) fn line_of(account: &[u8]) -> Vec<u8> {
    let Ok(account) = borsh::from_slice::<Account>(account) else {
        return Vec::new();
    };
    let line = Line {
        network: account.network.clone(),
        profile: account.profile,
        made_ms: account.made_ms,
        entry: account.entry,
    };
    borsh::to_vec(&line).unwrap_or_default()
}

/// The rows with which a decoy begins: another identity on the same line, so that the wire goes on
/// as it was. `None` if there is no row of a line.
pub(crate) fn decoy_rows(line: &Rows, rng: &mut impl CryptoRng) -> Option<Rows> {
    let line: Line = borsh::from_slice(line.find(Table::Line, &[])?).ok()?;
    let account = Account {
        network: line.network,
        identity: *IdentitySecret::generate(rng).seed().expose(),
        decoys: *Secret::<32>::random(rng).expose(),
        profile: line.profile,
        made_ms: line.made_ms,
        entry: line.entry,
    };
    let mut rows = Rows::new();
    rows.put(Table::Account, Vec::new(), account.row());
    Some(rows)
}

/// The rows with which a decoy begins beside these of a person: what the vault gives to whoever
/// opens it under duress, for tests that have no vault.
#[cfg(any(test, feature = "control"))]
pub fn decoy_beside(person: &Rows, rng: &mut impl CryptoRng) -> Option<Rows> {
    let mut line = Rows::new();
    let account = person.find(Table::Account, &[])?;
    line.put(Table::Line, Vec::new(), line_of(account));
    let mut rows = decoy_rows(&line, rng)?;
    if let Some(documents) = person.find(Table::Documents, &[]) {
        rows.put(Table::Documents, Vec::new(), documents.to_vec());
    }
    Some(rows)
}

impl Drop for Account {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.identity);
        zeroize::Zeroize::zeroize(&mut self.decoys);
    }
}

/// The rows with which a new client begins: network, profile, a fresh identity. Connects nowhere;
/// guard, mailbox and drops are picked when the first consensus is there.
pub fn first_rows(network: &Network, profile: u8, now: Wall, rng: &mut impl CryptoRng) -> Rows {
    let account = Account {
        network: network.to_toml(),
        identity: *IdentitySecret::generate(rng).seed().expose(),
        decoys: *Secret::<32>::random(rng).expose(),
        profile: profile.min(2),
        made_ms: now.as_millis(),
        entry: None,
    };
    let mut rows = Rows::new();
    rows.put(Table::Account, Vec::new(), account.row());
    rows
}

/// A provider at random by weight, in none of these families; where the network is too small for
/// that, none of the first `needed` of them.
pub(crate) fn pick_provider(
    consensus: &Consensus,
    rng: &mut impl CryptoRng,
    avoid: &[Family],
    needed: usize,
) -> Result<NodeId, NoRoute> {
    let mut rest = avoid;
    loop {
        match route::provider(consensus, rng, rest) {
            Ok(id) => return Ok(id),
            Err(error) if rest.len() <= needed => return Err(error),
            Err(_) => rest = rest.split_last().map_or(&[][..], |(_, shorter)| shorter),
        }
    }
}

/// The family of a listed node.
pub(crate) fn family_of(consensus: &Consensus, id: &NodeId) -> Option<Family> {
    consensus.node(id).map(|node| node.family)
}
