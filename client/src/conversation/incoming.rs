//! The receiving side: how pieces become words again, each exactly once and in order, whatever
//! order the items come in.

use std::collections::{BTreeMap, VecDeque};

use zeroize::Zeroizing;

use super::marks::Marks;
use super::{Loss, Piece};
use crate::limits::{BYTES_AHEAD_MAX, PIECE_AHEAD_BYTES, TEXTS_AHEAD_MAX};

#[derive(Debug, Default)]
struct Parts {
    count: u16,
    parts: BTreeMap<u16, Zeroizing<Vec<u8>>>,
}

impl Parts {
    fn is_whole(&self) -> bool {
        self.parts.len() == usize::from(self.count)
    }

    fn cost(&self) -> usize {
        let parts = self.parts.values();
        parts.fold(0, |sum, data| sum.saturating_add(cost(data)))
    }

    fn whole(self, sequence: u64) -> Whole {
        let length = self.parts.values().map(|data| data.len()).sum();
        let mut bytes = Vec::with_capacity(length);
        for data in self.parts.values() {
            bytes.extend_from_slice(data);
        }
        Whole {
            sequence,
            count: self.count,
            bytes: Zeroizing::new(bytes),
        }
    }
}

/// What a piece costs while it is kept: an empty one is a row too.
const fn cost(data: &[u8]) -> usize {
    data.len().saturating_add(PIECE_AHEAD_BYTES)
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is kept until more come.
    Kept,
    /// It was there already, or its word was.
    Duplicate,
    /// It contradicts an earlier piece, or is too far ahead.
    Refused,
    /// It completed these words, in order.
    Complete(Vec<Whole>),
}

/// What became of words that will never be whole, and of those that waited for them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lifted {
    /// Words that are whole, in order.
    pub whole: Vec<Whole>,
    /// Number and count of pieces of words that are given up, though a part had come.
    pub gone: Vec<(u64, u16)>,
    /// Those that are passed over and never came whole.
    pub missing: Missing,
}

/// Words that never come: the last of their numbers, and how many.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// The highest numbers, ascending; more than fit are counted only.
    pub numbers: VecDeque<u64>,
    /// How many in all.
    pub count: u64,
}

impl Missing {
    const KEPT: usize = 512;

    /// All from one number to before another; a peer may name any.
    fn pass(&mut self, from: u64, to: u64) {
        let kept = u64::try_from(Self::KEPT).unwrap_or(u64::MAX);
        let first = from.max(to.saturating_sub(kept));
        self.count = self.count.saturating_add(first.saturating_sub(from));
        (first..to).for_each(|number| self.add(number));
    }

    fn add(&mut self, number: u64) {
        self.count = self.count.saturating_add(1);
        if self.numbers.len() >= Self::KEPT {
            self.numbers.pop_front();
        }
        self.numbers.push_back(number);
    }
}

/// A word that is whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its number.
    pub sequence: u64,
    /// How many pieces it came in.
    pub count: u16,
    /// The word.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// The incoming side of a conversation.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Number of the word that is delivered next, from 1.
    next: u64,
    texts: BTreeMap<u64, Parts>,
    /// Those ahead that are given up.
    lost: Marks,
    /// Those behind that were passed over: whoever begins again before them must not wait for them.
    passed: Marks,
    /// What `texts` costs.
    bytes: usize,
}

