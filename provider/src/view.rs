//! Who may send to us and whom we may send to, by one consensus.

use std::collections::BTreeMap;
use std::time::Duration;

use whist_link::Target;
use whist_netdoc::{Consensus, NodeEntry, Parameters};
use whist_types::{Layer, LinkKey, NodeId};

use crate::session::Pace;

/// The neighbours of this provider in one consensus (protocol.md section 1, adjacency).
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Who may send to us, with the share of the line rate that is theirs: the last layer.
    pub(crate) previous: BTreeMap<LinkKey, f64>,
    /// Whom we may send to: the first layer.
    pub(crate) next: BTreeMap<NodeId, Target>,
    /// What everybody goes by.
    pub(crate) parameters: Parameters,
}

impl View {
    /// Our place in `consensus`; `None` if it does not list us as a provider.
    pub(crate) fn of(consensus: &Consensus, me: &NodeId) -> Option<Self> {
        let here = consensus.node(me)?;
        if here.role.layer().is_some() {
            return None;
        }
        let parameters = consensus.parameters();
        let last = Layer::new(parameters.layers.checked_sub(1)?);
        let first = consensus.mixes(Layer::FIRST);
        Some(Self {
            previous: shares(
                consensus.mixes(last),
                f64::from(parameters.weight_cap_means),
            ),
            next: first.iter().map(|node| (node.id, target(node))).collect(),
            parameters: parameters.clone(),
        })
    }

    /// What a profile asks of us.
    pub(crate) fn pace(&self, profile: u8) -> Pace {
        let packet = self.parameters.profile_mean(profile);
        let slots = u32::from(self.parameters.downlink_slots_per_packet);
        Pace {
            packet,
            slot: packet.checked_div(slots).unwrap_or(packet),
            doc: self.parameters.doc_frame_gap(),
        }
    }

    /// Longest delay that a sender may ask for.
    pub(crate) fn delay_cap(&self) -> Duration {
        self.parameters.delay_cap()
    }
}

fn target(node: &NodeEntry) -> Target {
    Target {
        address: node.address.clone(),
        key: node.link,
        identify: true,
    }
}

/// The shares of the line rate add up to it, by the capped weights by which routes are drawn.
fn shares(nodes: &[NodeEntry], cap_means: f64) -> BTreeMap<LinkKey, f64> {
    let weight = |node: &NodeEntry| f64::from(node.weight);
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
