//! Group commit: which writes are durable.

use std::collections::BTreeSet;

/// Names a sync. What was written under a ticket is durable when that sync has ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Not synced yet.
    Waiting,
    /// On disk.
    Durable,
    /// The sync failed: nobody knows.
    Failed,
}

/// Hands out tickets. One sync is under way at a time; all that is written meanwhile shares the
/// next one.
#[derive(Debug, Default)]
pub struct Tickets {
    /// Syncs begun so far; what is written now belongs to the next one.
    begun: u64,
    under_way: bool,
    dirty: bool,
    failed: BTreeSet<u64>,
}

impl Tickets {
    /// Something was written: the ticket under which it will be durable.
    pub const fn touch(&mut self) -> Ticket {
        self.dirty = true;
        Ticket(self.begun.saturating_add(1))
    }

    /// Begins a sync if something was written and none is under way.
    pub const fn begin(&mut self) -> Option<Ticket> {
        if self.under_way || !self.dirty {
            return None;
        }
        self.under_way = true;
        self.dirty = false;
        self.begun = self.begun.saturating_add(1);
        Some(Ticket(self.begun))
    }

    /// The sync ended. Returns whether it was the one under way.
    pub fn ended(&mut self, ticket: Ticket, ok: bool) -> bool {
        if !self.under_way || ticket.0 != self.begun {
            return false;
        }
        self.under_way = false;
        if !ok {
            self.failed.insert(ticket.0);
        }
        true
    }

    /// What became of the writes under `ticket`.
    pub fn fate(&self, ticket: Ticket) -> Fate {
        let waiting = ticket.0 > self.begun || (self.under_way && ticket.0 == self.begun);
        match waiting {
            true => Fate::Waiting,
            false if self.failed.contains(&ticket.0) => Fate::Failed,
            false => Fate::Durable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_during_a_sync_waits_for_the_next_one() {
        let mut tickets = Tickets::default();
        assert_eq!(tickets.begin(), None);
        let first = tickets.touch();
        assert_eq!(tickets.begin(), Some(first));
        let second = tickets.touch();
        assert_ne!(first, second);
        assert_eq!(tickets.begin(), None, "one at a time");
        assert!(tickets.ended(first, true));
        assert_eq!(tickets.fate(first), Fate::Durable);
        assert_eq!(tickets.fate(second), Fate::Waiting);
        assert_eq!(tickets.begin(), Some(second));
        assert!(!tickets.ended(first, true), "an old one ends nothing");
        assert!(tickets.ended(second, false));
        assert_eq!(tickets.fate(second), Fate::Failed);
    }
}
