//! Following the chain of consensuses: what a node or a client holds of it and takes next.

use std::collections::BTreeMap;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use whist_types::{ConsensusHash, Epoch, Wall};

use crate::{
    BUNDLE_BYTES_MAX, Bundle, Consensus, Extension, KEY_EPOCHS, Mmr, Refused, SignedHeader,
    TrustedAuthorities,
};

/// Consensuses that are kept besides those still valid: none is needed longer, a few save fetches.
const KEPT_MAX: usize = 8;
const STATE_VERSION: u8 = 1;

/// How an offer ended that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// Newer than what was held, and now held.
    New(Epoch),
    /// Held already.
    Known,
}

/// Two headers of one epoch, each with a quorum: proof that authorities equivocated.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Evidence {
    /// The epoch.
    pub epoch: Epoch,
    /// Header and signatures that were held.
    pub held: Vec<u8>,
    /// Header and signatures that were offered.
    pub offered: Vec<u8>,
}

/// Consensuses by epoch; takes only what has the quorum, is newer, extends what is held and is
/// within its validity. After evidence of equivocation it takes nothing more.
#[derive(Debug)]
pub struct Follower {
    trusted: TrustedAuthorities,
    /// The hashes of all headers so far, for who serves others; clients hold none.
    range: Option<Mmr>,
    held: BTreeMap<Epoch, Arc<Consensus>>,
    evidence: Option<Evidence>,
}

impl Follower {
    /// For nodes and authorities: keeps the hashes of all headers, to prove extensions to others.
    pub fn new(trusted: TrustedAuthorities) -> Self {
        Self {
            trusted,
            range: Some(Mmr::default()),
            held: BTreeMap::new(),
            evidence: None,
        }
    }

    /// For clients: keeps consensuses alone.
    pub fn light(trusted: TrustedAuthorities) -> Self {
        Self {
            range: None,
            ..Self::new(trusted)
        }
    }

    /// The authorities that it trusts.
    pub const fn trusted(&self) -> &TrustedAuthorities {
        &self.trusted
    }

    /// Takes a bundle or says why not.
    pub fn offer(&mut self, now: Wall, bundle: &[u8]) -> Result<Accepted, Refused> {
        if let Some(evidence) = &self.evidence {
            return Err(Refused::Equivocation(evidence.epoch));
        }
        let consensus = Bundle::parse(bundle)?.verify(&self.trusted, now)?;
        self.take(now, consensus)
    }

    fn take(&mut self, now: Wall, consensus: Consensus) -> Result<Accepted, Refused> {
        let epoch = consensus.epoch();
        self.compare(consensus.signed())?;
        if self.held.contains_key(&epoch) {
            return Ok(Accepted::Known);
        }
        if let Some(newest) = self.newest().filter(|newest| epoch < newest.epoch()) {
            return Err(Refused::RolledBack {
                offered: epoch,
                held: newest.epoch(),
            });
        }
        let range = self.extended(&consensus)?;
        self.range = range;
        self.held.insert(epoch, Arc::new(consensus));
        self.forget(now);
        Ok(Accepted::New(epoch))
    }

    /// Compares a header that has the quorum with the one held for its epoch.
    fn compare(&mut self, signed: &SignedHeader) -> Result<(), Refused> {
        let epoch = signed.header().epoch;
        match self.held.get(&epoch) {
            Some(held) if held.hash() != signed.header().hash() => {
                self.evidence = Some(Evidence {
                    epoch,
                    held: held.signed_bytes().to_vec(),
                    offered: signed.to_bytes(),
                });
                Err(Refused::Equivocation(epoch))
            }
            _ => Ok(()),
        }
    }

    /// Judges header and signatures that came from elsewhere (a `DOC` request): keeps the evidence
    /// if the authorities signed another header for an epoch that is held.
    pub fn challenge(&mut self, signed: &[u8]) -> Result<(), Refused> {
        let signed = SignedHeader::parse(signed)?;
        signed.verify(&self.trusted)?;
        self.compare(&signed)
    }

