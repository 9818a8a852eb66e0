//! The mix's own loops: sent at the ticks of a Poisson clock, counted when they come home.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::CryptoRng;
use whist_netdoc::{Consensus, LOOP_SEGMENTS_MAX, LoopReport, LoopSegment, route};
use whist_packet::request::{Request, encode_request, parse_reply};
use whist_packet::{
    Destination, DropReason, FinalPayload, Hop, Packet, Route, SurbSecret, build, build_surb,
};
use whist_timing::{LossLimits, LossTest, PoissonClock, Tally, erlang_quantile, exponential};
use whist_types::{EpochSchedule, Instant, NodeId, Now, SessionAddress, SurbId};

use crate::limits;
use crate::view::View;

/// One step of a loop's route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// Who hands it on.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
}

/// A loop, ready to leave.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) first: NodeId,
    pub(crate) packet: Packet,
    id: SurbId,
    secret: SurbSecret,
    segments: Vec<Segment>,
}

/// The clock, and the loops under way.
#[derive(Debug)]
pub(crate) struct Loops {
    clock: Option<PoissonClock>,
    test: LossTest<SurbId, Segment>,
    secrets: BTreeMap<SurbId, (Instant, SurbSecret)>,
    timeout: Duration,
    /// Loops sent before are no measure: neighbours are still dialling.
    settled: Option<Instant>,
    /// Alarms of which descriptors told.
    reported: u64,
}

impl Loops {
    pub(crate) const fn new() -> Self {
        Self {
            clock: None,
            test: LossTest::new(LossLimits {
                timeout: limits::LOOP_LINKS,
                window: limits::LOOP_WINDOW,
                pending_max: limits::LOOPS_PENDING_MAX,
            }),
            secrets: BTreeMap::new(),
            timeout: limits::LOOP_LINKS,
            settled: None,
            reported: 0,
        }
    }

    /// Takes over rate and round trip of a view; without one there are no loops.
    pub(crate) fn set(&mut self, now: Now, view: Option<&View>, rng: &mut impl CryptoRng) {
        let Some((view, rate)) = view.and_then(|view| Some((view, view.loops?))) else {
            self.clock = None;
            self.settled = None;
            return;
        };
        self.settled
            .get_or_insert(now.instant.after(limits::LOOP_SETTLE));
        match &mut self.clock {
            Some(clock) => clock.set_rate(rate, now.instant, rng),
            None => self.clock = Some(PoissonClock::new(rate, now.instant, rng)),
        }
        // Every layer but our own delays a loop once, and the provider holds it.
        let stages = u32::from(view.layers).saturating_sub(1);
        let delays = erlang_quantile(stages, view.delay_mean, limits::LOOP_QUANTILE);
        self.timeout = delays + view.request_hold + limits::LOOP_LINKS;
        self.test.set_timeout(self.timeout);
    }

    /// Whether a loop is due; moves the clock on if so.
    pub(crate) fn tick(&mut self, now: Instant, rng: &mut impl CryptoRng) -> bool {
        let Some(clock) = &mut self.clock else {
            return false;
        };
        if now.since(clock.next()) > clock.rate().mean() * limits::LOOP_LAG_MEANS {
            clock.resume(now, rng);
        }
        let due = clock.is_due(now);
        if due {
            clock.advance(rng);
        }
        due
    }

    /// A loop has left, or could not: either way it counts as sent.
    pub(crate) fn sent(&mut self, now: Instant, made: &Loop) {
        if self.settled.is_some_and(|settled| settled <= now) {
            self.test.sent(now, made.id, made.segments.clone());
        }
    }

    /// One was due and none could be made: it counts as sent, on no segment, and will not come
    /// back. Silence would look like health.
    pub(crate) fn unmade(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        if self.settled.is_some_and(|settled| settled <= now) {
            let mut id = [0; SurbId::LEN];
            rng.fill_bytes(&mut id);
            self.test.sent(now, SurbId::from_bytes(id), Vec::new());
        }
    }

    /// Keeps what opens the loop when it is back.
    pub(crate) fn keep(&mut self, now: Instant, id: SurbId, secret: SurbSecret) {
        self.secrets.retain(|_, (until, _)| *until > now);
        self.secrets.insert(id, (now.after(self.timeout), secret));
    }

