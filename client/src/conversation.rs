//! What stands inside items: greetings and pieces of texts, and how pieces become texts again,
//! each exactly once and in order for each contact, whatever order the items come in.
//!
//! The body of a first item, the greeting (kind 0):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 0 |
//! | 1 | 32 | host of the sender's mailbox |
//! | 33 | 32 | the sender's address for this contact |
//!
//! A piece of a text (kind 1):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 1 |
//! | 1 | 8 | sequence: number of the text in this direction, from 1 |
//! | 9 | 2 | index: which piece, from 0 |
//! | 11 | 2 | count: how many pieces |
//! | 13 | 8 | floor: lowest number of a text that can still come, at most the sequence |
//! | 21 | 8 | lost: bit i, the least first: the text 1 + i before this one is given up |
//! | 29 | rest | piece of the UTF-8 text |
//!
//! A notice that texts were given up (kind 2), when later ones are under way already:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 2 |
//! | 1 | 8 | sequence: number of a text that is known of, above 0 |
//! | 9 | 8 | floor, as in a piece |
//! | 17 | 8 | lost, as in a piece |

use std::collections::{BTreeMap, BTreeSet};

use whist_ratchet::{BODY_MAX, FIRST_PAYLOAD_MAX};
use whist_types::{MailboxAddress, NodeId, Reader, Writer};

use crate::limits::{TEXT_BYTES_MAX, TEXTS_AHEAD_MAX};

const GREETING: u8 = 0;
const PIECE: u8 = 1;
const GREETING_BYTES: usize = 65;
const PIECE_HEAD_BYTES: usize = 29;
const NOTICE: u8 = 2;
const NOTICE_BYTES: usize = 25;
/// Bytes of text in one piece.
pub const PIECE_BYTES: usize = BODY_MAX - PIECE_HEAD_BYTES;

const _: () = assert!(GREETING_BYTES == 1 + 32 + 32 && GREETING_BYTES <= FIRST_PAYLOAD_MAX);
const _: () = assert!(PIECE_HEAD_BYTES == 1 + 8 + 2 + 2 + 8 + 8);
const _: () = assert!(NOTICE_BYTES == 1 + 8 + 8 + 8 && NOTICE_BYTES <= BODY_MAX);
/// Pieces of the longest text.
pub const PIECES_MAX: u16 = 50;
const _: () = assert!(TEXT_BYTES_MAX.div_ceil(PIECE_BYTES) == 50);

/// The body of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Where the sender can be written to.
    Greeting {
        /// Host of its mailbox.
        provider: NodeId,
        /// Its address for this contact.
        address: MailboxAddress,
    },
    /// A piece of a text.
    Piece(Piece),
    /// Texts are given up, and later ones are under way already.
    Notice {
        /// Number of a text that is known of.
        sequence: u64,
        /// Which are given up before it.
        loss: Loss,
    },
}

/// Which texts before one are given up: their sender stopped repeating them, or their time to
/// live is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Lowest number that can still come.
    pub floor: u64,
    /// Bit i: the text 1 + i before is given up.
    pub lost: u64,
}

impl Loss {
    /// None of them.
    pub const NONE: Self = Self { floor: 1, lost: 0 };
    /// How many texts before one the bits speak of.
    pub const SPAN: u64 = 64;

    /// What to tell with the text of this number.
    pub fn before(sequence: u64, floor: u64, lost: impl Iterator<Item = u64>) -> Self {
        let bit = |number: u64| {
            let back = sequence.checked_sub(number)?.checked_sub(1)?;
            1_u64.checked_shl(u32::try_from(back).ok()?)
        };
        Self {
            floor: floor.clamp(1, sequence.max(1)),
            lost: lost.filter_map(bit).fold(0, |all, one| all | one),
        }
    }

    /// The numbers that the bits name, seen from the text of this number.
    fn numbers(self, sequence: u64) -> impl Iterator<Item = u64> {
        (0..Self::SPAN)
            .filter(move |back| (self.lost >> back) & 1 == 1)
            .filter_map(move |back| sequence.checked_sub(back.saturating_add(1)))
    }
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Number of the text in its direction, from 1.
    pub sequence: u64,
    /// Which piece.
    pub index: u16,
    /// How many there are.
    pub count: u16,
    /// Which texts before are given up.
    pub loss: Loss,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl Body {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(BODY_MAX);
        match self {
            Self::Greeting { provider, address } => {
                w.u8(GREETING).put(provider.as_bytes());
                w.put(address.as_bytes());
            }
            Self::Piece(piece) => {
                w.u8(PIECE).u64(piece.sequence);
                w.u16(piece.index).u16(piece.count);
                w.u64(piece.loss.floor)
                    .u64(piece.loss.lost)
                    .put(&piece.data);
            }
            Self::Notice { sequence, loss } => {
                w.u8(NOTICE).u64(*sequence).u64(loss.floor).u64(loss.lost);
            }
        }
        w.into_bytes()
    }