    /// The range with this consensus at its end, if it extends what is held.
    fn extended(&self, consensus: &Consensus) -> Result<Option<Mmr>, Refused> {
        let header = consensus.signed().header();
        let Some(range) = &self.range else {
            let Some(newest) = self.newest() else {
                return Ok(None);
            };
            let shown =
                consensus
                    .extension()
                    .shows(consensus.signed(), &newest.hash(), newest.earlier());
            return shown.then_some(None).ok_or(Refused::NotAnExtension);
        };
        let mut range = range.clone();
        if let Extension::Leaves { from, leaves } = consensus.extension() {
            // What is held already is compared through the root.
            let skip = range
                .count()
                .checked_sub(*from)
                .ok_or(Refused::NotAnExtension)?;
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            for leaf in leaves.iter().skip(skip) {
                range.push(ConsensusHash::from_bytes(*leaf));
            }
        }
        if range.count() != header.earlier || range.root() != header.range {
            return Err(Refused::NotAnExtension);
        }
        range.push(consensus.hash());
        Ok(Some(range))
    }

    fn forget(&mut self, now: Wall) {
        while self.held.len() > KEPT_MAX {
            self.held.pop_first();
        }
        let newest = self.newest().map(|newest| newest.epoch());
        self.held
            .retain(|epoch, held| Some(*epoch) == newest || now < held.valid_until());
    }

    /// The newest consensus held, usable or not.
    pub fn newest(&self) -> Option<&Arc<Consensus>> {
        self.held.last_key_value().map(|(_, newest)| newest)
    }

    /// The consensus to use at `now`: the newest within its validity whose epoch has begun, or one
    /// whose epoch is about to, if there is no other. None means: stop.
    ///
    /// One that has not begun is the second choice because it does not list the keys of the epoch
    /// that has: with it alone, packets could not be made until its own begins.
    pub fn usable(&self, now: Wall) -> Option<&Arc<Consensus>> {
        let current = self.trusted.schedule().epoch_at(now);
        let begun = self.usable_ones(now).find(|held| held.epoch() <= current);
        begun.or_else(|| self.usable_ones(now).next())
    }

    fn usable_ones(&self, now: Wall) -> impl Iterator<Item = &Arc<Consensus>> {
        let held = self.held.values().rev();
        held.filter(|held| !self.contradicted(held.epoch()))
            .filter(move |held| held.usable(now))
    }

    /// Whether the authorities contradicted what they signed for this epoch or one before it. It is
    /// nobody's then; the state before it serves until its own grace ends.
    fn contradicted(&self, epoch: Epoch) -> bool {
        let evidence = self.evidence.as_ref();
        evidence.is_some_and(|evidence| epoch >= evidence.epoch)
    }

    /// The newest that the authorities did not contradict, usable or not.
    fn newest_uncontradicted(&self) -> Option<&Arc<Consensus>> {
        let mut held = self.held.values().rev();
        held.find(|held| !self.contradicted(held.epoch()))
    }

    /// The consensus of an epoch, if held.
    pub fn at(&self, epoch: Epoch) -> Option<&Arc<Consensus>> {
        self.held.get(&epoch)
    }

    /// The consensus that rules packets under the keys of `epoch`: its own, else the newest that
    /// lists that epoch's keys. Never one that the authorities contradicted.
    pub fn ruling(&self, epoch: Epoch) -> Option<&Arc<Consensus>> {
        let mut until = self.held.range(..=epoch).rev();
        let (own, held) = until.find(|(own, _)| !self.contradicted(**own))?;
        let listed = u64::try_from(KEY_EPOCHS).unwrap_or(0);
        (own.plus(listed) > epoch).then_some(held)
    }

    /// The consensus with this hash, if held.
    pub fn by_hash(&self, hash: &ConsensusHash) -> Option<&Arc<Consensus>> {
        self.held.values().find(|held| held.hash() == *hash)
    }

    /// Hash of the newest, or zeros: what a client's `HELLO` and items carry, and authorities'.
    pub fn hash(&self) -> ConsensusHash {
        self.newest()
            .map_or(ConsensusHash::from_bytes([0; 32]), |newest| newest.hash())
    }

