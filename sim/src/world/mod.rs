//! Virtual time: the real role values on one event heap.
//!
//! A [`World`] holds actors (a role with its disk and memory, see [`Host`]), the links between them
//! and one clock. Links carry [`Frame`]s without TLS: the TLS library's randomness and clock cannot
//! be injected. Whatever is drawn here (jitter, loss, reordering, duplication) is drawn from a
//! generator keyed by link and frame number, so that one seed gives one run, and a run in which one
//! link carries other contents has the same times on all.

mod cast;
mod events;
mod host;
mod link;
mod machines;
mod meddle;
pub mod memory;
mod trace;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use whist_link::{Frame, Input, LinkId, Output, Remote, Target};
use whist_types::{Instant, LinkKey, Now, Secret, Wall};

pub use self::cast::Cast;
pub use self::events::Heap;
pub use self::host::{Actor, Environment, Host};
pub use self::link::{LinkLaw, Side};
pub use self::machines::{
    AuthorityDisk, AuthorityHost, ClientDisk, ClientHost, MixHost, NodeDisk, ProviderHost,
};
pub use self::meddle::{Conduct, Recorded};
pub use self::trace::{Direction, Trace, TraceLine};

use self::events::Event;
use self::link::Connection;

/// Names one actor of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ActorId(usize);

/// What the world must know of an actor besides its role.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name in traces.
    pub name: String,
    /// What others dial, `None` for those who only dial (clients).
    pub address: Option<String>,
    /// The key that those who dial it expect, and that it shows to those it dials.
    pub key: Option<LinkKey>,
}

struct Slot {
    place: Place,
    actor: Option<Box<dyn Actor>>,
    links: BTreeMap<LinkId, (usize, Side)>,
    accepted: u64,
    /// Deadline for which a wake-up already stands on the heap.
    wake: Option<Instant>,
    /// Wall clock minus true time, in milliseconds.
    skew_ms: i64,
}

/// Actors, links, one clock.
pub struct World {
    seed: Secret<32>,
    now: Instant,
    epoch_wall: Wall,
    heap: Heap<Event>,
    slots: Vec<Slot>,
    connections: Vec<Connection>,
    law: LinkLaw,
    laws: BTreeMap<(ActorId, ActorId), LinkLaw>,
    cut: BTreeSet<(ActorId, ActorId)>,
    watched: BTreeSet<ActorId>,
    trace: Trace,
    conduct: BTreeMap<ActorId, Conduct>,
    tapped: BTreeMap<ActorId, Vec<Recorded>>,
    delivered: u64,
}

impl World {
    /// An empty world at time zero, with the wall clock at `wall` and the same law for all links.
    pub fn new(seed: Secret<32>, wall: Wall, law: LinkLaw) -> Self {
        Self {
            seed,
            now: Instant::ZERO,
            epoch_wall: wall,
            heap: Heap::default(),
            slots: Vec::new(),
            connections: Vec::new(),
            law,
            laws: BTreeMap::new(),
            cut: BTreeSet::new(),
            watched: BTreeSet::new(),
            trace: Trace::default(),
            conduct: BTreeMap::new(),
            tapped: BTreeMap::new(),
            delivered: 0,
        }
    }

    /// Both clocks, true time.
    pub fn now(&self) -> Now {
        let elapsed = self.now.since(Instant::ZERO);
        Now {
            instant: self.now,
            wall: self.epoch_wall.after(elapsed),
        }
    }

    /// Both clocks as `id` sees them.
    fn now_of(&self, id: ActorId) -> Now {
        let mut now = self.now();
        let skew = self.slots.get(id.0).map_or(0, |slot| slot.skew_ms);
        now.wall = Wall::from_millis(now.wall.as_millis().saturating_add_signed(skew));
        now
    }

    /// Frames delivered so far.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Adds an actor and starts it.
    pub fn add(&mut self, place: Place, actor: Box<dyn Actor>) -> ActorId {
        let id = ActorId(self.slots.len());
        self.slots.push(Slot {
            place,
            actor: Some(actor),
            links: BTreeMap::new(),
            accepted: 0,
            wake: None,
            skew_ms: 0,
        });
        self.settle(id);
        id
    }

    /// The actor behind `id`, if it runs and is an `A`.
    pub fn actor<A: Actor>(&mut self, id: ActorId) -> Option<&mut A> {
        let actor: &mut dyn Any = self.slots.get_mut(id.0)?.actor.as_mut()?.as_mut();
        actor.downcast_mut()
    }

