//! Answers that wait for their offset: whatever the command, a reply leaves at a fixed time after
//! its request arrived, or at the first multiple of it at which it is durable.

use std::collections::BTreeMap;
use std::time::Duration;

use whist_packet::Surb;
use whist_packet::request::ReplyBody;
use whist_types::Instant;

use crate::desk::Answer;
use crate::limits;
use crate::ticket::{Fate, Tickets};

struct Waiting {
    answer: Answer,
    surb: Surb,
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
    waiting: BTreeMap<(Instant, u64), Waiting>,
    serial: u64,
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
    pub(crate) fn hold(&mut self, now: Instant, hold: Duration, surb: Surb, answer: Answer) {
        self.insert(
            now.after(hold),
            Waiting {
                answer,
                surb,
                hold,
                offsets: 1,
            },
        );
    }

    fn insert(&mut self, due: Instant, waiting: Waiting) {
        self.serial += 1;
        self.waiting.insert((due, self.serial), waiting);
    }

    /// The next answer that may leave at `now`. One that is not durable yet is looked at again an
    /// offset later; one whose commit failed says `full`, which its sender takes for no answer.
    pub(crate) fn take_due(&mut self, now: Instant, tickets: &Tickets) -> Option<Due> {
        loop {
            let due = self.waiting.first_key_value()?.0.0;
            if due > now {
                return None;
            }
            let (_, mut waiting) = self.waiting.pop_first()?;
            let after = waiting.answer.after;
            match after.map_or(Fate::Durable, |ticket| tickets.fate(ticket)) {
                Fate::Durable => return Some(Due::Ready(waiting.surb, waiting.answer.body)),
                Fate::Failed => return Some(Due::Ready(waiting.surb, ReplyBody::Full)),
                Fate::Waiting if waiting.offsets >= limits::ANSWER_OFFSETS_MAX => {
                    return Some(Due::Lost);
                }
                Fate::Waiting => {
                    waiting.offsets += 1;
                    self.insert(due.after(waiting.hold), waiting);
                }
            }
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
        count
    }
}
