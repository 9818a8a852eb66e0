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
//! | 13 | rest | piece of the UTF-8 text |

use std::collections::BTreeMap;

use whist_ratchet::{BODY_MAX, FIRST_PAYLOAD_MAX};
use whist_types::{MailboxAddress, NodeId, Reader, Writer};

use crate::limits::{TEXT_BYTES_MAX, TEXTS_AHEAD_MAX};

const GREETING: u8 = 0;
const PIECE: u8 = 1;
const GREETING_BYTES: usize = 65;
const PIECE_HEAD_BYTES: usize = 13;
/// Bytes of text in one piece.
pub const PIECE_BYTES: usize = BODY_MAX - PIECE_HEAD_BYTES;

const _: () = assert!(GREETING_BYTES == 1 + 32 + 32 && GREETING_BYTES <= FIRST_PAYLOAD_MAX);
const _: () = assert!(PIECE_HEAD_BYTES == 1 + 8 + 2 + 2);
/// Pieces of the longest text.
pub const PIECES_MAX: u16 = 49;
const _: () = assert!(TEXT_BYTES_MAX.div_ceil(PIECE_BYTES) == 49);

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
                w.u16(piece.index).u16(piece.count).put(&piece.data);
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
                    data: r.rest().to_vec(),
                };
                let sound = piece.index < piece.count
                    && piece.sequence > 0
                    && piece.count <= PIECES_MAX
                    && piece.data.len() <= PIECE_BYTES;
                sound.then_some(Self::Piece(piece))
            }
            _ => None,
        }
    }
}

/// Cuts a text into pieces.
pub fn pieces(sequence: u64, text: &str) -> Vec<Piece> {
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

    fn text(self) -> String {
        let bytes: Vec<u8> = self.parts.into_values().flatten().collect();
        String::from_utf8_lossy(&bytes).into_owned()
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
}

impl Incoming {
    /// Expects the text of this number next.
    pub const fn from(next: u64) -> Self {
        Self {
            next,
            texts: BTreeMap::new(),
        }
    }

    /// Number of the text that is delivered next.
    pub const fn next(&self) -> u64 {
        self.next
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

    fn complete(&mut self) -> Vec<Whole> {
        let mut whole = Vec::new();
        while self.texts.get(&self.next).is_some_and(Parts::is_whole) {
            if let Some(parts) = self.texts.remove(&self.next) {
                whole.push(Whole {
                    sequence: self.next,
                    count: parts.count,
                    text: parts.text(),
                });
            }
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
                sent.extend(pieces(sequence, &text));
            }
            // Every piece twice, shuffled by the drawn keys.
            let mut all: Vec<Piece> = sent.iter().chain(&sent).cloned().collect();
            let mut keys = order.into_iter().cycle();
            all.sort_by_cached_key(|_| keys.next());
            let mut incoming = Incoming::from(1);
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
        fn no_body_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Body::decode(&bytes);
        }
    }

    #[test]
    fn a_restart_in_the_middle_of_a_text_loses_nothing() {
        let text = "x".repeat(3 * PIECE_BYTES);
        let pieces = pieces(4, &text);
        let mut incoming = Incoming::from(4);
        assert_eq!(incoming.take(pieces[2].clone()), Taken::Kept);
        let mut again = Incoming::from(4);
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
        let mut incoming = Incoming::from(1);
        let mut piece = pieces(2, &"y".repeat(PIECE_BYTES + 1)).remove(0);
        assert_eq!(incoming.take(piece.clone()), Taken::Kept);
        piece.count = 7;
        piece.index = 3;
        assert_eq!(incoming.take(piece.clone()), Taken::Refused);
        piece.sequence = 1 + TEXTS_AHEAD_MAX;
        assert_eq!(incoming.take(piece), Taken::Refused);
    }

    #[test]
    fn an_empty_text_is_a_text() {
        let mut incoming = Incoming::from(1);
        let piece = pieces(1, "").remove(0);
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