    /// Changes what the actor's wall clock shows, from now on.
    pub fn skew(&mut self, id: ActorId, skew_ms: i64) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.skew_ms = skew_ms;
        }
    }

    /// Ends an actor without warning, as `kill -9` does: its links break, its memory is dropped,
    /// and what its disk had not made durable is gone (that is [`Environment`]'s business).
    pub fn kill(&mut self, id: ActorId) -> Option<Box<dyn Actor>> {
        let links: Vec<_> = self.slots.get(id.0)?.links.keys().copied().collect();
        for link in links {
            self.close(id, link);
        }
        self.slots.get_mut(id.0)?.actor.take()
    }

    /// Puts an actor (again) into the place of `id` and starts it.
    pub fn start(&mut self, id: ActorId, actor: Box<dyn Actor>) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.actor = Some(actor);
            slot.wake = None;
        }
        self.settle(id);
    }

    /// Gives the actor an input of its own (a command) and lets it act on it.
    pub fn with<A: Actor, T>(
        &mut self,
        id: ActorId,
        f: impl FnOnce(&mut A, Now) -> T,
    ) -> Option<T> {
        let now = self.now_of(id);
        let result = f(self.actor::<A>(id)?, now);
        self.settle(id);
        Some(result)
    }

    /// Sets the law of all links but those that have one of their own.
    pub fn set_weather(&mut self, law: LinkLaw) {
        self.law = law;
    }

    /// Sets the law of frames between two actors, both ways.
    pub fn set_law(&mut self, a: ActorId, b: ActorId, law: LinkLaw) {
        self.laws.insert((a.min(b), a.max(b)), law);
    }

    /// Cuts or mends the path between two actors: while cut, frames vanish and dials fail.
    pub fn set_cut(&mut self, a: ActorId, b: ActorId, cut: bool) {
        let pair = (a.min(b), a.max(b));
        if cut {
            self.cut.insert(pair);
        } else {
            self.cut.remove(&pair);
        }
    }

    /// Records every frame that passes the wire of `id`, in both directions.
    pub fn watch(&mut self, id: ActorId) {
        self.watched.insert(id);
    }

    /// What the observer wrote down so far.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Runs until `until`, at most.
    pub fn run_until(&mut self, until: Instant) {
        while self.heap.next_time().is_some_and(|time| time <= until) {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// Runs for `duration`.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now.after(duration));
    }

    /// Runs until `done` holds or `limit` of virtual time has passed; whether it held.
    pub fn run_while(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now.after(limit);
        loop {
            if done(self) {
                return true;
            }
            if self.heap.next_time().is_none_or(|time| time > until) {
                self.now = until;
                return done(self);
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let Some((time, event)) = self.heap.pop() else {
            return;
        };
        self.now = self.now.max(time);
        match event {
            Event::Wake(id, time) => self.wake(id, time),
            Event::Up(connection, side) => self.up(connection, side),
            Event::Down(connection, side) => self.down(connection, side),
            Event::Deliver(connection, side, frame) => self.deliver(connection, side, *frame),
            Event::Send(id, link, frame) => self.put(id, link, *frame),
        }
    }

    fn wake(&mut self, id: ActorId, time: Instant) {
        let now = self.now_of(id);
        let Some(slot) = self.slots.get_mut(id.0) else {
            return;
        };
        if slot.wake != Some(time) {
            return; // an earlier deadline took its place
        }
        slot.wake = None;
        if let Some(actor) = slot.actor.as_mut() {
            actor.wake(now);
        }
        self.settle(id);
    }

    fn input(&mut self, id: ActorId, input: Input<Infallible>) {
        let now = self.now_of(id);
        if let Some(actor) = self
            .slots
            .get_mut(id.0)
            .and_then(|slot| slot.actor.as_mut())
        {
            actor.input(now, input);
        }
        self.settle(id);
    }

    /// Carries out everything that the actor wants, and notes when it wants to be woken.
    fn settle(&mut self, id: ActorId) {
        loop {
            let now = self.now_of(id);
            let slot = self.slots.get_mut(id.0);
            let Some(actor) = slot.and_then(|slot| slot.actor.as_mut()) else {
                return;
            };
            match actor.output(now) {
                Some(Output::Dial { link, target }) => self.dial(id, link, &target),
                Some(Output::Send { link, frame }) => self.send(id, link, frame),
                Some(Output::Close { link }) => self.close(id, link),
                Some(Output::Effect(never)) => match never {},
                None => break,
            }
        }
        let Some(slot) = self.slots.get_mut(id.0) else {
            return;
        };
        let Some(deadline) = slot.actor.as_ref().and_then(|actor| actor.deadline()) else {
            return;
        };
        let deadline = deadline.max(self.now);
        if slot.wake.is_none_or(|wake| deadline < wake) {
            slot.wake = Some(deadline);
            self.heap.push(deadline, Event::Wake(id, deadline));
        }
    }

    fn find(&self, target: &Target) -> Option<ActorId> {
        let at = self.slots.iter().position(|slot| {
            slot.actor.is_some()
                && slot.place.address.as_ref() == Some(&target.address)
                && slot.place.key == Some(target.key)
        })?;
        Some(ActorId(at))
    }

    fn dial(&mut self, from: ActorId, link: LinkId, target: &Target) {
        let found = self.find(target).filter(|to| !self.is_cut(from, *to));
        let index = self.connections.len();
        let to = found.unwrap_or(from);
        let ordinal = self
            .connections
            .iter()
            .filter(|c| c.joins(from, to))
            .count();
        let remote = match self.slots.get(from.0).and_then(|slot| slot.place.key) {
            Some(key) if target.identify => Remote::Node(key),
            _ => Remote::Anonymous,
        };
        let accepted = self.slots.get_mut(to.0).map_or(0, |slot| {
            slot.accepted = slot.accepted.saturating_add(1);
            slot.accepted
        });
        let connection = Connection::new(
            (from, link),
            (to, LinkId::accepted(accepted)),
            (remote, Remote::Node(target.key)),
            format!("{}-{}#{ordinal}", self.name(from), self.name(to)),
        );
        self.connections.push(connection);
        if let Some(slot) = self.slots.get_mut(from.0) {
            slot.links.insert(link, (index, Side::Dialer));
        }
        let law = self.law_of(from, to);
        let half = law.latency;
        if found.is_none() {
            self.heap
                .push(self.now.after(half), Event::Down(index, Side::Dialer));
            return;
        }
        // The handshake: the listener is up after one latency and a half, the dialer after two.
        self.heap.push(
            self.now.after(half.saturating_mul(3)),
            Event::Up(index, Side::Listener),
        );
        self.heap.push(
            self.now.after(half.saturating_mul(4)),
            Event::Up(index, Side::Dialer),
        );
    }

    fn up(&mut self, index: usize, side: Side) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if connection.closed {
            return;
        }
        let (id, link) = connection.end(side);
        let remote = connection.remote_of(side);
        if self.slots.get(id.0).is_none_or(|slot| slot.actor.is_none()) {
            self.break_link(index);
            return;
        }
        if let Some(connection) = self.connections.get_mut(index) {
            connection.mark_open(side);
        }
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.links.insert(link, (index, side));
        }
        self.input(id, Input::Up { link, remote });
    }

    fn down(&mut self, index: usize, side: Side) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        connection.closed = true;
        let (id, link) = connection.end(side);
        let gone = self
            .slots
            .get_mut(id.0)
            .and_then(|slot| slot.links.remove(&link));
        if gone.is_some() {
            self.input(id, Input::Down { link });
        }
    }

    fn deliver(&mut self, index: usize, side: Side, frame: Frame) {
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        let (id, link) = connection.end(side);
        let (peer, _) = connection.end(side.other());
        if connection.closed || self.is_cut(id, peer) {
            return;
        }
        self.delivered = self.delivered.saturating_add(1);
        self.note(index, id, Direction::In);
        self.tap(id, peer, &frame);
        self.input(id, Input::Frame { link, frame });
    }

    /// Sends, unless the actor meddles with its packets.
    fn send(&mut self, id: ActorId, link: LinkId, frame: Frame) {
        match self.leaves_at(id, &frame) {
            Some(time) if time <= self.now => self.put(id, link, frame),
            Some(time) => self.heap.push(time, Event::Send(id, link, Box::new(frame))),
            None => {}
        }
    }

    fn put(&mut self, id: ActorId, link: LinkId, frame: Frame) {
        let entry = self
            .slots
            .get(id.0)
            .and_then(|slot| slot.links.get(&link).copied());
        let Some((index, side)) = entry else { return };
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        if !connection.is_open(side) {
            let now = self.now_of(id);
            if let Some(actor) = self
                .slots
                .get_mut(id.0)
                .and_then(|slot| slot.actor.as_mut())
            {
                actor.input(now, Input::Full { link, frame });
            }
            return;
        }
        let (peer, _) = connection.end(side.other());
        self.note(index, id, Direction::Out);
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        if connection.closed || self.is_cut(id, peer) {
            return;
        }
        let law = self.law_of(id, peer);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let times = law.arrivals(&self.seed, connection, side, self.now, &frame);
        for time in times {
            let copy = Box::new(frame.clone());
            self.heap
                .push(time, Event::Deliver(index, side.other(), copy));
        }
    }

    fn close(&mut self, id: ActorId, link: LinkId) {
        let entry = self
            .slots
            .get_mut(id.0)
            .and_then(|slot| slot.links.remove(&link));
        let Some((index, _)) = entry else { return };
        self.break_link(index);
    }

    /// The other end hears of it one latency later.
    fn break_link(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        connection.closed = true;
        let ends = [
            (connection.end(Side::Dialer), Side::Dialer),
            (connection.end(Side::Listener), Side::Listener),
        ];
        let law = self.law_of(ends[0].0.0, ends[1].0.0);
        for (_, side) in ends {
            self.heap
                .push(self.now.after(law.latency), Event::Down(index, side));
        }
    }

    fn note(&mut self, index: usize, id: ActorId, direction: Direction) {
        if !self.watched.contains(&id) {
            return;
        }
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        let watched = self.slots.get(id.0).map_or("", |slot| &slot.place.name);
        self.trace
            .push(self.now, &connection.name, watched, direction);
    }

    fn name(&self, id: ActorId) -> &str {
        self.slots.get(id.0).map_or("", |slot| &slot.place.name)
    }

    fn law_of(&self, a: ActorId, b: ActorId) -> LinkLaw {
        self.laws
            .get(&(a.min(b), a.max(b)))
            .unwrap_or(&self.law)
            .clone()
    }

    fn is_cut(&self, a: ActorId, b: ActorId) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }
}

#[cfg(test)]
mod tests;
