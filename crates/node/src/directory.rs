//! Towards the authorities: descriptors go to all of them, consensuses come from one at random.

use std::collections::BTreeMap;

use rand_core::CryptoRng;
use whist_link::{
    Assembler, Backoff, Dialer, DocGet, Frame, LinkId, Malformed, Part, Target, split,
};
use whist_netdoc::{Follower, TrustedAuthorities};
use whist_types::{Epoch, EpochSchedule, Instant, Now, Wall};

use crate::limits;

/// The authorities' links are numbered in a lane of their own.
const LANE: u16 = 1;

/// Fetching begins between these shares of an epoch before its end, at a uniform time.
const FETCH_FROM_PERMILLE: u64 = 300;
const FETCH_TO_PERMILLE: u64 = 150;

/// Links to the authorities, and what is under way on them.
#[derive(Debug)]
pub struct Directory {
    pub(crate) dialer: Dialer<u8>,
    incoming: BTreeMap<LinkId, Assembler>,
    descriptor: Option<(Epoch, Vec<u8>)>,
    streams: u32,
    /// When to begin to fetch the consensus of which epoch.
    planned: Option<(Epoch, Wall)>,
    ask_at: Instant,
}

impl Directory {
    pub(crate) fn new(trusted: &TrustedAuthorities) -> Self {
        let mut dialer = Dialer::new(Backoff::default(), limits::AUTHORITY_QUEUE).in_lane(LANE);
        let targets = trusted.authorities().iter().map(|authority| Target {
            address: authority.address.clone(),
            key: authority.link,
            identify: true,
        });
        dialer.want((0..).zip(targets));
        Self {
            dialer,
            incoming: BTreeMap::new(),
            descriptor: None,
            streams: 0,
            planned: None,
            ask_at: Instant::ZERO,
        }
    }

    /// The epoch that the descriptor in hand is for.
    pub fn described(&self) -> Option<Epoch> {
        self.descriptor.as_ref().map(|(epoch, _)| *epoch)
    }

    /// Uploads a descriptor to every authority, now and whenever a link comes up.
    pub fn publish(&mut self, epoch: Epoch, descriptor: Vec<u8>) {
        self.descriptor = Some((epoch, descriptor));
        let authorities: Vec<u8> = self.dialer.connected().map(|(who, _)| *who).collect();
        for authority in authorities {
            self.upload(authority);
        }
    }

    /// A link came up. `false` if it is no authority's.
    pub(crate) fn up(&mut self, now: Now, link: LinkId, hello: Frame) -> bool {
        let Some(&authority) = self.dialer.up(now.instant, link, hello) else {
            return false;
        };
        let assembler = Assembler::new(limits::BUNDLE_PARTS_MAX);
        self.incoming.insert(link, assembler);
        self.upload(authority);
        true
    }

    /// A link fell.
    pub(crate) fn down(&mut self, now: Now, link: LinkId, rng: &mut impl CryptoRng) {
        self.incoming.remove(&link);
        self.dialer.down(now.instant, link, rng);
    }

    /// Closes a link on which something malformed came.
    pub(crate) fn close(&mut self, now: Now, link: LinkId, rng: &mut impl CryptoRng) {
        self.incoming.remove(&link);
        self.dialer.close(now.instant, link, rng);
    }

    /// A part of a bundle; the bundle, when it is whole.
    pub(crate) fn part(&mut self, link: LinkId, part: Part) -> Result<Option<Vec<u8>>, Malformed> {
        match self.incoming.get_mut(&link) {
            Some(assembler) => assembler.push(part),
            None => Ok(None),
        }
    }

    fn upload(&mut self, authority: u8) {
        if let Some((_, descriptor)) = &self.descriptor {
            self.streams = self.streams.wrapping_add(1);
            for part in split(self.streams, descriptor) {
                // Without a link it is not sent, and goes out when the link comes up.
                let _ = self
                    .dialer
                    .send(&authority, Frame::Descriptor(Box::new(part)));
            }
        }
    }

    /// Asks for a consensus if the follower misses one and it is time to.
    pub(crate) fn fetch(&mut self, now: Now, follower: &Follower, rng: &mut impl CryptoRng) {
        let schedule = follower.trusted().schedule();
        let newest = follower.newest().map(|newest| newest.epoch());
        let current = schedule.epoch_at(now.wall);
        let (epoch, begin) = match self.planned {
            Some(plan) if plan.0 == current.next() => plan,
            _ => self.plan(current.next(), schedule, rng),
        };
        let wanted = if now.wall >= begin { epoch } else { current };
        if newest >= Some(wanted) {
            let idle_until = if wanted == epoch {
                schedule.start(epoch)
            } else {
                begin
            };
            self.ask_at = now.instant_of(idle_until);
            return;
        }
        if self.ask_at > now.instant && self.ask_at.since(now.instant) <= limits::FETCH_RETRY_MAX {
            return;
        }
        let connected: Vec<u8> = self.dialer.connected().map(|(who, _)| *who).collect();
        if let Some(&authority) = pick(&connected, rng) {
            let get = DocGet {
                epoch: 0,
                leaves_from: follower.leaves_from(),
            };
            let _ = self.dialer.send(&authority, Frame::DocGet(get));
        }
        let retry = schedule.length() / limits::FETCH_RETRY_SHARE;
        self.ask_at = now
            .instant
            .after(retry.clamp(limits::FETCH_RETRY_MIN, limits::FETCH_RETRY_MAX));
    }

    fn plan(
        &mut self,
        epoch: Epoch,
        schedule: &EpochSchedule,
        rng: &mut impl CryptoRng,
    ) -> (Epoch, Wall) {
        let share = |permille: u64| schedule.epoch_ms.saturating_mul(permille) / 1_000;
        let (from, to) = (share(FETCH_FROM_PERMILLE), share(FETCH_TO_PERMILLE));
        let spread = from.saturating_sub(to).max(1);
        // Spreads load, hides nothing: a bias of 2^-40 does not matter.
        let early = to.saturating_add(rng.next_u64() % spread);
        let begin = schedule
            .start(epoch)
            .before(std::time::Duration::from_millis(early));
        self.planned = Some((epoch, begin));
        (epoch, begin)
    }

    /// When [`fetch`](Self::fetch) has something to do.
    pub(crate) const fn fetch_at(&self) -> Instant {
        self.ask_at
    }
}

fn pick<'a, T>(from: &'a [T], rng: &mut impl CryptoRng) -> Option<&'a T> {
    let count = u64::try_from(from.len()).ok().filter(|&n| n > 0)?;
    from.get(usize::try_from(rng.next_u64() % count).ok()?)
}
