//! Who may send to us and whom we may send to, by one consensus.

use std::collections::BTreeMap;
use std::time::Duration;

use whist_link::Target;
use whist_netdoc::{Consensus, NodeEntry, NodeRole};
use whist_timing::Rate;
use whist_types::{Layer, LinkKey, NodeId};

/// The neighbours of this mix in one consensus (protocol.md §1, adjacency).
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Our layer in it.
    pub(crate) layer: Layer,
    /// Layers in a route.
    pub(crate) layers: u8,
    /// Who may send to us, with the share of the line rate that is theirs.
    pub(crate) previous: BTreeMap<LinkKey, f64>,
    /// Whom we may send to.
    pub(crate) next: BTreeMap<NodeId, Target>,
    /// Mean delay.
    pub(crate) delay_mean: Duration,
    /// Longest delay that a sender may ask for.
    pub(crate) delay_cap: Duration,
    /// Offset at which providers answer.
    pub(crate) request_hold: Duration,
    /// How often to send a loop.
    pub(crate) loops: Option<Rate>,
}

impl View {
    /// Our place in `consensus`; `None` if it does not list us as a mix.
    pub(crate) fn of(consensus: &Consensus, me: &NodeId) -> Option<Self> {
        let layer = consensus.node(me)?.role.layer()?;
        let parameters = consensus.parameters();
        let next_layer = Layer::new(layer.index().checked_add(1)?);
        let next = if next_layer.index() < parameters.layers {
            consensus.mixes(next_layer)
        } else {
            consensus.providers()
        };
        let previous = match layer.index().checked_sub(1) {
            Some(before) => consensus.mixes(Layer::new(before)),
            None => consensus.providers(),
        };
        Some(Self {
            layer,
            layers: parameters.layers,
            previous: shares(previous, f64::from(parameters.weight_cap_means)),
            next: next.iter().map(|node| (node.id, target(node))).collect(),
            delay_mean: parameters.delay_mean(),
            delay_cap: parameters.delay_cap(),
            request_hold: parameters.request_hold(),
            loops: Rate::per_second(parameters.mix_loops_per_s()).ok(),
        })
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
