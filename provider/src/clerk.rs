//! The desk behind a queue. Whatever needs the store is done here and nowhere else, so that a slow
//! disk costs those who wait for it and holds up no clock: the provider puts out [`Job`]s as
//! effects, goes on, and answers when the [`Done`] comes back as a command.
//!
//! The clerk is a value too: [`DeskThread`](crate::desk_thread::DeskThread) drives it in the
//! program, the simulator and tests drive it under their clocks.

use std::collections::VecDeque;

use rand_core::CryptoRng;
use whist_packet::request::{ReplyBody, Request};

use crate::desk::{Desk, Moment, Rules};
use crate::store::{Store, StoreFault};
use crate::ticket::{Fate, Ticket};

/// Something for the desk to do. Jobs are done in their order.
#[derive(Clone, PartialEq)]
pub enum Job {
    /// A request, its signature verified.
    Serve {
        /// To be named with its answer.
        number: u64,
        /// When it arrived.
        at: Moment,
        /// What is asked.
        request: Request,
    },
    /// Follow the calendar.
    Turn {
        /// To this moment.
        at: Moment,
        /// By these rules.
        rules: Rules,
    },
    /// Delete one slice of what has expired.
    Work,
}

/// Prints what kind of job it is and nothing else: a request names a mailbox.
impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Serve { .. } => "Serve",
            Self::Turn { .. } => "Turn",
            Self::Work => "Work",
        })
    }
}

/// What became of a job.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What to say to a request. What it promises is durable.
    Answer {
        /// Which request.
        number: u64,
        /// The answer.
        body: ReplyBody,
    },
    /// The calendar was followed.
    Turned,
    /// A slice was deleted; `false` if the disk failed, and it is to be tried again.
    Worked(bool),
}

/// What there is to know of the desk from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeskState {
    /// Items, drops and mailboxes in the store.
    pub rows: u64,
    /// Times that the store failed.
    pub faults: u64,
    /// Rows that did not open when they were needed.
    pub damaged: u64,
    /// Whether deletes wait for [`Job::Work`].
    pub has_chores: bool,
}

/// A job is done.
#[derive(Clone, PartialEq, Eq)]
pub struct Done {
    /// What became of it.
    pub outcome: Outcome,
    /// How the desk stands since.
    pub state: DeskState,
}

/// Prints no answer: it may hold an item.
impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Done")
    }
}

/// The desk, and the answers that wait for their commit.
pub struct Clerk<S> {
    desk: Desk<S>,
    /// In the order of their tickets.
    uncommitted: VecDeque<(Ticket, u64, ReplyBody)>,
    done: VecDeque<Outcome>,
}

impl<S: Store> Clerk<S> {
    /// A clerk over a store that was opened, whose rows are all durable.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(store: S, store_rows: u64, rng: &mut impl CryptoRng) -> Result<Self, StoreFault> {
        let rules = Rules::new(&whist_netdoc::Parameters::default(), store_rows);
        Ok(Self {
            desk: Desk::new(store, rules, rng)?,
            uncommitted: VecDeque::new(),
            done: VecDeque::new(),
        })
    }

    /// Does a job. Then take [`poll_sync`](Self::poll_sync) and [`poll_done`](Self::poll_done).
    pub fn handle(&mut self, job: Job) {
        let outcome = match job {
            Job::Serve {
                number,
                at,
                request,
            } => {
                let answer = self.desk.serve(at, &request);
                if let Some(ticket) = answer.after {
                    self.uncommitted.push_back((ticket, number, answer.body));
                    return;
                }
                let body = answer.body;
                Outcome::Answer { number, body }
            }
            Job::Turn { at, rules } => {
                self.desk.set_rules(rules);
                self.desk.turn(at);
                Outcome::Turned
            }
            Job::Work => Outcome::Worked(self.desk.work()),
        };
        self.done.push_back(outcome);
    }

    /// The next sync to be made, which is then under way: one at a time, for all that was written
    /// before it. Its end is [`synced`](Self::synced).
    pub fn poll_sync(&mut self) -> Option<Ticket> {
        self.desk.tickets().begin()
    }

    /// A sync ended. What waited for it is answered; with `full` if it failed, which its sender
    /// takes for no answer.
    pub fn synced(&mut self, ticket: Ticket, ok: bool) {
        self.desk.tickets().ended(ticket, ok);
        while let Some((ticket, _, _)) = self.uncommitted.front() {
            let fate = self.desk.tickets().fate(*ticket);
            if fate == Fate::Waiting {
                return;
            }
            if let Some((_, number, body)) = self.uncommitted.pop_front() {
                let body = match fate {
                    Fate::Durable => body,
                    _ => ReplyBody::Full,
                };
                self.done.push_back(Outcome::Answer { number, body });
            }
        }
    }

    /// Whether the store takes no more writes until it is opened again.
    pub fn is_ended(&self) -> bool {
        self.desk.is_ended()
    }

    /// The next job that is done.
    pub fn poll_done(&mut self) -> Option<Done> {
        let outcome = self.done.pop_front()?;
        let state = DeskState {
            rows: self.desk.rows(),
            faults: self.desk.faults(),
            damaged: self.desk.damaged(),
            has_chores: self.desk.has_chores(),
        };
        Some(Done { outcome, state })
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng as _;
    use whist_timing::Rng;
    use whist_types::{MailboxAddress, Wall};

    use super::*;
    use crate::store::Memory;

    fn put(clerk: &mut Clerk<Memory>, number: u64) {
        let at = Moment {
            wall: Wall::from_secs(2_000_000_000),
            ..Moment::default()
        };
        let rules = Rules::new(&whist_netdoc::Parameters::default(), 10);
        clerk.handle(Job::Turn { at, rules });
        let request = Request::Put {
            address: MailboxAddress::from_bytes([1; 32]),
            item: Box::new([2; 1536]),
        };
        clerk.handle(Job::Serve {
            number,
            at,
            request,
        });
    }

    fn answers(clerk: &mut Clerk<Memory>) -> Vec<(u64, ReplyBody)> {
        std::iter::from_fn(|| clerk.poll_done())
            .filter_map(|done| match done.outcome {
                Outcome::Answer { number, body } => Some((number, body)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn nothing_is_called_stored_before_its_own_sync_has_ended_well() {
        let mut rng = Rng::seed_from_u64(1);
        let mut clerk = Clerk::new(Memory::new(), 10, &mut rng).unwrap();
        put(&mut clerk, 1);
        let first = clerk.poll_sync().unwrap();
        put(&mut clerk, 2);
        assert_eq!(clerk.poll_sync(), None, "one at a time");
        assert_eq!(answers(&mut clerk), []);
        clerk.synced(first, true);
        assert_eq!(answers(&mut clerk), [(1, ReplyBody::Stored)]);
        let second = clerk.poll_sync().unwrap();
        clerk.synced(second, false);
        assert_eq!(answers(&mut clerk), [(2, ReplyBody::Full)]);
    }

    #[test]
    fn what_is_printed_of_a_job_and_its_end_names_nobody() {
        let request = Request::Put {
            address: MailboxAddress::from_bytes([0xab; 32]),
            item: Box::new([0xcd; 1536]),
        };
        let at = Moment::default();
        let job = Job::Serve {
            number: 7,
            at,
            request,
        };
        let done = Done {
            outcome: Outcome::Answer {
                number: 7,
                body: ReplyBody::Blob(Box::new([0xab; 1554])),
            },
            state: DeskState::default(),
        };
        assert_eq!(format!("{job:?} {done:?}"), "Serve Done");
    }
}
