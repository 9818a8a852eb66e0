//! Who may hold a socket: caps in all, by source, for handshakes under way and for clients.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

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
    clients: usize,
    by_source: HashMap<IpAddr, usize>,
    /// Handshakes under way, in the order of their arrival.
    handshakes: BTreeMap<u64, Handshake>,
    arrivals: u64,
}

#[derive(Debug)]
struct Handshake {
    source: Option<IpAddr>,
    /// Told when its place was given to somebody else.
    lost: Arc<Notify>,
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
    number: u64,
    /// `None` for loopback, which has no cap.
    source: Option<IpAddr>,
    lost: Arc<Notify>,
    open: bool,
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

    /// A place for a socket from `source` whose handshake begins, unless a cap is reached. Where it
    /// is reached by handshakes, one of them loses its place ([`Counts::make_room`]): whoever is
    /// silent must not keep those away who speak.
    pub(crate) fn enter(&self, source: IpAddr) -> Option<Place> {
        let source = (!source.to_canonical().is_loopback()).then(|| network(source));
        let mut counts = self.lock();
        let of_source = source
            .and_then(|source| counts.by_source.get(&source).copied())
            .unwrap_or(0);
        if of_source >= self.caps.of_source {
            return None;
        }
        let full =
            counts.sockets >= self.caps.sockets || counts.handshakes.len() >= self.caps.handshakes;
        if full && !counts.make_room() {
            return None;
        }
        let number = counts.arrivals;
        counts.arrivals = number.saturating_add(1);
        counts.sockets = counts.sockets.saturating_add(1);
        if let Some(source) = source {
            // Read again: it may have been the one that lost a place.
            let of_source = counts.by_source.entry(source).or_default();
            *of_source = of_source.saturating_add(1);
        }
        let lost = Arc::new(Notify::new());
        let handshake = Handshake {
            source,
            lost: Arc::clone(&lost),
        };
        counts.handshakes.insert(number, handshake);
        Some(Place {
            gate: self.clone(),
            number,
            source,
            lost,
            open: false,
            client: false,
        })
    }

    /// Handshakes under way.
    pub(crate) fn handshakes(&self) -> usize {
        self.lock().handshakes.len()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // The counts are whole after each statement, whatever panicked in between.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// The source with the most handshakes under way loses the oldest of them: whoever opens many
    /// loses its own, and an honest peer, which has one or two and needs seconds, is reached last.
    /// What comes over loopback counts as one source. Whether there was any.
    fn make_room(&mut self) -> bool {
        let mut by_source: HashMap<Option<IpAddr>, (usize, u64)> = HashMap::new();
        for (number, handshake) in &self.handshakes {
            let (count, _oldest) = by_source.entry(handshake.source).or_insert((0, *number));
            *count = count.saturating_add(1);
        }
        // Of sources with equally many, the one that has waited longest.
        let most = by_source
            .into_values()
            .max_by(|(a, old), (b, older)| a.cmp(b).then(older.cmp(old)));
        let Some((_, number)) = most else {
            return false;
        };
        if let Some(handshake) = self.handshakes.remove(&number) {
            self.leave(handshake.source);
            handshake.lost.notify_one();
        }
        true
    }

    /// A socket from `source` is not counted any more.
    fn leave(&mut self, source: Option<IpAddr>) {
        self.sockets = self.sockets.saturating_sub(1);
        let Some(source) = source else {
            return;
        };
        let left = self
            .by_source
            .get(&source)
            .map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            self.by_source.remove(&source);
        } else {
            self.by_source.insert(source, left);
        }
    }
}

impl Place {
    /// Is told when the place was given to somebody else, which only befalls a handshake.
    pub(crate) fn lost(&self) -> Arc<Notify> {
        Arc::clone(&self.lost)
    }

    /// The handshake is done. Whether the peer may stay: its place may be lost, and clients have a
    /// cap of their own.
    pub(crate) fn open(&mut self, client: bool) -> bool {
        let mut counts = self.gate.lock();
        if !self.open {
            if counts.handshakes.remove(&self.number).is_none() {
                return false;
            }
            self.open = true;
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
        // A place that was lost is not counted any more.
        if !self.open && counts.handshakes.remove(&self.number).is_none() {
            return;
        }
        if self.client {
            counts.clients = counts.clients.saturating_sub(1);
        }
        counts.leave(self.source);
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
        assert_eq!(gate.handshakes(), 3);
        assert!(places[0].open(true));
        assert!(!places[1].open(true), "one client");
        assert!(places[2].open(false), "a node");
        assert_eq!(gate.handshakes(), 0);
        let mut fourth = gate.enter(ip("127.0.0.1")).unwrap();
        assert!(fourth.open(false));
        assert!(gate.enter(ip("127.0.0.1")).is_none(), "four sockets");
        drop(fourth);
        drop(places);
        let counts = gate.lock();
        assert_eq!((counts.sockets, counts.clients), (0, 0));
        assert!(counts.by_source.is_empty() && counts.handshakes.is_empty());
    }

    #[test]
    fn whoever_has_most_handshakes_under_way_loses_the_oldest_to_a_newcomer() {
        let gate = Gate::new(Caps {
            sockets: 6,
            of_source: 3,
            handshakes: 4,
            clients: 1,
        });
        let (many, honest) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let early = gate.enter(honest).unwrap();
        let mut silent: Vec<_> = (0..3).map(|_| gate.enter(many).unwrap()).collect();
        let lost = |place: &Place| !gate.lock().handshakes.contains_key(&place.number);
        let mut late = gate.enter(ip("192.0.2.3")).unwrap();
        assert!(lost(&silent[0]) && !lost(&silent[1]) && !lost(&early));
        assert!(!silent[0].open(false), "it comes too late");
        assert_eq!((gate.handshakes(), gate.lock().sockets), (4, 4));
        // What it held is free at once, and is not given back a second time.
        let mut again = gate.enter(many).unwrap();
        assert!(lost(&silent[1]));
        silent.remove(0);
        silent.remove(0);
        assert_eq!((gate.handshakes(), gate.lock().sockets), (4, 4));
        // Where all have one or two, the oldest of those with two goes; an open link never does.
        assert!(late.open(false) && again.open(false));
        let more: Vec<_> = (4..8)
            .map(|n| gate.enter(ip(&format!("192.0.2.{n}"))).unwrap())
            .collect();
        assert!(lost(&early) && lost(&silent[0]), "the oldest");
        assert_eq!(gate.lock().sockets, 6);
        drop((early, silent, late, again, more));
        let counts = gate.lock();
        assert_eq!((counts.sockets, counts.by_source.len()), (0, 0));
    }

    #[test]
    fn sockets_that_are_open_make_no_room() {
        let gate = gate();
        let mut open: Vec<_> = (1..5)
            .map(|n| gate.enter(ip(&format!("192.0.2.{n}"))).unwrap())
            .collect();
        assert!(open.iter_mut().skip(1).all(|place| place.open(false)));
        // Three handshakes are the cap: the fourth took the first one's place.
        let mut fifth = gate.enter(ip("192.0.2.5")).unwrap();
        assert!(!open[0].open(false) && fifth.open(false));
        assert!(gate.enter(ip("192.0.2.6")).is_none());
    }
}
