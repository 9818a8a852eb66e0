//! One task for each link.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use whist_link::{Frame, LinkId, LinkIdentity, Remote, Target};

use crate::gate::Place;
use crate::{LinkMetrics, RtError, Shutdown};

/// What links tell the driver. For each: `Up` once, `Frame`s, `Down` once.
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
    identity: Option<LinkIdentity>,
    #[expect(dead_code, reason = "connections use it")]
    accept_clients: bool,
    pub(crate) metrics: LinkMetrics,
    /// Triggered when the driver ends: handshakes under way are given up.
    pub(crate) stop: Shutdown,
}

impl Local {
    pub(crate) fn new(
        identity: Option<LinkIdentity>,
        accept_clients: bool,
        metrics: LinkMetrics,
        stop: Shutdown,
    ) -> Result<Self, RtError> {
        Ok(Self {
            identity,
            accept_clients,
            metrics,
            stop,
        })
    }

    pub(crate) const fn identity(&self) -> Option<&LinkIdentity> {
        self.identity.as_ref()
    }
}

pub(crate) async fn dial(
    link: LinkId,
    _target: Target,
    _local: Arc<Local>,
    events: mpsc::Sender<Event>,
) -> Result<(), RtError> {
    let _ = events.send(Event::Down { link }).await;
    Ok(())
}

pub(crate) async fn accepted(
    _link: LinkId,
    _tcp: TcpStream,
    _source: IpAddr,
    _place: Place,
    _load: bool,
    _local: Arc<Local>,
    _events: mpsc::Sender<Event>,
) -> Result<(), RtError> {
    Ok(())
}