    /// Something ended here. `Ok` if it is a loop of ours, whole and in time.
    pub(crate) fn returned(
        &mut self,
        now: Instant,
        to: &Destination,
        payload: &FinalPayload,
    ) -> Result<(), Stranger> {
        let (until, secret) = self.secrets.remove(&to.surb).ok_or(Stranger::Unknown)?;
        if until <= now {
            return Err(Stranger::Unknown);
        }
        let opened = secret.open(payload.sealed()).map_err(Stranger::Altered)?;
        parse_reply(&opened).map_err(|_| Stranger::Unknown)?;
        self.test.returned(now, &to.surb);
        Ok(())
    }

    pub(crate) fn advance(&mut self, now: Instant) {
        self.test.advance(now);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let tick = self.clock.as_ref().map(PoissonClock::next);
        [tick, self.test.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) const fn overall(&self) -> Tally {
        self.test.overall()
    }

    pub(crate) const fn alarms(&self) -> u64 {
        self.test.alarms()
    }

    /// How often a segment's own alarm went up.
    pub(crate) const fn segment_alarms(&self) -> u64 {
        self.test.segment_alarms()
    }

    /// Segments whose own alarm is up.
    pub(crate) fn alarmed_segments(&self) -> usize {
        self.test.alarmed_segments()
    }

    /// What the next descriptor says: an alarm, over all loops or on one step of their routes, if
    /// one was up since the last descriptor, and where the most loops were lost.
    pub(crate) fn report(&mut self) -> LoopReport {
        let alarms = self.alarms() + self.segment_alarms();
        let told = std::mem::replace(&mut self.reported, alarms);
        if told == alarms && !self.test.overall().alarm && self.alarmed_segments() == 0 {
            return LoopReport::default();
        }
        let lost = |tally: &Tally| tally.sent.saturating_sub(tally.returned);
        let known =
            |(_, tally): &(&Segment, Tally)| tally.alarm || tally.sent >= limits::REPORT_LOOPS_MIN;
        let mut worst: Vec<_> = self.test.segments().filter(known).collect();
        // Those at their own alarm first, then by share (a/b > c/d is a·d > c·b), then by number:
        // a step that loses all loops shows on every step after it, with fewer loops on each.
        worst.sort_by(|(a, one), (b, other)| {
            let by_alarm = other.alarm.cmp(&one.alarm);
            let (left, right) = (lost(other) * one.sent, lost(one) * other.sent);
            let by_share = left.cmp(&right).then(lost(other).cmp(&lost(one)));
            by_alarm.then(by_share).then(a.cmp(b))
        });
        let rounded = |(step, tally): (&Segment, Tally)| {
            LoopSegment::rounded(step.from, step.to, tally.sent, lost(&tally))
        };
        let worst = worst.into_iter().filter_map(rounded);
        LoopReport::alarm(worst.take(LOOP_SEGMENTS_MAX).collect())
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = (&Segment, Tally)> {
        self.test.segments()
    }
}

/// What ends here and is no loop of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Not under way: never sent, too late, or not a reply.
    Unknown,
    /// A loop of ours that somebody altered on its way.
    Altered(DropReason),
}

impl Loop {
    pub(crate) fn into_parts(self) -> (NodeId, Packet, SurbId, SurbSecret) {
        (self.first, self.packet, self.id, self.secret)
    }

    /// A loop from `me` through the layers after its own to a random provider, and by a SURB
    /// through the layers before it back to `me`. To everybody on the way it is one of a client's.
    pub(crate) fn make(
        consensus: &Consensus,
        me: &NodeId,
        now: Now,
        rng: &mut impl CryptoRng,
    ) -> Option<Self> {
        let own = consensus.node(me)?;
        let layer = own.role.layer()?.index();
        let layers = consensus.parameters().layers;
        let family = [own.family];
        let provider = route::provider(consensus, rng, &family).ok()?;
        let mut there =
            route::mixes_in(consensus, layer.checked_add(1)?..layers, &family, rng).ok()?;
        let mut back = route::mixes_in(consensus, 0..layer, &family, rng).ok()?;
        there.push(provider);
        back.push(*me);

        let mut segments = Vec::with_capacity(there.len() + back.len());
        let mut from = *me;
        for to in there.iter().chain(&back).copied() {
            segments.push(Segment { from, to });
            from = to;
        }
        let mut pace = Pace {
            consensus,
            schedule: consensus.schedule(),
            now,
            passed: Duration::ZERO,
        };
        let there = pace.route(&there, rng)?;
        pace.passed += consensus.parameters().request_hold();
        let back = pace.route(&back, rng)?;
        Self::build(&there, &back, segments, rng)
    }

