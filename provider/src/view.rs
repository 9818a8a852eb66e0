//! What one consensus says to this provider.

use std::time::Duration;

use whist_netdoc::{Consensus, Parameters};
use whist_node::Neighbours;
use whist_types::NodeId;

use crate::session::Pace;

/// What holds for this provider by one consensus.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Who may send to us and whom we may send to.
    pub(crate) neighbours: Neighbours,
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
        Some(Self {
            neighbours: Neighbours::of_provider(consensus)?,
            parameters: consensus.parameters().clone(),
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
