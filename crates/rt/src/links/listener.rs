//! Accepts links: bounded in number, alive when descriptors run out.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use whist_link::LinkId;
use whist_link::puzzle::Load;

use super::gate::Gate;
use super::{Event, Local, open};
use crate::driver::task_result;
use crate::{RtError, limits};

/// A bound port. Binding comes before anything else of a program starts, so that a busy port is
/// an error at once.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`RtError::Listen`], which names the port and not the address.
    pub fn bind(address: SocketAddr) -> Result<Self, RtError> {
        let failed = |error| RtError::Listen {
            port: address.port(),
            error,
        };
        let tcp = TcpListener::bind(address).map_err(failed)?;
        tcp.set_nonblocking(true).map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn into_tokio(self) -> Result<tokio::net::TcpListener, RtError> {
        let port = self.address.port();
        tokio::net::TcpListener::from_std(self.tcp).map_err(|error| RtError::Listen { port, error })
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// The accept loop: runs until the driver stops, then sees its links to their end.
pub(crate) async fn accept(
    listener: Listener,
    local: Arc<Local>,
    events: mpsc::Sender<Event>,
    handshakes_without_puzzle: usize,
) -> Result<(), RtError> {
    let gate = Gate::default();
    accept_by(gate, listener, local, events, handshakes_without_puzzle).await
}

async fn accept_by(
    gate: Gate,
    listener: Listener,
    local: Arc<Local>,
    events: mpsc::Sender<Event>,
    handshakes_without_puzzle: usize,
) -> Result<(), RtError> {
    let listener = listener.into_tokio()?;
    let mut links = JoinSet::new();
    let mut load = Load::new(limits::HANDSHAKES_A_SECOND);
    let mut number = 0u64;
    loop {
        let accepted = tokio::select! {
            () = local.stop.triggered() => break,
            Some(ended) = links.join_next() => {
                task_result(ended)?;
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let Ok((tcp, source)) = accepted else {
            // No descriptors left, or a connection that was gone before it was accepted. Both
            // pass; the loop stays.
            local.metrics.accept_failed.inc();
            tokio::time::sleep(limits::ACCEPT_REST).await;
            continue;
        };
        let Some(place) = gate.enter(source.ip()) else {
            local.metrics.refused.inc();
            continue;
        };
        // Too many at once, or too many lately.
        let lately = load.arrived(local.clock.now().instant);
        let crowded = gate.handshakes() > handshakes_without_puzzle;
        let effort = lately.or(crowded.then_some(whist_link::limits::EFFORT_MIN));
        let entry = local.entry(source.ip(), effort);
        let link = LinkId::accepted(number);
        number = number.saturating_add(1);
        links.spawn(open::accepted(
            link,
            tcp,
            place,
            entry,
            local.clone(),
            events.clone(),
        ));
    }
    drop(listener);
    while let Some(ended) = links.join_next().await {
        task_result(ended)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpStream;
    use std::time::Duration;

    use whist_link::LinkIdentity;
    use whist_types::Secret;

    use super::super::gate::Caps;
    use super::*;
    use crate::{Clock, LinkMetrics};

    #[tokio::test]
    async fn a_silent_socket_is_closed_for_a_newcomer_when_handshakes_are_many() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr();
        let identity = LinkIdentity::from_secret(&Secret::new([1; 32]));
        let metrics = LinkMetrics::default();
        let local = Local::new(Clock::start(), Some(&identity), true, metrics).unwrap();
        let local = Arc::new(local);
        let gate = Gate::new(Caps {
            handshakes: 2,
            ..Caps::default()
        });
        let (events, _keep) = mpsc::channel(8);
        let accepting = tokio::spawn(accept_by(gate.clone(), listener, local.clone(), events, 64));
        // They are accepted in their order: the third finds no place that nobody has.
        let closed = tokio::task::spawn_blocking(move || {
            let silent = [(); 3].map(|()| TcpStream::connect(address).unwrap());
            let mut oldest = &silent[0];
            let limit = Some(Duration::from_secs(60));
            oldest.set_read_timeout(limit).unwrap();
            let read = oldest.read(&mut [0; 1]);
            (read.ok(), silent)
        });
        let (read, silent) = closed.await.unwrap();
        assert_eq!(read, Some(0), "the oldest is closed");
        assert_eq!(local.metrics.refused.get(), 0, "and no newcomer");
        drop(silent);
        local.stop.trigger();
        accepting.await.unwrap().unwrap();
    }

    #[test]
    fn a_busy_port_is_one_line_without_an_address() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let text = Listener::bind(first.local_addr()).unwrap_err().to_string();
        assert!(text.starts_with("cannot listen on port "), "{text}");
        assert!(
            !text.contains("127.0.0.1") && !text.contains('\n'),
            "{text}"
        );
    }
}
