//! The entry: clients that are connected, each with its clocks.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use whist_link::{Frame, LinkId, Reply};
use whist_types::{Instant, SessionAddress};

use crate::limits;
use crate::session::{Session, Unqueued};

/// Why a reply did not reach a session's queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Undelivered {
    /// No such session.
    Unknown,
    /// The session would not have it.
    Unqueued(Unqueued),
}

struct Guest {
    session: Session,
    due: Instant,
}

/// The sessions, and the links of clients that have not said `HELLO` yet.
#[derive(Default)]
pub(crate) struct Entry {
    strangers: BTreeSet<LinkId>,
    /// When they came, in order; those that said `HELLO` or left meanwhile are passed over.
    arrivals: VecDeque<(Instant, LinkId)>,
    guests: BTreeMap<LinkId, Guest>,
    by_address: HashMap<SessionAddress, LinkId>,
    timers: BTreeSet<(Instant, LinkId)>,
    /// Replies that wait for slots, of all sessions.
    queued: usize,
}

impl Entry {
    /// A client's link came up. `false` if there is no room.
    pub(crate) fn accept(&mut self, now: Instant, link: LinkId) -> bool {
        let full = self.strangers.len() >= limits::STRANGERS_MAX
            || self.guests.len() >= limits::SESSIONS_MAX;
        if !full {
            self.strangers.insert(link);
            self.arrivals.push_back((now, link));
        }
        !full
    }

    /// Whether the link is a client's.
    pub(crate) fn knows(&self, link: LinkId) -> bool {
        self.guests.contains_key(&link) || self.strangers.contains(&link)
    }

    /// A client's `HELLO`. `false` if it is its second, or the address is taken.
    pub(crate) fn greet(&mut self, link: LinkId, session: Session) -> bool {
        let taken = session.address.is_zero() || self.by_address.contains_key(&session.address);
        if taken || !self.strangers.remove(&link) {
            return false;
        }
        self.by_address.insert(session.address, link);
        let due = session.next_due();
        self.timers.insert((due, link));
        self.guests.insert(link, Guest { session, due });
        true
    }

    /// A link is gone; how many replies waited on it.
    pub(crate) fn forget(&mut self, link: LinkId) -> usize {
        self.strangers.remove(&link);
        let Some(guest) = self.guests.remove(&link) else {
            return 0;
        };
        self.timers.remove(&(guest.due, link));
        self.by_address.remove(&guest.session.address);
        let lost = guest.session.queued();
        self.queued = self.queued.saturating_sub(lost);
        lost
    }

    /// Works on a session, and plans its next time anew.
    pub(crate) fn with<T>(
        &mut self,
        link: LinkId,
        work: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        let guest = self.guests.get_mut(&link)?;
        let before = guest.session.queued();
        let value = work(&mut guest.session);
        self.queued = self.queued.saturating_sub(before) + guest.session.queued();
        let due = guest.session.next_due();
        if due != guest.due {
            self.timers.remove(&(guest.due, link));
            self.timers.insert((due, link));
            guest.due = due;
        }
        Some(value)
    }

    /// Queues a reply for the session that it names.
    pub(crate) fn deliver(&mut self, reply: Reply) -> Result<(), Undelivered> {
        let link = self
            .by_address
            .get(&reply.session)
            .ok_or(Undelivered::Unknown)?;
        self.with(*link, |session| session.queue_reply(reply))
            .unwrap_or(Err(Unqueued::Full))
            .map_err(Undelivered::Unqueued)
    }

    /// The next frame that a clock lets out, with its link.
    pub(crate) fn take_frame(&mut self, now: Instant) -> Option<(LinkId, Frame)> {
        loop {
            let (_, link) = *self.timers.first().filter(|(due, _)| *due <= now)?;
            let frame = self.with(link, |session| {
                let frame = session.take_slot(now);
                frame.or_else(|| session.take_document_frame(now))
            });
            match frame.flatten() {
                Some(frame) => return Some((link, frame)),
                // What is left due is this epoch's document: the caller takes that first.
                None => {
                    if self.guests.get(&link).is_some_and(|guest| guest.due <= now) {
                        return None;
                    }
                }
            }
        }
    }

    /// The sessions whose document of this epoch is due.
    pub(crate) fn documents_due(&mut self, now: Instant) -> Vec<LinkId> {
        let due = self.timers.iter().take_while(|(due, _)| *due <= now);
        let links: Vec<LinkId> = due.map(|(_, link)| *link).collect();
        let mut ready = Vec::new();
        for link in links {
            if self.with(link, |session| session.take_document_due(now)) == Some(true) {
                ready.push(link);
            }
        }
        ready
    }

    /// Links that did not say `HELLO` in time.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<LinkId> {
        let mut expired = Vec::new();
        while let Some((since, link)) = self.arrivals.front().copied() {
            let waits = self.strangers.contains(&link);
            if waits && now.since(since) < limits::HELLO_WAIT {
                break;
            }
            self.arrivals.pop_front();
            if waits {
                self.strangers.remove(&link);
                expired.push(link);
            }
        }
        expired
    }

    /// All sessions' links.
    pub(crate) fn links(&self) -> Vec<LinkId> {
        self.guests.keys().copied().collect()
    }

    /// Sessions by profile.
    pub(crate) fn sessions(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for guest in self.guests.values() {
            if let Some(count) = counts.get_mut(usize::from(guest.session.profile)) {
                *count += 1;
            }
        }
        counts
    }

    /// Replies that wait for a slot.
    pub(crate) const fn queued(&self) -> usize {
        self.queued
    }

    /// Forgets all of them; how many there were.
    pub(crate) fn clear_replies(&mut self) -> usize {
        for guest in self.guests.values_mut() {
            guest.session.clear_replies();
        }
        std::mem::take(&mut self.queued)
    }

    /// When something is due next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let hello = self.arrivals.front();
        let hello = hello.map(|(since, _)| since.after(limits::HELLO_WAIT));
        let timer = self.timers.first().map(|(due, _)| *due);
        [hello, timer].into_iter().flatten().min()
    }
}