    /// The body, if it is one. What a later version adds is unknown, and left alone.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        match r.u8().ok()? {
            GREETING => {
                let provider = NodeId::from_bytes(r.array().ok()?);
                let address = MailboxAddress::from_bytes(r.array().ok()?);
                r.rest()
                    .is_empty()
                    .then_some(Self::Greeting { provider, address })
            }
            PIECE => {
                let piece = Piece {
                    sequence: r.u64().ok()?,
                    index: r.u16().ok()?,
                    count: r.u16().ok()?,
                    loss: read_loss(&mut r)?,
                    data: r.rest().to_vec(),
                };
                let sound = piece.index < piece.count
                    && (1..=piece.sequence).contains(&piece.loss.floor)
                    && piece.count <= PIECES_MAX
                    && piece.data.len() <= PIECE_BYTES;
                sound.then_some(Self::Piece(piece))
            }
            NOTICE => {
                let sequence = r.u64().ok()?;
                let loss = read_loss(&mut r)?;
                let sound = (1..=sequence).contains(&loss.floor) && r.rest().is_empty();
                sound.then_some(Self::Notice { sequence, loss })
            }
            _ => None,
        }
    }
}

fn read_loss(r: &mut Reader<'_>) -> Option<Loss> {
    Some(Loss {
        floor: r.u64().ok()?,
        lost: r.u64().ok()?,
    })
}

/// Cuts a text into pieces, which say what is given up before it.
pub fn pieces(sequence: u64, loss: Loss, text: &str) -> Vec<Piece> {
    let mut chunks: Vec<&[u8]> = text.as_bytes().chunks(PIECE_BYTES).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let count = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
    (0..count)
        .zip(chunks)
        .map(|(index, data)| Piece {
            sequence,
            index,
            count,
            loss,
            data: data.to_vec(),
        })
        .collect()
}

#[derive(Debug, Default)]
struct Parts {
    count: u16,
    parts: BTreeMap<u16, Vec<u8>>,
}

impl Parts {
    fn is_whole(&self) -> bool {
        self.parts.len() == usize::from(self.count)
    }

    fn whole(self, sequence: u64) -> Whole {
        let bytes: Vec<u8> = self.parts.into_values().flatten().collect();
        Whole {
            sequence,
            count: self.count,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is kept until more come.
    Kept,
    /// It was there already, or its text was.
    Duplicate,
    /// It contradicts an earlier piece, or is too far ahead.
    Refused,
    /// It completed these texts, in order.
    Complete(Vec<Whole>),
}

/// What became of texts that will never be whole, and of those that waited for them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lifted {
    /// Texts that are whole, in order.
    pub whole: Vec<Whole>,
    /// Number and count of pieces of texts that are given up, though a part had come.
    pub gone: Vec<(u64, u16)>,
}

/// A text that is whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its number.
    pub sequence: u64,
    /// How many pieces it came in.
    pub count: u16,
    /// The text.
    pub text: String,
}

/// The incoming side of a conversation.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Number of the text that is delivered next, from 1.
    next: u64,
    texts: BTreeMap<u64, Parts>,
    /// Those ahead that are given up.
    lost: BTreeSet<u64>,
}

impl Incoming {
    /// Expects the text of this number next, and those that are lost never.
    pub fn from(next: u64, lost: &[u64]) -> Self {
        Self {
            next,
            lost: lost.iter().copied().collect(),
            texts: BTreeMap::new(),
        }
    }

    /// Number of the text that is delivered next.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Texts ahead that are given up.
    pub fn lost(&self) -> Vec<u64> {
        self.lost.iter().copied().collect()
    }

    /// Takes a stored piece back in after a restart.
    pub fn restore(&mut self, piece: Piece) {
        let text = self.texts.entry(piece.sequence).or_default();
        text.count = piece.count;
        text.parts.insert(piece.index, piece.data);
    }

    /// Takes a piece.
    pub fn take(&mut self, piece: Piece) -> Taken {
        if piece.sequence < self.next {
            return Taken::Duplicate;
        }
        if piece.sequence >= self.next.saturating_add(TEXTS_AHEAD_MAX) {
            return Taken::Refused;
        }
        let text = self.texts.entry(piece.sequence).or_insert(Parts {
            count: piece.count,
            parts: BTreeMap::new(),
        });
        if text.count != piece.count {
            return Taken::Refused;
        }
        if text.parts.contains_key(&piece.index) {
            return Taken::Duplicate;
        }
        text.parts.insert(piece.index, piece.data);
        let complete = self.complete();
        if complete.is_empty() {
            Taken::Kept
        } else {
            Taken::Complete(complete)
        }
    }

