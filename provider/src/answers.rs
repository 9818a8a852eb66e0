//! Answers that wait for their offset: whatever the command, a reply leaves at a fixed time after
//! its request arrived, or at the first multiple of it at which it is durable.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use whist_packet::Surb;
use whist_packet::request::ReplyBody;
use whist_types::Instant;

use crate::limits;

struct Waiting {
    surb: Surb,
    /// Not there while the desk is at it.
    body: Option<ReplyBody>,
    hold: Duration,
    offsets: u32,
}

/// An answer whose time has come.
pub(crate) enum Due {
    /// To be sent.
    Ready(Surb, ReplyBody),
    /// The disk hangs: nobody may be told that it is stored.
    Lost,
}

/// The answers, by the time at which each is looked at next.
#[derive(Default)]
pub(crate) struct Answers {
    /// Those of one time in the order of their requests.
    waiting: BTreeMap<(Instant, u64), Waiting>,
    numbers: u64,
    /// When those are looked at that the desk owes.
    owed: HashMap<u64, Instant>,
    /// Requests that the desk has, its answer waited for or not.
    at_desk: usize,
}

impl Answers {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < limits::ANSWERS_MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Holds an answer to a request that arrived at `now` for `hold`.
    pub(crate) fn hold(&mut self, now: Instant, hold: Duration, surb: Surb, body: ReplyBody) {
        self.insert(now, hold, surb, Some(body));
    }

    /// Keeps the place of an answer that the desk is to give, under the number that is returned.
    /// When the desk has too much to do the answer is `full`, which its sender takes for no answer,
    /// and the desk hears nothing of it.
    pub(crate) fn owe(&mut self, now: Instant, hold: Duration, surb: Surb) -> Option<u64> {
        if self.at_desk >= limits::DESK_JOBS_MAX {
            self.hold(now, hold, surb, ReplyBody::Full);
            return None;
        }
        self.at_desk += 1;
        let number = self.insert(now, hold, surb, None);
        self.owed.insert(number, now.after(hold));
        Some(number)
    }

    fn insert(&mut self, now: Instant, hold: Duration, surb: Surb, body: Option<ReplyBody>) -> u64 {
        self.numbers += 1;
        let waiting = Waiting {
            surb,
            body,
            hold,
            offsets: 1,
        };
        self.waiting
            .insert((now.after(hold), self.numbers), waiting);
        self.numbers
    }

    /// The desk answered. Nobody may wait for it any more.
    pub(crate) fn fill(&mut self, number: u64, body: ReplyBody) {
        self.at_desk = self.at_desk.saturating_sub(1);
        let due = self.owed.remove(&number);
        if let Some(waiting) = due.and_then(|due| self.waiting.get_mut(&(due, number))) {
            waiting.body = Some(body);
        }
    }

    /// The next answer that may leave at `now`. One that the desk still owes is looked at again an
    /// offset later.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Due> {
        loop {
            let due = self.waiting.first_key_value()?.0.0;
            if due > now {
                return None;
            }
            let ((due, number), mut waiting) = self.waiting.pop_first()?;
            if let Some(body) = waiting.body {
                return Some(Due::Ready(waiting.surb, body));
            }
            if waiting.offsets >= limits::ANSWER_OFFSETS_MAX {
                self.owed.remove(&number);
                return Some(Due::Lost);
            }
            waiting.offsets += 1;
            let again = due.after(waiting.hold);
            self.owed.insert(number, again);
            self.waiting.insert((again, number), waiting);
        }
    }

    /// When [`take_due`](Self::take_due) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Forgets all; how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.waiting.len();
        self.waiting.clear();
        self.owed.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng as _;
    use whist_packet::request::{Request, encode_request, parse_request};
    use whist_packet::{Destination, Hop, PAYLOAD_BYTES, Route, SphinxSecret, build_surb};
    use whist_timing::Rng;
    use whist_types::{NodeId, SessionAddress, SurbId};

    use super::*;

    const HOLD: Duration = Duration::from_millis(50);

    fn payload() -> [u8; PAYLOAD_BYTES] {
        let mut rng = Rng::seed_from_u64(1);
        let hops = [1, 2].map(|node| Hop {
            node: NodeId::from_bytes([node; 32]),
            key: SphinxSecret::generate(&mut rng).public(),
            delay: Duration::ZERO,
        });
        let route = Route::exactly(hops.to_vec(), 2).unwrap();
        let to = Destination {
            session: SessionAddress::from_bytes([1; 32]),
            surb: SurbId::from_bytes([1; 16]),
        };
        let (surb, _) = build_surb(&route, &to, &mut rng).unwrap();
        *encode_request(&Request::Echo, &surb, &mut rng)
    }

    fn ready(answers: &mut Answers, now: Instant) -> Vec<ReplyBody> {
        std::iter::from_fn(|| answers.take_due(now))
            .filter_map(|due| match due {
                Due::Ready(_, body) => Some(body),
                Due::Lost => None,
            })
            .collect()
    }

    #[test]
    fn beyond_what_the_desk_may_have_full_is_said_until_it_is_done_with_something() {
        let payload = payload();
        let surb = || parse_request(&payload).unwrap().0;
        let mut answers = Answers::default();
        let start = Instant::ZERO;
        let owed: Vec<u64> = (0..limits::DESK_JOBS_MAX)
            .map(|_| answers.owe(start, HOLD, surb()).unwrap())
            .collect();
        assert_eq!(answers.owe(start, HOLD, surb()), None);
        let first = start.after(HOLD);
        assert_eq!(ready(&mut answers, first), [ReplyBody::Full]);
        // An answer that came too late for anybody makes room too.
        let minute = HOLD * limits::ANSWER_OFFSETS_MAX;
        assert_eq!(ready(&mut answers, start.after(minute)), []);
        assert_eq!(answers.len(), 0);
        assert_eq!(answers.owe(start, HOLD, surb()), None, "the desk has them");
        answers.fill(owed[0], ReplyBody::Stored);
        let number = answers.owe(start, HOLD, surb()).unwrap();
        answers.fill(number, ReplyBody::Stored);
        let all = ready(&mut answers, start.after(minute));
        assert_eq!(all, [ReplyBody::Full, ReplyBody::Stored]);
    }

    #[test]
    fn an_answer_leaves_at_the_first_offset_at_which_it_is_there() {
        let payload = payload();
        let (surb, _) = parse_request(&payload).unwrap();
        let mut answers = Answers::default();
        let number = answers.owe(Instant::ZERO, HOLD, surb).unwrap();
        let at = |offsets: u32| Instant::ZERO.after(HOLD * offsets);
        assert_eq!(ready(&mut answers, at(1)), []);
        assert_eq!(answers.next_deadline(), Some(at(2)));
        answers.fill(number, ReplyBody::Ok);
        assert_eq!(answers.next_deadline(), Some(at(2)), "not at once");
        assert_eq!(ready(&mut answers, at(2)), [ReplyBody::Ok]);
    }
}