    /// Proof of equivocation, if there is one: to be shown.
    pub const fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// What a `DOC_GET` asks for: the first header that is missing, or `u64::MAX` for a proof only.
    pub fn leaves_from(&self) -> u64 {
        self.range.as_ref().map_or(u64::MAX, Mmr::count)
    }

    /// What clients are served at `now`: the consensus that is in use, not the one of the epoch to
    /// come, by which nobody can make packets yet, nor one that the authorities contradicted.
    pub fn served(&self, now: Wall) -> Option<&Arc<Consensus>> {
        self.usable(now).or_else(|| self.newest_uncontradicted())
    }

    /// The hash by which a node names its consensus at `now`, in `HELLO` and in replies, or zeros:
    /// that of [`Self::served`]. The one of the epoch to come is nobody's to use yet, and clients
    /// who are told of it before it is in force would ask for its header.
    pub fn named(&self, now: Wall) -> ConsensusHash {
        self.served(now)
            .map_or(ConsensusHash::from_bytes([0; 32]), |served| served.hash())
    }

    /// The bundle of [`Self::served`] for who holds `held` (zeros: nothing), with a proof that it
    /// extends that.
    pub fn bundle_for(&self, held: &ConsensusHash, now: Wall) -> Option<Vec<u8>> {
        let served = self.served(now)?;
        let extension = match &self.range {
            Some(range) => Extension::proof(range, held, served.earlier()),
            None => Extension::None,
        };
        Some(served.bundle().with_extension(extension).to_bytes())
    }

    /// The bundle of `epoch` (0: the newest) with the earlier headers from `leaves_from` on: the
    /// answer to `DOC_GET`. None where the authorities contradicted it.
    pub fn bundle_at(&self, epoch: u64, leaves_from: u64) -> Option<Vec<u8>> {
        let consensus = match epoch {
            0 => self.newest_uncontradicted()?,
            number => self.at(Epoch::new(number))?,
        };
        if self.contradicted(consensus.epoch()) {
            return None;
        }
        let extension = match &self.range {
            Some(range) if leaves_from != u64::MAX => {
                Extension::leaves(range, leaves_from, consensus.earlier())
            }
            _ => Extension::None,
        };
        Some(consensus.bundle().with_extension(extension).to_bytes())
    }

    /// The range of all headers held, for who makes the next one.
    pub const fn range(&self) -> Option<&Mmr> {
        self.range.as_ref()
    }

    /// All of it, for the disk.
    #[expect(clippy::expect_used, reason = "writing into memory")]
    pub fn to_bytes(&self) -> Vec<u8> {
        let state = State {
            version: STATE_VERSION,
            leaves: self
                .range
                .as_ref()
                .map(|range| range.leaves_from(0).iter().map(|l| l.to_bytes()).collect()),
            bundles: self
                .held
                .values()
                .map(|held| held.bundle().with_extension(Extension::None).to_bytes())
                .collect(),
            evidence: self.evidence.clone(),
        };
        borsh::to_vec(&state).expect("a vector takes every byte")
    }

    /// Back from the disk; signatures are checked again.
    pub fn from_bytes(trusted: TrustedAuthorities, bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.len() > BUNDLE_BYTES_MAX.saturating_mul(KEPT_MAX) {
            return Err(Refused::TooLarge);
        }
        let state =
            State::try_from_slice(bytes).map_err(|_| Refused::Malformed("directory state"))?;
        if state.version != STATE_VERSION {
            return Err(Refused::UnknownVersion(state.version));
        }
        let mut held = BTreeMap::new();
        for bundle in &state.bundles {
            let consensus = Bundle::parse(bundle)?.dangerously_verify_at_any_time(&trusted)?;
            held.insert(consensus.epoch(), Arc::new(consensus));
        }
        let range = state
            .leaves
            .map(|leaves| Mmr::from_leaves(leaves.into_iter().map(ConsensusHash::from_bytes)));
        Ok(Self {
            trusted,
            range,
            held,
            evidence: state.evidence,
        })
    }
}

#[derive(BorshSerialize, BorshDeserialize)]
struct State {
    version: u8,
    leaves: Option<Vec<[u8; 32]>>,
    bundles: Vec<Vec<u8>>,
    evidence: Option<Evidence>,
}
