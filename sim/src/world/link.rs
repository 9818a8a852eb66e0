//! A connection between two actors and the law by which it treats frames.

use std::time::Duration;

use whist_link::{Frame, LinkId, Remote};
use whist_timing::{exponential, tick_rng};
use whist_types::{Instant, Secret};

use super::ActorId;

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The end that dialed.
    Dialer,
    /// The end that accepted.
    Listener,
}

/// One value for each end.
struct Ends<T> {
    dialer: T,
    listener: T,
}

impl<T: Copy> Ends<T> {
    const fn both(value: T) -> Self {
        Self {
            dialer: value,
            listener: value,
        }
    }
}

impl<T> Ends<T> {
    const fn of(&self, side: Side) -> &T {
        match side {
            Side::Dialer => &self.dialer,
            Side::Listener => &self.listener,
        }
    }

    const fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Dialer => &mut self.dialer,
            Side::Listener => &mut self.listener,
        }
    }
}

impl Side {
    /// The end opposite.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// How a link treats frames. Probabilities are in millionths, so that a law is `Eq` and exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkLaw {
    /// One way, constant part.
    pub latency: Duration,
    /// Mean of an exponential part on top; zero for none.
    pub jitter: Duration,
    /// Chance of a frame to vanish, in millionths.
    pub loss_ppm: u32,
    /// Chance of a frame to come twice, in millionths.
    pub duplicate_ppm: u32,
    /// Whether frames may overtake each other; a TCP link keeps their order.
    pub reorder: bool,
    /// Whether only packets and replies are lost, doubled and overtaken. TCP does that to nothing;
    /// nodes and crashes do it to what is mixed, and to nothing else.
    pub packets_only: bool,
}

impl LinkLaw {
    /// A link that only takes time.
    pub const fn after(latency: Duration) -> Self {
        Self {
            latency,
            jitter: Duration::ZERO,
            loss_ppm: 0,
            duplicate_ppm: 0,
            reorder: false,
            packets_only: false,
        }
    }

    /// When the next frame from `side` arrives: never, once or twice.
    pub(super) fn arrivals(
        &self,
        seed: &Secret<32>,
        connection: &mut Connection,
        side: Side,
        now: Instant,
        frame: &Frame,
    ) -> Vec<Instant> {
        use rand_core::Rng as _;
        let struck = !self.packets_only || matches!(frame, Frame::Packet(_) | Frame::Reply(_));
        let count = connection.next_frame(side);
        let mut rng = tick_rng(seed, "sim link", connection.key(side).wrapping_add(count));
        let mut draw = |ppm: u32| struck && rng.next_u32() % 1_000_000 < ppm;
        let (lost, twice) = (draw(self.loss_ppm), draw(self.duplicate_ppm));
        if lost {
            return Vec::new();
        }
        let mut times = Vec::with_capacity(2);
        for _ in 0..=u8::from(twice) {
            let mut time = now.after(self.latency);
            if !self.jitter.is_zero() {
                time = time.after(exponential(self.jitter, &mut rng));
            }
            times.push(connection.in_order(side, time, self.reorder && struck));
        }
        times
    }
}

/// Two ends, and how many frames went each way.
pub(super) struct Connection {
    pub(super) name: String,
    pub(super) closed: bool,
    up: Ends<bool>,
    dialer: (ActorId, LinkId),
    listener: (ActorId, LinkId),
    dialer_is: Remote,
    listener_is: Remote,
    frames: Ends<u64>,
    last: Ends<Instant>,
    key: u64,
}

impl Connection {
    pub(super) fn new(
        dialer: (ActorId, LinkId),
        listener: (ActorId, LinkId),
        (dialer_is, listener_is): (Remote, Remote),
        name: String,
    ) -> Self {
        let key = u64::from_le_bytes(
            *blake3::hash(name.as_bytes())
                .as_bytes()
                .first_chunk::<8>()
                .unwrap_or(&[0; 8]),
        );
        let (frames, last) = (Ends::both(0), Ends::both(Instant::ZERO));
        let (closed, up) = (false, Ends::both(false));
        Self {
            name,
            closed,
            up,
            dialer,
            listener,
            dialer_is,
            listener_is,
            frames,
            last,
            key,
        }
    }

    pub(super) const fn end(&self, side: Side) -> (ActorId, LinkId) {
        match side {
            Side::Dialer => self.dialer,
            Side::Listener => self.listener,
        }
    }

    /// Whom the end at `side` sees.
    pub(super) const fn remote_of(&self, side: Side) -> Remote {
        match side {
            Side::Dialer => self.listener_is,
            Side::Listener => self.dialer_is,
        }
    }

    pub(super) const fn mark_open(&mut self, side: Side) {
        *self.up.of_mut(side) = true;
    }

    pub(super) const fn is_open(&self, side: Side) -> bool {
        *self.up.of(side)
    }

    pub(super) fn joins(&self, a: ActorId, b: ActorId) -> bool {
        (self.dialer.0, self.listener.0) == (a, b)
    }

    /// A number of its own for each link and direction; frames count up from it.
    fn key(&self, side: Side) -> u64 {
        match side {
            Side::Dialer => self.key,
            Side::Listener => !self.key,
        }
    }

    fn next_frame(&mut self, side: Side) -> u64 {
        let count = self.frames.of_mut(side);
        *count = count.saturating_add(1);
        *count
    }

    fn in_order(&mut self, side: Side, time: Instant, reorder: bool) -> Instant {
        if reorder {
            return time;
        }
        let last = self.last.of_mut(side);
        *last = time.max(*last);
        *last
    }
}
