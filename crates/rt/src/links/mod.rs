//! Links on real sockets: accepting, dialling, carrying frames, closing.

mod carry;
mod gate;
mod listener;
mod open;
mod stream;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use whist_link::puzzle::{Gate as Puzzles, Source};
use whist_link::{
    ClientSetup, Clients, Entry, Error, Frame, LinkId, LinkIdentity, Remote, ServerSetup,
};

use crate::{Clock, LinkMetrics, RtError, Shutdown, seed};

pub use listener::Listener;
pub(crate) use listener::accept;
pub(crate) use open::dial;

/// What links tell the driver. For each: `Up` once, `Frame`s, `Down` once; an accepted link that
/// never opens says nothing.
#[derive(Debug)]
pub(crate) enum Event {
    Up {
        link: LinkId,
        remote: Remote,
        queue: mpsc::Sender<Frame>,
    },
    Frame {
        link: LinkId,
        frame: Frame,
    },
    Down {
        link: LinkId,
    },
}

/// What all links of a driver share.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) clock: Clock,
    /// How nodes dial, and how clients do.
    node: Option<ClientSetup>,
    client: ClientSetup,
    server: Option<ServerSetup>,
    puzzles: Arc<Puzzles>,
    pub(crate) metrics: LinkMetrics,
    /// Triggered when the driver ends: handshakes under way are given up.
    pub(crate) stop: Shutdown,
}

impl Local {
    pub(crate) fn new(
        clock: Clock,
        identity: Option<&LinkIdentity>,
        clients: bool,
        metrics: LinkMetrics,
    ) -> Result<Self, RtError> {
        let clients = if clients {
            Clients::Allowed
        } else {
            Clients::Refused
        };
        let server = identity
            .map(|identity| ServerSetup::new(identity, clients))
            .transpose()
            .map_err(|error| RtError::Failed(error.to_string()))?;
        Ok(Self {
            clock,
            node: identity.map(|identity| ClientSetup::new(Some(identity))),
            client: ClientSetup::new(None),
            server,
            puzzles: Arc::new(Puzzles::new(seed()?)),
            metrics,
            stop: Shutdown::new(),
        })
    }

    /// Whether there is a key to identify ourselves by.
    pub(crate) const fn identifies(&self) -> bool {
        self.node.is_some()
    }

    /// How to meet a peer from `source`: with a puzzle of `effort`, if that is given. What comes
    /// over loopback may be anybody, behind an onion service.
    pub(crate) fn entry(&self, source: IpAddr, effort: Option<u8>) -> Entry {
        let Some(effort) = effort else {
            return Entry::Free;
        };
        let source = if source.to_canonical().is_loopback() {
            Source::UNKNOWN
        } else {
            Source::of(source)
        };
        Entry::Puzzle {
            gate: Arc::clone(&self.puzzles),
            source,
            effort,
        }
    }

    fn failed(&self, error: &Error) {
        match error {
            Error::TimedOut(_) => self.metrics.timed_out.inc(),
            Error::PeerMisbehaved(_) | Error::Malformed(_) => self.metrics.misbehaved.inc(),
            Error::Bug(what) => tracing::error!("a bug in a link: {what}"),
            _ => {}
        }
    }
}
