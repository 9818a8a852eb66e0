//! The consensus: who the nodes are and what the parameters are, by a quorum of the authorities.

use std::collections::BTreeMap;
use std::time::Duration;

use borsh::BorshDeserialize;
use whist_types::{ConsensusHash, Epoch, EpochSchedule, Family, Layer, NodeId, SphinxKey, Wall};

use crate::bundle::ConsensusForm;
use crate::{
    Bundle, Extension, Header, Kind, NodeEntry, Parameters, Refused, SignedHeader,
    TrustedAuthorities, Unverified, merkle_root,
};

/// A verified consensus. There is no other way to one than [`Unverified::verify`].
#[derive(Debug, Clone)]
pub struct Consensus {
    hash: ConsensusHash,
    signed: SignedHeader,
    schedule: EpochSchedule,
    parameters: Parameters,
    /// Sorted by id.
    nodes: Vec<NodeEntry>,
    /// Places in `nodes`, by layer.
    layers: Vec<Vec<NodeEntry>>,
    providers: Vec<NodeEntry>,
    bundle: Bundle,
}

impl Unverified<Consensus> {
    /// The consensus, if a quorum of `trusted` signed these very bytes and it is within its
    /// validity; one for the epoch after the current one is taken ahead of its time.
    pub fn verify(self, trusted: &TrustedAuthorities, now: Wall) -> Result<Consensus, Refused> {
        let consensus = self.verify_signatures(trusted)?;
        consensus.check_time(now)?;
        Ok(consensus)
    }

    /// As [`Self::verify`], for what this program itself put on disk: time is not looked at.
    pub fn dangerously_verify_at_any_time(
        self,
        trusted: &TrustedAuthorities,
    ) -> Result<Consensus, Refused> {
        self.verify_signatures(trusted)
    }

    fn verify_signatures(self, trusted: &TrustedAuthorities) -> Result<Consensus, Refused> {
        let Self(ConsensusForm { bundle, signed }) = self;
        signed.verify(trusted)?;
        let header = signed.header();
        check_hashes(header, &bundle)?;
        let parameters = Parameters::try_from_slice(&bundle.parameters)
            .map_err(|_| Refused::Malformed("parameters"))?;
        parameters.check()?;
        let schedule = *trusted.schedule();
        if parameters.schedule(schedule.genesis_ms) != schedule {
            return Err(Refused::OtherNetwork);
        }
        check_validity(header, &parameters, &schedule)?;
        let nodes = bundle
            .nodes
            .iter()
            .map(|bytes| NodeEntry::try_from_slice(bytes).map_err(|_| Refused::Malformed("node")))
            .collect::<Result<Vec<_>, _>>()?;
        check_nodes(&nodes, &parameters)?;
        let of_layer = |layer| {
            let of = |n: &&NodeEntry| n.role.layer() == Some(Layer::new(layer));
            nodes.iter().filter(of).cloned().collect()
        };
        Ok(Consensus {
            hash: header.hash(),
            schedule,
            layers: (0..parameters.layers).map(of_layer).collect(),
            providers: nodes
                .iter()
                .filter(|node| node.role.kind() == Kind::Provider)
                .cloned()
                .collect(),
            parameters,
            nodes,
            signed,
            bundle,
        })
    }
}

fn check_hashes(header: &Header, bundle: &Bundle) -> Result<(), Refused> {
    if *blake3::hash(&bundle.parameters).as_bytes() != header.parameters {
        return Err(Refused::NotWhatWasSigned("parameters"));
    }
    let count = u32::try_from(bundle.nodes.len()).unwrap_or(u32::MAX);
    if count != header.node_count || merkle_root(&bundle.nodes) != header.nodes {
        return Err(Refused::NotWhatWasSigned("list of nodes"));
    }
    Ok(())
}

fn check_validity(
    header: &Header,
    parameters: &Parameters,
    schedule: &EpochSchedule,
) -> Result<(), Refused> {
    let (from, until) = validity(header.epoch, parameters, schedule);
    if (header.valid_from, header.valid_until) == (from, until) {
        Ok(())
    } else {
        Err(Refused::Malformed("validity"))
    }
}

