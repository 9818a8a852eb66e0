//! A client's session: the uplink's bucket, the downlink's clock, and the account between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use whist_link::{Frame, Part, Reply};
use whist_types::{ConsensusHash, Instant, SessionAddress};

use crate::limits;

/// A token bucket in its virtual scheduling form: one number, the time at which it is full again.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    step: Duration,
    depth: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A full bucket of `burst` tokens, one more each `step`.
    pub fn new(step: Duration, burst: u32) -> Self {
        Self {
            step,
            depth: step.saturating_mul(burst),
            full_at: Instant::ZERO,
        }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let next = self.full_at.max(now).after(self.step);
        let allowed = next.since(now) <= self.depth;
        if allowed {
            self.full_at = next;
        }
        allowed
    }
}

/// What a session's profile asks of the provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Mean time between two packets of the client, 1/λ.
    pub packet: Duration,
    /// Time between two downlink slots, 1/(2λ).
    pub slot: Duration,
    /// Time between two document frames.
    pub doc: Duration,
}

/// Why a reply was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unqueued {
    /// The session has had as many replies as it sent packets.
    Unearned,
    /// Too many wait already.
    Full,
}

/// Frames on a clock: one each `step`, from a start, whatever happens.
#[derive(Clone, Copy, Debug)]
struct Slots {
    step: Duration,
    next: Instant,
}

impl Slots {
    /// Takes the slot that is due. Slots that a stalled process missed are skipped, never caught
    /// up with in a burst; those that come keep their grid.
    fn take(&mut self, now: Instant) -> bool {
        if self.next > now {
            return false;
        }
        let late = now.since(self.next).as_nanos();
        let missed = late.checked_div(self.step.as_nanos()).unwrap_or(0);
        let steps = u32::try_from(missed.saturating_add(1)).unwrap_or(u32::MAX);
        self.next = self.next.after(self.step.saturating_mul(steps));
        true
    }
}

/// A document under way: its parts are shared with all sessions that are sent it.
#[derive(Debug)]
struct Document {
    stream: u32,
    parts: Arc<[Part]>,
    /// Frames that went out.
    sent: usize,
    /// Frames in all: beyond the parts, dummies.
    frames: usize,
}

impl Document {
    fn next(&mut self) -> Frame {
        let part = self.parts.get(self.sent);
        self.sent = self.sent.saturating_add(1);
        part.map_or(Frame::Dummy, |part| {
            let mut part = Box::new(part.clone());
            part.stream = self.stream;
            Frame::DocChunk(part)
        })
    }
}

/// One client that is connected.
///
/// Two clocks run from its `HELLO`: the slots, each of which carries a reply or a dummy, and the
/// documents, whose frames are extra to the slots. Neither looks at what arrives.
#[derive(Debug)]
pub struct Session {
    /// Where its replies go.
    pub address: SessionAddress,
    /// Its profile.
    pub profile: u8,
    /// The consensus that it holds, as far as we know.
    held: ConsensusHash,
    /// The one that it held before.
    held_before: ConsensusHash,
    pace: Pace,
    uplink: Bucket,
    slots: Slots,
    replies: VecDeque<Reply>,
    /// Packets accepted less replies queued. Never below zero.
    credit: u64,
    docs: VecDeque<Document>,
    docs_next: Instant,
    doc_due: Option<Instant>,
}

impl Session {
    /// A session that said `HELLO` at `now`.
    pub fn new(
        now: Instant,
        address: SessionAddress,
        profile: u8,
        held: ConsensusHash,
        pace: Pace,
    ) -> Self {
        Self {
            address,
            profile,
            held,
            held_before: held,
            pace,
            uplink: uplink(pace),
            slots: Slots {
                step: pace.slot,
                next: now.after(pace.slot),
            },
            replies: VecDeque::new(),
            credit: 0,
            docs: VecDeque::new(),
            docs_next: now,
            doc_due: None,
        }
    }

    /// The consensus that it holds, as far as we know: what the next document must extend.
    pub const fn held(&self) -> &ConsensusHash {
        &self.held
    }