    fn build(
        there: &Route,
        back: &Route,
        segments: Vec<Segment>,
        rng: &mut impl CryptoRng,
    ) -> Option<Self> {
        let mut id = [0; SurbId::LEN];
        rng.fill_bytes(&mut id);
        let to = Destination {
            session: SessionAddress::from_bytes([0; SessionAddress::LEN]),
            surb: SurbId::from_bytes(id),
        };
        let (surb, secret) = build_surb(back, &to, rng).ok()?;
        let payload = encode_request(&Request::Echo, &surb, rng);
        let packet = build(there, &Destination::REQUEST, &payload, rng).ok()?;
        Some(Self {
            first: there.first(),
            packet,
            id: to.surb,
            secret,
            segments,
        })
    }
}

/// Picks each hop's key by the epoch in which the loop is expected there.
struct Pace<'a> {
    consensus: &'a Consensus,
    schedule: &'a EpochSchedule,
    now: Now,
    passed: Duration,
}

impl Pace<'_> {
    /// Mixes that delay, and a last hop that does not.
    fn route(&mut self, nodes: &[NodeId], rng: &mut impl CryptoRng) -> Option<Route> {
        let mean = self.consensus.parameters().delay_mean();
        let (last, mixes) = nodes.split_last()?;
        let mut hops = Vec::with_capacity(nodes.len());
        for mix in mixes {
            hops.push(self.hop(mix, exponential(mean, rng))?);
            self.passed += mean;
        }
        hops.push(self.hop(last, Duration::ZERO)?);
        Route::exactly(hops, nodes.len()).ok()
    }

    fn hop(&self, node: &NodeId, delay: Duration) -> Option<Hop> {
        let epoch = self.schedule.epoch_at(self.now.wall.after(self.passed));
        Some(Hop {
            node: *node,
            key: self.consensus.key(node, epoch)?,
            delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u64) -> NodeId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    /// Loops `from` to `to` over fifty neighbours in turn; the eighth drops them all, if `hole`.
    fn run(loops: &mut Loops, from: u64, to: u64, hole: bool) {
        for n in from..to {
            let at = Instant::ZERO.after(Duration::from_secs(10 * n));
            let mut id = [1; SurbId::LEN];
            id[..8].copy_from_slice(&n.to_be_bytes());
            let id = SurbId::from_bytes(id);
            let neighbour = node(100 + n % 50);
            let to_it = Segment {
                from: node(0),
                to: neighbour,
            };
            let after_it = Segment {
                from: neighbour,
                to: node(n / 50 % 3),
            };
            loops.test.sent(at, id, vec![to_it, after_it]);
            if !hole || n % 50 != 7 {
                assert!(loops.test.returned(at, &id));
            }
            loops.test.advance(at.after(Duration::from_secs(5)));
        }
    }

    #[test]
    fn a_descriptor_tells_of_one_neighbour_that_drops_what_few_loops_it_gets() {
        let mut loops = Loops::new();
        run(&mut loops, 0, 200, false);
        assert_eq!(loops.report(), LoopReport::default());
        run(&mut loops, 200, 1_200, true);
        assert!(!loops.overall().alarm, "2 % of all loops is no alarm");
        let report = loops.report();
        assert!(report.alarm);
        // It first, with the most loops, then what it should have handed on.
        let eighth = node(107);
        assert!(report.segments.len() > 1);
        let named = |s: &LoopSegment| s.from == eighth || s.to == eighth;
        assert!(report.segments.iter().all(named), "{report:?}");
        let to_it = report.segments.iter().find(|s| s.to == eighth).unwrap();
        assert_eq!((to_it.sent, to_it.lost), (16, 16));
        // As long as it stands, every descriptor says so; then none.
        assert!(loops.report().alarm);
        run(&mut loops, 1_200, 3_000, false);
        assert_eq!(loops.alarmed_segments(), 0);
        assert_eq!(loops.report(), LoopReport::default());
    }
}