impl Incoming {
    /// Expects the word of this number next, and those that are lost never.
    pub fn from(next: u64, lost: &[(u64, u64)]) -> Self {
        Self {
            next,
            lost: Marks::from_blocks(lost),
            passed: Marks::default(),
            texts: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Number of the word that is delivered next.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Words ahead that are given up: numbers divided by 64, each with the bits of the 64 from
    /// there.
    pub fn lost(&self) -> Vec<(u64, u64)> {
        self.lost.blocks()
    }

    /// The same for who begins again at the word of this number, at the next one or before it:
    /// those that were passed over since are among them. Those before it are forgotten.
    pub fn lost_from(&mut self, from: u64) -> Vec<(u64, u64)> {
        self.passed.forget_below(from);
        self.lost.with(&self.passed).blocks()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Number and count of pieces of the words that are not whole or wait for an earlier one.
    pub fn waiting(&self) -> Vec<(u64, u16)> {
        let words = self.texts.iter();
        words
            .map(|(sequence, parts)| (*sequence, parts.count))
            .collect()
    }

    /// Takes a stored piece back in after a restart.
    pub fn restore(&mut self, piece: Piece) {
        let text = self.texts.entry(piece.sequence).or_default();
        text.count = piece.count;
        self.bytes = self.bytes.saturating_add(cost(&piece.data));
        text.parts.insert(piece.index, piece.data);
    }

    /// Whether [`Self::take`] would not take a piece: it is there, or was, or does not fit.
    pub fn refuses(&self, piece: &Piece) -> bool {
        self.look(piece).is_err()
    }

    fn look(&self, piece: &Piece) -> Result<(), Taken> {
        if piece.sequence < self.next {
            return Err(Taken::Duplicate);
        }
        let far = piece.sequence >= self.next.saturating_add(TEXTS_AHEAD_MAX);
        // The word that is waited for is taken whatever else is kept, so that this ends.
        let after = self.bytes.saturating_add(cost(&piece.data));
        if far || (after > BYTES_AHEAD_MAX && piece.sequence != self.next) {
            return Err(Taken::Refused);
        }
        match self.texts.get(&piece.sequence) {
            Some(text) if text.count != piece.count => Err(Taken::Refused),
            Some(text) if text.parts.contains_key(&piece.index) => Err(Taken::Duplicate),
            _ => Ok(()),
        }
    }

    /// Takes a piece.
    pub fn take(&mut self, piece: Piece) -> Taken {
        if let Err(refused) = self.look(&piece) {
            return refused;
        }
        self.restore(piece);
        let complete = self.complete();
        if complete.is_empty() {
            Taken::Kept
        } else {
            Taken::Complete(complete)
        }
    }

    /// Waits no longer for words that are given up before the word of this number: when it is
    /// their turn, those that are whole come out, the rest never will.
    pub fn lift(&mut self, sequence: u64, loss: Loss) -> Lifted {
        let mut lifted = Lifted::default();
        if loss.floor > self.next {
            self.skip_below(loss.floor, &mut lifted);
        }
        let ahead = self.next..self.next.saturating_add(TEXTS_AHEAD_MAX);
        let named = loss.numbers(sequence).filter(|n| ahead.contains(n));
        named.for_each(|number| self.lost.insert(number));
        loop {
            lifted.whole.extend(self.complete());
            if !self.lost.remove(self.next) {
                return lifted;
            }
            if let Some(parts) = self.remove(self.next) {
                lifted.gone.push((self.next, parts.count));
            }
            lifted.missing.add(self.next);
            self.passed.insert(self.next);
            self.next = self.next.saturating_add(1);
        }
    }

    fn skip_below(&mut self, floor: u64, lifted: &mut Lifted) {
        let above = self.texts.split_off(&floor);
        let mut expected = self.next;
        let below = std::mem::replace(&mut self.texts, above);
        for (sequence, parts) in below {
            self.pass(expected, sequence);
            lifted.missing.pass(expected, sequence);
            expected = sequence.saturating_add(1);
            self.bytes = self.bytes.saturating_sub(parts.cost());
            if parts.is_whole() {
                lifted.whole.push(parts.whole(sequence));
            } else {
                self.passed.insert(sequence);
                lifted.missing.add(sequence);
                lifted.gone.push((sequence, parts.count));
            }
        }
        self.pass(expected, floor);
        lifted.missing.pass(expected, floor);
        self.next = floor;
        self.lost.forget_below(floor);
    }

    /// A peer may name any: beyond the window each later word names its floor again.
    fn pass(&mut self, from: u64, to: u64) {
        let end = to.min(from.saturating_add(TEXTS_AHEAD_MAX));
        (from..end).for_each(|number| self.passed.insert(number));
    }

    fn remove(&mut self, sequence: u64) -> Option<Parts> {
        let parts = self.texts.remove(&sequence)?;
        self.bytes = self.bytes.saturating_sub(parts.cost());
        Some(parts)
    }

    fn complete(&mut self) -> Vec<Whole> {
        let mut whole = Vec::new();
        while self.texts.get(&self.next).is_some_and(Parts::is_whole) {
            if let Some(parts) = self.remove(self.next) {
                whole.push(parts.whole(self.next));
            }
            self.lost.remove(self.next);
            self.next = self.next.saturating_add(1);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{Body, PIECE_BYTES, pieces};
    use proptest::prelude::*;

    fn texts() -> Vec<String> {
        let long = "whist \u{1F0CF} ".repeat(600);
        (0..6)
            .map(|i| {
                if i % 3 == 1 {
                    format!("{i}{long}")
                } else {
                    format!("{i}")
                }
            })
            .collect()
    }

    fn said(whole: Whole) -> String {
        String::from_utf8(whole.bytes.to_vec()).unwrap()
    }

    proptest! {
        #[test]
        fn texts_come_out_once_and_in_order_whatever_order_their_pieces_come_in(
            order in proptest::collection::vec(any::<u16>(), 64),
        ) {
            let mut sent = Vec::new();
            for (sequence, text) in (1..).zip(texts()) {
                sent.extend(pieces(sequence, Loss::NONE, text.as_bytes()));
            }
            // Every piece twice, shuffled by the drawn keys.
            let mut all: Vec<Piece> = sent.iter().chain(&sent).cloned().collect();
            let mut keys = order.into_iter().cycle();
            all.sort_by_cached_key(|_| keys.next());
            let mut incoming = Incoming::from(1, &[]);
            let mut got = Vec::new();
            for piece in all {
                let bytes = Body::Piece(piece).encode();
                let Some(Body::Piece(piece)) = Body::decode(&bytes) else { panic!() };
                if let Taken::Complete(whole) = incoming.take(piece) {
                    got.extend(whole.into_iter().map(said));
                }
            }
            prop_assert_eq!(got, texts());
        }

        #[test]
        fn given_up_texts_hold_back_none_and_the_rest_come_once_and_in_order(
            order in proptest::collection::vec(any::<u16>(), 64),
            lost in proptest::collection::vec(any::<bool>(), 6),
            place in 0..64_usize,
        ) {
            // A lost text's last piece never comes. Its sender knows so before it writes the next.
            let mut all = Vec::new();
            let mut kept = Vec::new();
            for ((sequence, text), lost) in (1..).zip(texts()).zip(&lost) {
                let mut cut = pieces(sequence, Loss::NONE, text.as_bytes());
                if *lost {
                    cut.pop();
                } else {
                    kept.push(text);
                }
                all.extend(cut.iter().chain(&cut).cloned().collect::<Vec<_>>());
            }
            let mut keys = order.into_iter().cycle();
            all.sort_by_cached_key(|_| keys.next());
            // It may overtake whatever can still come.
            let gone = (1..).zip(&lost).filter(|(_, lost)| **lost).map(|(n, _)| n);
            let told = Loss::before(7, 1, gone);
            let last = pieces(7, told, b"last").remove(0);
            kept.push("last".to_owned());
            all.insert(place.min(all.len()), last.clone());
            all.push(last);
            let mut incoming = Incoming::from(1, &[]);
            let mut got = Vec::new();
            for piece in all {
                let (sequence, loss) = (piece.sequence, piece.loss);
                got.extend(incoming.lift(sequence, loss).whole);
                if let Taken::Complete(whole) = incoming.take(piece) {
                    got.extend(whole);
                }
                got.extend(incoming.lift(sequence, loss).whole);
                // What a restart keeps.
                let texts = std::mem::take(&mut incoming.texts);
                incoming = Incoming::from(incoming.next(), &incoming.lost());
                incoming.texts = texts;
            }
            prop_assert!(got.is_sorted_by(|a, b| a.sequence < b.sequence));
            let got: Vec<String> = got.into_iter().map(said).collect();
            prop_assert_eq!(got, kept);
        }

        #[test]
        fn no_body_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Body::decode(&bytes);
        }
    }

    #[test]
    fn a_restart_in_the_middle_of_a_text_loses_nothing() {
        let text = "x".repeat(3 * PIECE_BYTES);
        let pieces = pieces(4, Loss::NONE, text.as_bytes());
        let mut incoming = Incoming::from(4, &[]);
        assert_eq!(incoming.take(pieces[2].clone()), Taken::Kept);
        let mut again = Incoming::from(4, &[]);
        again.restore(pieces[2].clone());
        assert_eq!(again.take(pieces[0].clone()), Taken::Kept);
        assert_eq!(again.take(pieces[2].clone()), Taken::Duplicate);
        assert_eq!(
            again.take(pieces[1].clone()),
            Taken::Complete(vec![Whole {
                sequence: 4,
                count: 3,
                bytes: Zeroizing::new(text.into_bytes()),
            }])
        );
        assert_eq!(again.next(), 5);
    }

    #[test]
    fn pieces_that_contradict_or_run_ahead_are_refused() {
        let mut incoming = Incoming::from(1, &[]);
        let mut piece = pieces(2, Loss::NONE, "y".repeat(PIECE_BYTES + 1).as_bytes()).remove(0);
        assert_eq!(incoming.take(piece.clone()), Taken::Kept);
        piece.count = 7;
        piece.index = 3;
        assert_eq!(incoming.take(piece.clone()), Taken::Refused);
        piece.sequence = 1 + TEXTS_AHEAD_MAX;
        assert_eq!(incoming.take(piece), Taken::Refused);
    }

    #[test]
    fn a_given_up_text_is_waited_for_no_longer_and_never_comes_late() {
        let mut incoming = Incoming::from(1, &[]);
        let long = pieces(2, Loss::NONE, "y".repeat(PIECE_BYTES + 1).as_bytes());
        assert_eq!(incoming.take(long[0].clone()), Taken::Kept);
        assert_eq!(
            incoming.take(pieces(3, Loss::NONE, b"c").remove(0)),
            Taken::Kept
        );
        assert_eq!(
            incoming.take(pieces(4, Loss::NONE, b"d").remove(0)),
            Taken::Kept
        );
        let one = Loss {
            floor: 1,
            lost: 0b100,
        };
        assert_eq!(incoming.lift(5, one), Lifted::default());
        assert_eq!(incoming.lost(), [(0, 0b100)]);
        let floor = Loss { floor: 3, lost: 0 };
        let lifted = incoming.lift(4, floor);
        assert_eq!(lifted.gone, [(2, 2)]);
        let texts: Vec<_> = lifted.whole.iter().map(|w| w.bytes.as_slice()).collect();
        assert_eq!(texts, [b"c", b"d"]);
        assert_eq!(
            (lifted.missing.count, lifted.missing.numbers),
            (2, [1, 2].into())
        );
        assert_eq!(incoming.next(), 5);
        assert_eq!(incoming.take(long[1].clone()), Taken::Duplicate);
        assert_eq!(incoming.lift(4, floor), Lifted::default());
    }

    #[test]
    fn who_begins_again_before_words_that_were_passed_over_waits_for_none_of_them() {
        let mut incoming = Incoming::from(1, &[]);
        let say = |n: u64| pieces(n, Loss::NONE, b"x").remove(0);
        assert!(matches!(incoming.take(say(1)), Taken::Complete(_)));
        let second = Loss { floor: 1, lost: 1 };
        assert_eq!(incoming.lift(3, second).missing.count, 1);
        assert!(matches!(incoming.take(say(3)), Taken::Complete(_)));
        incoming.lift(7, Loss { floor: 6, lost: 0 });
        assert_eq!(incoming.next(), 6);
        // The first is held and comes again, and the third.
        let mut again = Incoming::from(1, &incoming.lost_from(1));
        assert_eq!(again.take(say(3)), Taken::Kept);
        assert!(matches!(again.take(say(1)), Taken::Complete(_)));
        let whole = again.lift(1, Loss::NONE).whole;
        assert_eq!(whole.iter().map(|w| w.sequence).collect::<Vec<_>>(), [3]);
        assert_eq!(again.next(), 6);
        assert_eq!(incoming.lost_from(6), [], "and nobody goes back further");
    }

    #[test]
    fn a_floor_above_its_own_text_or_of_nothing_is_no_body() {
        for (sequence, floor) in [(3, 4), (3, 0), (0, 0)] {
            let mut piece = pieces(1, Loss::NONE, b"x").remove(0);
            (piece.sequence, piece.loss.floor) = (sequence, floor);
            assert_eq!(Body::decode(&Body::Piece(piece).encode()), None);
        }
        let notice = |sequence| Body::Notice {
            sequence,
            loss: Loss::before(9, 9, [8, 1].into_iter()),
        };
        assert_eq!(Body::decode(&notice(9).encode()), Some(notice(9)));
        assert_eq!(Body::decode(&notice(8).encode()), None);
    }

    #[test]
    fn what_is_kept_ahead_is_bounded_by_its_bytes_and_what_is_waited_for_is_taken_all_the_same() {
        let mut incoming = Incoming::from(1, &[]);
        let data = vec![7; PIECE_BYTES];
        let room = BYTES_AHEAD_MAX / (PIECE_BYTES + PIECE_AHEAD_BYTES);
        let mut kept = 0;
        for piece in (2..)
            .flat_map(|n| pieces(n, Loss::NONE, &data))
            .take(2 * room)
        {
            kept += usize::from(incoming.take(piece) == Taken::Kept);
        }
        assert_eq!(kept, room);
        let Taken::Complete(whole) = incoming.take(pieces(1, Loss::NONE, &data).remove(0)) else {
            panic!("the first was refused");
        };
        assert_eq!((whole.len(), incoming.bytes), (room + 1, 0));
    }

    #[test]
    fn a_flood_of_words_far_ahead_costs_no_more_than_its_bounds_whatever_it_names() {
        let mut incoming = Incoming::from(1, &[]);
        let all = Loss {
            floor: 1,
            lost: u64::MAX,
        };
        let mut kept = 0;
        // Pieces of nothing, each the first of many that never come, from the far end and from
        // this one, and all words before each are given up, but the one that is waited for.
        let ends = (2..2 + TEXTS_AHEAD_MAX).flat_map(|n| [TEXTS_AHEAD_MAX - n % 16_000, n]);
        for (sequence, index) in ends.flat_map(|n| [(n, 0), (n, 1), (n, 2)]) {
            let piece = Piece {
                sequence,
                index,
                count: 50,
                loss: all,
                data: Zeroizing::default(),
            };
            kept += usize::from(incoming.take(piece) == Taken::Kept);
            let spared = sequence.saturating_sub(Loss::SPAN) < 2;
            if !spared {
                incoming.lift(sequence, all);
            }
        }
        let held: usize = incoming.texts.values().map(|text| text.parts.len()).sum();
        assert_eq!((incoming.next(), held), (1, kept));
        // Empty ones too are bounded by what a row costs, and marks by the window.
        assert_eq!(held, BYTES_AHEAD_MAX / PIECE_AHEAD_BYTES);
        let lost = incoming.lost();
        assert!((200..=257).contains(&lost.len()), "{}", lost.len());
        let row = borsh::to_vec(&lost).unwrap();
        assert!(row.len() <= 4 + 257 * 16);
        let mut again = Incoming::from(1, &lost);
        assert_eq!(again.lost(), lost, "what a restart keeps");
        assert_eq!(again.lift(1, Loss::NONE).whole, []);
    }

    #[test]
    fn a_floor_as_high_as_there_are_numbers_passes_over_all_in_no_time() {
        let mut incoming = Incoming::from(1, &[]);
        let far = Loss {
            floor: u64::MAX,
            lost: 0,
        };
        let missing = incoming.lift(u64::MAX, far).missing;
        assert_eq!((missing.count, missing.numbers.len()), (u64::MAX - 1, 512));
    }

    #[test]
    fn an_empty_text_is_a_text() {
        let mut incoming = Incoming::from(1, &[]);
        let piece = pieces(1, Loss::NONE, b"").remove(0);
        assert_eq!(
            incoming.take(piece),
            Taken::Complete(vec![Whole {
                sequence: 1,
                count: 1,
                bytes: Zeroizing::default(),
            }])
        );
    }
}