    /// It was sent this consensus.
    pub const fn holds(&mut self, hash: ConsensusHash) {
        self.held_before = self.held;
        self.held = hash;
    }

    /// A part of the document that it was sent did not go out.
    pub const fn document_lost(&mut self) {
        self.held = self.held_before;
    }

    /// The consensus changed what the profile means.
    pub fn set_pace(&mut self, pace: Pace) {
        if pace != self.pace {
            self.pace = pace;
            self.uplink = uplink(pace);
            self.slots.step = pace.slot;
        }
    }

    /// A packet came. Whether the profile's rate allows it; if so, one reply is earned.
    pub fn accept_packet(&mut self, now: Instant) -> bool {
        let allowed = self.uplink.take(now);
        if allowed {
            self.credit = self.credit.saturating_add(1);
        }
        allowed
    }

    /// A reply came for this session.
    ///
    /// # Errors
    /// When it was not earned, or too many wait.
    pub fn queue_reply(&mut self, reply: Reply) -> Result<(), Unqueued> {
        let credit = self.credit.checked_sub(1).ok_or(Unqueued::Unearned)?;
        if self.replies.len() >= limits::REPLIES_QUEUED_MAX {
            return Err(Unqueued::Full);
        }
        self.credit = credit;
        self.replies.push_back(reply);
        Ok(())
    }

    /// Replies that wait for a slot.
    pub fn queued(&self) -> usize {
        self.replies.len()
    }

    /// Forgets the replies that wait.
    pub fn clear_replies(&mut self) {
        self.replies.clear();
    }

    /// Queues a document, padded with dummies to a multiple of `limits::DOC_FRAMES_MULTIPLE`
    /// frames; one that comes while another is under way follows it.
    pub fn queue_document(&mut self, now: Instant, stream: u32, parts: Arc<[Part]>) {
        if self.docs.is_empty() {
            self.docs_next = now;
        }
        let frames = parts.len().max(1);
        self.docs.push_back(Document {
            stream,
            parts,
            sent: 0,
            frames: frames.next_multiple_of(limits::DOC_FRAMES_MULTIPLE),
        });
    }

    /// Names the time of this epoch's document.
    pub const fn schedule_document(&mut self, at: Instant) {
        self.doc_due = Some(at);
    }

    /// Whether this epoch's document is due; if so, the next one must be scheduled.
    pub fn take_document_due(&mut self, now: Instant) -> bool {
        let due = self.doc_due.is_some_and(|at| at <= now);
        if due {
            self.doc_due = None;
        }
        due
    }

    /// The frame of the slot that is due: the oldest reply, or a dummy. The second value says
    /// whether it is a reply.
    pub fn take_slot(&mut self, now: Instant) -> Option<Frame> {
        if !self.slots.take(now) {
            return None;
        }
        let reply = self.replies.pop_front();
        Some(reply.map_or(Frame::Dummy, |reply| Frame::Reply(Box::new(reply))))
    }

    /// The document frame that is due.
    pub fn take_document_frame(&mut self, now: Instant) -> Option<Frame> {
        if self.docs_next > now {
            return None;
        }
        let document = self.docs.front_mut()?;
        let frame = document.next();
        if document.sent >= document.frames {
            self.docs.pop_front();
        }
        let mut clock = Slots {
            step: self.pace.doc,
            next: self.docs_next,
        };
        clock.take(now);
        self.docs_next = clock.next;
        Some(frame)
    }

    /// When something is due next.
    pub fn next_due(&self) -> Instant {
        let doc = if self.docs.is_empty() {
            None
        } else {
            Some(self.docs_next)
        };
        let others = [doc, self.doc_due].into_iter().flatten();
        others.fold(self.slots.next, Instant::min)
    }
}