/// When a consensus of `epoch` may be used: from a key window before its epoch to the end of its
/// grace.
pub(crate) fn validity(
    epoch: Epoch,
    parameters: &Parameters,
    schedule: &EpochSchedule,
) -> (Wall, Wall) {
    let last = epoch.plus(u64::from(parameters.grace_epochs));
    (schedule.key_from(epoch), schedule.end(last))
}

/// The honest authorities' own rules, checked again by everybody.
pub(crate) fn check_nodes(nodes: &[NodeEntry], parameters: &Parameters) -> Result<(), Refused> {
    let mut families: BTreeMap<Family, Kind> = BTreeMap::new();
    for (node, next) in nodes.iter().zip(nodes.iter().skip(1)) {
        if node.id >= next.id {
            return Err(Refused::Malformed("order of the nodes"));
        }
    }
    for node in nodes {
        node.check()?;
        if node
            .role
            .layer()
            .is_some_and(|l| l.index() >= parameters.layers)
        {
            return Err(Refused::Malformed("layer"));
        }
        let kind = node.role.kind();
        if *families.entry(node.family).or_insert(kind) != kind {
            return Err(Refused::Malformed("family of mixes and providers"));
        }
    }
    Ok(())
}

impl Consensus {
    /// The hash by which everybody names it.
    pub const fn hash(&self) -> ConsensusHash {
        self.hash
    }

    /// Its epoch.
    pub const fn epoch(&self) -> Epoch {
        self.signed.header().epoch
    }

    /// The parameters.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The network's schedule.
    pub const fn schedule(&self) -> &EpochSchedule {
        &self.schedule
    }

    /// To be used from this time on.
    pub const fn valid_from(&self) -> Wall {
        self.signed.header().valid_from
    }

    /// Not to be used from this time on.
    pub const fn valid_until(&self) -> Wall {
        self.signed.header().valid_until
    }

    /// Number of earlier headers in its range.
    pub const fn earlier(&self) -> u64 {
        self.signed.header().earlier
    }

    /// All nodes, by rising id.
    pub fn nodes(&self) -> &[NodeEntry] {
        &self.nodes
    }

    /// A node by its id.
    pub fn node(&self, id: &NodeId) -> Option<&NodeEntry> {
        let at = self.nodes.binary_search_by(|node| node.id.cmp(id)).ok()?;
        self.nodes.get(at)
    }

    /// The mixes of a layer, by rising id.
    pub fn mixes(&self, layer: Layer) -> &[NodeEntry] {
        self.layers
            .get(usize::from(layer.index()))
            .map_or(&[], Vec::as_slice)
    }

    /// The providers, by rising id.
    pub fn providers(&self) -> &[NodeEntry] {
        &self.providers
    }

    /// The Sphinx key of a node for `epoch`, if this consensus lists it.
    pub fn key(&self, id: &NodeId, epoch: Epoch) -> Option<SphinxKey> {
        self.node(id)?.key_for(epoch, self.epoch())
    }

    /// Header and signatures.
    pub const fn signed(&self) -> &SignedHeader {
        &self.signed
    }

    /// Header and signatures as they came: what `DOC` requests hand out.
    pub fn signed_bytes(&self) -> &[u8] {
        self.bundle.signed_bytes()
    }

    /// As it came.
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    pub(crate) const fn extension(&self) -> &Extension {
        &self.bundle.extension
    }

    /// Whether it may be used at `now`.
    pub fn usable(&self, now: Wall) -> bool {
        self.valid_from() <= now && now < self.valid_until()
    }

    /// Whether it may be taken at `now`: from one epoch before its own.
    pub(crate) fn check_time(&self, now: Wall) -> Result<(), Refused> {
        let ahead = Duration::from_millis(self.schedule.epoch_ms);
        if now >= self.valid_until() {
            Err(Refused::Expired)
        } else if now.after(ahead) < self.valid_from() {
            Err(Refused::NotYetValid)
        } else {
            Ok(())
        }
    }
}
