//! What one consensus says to this mix.

use std::time::Duration;

use whist_netdoc::Consensus;
use whist_node::Neighbours;
use whist_timing::Rate;
use whist_types::{Layer, NodeId};

/// The place of this mix in one consensus, and what it asks of mixes.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Our layer in it.
    pub(crate) layer: Layer,
    /// Layers in a route.
    pub(crate) layers: u8,
    /// Who may send to us and whom we may send to.
    pub(crate) neighbours: Neighbours,
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
        Some(Self {
            layer,
            layers: parameters.layers,
            neighbours: Neighbours::of_mix(consensus, layer)?,
            delay_mean: parameters.delay_mean(),
            delay_cap: parameters.delay_cap(),
            request_hold: parameters.request_hold(),
            loops: Rate::per_second(parameters.mix_loops_per_s()).ok(),
        })
    }
}
