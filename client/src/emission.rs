//! The one send clock (protocol.md §4): when a packet leaves, of which class, with which delays
//! and by which mixes. It knows nothing of outbox, mailbox or contacts, and nothing of them can
//! reach it: what it draws comes from generators keyed by the number of the tick, under a seed that
//! each tick replaces by its hash.
//!
//! Only the exit provider and the contents of a packet depend on what is sent. The mixes are drawn
//! without knowing the exit; a family runs mixes or providers, never both, so any mixes fit any
//! exit.

use std::time::Duration;

use rand_core::Rng as _;
use whist_netdoc::Parameters;
use whist_timing::{Rng, exponential, tick_rng};
use whist_types::{Instant, Secret};

use crate::limits::TICK_LATE_MAX;

/// What a packet is for. Drawn by a coin; no class is ever turned into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// `GET` on the own mailbox; an `ECHO` before there is one and before the start offset.
    Poll,
    /// The head of the outbox; an `ECHO` when it is empty.
    Send,
    /// A `PUT` to an address of the own mailbox.
    Decoy,
}

/// The law of the clock, from the consensus and the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Law {
    /// Mean time between two ticks, 1/λ.
    pub interval_mean: Duration,
    /// Mean delay of each delaying hop.
    pub delay_mean: Duration,
    /// Mean wait before the first poll after connecting.
    pub first_poll_mean: Duration,
    /// Layers of mixes.
    pub layers: u8,
    /// Shares of poll, send and decoy.
    pub shares: [u8; 3],
}

impl Law {
    /// The law of a profile under these parameters.
    pub fn new(parameters: &Parameters, profile: u8) -> Self {
        Self {
            interval_mean: parameters.profile_mean(profile),
            delay_mean: parameters.delay_mean(),
            first_poll_mean: parameters.first_poll_mean(),
            layers: parameters.layers,
            shares: [
                parameters.share_poll_16ths,
                parameters.share_send_16ths,
                parameters.share_decoy_16ths,
            ],
        }
    }

    fn class(&self, rng: &mut Rng) -> Class {
        let [poll, send, decoy] = self.shares.map(u32::from);
        let all = poll.saturating_add(send).saturating_add(decoy).max(1);
        // Whole multiples of `all` only: without the rejection, low classes would be favoured.
        let limit = u32::MAX.saturating_sub(u32::MAX.checked_rem(all).unwrap_or(0));
        let mut drawn = rng.next_u32();
        while drawn >= limit {
            drawn = rng.next_u32();
        }
        let place = drawn.checked_rem(all).unwrap_or(0);
        if place < poll {
            Class::Poll
        } else if place < poll.saturating_add(send) {
            Class::Send
        } else {
            Class::Decoy
        }
    }
}

/// Everything about one packet that an observer of the client's wire or of the mixes could see.
pub struct Tick {
    /// Its number; counts on over skipped ones.
    pub number: u64,
    /// When it is due.
    pub at: Instant,
    /// Its class.
    pub class: Class,
    /// Whether the start offset has passed, so that a poll may be a `GET`.
    pub may_poll: bool,
    /// Delays at the entry provider and at each mix.
    pub delays: Vec<Duration>,
    /// Delays at each mix of the reply's route.
    pub reply_delays: Vec<Duration>,
    /// For drawing the mixes.
    pub forward: Rng,
    /// For drawing the mixes of the reply.
    pub reply: Rng,
}

/// The send clock.
///
/// It never waits for anything that is received: its only inputs are the time, the law, and
/// whether there is a link. It never bursts: ticks while off line, and ticks of a machine that
/// slept, are skipped. It never pauses while connected.
pub struct Emission {
    seed: Secret<32>,
    number: u64,
    next: Option<Instant>,
    polls_from: Instant,
    skipped: u64,
}

impl Emission {
    /// A clock that stands until [`Emission::start`]. A seed must be used by one clock only.
    pub const fn new(seed: Secret<32>) -> Self {
        Self {
            seed,
            number: 0,
            next: None,
            polls_from: Instant::ZERO,
            skipped: 0,
        }
    }

    /// The link is up: the next tick is one fresh interval away (the law has no memory).
    pub fn start(&mut self, now: Instant, law: &Law) {
        let mut offset = tick_rng(&self.seed, "first poll", self.number);
        self.polls_from = now.after(exponential(law.first_poll_mean, &mut offset));
        self.schedule(now, law);
    }

    /// The link is gone.
    pub const fn stop(&mut self) {
        self.next = None;
    }

    /// Whether the clock runs.
    pub const fn is_running(&self) -> bool {
        self.next.is_some()
    }

    /// When the next tick is due.
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Ticks that passed while the machine slept.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Fresh randomness for all later ticks: whoever has read the memory knows them no longer.
    pub fn refresh(&mut self, fresh: &Secret<32>) {
        self.seed = next_seed(&self.seed, fresh.expose());
    }

    fn schedule(&mut self, from: Instant, law: &Law) {
        self.number = self.number.saturating_add(1);
        // Whoever reads the memory from now on computes nothing of the ticks that have passed.
        self.seed = next_seed(&self.seed, &[]);
        let mut rng = tick_rng(&self.seed, "gap", self.number);
        self.next = Some(from.after(exponential(law.interval_mean, &mut rng)));
    }

    /// The tick that is due, if one is. Call again until `None`: ticks that fell due between two
    /// calls come one by one, unless they are so old that sending them would be a burst.
    pub fn take(&mut self, now: Instant, law: &Law) -> Option<Tick> {
        let at = self.next.filter(|&at| at <= now)?;
        if now.since(at) > TICK_LATE_MAX {
            self.skipped = self.skipped.saturating_add(1);
            self.schedule(now, law);
            return None;
        }
        let tick = self.draw(self.number, at, law);
        self.schedule(at, law);
        Some(tick)
    }

    /// The next tick, ahead of its time: what the clock must never do.
    #[cfg(any(test, feature = "control"))]
    pub(crate) fn advance_to(&mut self, now: Instant, law: &Law) -> Option<Tick> {
        self.next?;
        self.next = Some(now);
        self.take(now, law)
    }

    fn draw(&self, number: u64, at: Instant, law: &Law) -> Tick {
        let delays = |label, hops: u8| {
            let mut rng = tick_rng(&self.seed, label, number);
            (0..hops)
                .map(|_| exponential(law.delay_mean, &mut rng))
                .collect()
        };
        Tick {
            number,
            at,
            class: law.class(&mut tick_rng(&self.seed, "class", number)),
            may_poll: at >= self.polls_from,
            delays: delays("delays", law.layers.saturating_add(1)),
            reply_delays: delays("reply delays", law.layers),
            forward: tick_rng(&self.seed, "mixes", number),
            reply: tick_rng(&self.seed, "reply mixes", number),
        }
    }
}

fn next_seed(seed: &Secret<32>, fresh: &[u8]) -> Secret<32> {
    let mut hasher = blake3::Hasher::new_derive_key("whist 2026 client send clock step v1");
    hasher.update(seed.expose());
    hasher.update(fresh);
    let next = Secret::new(*hasher.finalize().as_bytes());
    zeroize::Zeroize::zeroize(&mut hasher);
    next
}

#[cfg(test)]
#[path = "emission_tests.rs"]
mod tests;
