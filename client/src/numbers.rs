//! Which of a mailbox's items are done with. A number is acknowledged only when the vault holds
//! what became of its item.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::limits::NUMBERS_AHEAD;

/// What a number means when its item comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It was not seen: process it.
    Fresh,
    /// It was processed, or is being committed.
    Known,
    /// It lies so far above `acked` that no `GET` could speak of it: leave it, it comes again.
    TooFar,
}

/// What a `GET` says of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// All up to it may be deleted.
    pub acked: u64,
    /// Bit `i` (byte `i / 8`, value `1 << (i % 8)`): `acked + 1 + i` may be deleted.
    pub done: [u8; 64],
    /// The same for numbers to be kept and not handed out.
    pub held: [u8; 64],
}

/// The numbers of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize)]
pub struct Numbers {
    acked: u64,
    done: BTreeSet<u64>,
    /// Received and not durable yet; not stored, since a restart forgets that they came.
    #[borsh(skip)]
    held: BTreeSet<u64>,
    /// Those of the held that stay at the provider for now: no batch is about to make them durable.
    #[borsh(skip)]
    kept: BTreeSet<u64>,
}

impl Numbers {
    /// A new mailbox: nothing came, numbers start at 1.
    pub const fn new() -> Self {
        Self {
            acked: 0,
            done: BTreeSet::new(),
            held: BTreeSet::new(),
            kept: BTreeSet::new(),
        }
    }

    /// What `number` means.
    pub fn look(&self, number: u64) -> Arrival {
        if number <= self.acked || self.done.contains(&number) || self.held.contains(&number) {
            Arrival::Known
        } else if number > self.acked.saturating_add(NUMBERS_AHEAD) {
            Arrival::TooFar
        } else {
            Arrival::Fresh
        }
    }

    /// Its item is being committed.
    pub fn hold(&mut self, number: u64) {
        self.held.insert(number);
    }

    /// Its item stays at the provider until [`Self::finish`]; nothing of it is made durable.
    pub fn keep(&mut self, number: u64) {
        self.held.insert(number);
        self.kept.insert(number);
    }

    /// What became of a kept item is about to be made durable: rows from now on say so.
    pub fn let_go(&mut self, number: u64) {
        self.kept.remove(&number);
    }

    /// What became of its item is durable.
    pub fn finish(&mut self, number: u64) {
        self.held.remove(&number);
        self.kept.remove(&number);
        if number > self.acked {
            self.done.insert(number);
        }
        self.advance();
    }

    /// The provider keeps nothing below `oldest`. True of every later moment too, so replies may
    /// come in any order.
    pub fn gone_below(&mut self, oldest: u64) {
        let below = oldest.saturating_sub(1);
        if below > self.acked {
            self.acked = below;
            self.done = self.done.split_off(&oldest);
            self.held = self.held.split_off(&oldest);
            self.kept = self.kept.split_off(&oldest);
            self.advance();
        }
    }

    /// The numbers that a row must say are done when `number` becomes durable.
    pub fn with(&self, number: u64) -> Self {
        let mut then = self.clone();
        let pending: Vec<u64> = then.held.difference(&then.kept).copied().collect();
        // Numbers still being committed stand in earlier batches, which become durable first.
        for earlier in pending {
            then.finish(earlier);
        }
        then.finish(number);
        then
    }

    /// What the next `GET` says.
    pub fn report(&self) -> Report {
        Report {
            acked: self.acked,
            done: self.map(&self.done),
            held: self.map(&self.held),
        }
    }

    fn map(&self, numbers: &BTreeSet<u64>) -> [u8; 64] {
        let mut map = [0_u8; 64];
        for number in numbers {
            let place = number.saturating_sub(self.acked).saturating_sub(1);
            let byte = usize::try_from(place / 8).unwrap_or(usize::MAX);
            if let Some(byte) = map.get_mut(byte) {
                *byte |= 1_u8 << (place % 8);
            }
        }
        map
    }

    fn advance(&mut self) {
        while self.done.remove(&self.acked.saturating_add(1)) {
            self.acked = self.acked.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_acknowledged_only_when_it_is_durable_and_all_below_it_are() {
        let mut numbers = Numbers::new();
        numbers.hold(1);
        assert_eq!(numbers.look(1), Arrival::Known);
        assert_eq!((numbers.report().acked, numbers.report().held[0]), (0, 1));
        numbers.finish(2);
        assert_eq!((numbers.report().acked, numbers.report().done[0]), (0, 2));
        numbers.finish(1);
        assert_eq!(numbers.report().acked, 2);
        assert_eq!(numbers.report().done, [0; 64]);
    }

    #[test]
    fn a_gap_that_the_provider_closed_is_passed_over() {
        let mut numbers = Numbers::new();
        numbers.finish(3);
        numbers.gone_below(3);
        assert_eq!(numbers.report().acked, 3);
        numbers.gone_below(2);
        assert_eq!(numbers.report().acked, 3, "an older reply changes nothing");
    }

    #[test]
    fn numbers_that_no_get_can_speak_of_are_left_for_later() {
        let mut numbers = Numbers::new();
        assert_eq!(numbers.look(512), Arrival::Fresh);
        assert_eq!(numbers.look(513), Arrival::TooFar);
        numbers.finish(512);
        assert_eq!(numbers.report().done[63], 0x80);
    }

    #[test]
    fn a_number_whose_item_stays_is_not_done_of_any_row_and_is_not_handed_out_again() {
        let mut numbers = Numbers::new();
        numbers.keep(1);
        numbers.hold(2);
        assert_eq!(numbers.look(1), Arrival::Known);
        assert_eq!(numbers.report().held[0], 0b11);
        let row = numbers.with(3);
        assert_eq!((row.report().acked, row.report().done[0]), (0, 0b110));
        assert_eq!(numbers.with(1).report().acked, 2, "when it is let go");
    }

    #[test]
    fn of_several_kept_items_that_are_let_go_together_the_last_row_speaks_of_all() {
        let mut numbers = Numbers::new();
        (1..4).for_each(|number| numbers.keep(number));
        numbers.let_go(1);
        assert_eq!(numbers.with(1).report().acked, 1);
        numbers.let_go(2);
        assert_eq!(numbers.with(2).report().acked, 2);
        assert_eq!(numbers.report().acked, 0, "and the live state waits");
    }

    #[test]
    fn a_stored_row_says_done_of_what_earlier_batches_hold() {
        let mut numbers = Numbers::new();
        numbers.hold(1);
        assert_eq!(numbers.with(2).report().acked, 2);
        assert_eq!(numbers.report().acked, 0, "and the live state waits");
        let bytes = borsh::to_vec(&numbers).unwrap();
        let again: Numbers = borsh::from_slice(&bytes).unwrap();
        assert_eq!(again.look(1), Arrival::Fresh, "a restart fetches it again");
    }
}
