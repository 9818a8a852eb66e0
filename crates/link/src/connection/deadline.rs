//! How long a peer may take, and when a link between nodes is kept alive.

use whist_types::Instant;

use super::{Connection, Stage};
use crate::{Remote, limits};

impl Connection {
    /// When the peer is too slow, and in what.
    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let handshake = (self.started.after(limits::HANDSHAKE), "handshake");
        match self.stage {
            Stage::First(_) | Stage::Handshake => Some(handshake),
            Stage::Open => {
                let idle = match self.remote {
                    Some(Remote::Node(_)) if self.between_nodes() => limits::IDLE,
                    _ => limits::IDLE_CLIENT,
                };
                let idle = (self.received_at.after(idle), "idle");
                let whole = (self.partial_since.after(limits::WHOLE_FRAME), "whole frame");
                if self.partial.is_empty() {
                    Some(idle)
                } else {
                    Some(idle.min(whole))
                }
            }
            Stage::Closed(_) => None,
        }
    }

    /// Whether both ends proved a key.
    const fn between_nodes(&self) -> bool {
        match self.expected {
            Some(_) => self.keeps_alive,
            None => matches!(self.remote, Some(Remote::Node(_))),
        }
    }

    pub(super) fn keep_alive_at(&self) -> Option<Instant> {
        (self.is_open() && self.between_nodes()).then(|| self.sent_at.after(limits::KEEP_ALIVE))
    }
}