    /// Waits no longer for texts that are given up before the text of this number: when it is
    /// their turn, those that are whole come out, the rest never will.
    pub fn lift(&mut self, sequence: u64, loss: Loss) -> Lifted {
        let mut lifted = Lifted::default();
        if loss.floor > self.next {
            self.skip_below(loss.floor, &mut lifted);
        }
        let ahead = self.next..self.next.saturating_add(TEXTS_AHEAD_MAX);
        self.lost
            .extend(loss.numbers(sequence).filter(|n| ahead.contains(n)));
        loop {
            lifted.whole.extend(self.complete());
            if !self.lost.remove(&self.next) {
                return lifted;
            }
            if let Some(parts) = self.texts.remove(&self.next) {
                lifted.gone.push((self.next, parts.count));
            }
            self.next = self.next.saturating_add(1);
        }
    }

    fn skip_below(&mut self, floor: u64, lifted: &mut Lifted) {
        let above = self.texts.split_off(&floor);
        for (sequence, parts) in std::mem::replace(&mut self.texts, above) {
            if parts.is_whole() {
                lifted.whole.push(parts.whole(sequence));
            } else {
                lifted.gone.push((sequence, parts.count));
            }
        }
        self.next = floor;
        self.lost = self.lost.split_off(&floor);
    }

    fn complete(&mut self) -> Vec<Whole> {
        let mut whole = Vec::new();
        while self.texts.get(&self.next).is_some_and(Parts::is_whole) {
            if let Some(parts) = self.texts.remove(&self.next) {
                whole.push(parts.whole(self.next));
            }
            self.lost.remove(&self.next);
            self.next = self.next.saturating_add(1);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    proptest! {
        #[test]
        fn texts_come_out_once_and_in_order_whatever_order_their_pieces_come_in(
            order in proptest::collection::vec(any::<u16>(), 64),
        ) {
            let mut sent = Vec::new();
            for (sequence, text) in (1..).zip(texts()) {
                sent.extend(pieces(sequence, Loss::NONE, &text));
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
                    got.extend(whole.into_iter().map(|whole| whole.text));
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
                let mut cut = pieces(sequence, Loss::NONE, &text);
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
            let last = pieces(7, told, "last").remove(0);
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
            let got: Vec<String> = got.into_iter().map(|whole| whole.text).collect();
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
        let pieces = pieces(4, Loss::NONE, &text);
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
                text
            }])
        );
        assert_eq!(again.next(), 5);
    }

    #[test]
    fn pieces_that_contradict_or_run_ahead_are_refused() {
        let mut incoming = Incoming::from(1, &[]);
        let mut piece = pieces(2, Loss::NONE, &"y".repeat(PIECE_BYTES + 1)).remove(0);
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
        let long = pieces(2, Loss::NONE, &"y".repeat(PIECE_BYTES + 1));
        assert_eq!(incoming.take(long[0].clone()), Taken::Kept);
        assert_eq!(
            incoming.take(pieces(3, Loss::NONE, "c").remove(0)),
            Taken::Kept
        );
        assert_eq!(
            incoming.take(pieces(4, Loss::NONE, "d").remove(0)),
            Taken::Kept
        );
        let one = Loss {
            floor: 1,
            lost: 0b100,
        };
        assert_eq!(incoming.lift(5, one), Lifted::default());
        assert_eq!(incoming.lost(), [2]);
        let floor = Loss { floor: 3, lost: 0 };
        let lifted = incoming.lift(4, floor);
        assert_eq!(lifted.gone, [(2, 2)]);
        let texts: Vec<_> = lifted.whole.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(texts, ["c", "d"]);
        assert_eq!(incoming.next(), 5);
        assert_eq!(incoming.take(long[1].clone()), Taken::Duplicate);
        assert_eq!(incoming.lift(4, floor), Lifted::default());
    }

    #[test]
    fn a_floor_above_its_own_text_or_of_nothing_is_no_body() {
        for (sequence, floor) in [(3, 4), (3, 0), (0, 0)] {
            let mut piece = pieces(1, Loss::NONE, "x").remove(0);
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
    fn an_empty_text_is_a_text() {
        let mut incoming = Incoming::from(1, &[]);
        let piece = pieces(1, Loss::NONE, "").remove(0);
        assert_eq!(
            incoming.take(piece),
            Taken::Complete(vec![Whole {
                sequence: 1,
                count: 1,
                text: String::new(),
            }])
        );
    }
}
