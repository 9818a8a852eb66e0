//! Who may send to a node and whom it may send to, by one consensus.

use std::collections::BTreeMap;

use whist_link::Target;
use whist_netdoc::{Consensus, NodeEntry, NodeRole};
use whist_types::{Layer, LinkKey, NodeId};

/// The neighbours of a node in one consensus (protocol.md §1, adjacency).
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// Who may send to us, with the share of the line rate that is theirs.
    pub previous: BTreeMap<LinkKey, f64>,
    /// Whom we may send to.
    pub next: BTreeMap<NodeId, Target>,
}

impl Neighbours {
    /// Those of a mix in `layer`: the layers before and after it, providers where there is none.
    pub fn of_mix(consensus: &Consensus, layer: Layer) -> Option<Self> {
        let after = Layer::new(layer.index().checked_add(1)?);
        let next = if after.index() < consensus.parameters().layers {
            consensus.mixes(after)
        } else {
            consensus.providers()
        };
        let previous = match layer.index().checked_sub(1) {
            Some(before) => consensus.mixes(Layer::new(before)),
            None => consensus.providers(),
        };
        Some(Self::new(consensus, previous, next))
    }

    /// Those of a provider: the last layer sends to it, it sends to the first.
    pub fn of_provider(consensus: &Consensus) -> Option<Self> {
        let last = Layer::new(consensus.parameters().layers.checked_sub(1)?);
        let (previous, next) = (consensus.mixes(last), consensus.mixes(Layer::FIRST));
        Some(Self::new(consensus, previous, next))
    }

    fn new(consensus: &Consensus, previous: &[NodeEntry], next: &[NodeEntry]) -> Self {
        let cap_means = f64::from(consensus.parameters().weight_cap_means);
        Self {
            previous: shares(previous, cap_means),
            next: next.iter().map(|node| (node.id, target(node))).collect(),
        }
    }
}

fn target(node: &NodeEntry) -> Target {
    Target {
        address: node.address.clone(),
        key: node.link,
        identify: true,
    }
}

/// The shares of the line rate add up to it. Mixes get theirs by the capped weights by which routes
/// are drawn; providers bring what their clients send, which no weight says, and share alike.
fn shares(nodes: &[NodeEntry], cap_means: f64) -> BTreeMap<LinkKey, f64> {
    let weight = |node: &NodeEntry| match node.role {
        NodeRole::Mix { .. } => f64::from(node.weight),
        NodeRole::Provider => 1.0,
    };
    let count = f64::from(u32::try_from(nodes.len()).unwrap_or(u32::MAX)).max(1.0);
    let cap = cap_means * nodes.iter().map(weight).sum::<f64>() / count;
    let total: f64 = nodes.iter().map(|node| weight(node).min(cap)).sum();
    nodes
        .iter()
        .map(|node| {
            (
                node.link,
                weight(node).min(cap) / total.max(f64::MIN_POSITIVE),
            )
        })
        .collect()
}
