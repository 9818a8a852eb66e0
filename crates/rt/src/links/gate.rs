//! Who may hold a socket: caps in all, by source, for handshakes under way and for clients.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits;

/// The caps. Those of the specification are [`Caps::default`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) sockets: usize,
    pub(crate) of_source: usize,
    pub(crate) handshakes: usize,
    pub(crate) clients: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            sockets: limits::SOCKETS,
            of_source: limits::SOCKETS_OF_SOURCE,
            handshakes: limits::HANDSHAKES,
            clients: limits::CLIENTS,
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    sockets: usize,
    handshakes: usize,
    clients: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// Counts accepted sockets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    caps: Caps,
    counts: Arc<Mutex<Counts>>,
}

/// A socket's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Gate,
    /// `None` for loopback, which has no cap.
    source: Option<IpAddr>,
    handshake: bool,
    client: bool,
}

impl Gate {
    #[cfg(test)]
    pub(crate) fn new(caps: Caps) -> Self {
        Self {
            caps,
            counts: Arc::default(),
        }
    }

    /// A place for a socket from `source` whose handshake begins, unless a cap is reached.
    pub(crate) fn enter(&self, source: IpAddr) -> Option<Place> {
        let source = (!source.to_canonical().is_loopback()).then(|| network(source));
        let mut counts = self.lock();
        let of_source = source
            .and_then(|source| counts.by_source.get(&source).copied())
            .unwrap_or(0);
        if counts.sockets >= self.caps.sockets
            || counts.handshakes >= self.caps.handshakes
            || of_source >= self.caps.of_source
        {
            return None;
        }
        counts.sockets = counts.sockets.saturating_add(1);
        counts.handshakes = counts.handshakes.saturating_add(1);
        if let Some(source) = source {
            counts.by_source.insert(source, of_source.saturating_add(1));
        }
        Some(Place {
            gate: self.clone(),
            source,
            handshake: true,
            client: false,
        })
    }

    /// Handshakes under way.
    pub(crate) fn handshakes(&self) -> usize {
        self.lock().handshakes
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // The counts are whole after each statement, whatever panicked in between.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The handshake is done. Whether the peer may stay: clients have a cap of their own.
    pub(crate) fn open(&mut self, client: bool) -> bool {
        let mut counts = self.gate.lock();
        if self.handshake {
            counts.handshakes = counts.handshakes.saturating_sub(1);
            self.handshake = false;
        }
        if client && counts.clients >= self.gate.caps.clients {
            return false;
        }
        if client && !self.client {
            counts.clients = counts.clients.saturating_add(1);
            self.client = true;
        }
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.gate.lock();
        counts.sockets = counts.sockets.saturating_sub(1);
        if self.handshake {
            counts.handshakes = counts.handshakes.saturating_sub(1);
        }
        if self.client {
            counts.clients = counts.clients.saturating_sub(1);
        }
        if let Some(source) = self.source {
            let left = counts
                .by_source
                .get(&source)
                .map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                counts.by_source.remove(&source);
            } else {
                counts.by_source.insert(source, left);
            }
        }
    }
}

/// The address, or the /64 that one customer of IPv6 has.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate::new(Caps {
            sockets: 4,
            of_source: 2,
            handshakes: 3,
            clients: 1,
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_gets_its_share_and_no_more() {
        let gate = gate();
        let first = gate.enter(ip("192.0.2.1"));
        let second = gate.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter(ip("192.0.2.1")).is_none());
        assert!(gate.enter(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(gate.enter(ip("192.0.2.1")).is_some());
        let six = [gate.enter(ip("2001:db8::1")), gate.enter(ip("2001:db8::2"))];
        assert!(six.iter().all(Option::is_some));
        assert!(
            gate.enter(ip("2001:db8::3")).is_none(),
            "a /64 is one source"
        );
    }

    #[test]
    fn handshakes_and_clients_have_caps_of_their_own() {
        let gate = gate();
        let mut places = (0..3)
            .map(|_| gate.enter(ip("127.0.0.1")).unwrap())
            .collect::<Vec<_>>();
        assert!(gate.enter(ip("127.0.0.1")).is_none(), "three handshakes");
        assert_eq!(gate.handshakes(), 3);
        assert!(places[0].open(true));
        assert!(!places[1].open(true), "one client");
        assert!(places[2].open(false), "a node");
        assert_eq!(gate.handshakes(), 0);
        let fourth = gate.enter(ip("127.0.0.1"));
        assert!(fourth.is_some());
        assert!(gate.enter(ip("127.0.0.1")).is_none(), "four sockets");
        drop(fourth);
        drop(places);
        let counts = gate.lock();
        assert_eq!(
            (counts.sockets, counts.handshakes, counts.clients),
            (0, 0, 0)
        );
        assert!(counts.by_source.is_empty());
    }
}