fn uplink(pace: Pace) -> Bucket {
    let step = pace
        .packet
        .checked_div(limits::UPLINK_RATES)
        .unwrap_or(pace.packet);
    Bucket::new(step, limits::UPLINK_BURST)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use whist_types::SurbId;

    use super::*;

    const PACE: Pace = Pace {
        packet: Duration::from_secs(1),
        slot: Duration::from_millis(500),
        doc: Duration::from_millis(125),
    };

    fn session() -> Session {
        let address = SessionAddress::from_bytes([1; 32]);
        let held = ConsensusHash::from_bytes([0; 32]);
        Session::new(Instant::ZERO, address, 1, held, PACE)
    }

    fn reply() -> Reply {
        Reply {
            session: SessionAddress::from_bytes([1; 32]),
            surb: SurbId::from_bytes([2; 16]),
            payload: [0; 2065],
        }
    }

    fn ms(n: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(n))
    }

    #[test]
    fn every_slot_carries_one_frame_whatever_arrives() {
        let mut idle = session();
        let mut busy = session();
        let times = |session: &mut Session, busy: bool| {
            let mut times = Vec::new();
            let mut replies = 0;
            for t in 0..60_000 {
                if busy && t % 311 == 0 && session.accept_packet(ms(t)) {
                    // Replies come in lumps: a hoard is released now and then.
                    let lump = if t % 7 == 0 { 9 } else { 1 };
                    for _ in 0..lump {
                        let _ = session.queue_reply(reply());
                    }
                }
                if let Some(frame) = session.take_slot(ms(t)) {
                    replies += usize::from(matches!(frame, Frame::Reply(_)));
                    times.push(t);
                    assert_eq!(session.take_slot(ms(t)), None, "one frame a slot");
                }
            }
            (times, replies)
        };
        let (idle, none) = times(&mut idle, false);
        let (busy, some) = times(&mut busy, true);
        assert_eq!(idle, busy);
        assert_eq!(none, 0);
        assert!(some > 50);
        assert_eq!(idle.len(), 119);
        assert!(idle.windows(2).all(|w| w[1] - w[0] == 500));
    }

    #[test]
    fn a_session_never_gets_more_replies_than_it_sent_packets() {
        let mut session = session();
        assert_eq!(session.queue_reply(reply()), Err(Unqueued::Unearned));
        assert!(session.accept_packet(ms(1)) && session.accept_packet(ms(1)));
        assert_eq!(session.queue_reply(reply()), Ok(()));
        assert_eq!(session.queue_reply(reply()), Ok(()));
        assert_eq!(session.queue_reply(reply()), Err(Unqueued::Unearned));
    }

    #[test]
    fn the_reply_queue_is_bounded() {
        let mut session = session();
        let mut t = 0;
        for _ in 0..limits::REPLIES_QUEUED_MAX + 1 {
            t += 1_000;
            assert!(session.accept_packet(ms(t)));
        }
        for _ in 0..limits::REPLIES_QUEUED_MAX {
            assert_eq!(session.queue_reply(reply()), Ok(()));
        }
        assert_eq!(session.queue_reply(reply()), Err(Unqueued::Full));
    }

    #[test]
    fn the_uplink_takes_twice_the_profiles_rate_and_a_burst() {
        let mut session = session();
        let taken = (0..100).filter(|_| session.accept_packet(ms(0))).count();
        assert_eq!(taken, 20);
        let taken = (1..=100_000).filter(|t| session.accept_packet(ms(*t)));
        assert_eq!(taken.count(), 200);
    }

    #[test]
    fn a_stall_skips_slots_and_keeps_the_grid() {
        let mut session = session();
        assert!(session.take_slot(ms(500)).is_some());
        assert!(session.take_slot(ms(10_250)).is_some());
        assert_eq!(session.take_slot(ms(10_499)), None);
        assert!(session.take_slot(ms(10_500)).is_some());
    }

    #[test]
    fn documents_come_in_multiples_of_sixteen_frames_at_eight_a_second() {
        let mut session = session();
        session.queue_document(ms(100), 1, whist_link::split(0, &[7; 17 * 2_396]).into());
        session.queue_document(ms(100), 2, Arc::from([]));
        let times: Vec<u64> = (0..20_000)
            .filter(|t| session.take_document_frame(ms(*t)).is_some())
            .collect();
        assert_eq!(times.len(), 48);
        assert_eq!(times[0], 100);
        assert!(times.windows(2).all(|w| w[1] - w[0] == 125));
    }
}
