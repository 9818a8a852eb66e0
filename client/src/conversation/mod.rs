//! What stands inside items: greetings, pieces of words, notices and receipts.
//!
//! A word is what one person's program says to the other's in order: a text, an edit, a deletion,
//! what is agreed. Words are numbered in each direction, go in pieces and come out once and in
//! order; receipts stand beside that order.
//!
//! The body of a first item, the greeting (kind 0):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 0 |
//! | 1 | 1 | devices of the sender that follow: 1 for now |
//! | 2 | 1 | which device, 0 for now |
//! | 3 | 32 | host of its mailbox |
//! | 35 | 32 | its address for this contact |
//!
//! A piece of a word (kind 1):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 1 |
//! | 1 | 8 | sequence: number of the word in this direction, from 1 |
//! | 9 | 2 | index: which piece, from 0 |
//! | 11 | 2 | count: how many pieces |
//! | 13 | 8 | floor: lowest number of a word that can still come, at most the sequence |
//! | 21 | 8 | lost: bit i, the least first: the word 1 + i before this one is given up |
//! | 29 | rest | piece of the word |
//!
//! A notice that words were given up (kind 2), when later ones are under way already:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 2 |
//! | 1 | 8 | sequence: number of a word that is known of, above 0 |
//! | 9 | 8 | floor, as in a piece |
//! | 17 | 8 | lost, as in a piece |
//!
//! The body of a first item to an address, the request (kind 4):
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 4 |
//! | 1 | 1 | devices of the sender that follow: 1 for now |
//! | 2 | 1 | which device, 0 for now |
//! | 3 | 32 | host of its mailbox |
//! | 35 | 32 | its address for this contact |
//! | 67 | rest | what is said with it, UTF-8, at most 140 bytes |
//!
//! A receipt (kind 3), where it is switched on:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 3 |
//! | 1 | 8 | last: number of the last word that it speaks of, above 0 |
//! | 9 | 64 | came: bit i (byte i / 8, value 1 << (i % 8)): the word i before the last came |
//! | 73 | 8 | read: of those, all up to this number are read; at most the last |

mod incoming;
mod loss;
mod marks;
mod receipt;
mod word;

use whist_ratchet::{BODY_MAX, FIRST_PAYLOAD_MAX};
use whist_types::{MailboxAddress, NodeId, Reader, Writer};
use zeroize::Zeroizing;

pub use incoming::{Incoming, Lifted, Missing, Taken, Whole};
pub use loss::Loss;
pub use receipt::{RECEIPT_SPAN, Receipt};
pub use word::{History, Place, Settings, Word};

use crate::limits::{NOTE_BYTES_MAX, TEXT_BYTES_MAX};

const GREETING: u8 = 0;
const GREETING_BYTES: usize = 67;
const DEVICES: u8 = 1;
/// The one device that a client has for now.
pub const DEVICE: u8 = 0;
const PIECE: u8 = 1;
const PIECE_HEAD_BYTES: usize = 29;
const NOTICE: u8 = 2;
const NOTICE_BYTES: usize = 25;
const RECEIPT: u8 = 3;
const RECEIPT_BYTES: usize = 81;
const REQUEST: u8 = 4;
/// Bytes of a word in one piece.
pub const PIECE_BYTES: usize = BODY_MAX - PIECE_HEAD_BYTES;

const _: () = assert!(GREETING_BYTES == 1 + 1 + 1 + 32 + 32 && GREETING_BYTES <= FIRST_PAYLOAD_MAX);
const _: () = assert!(GREETING_BYTES + NOTE_BYTES_MAX <= FIRST_PAYLOAD_MAX);
const _: () = assert!(PIECE_HEAD_BYTES == 1 + 8 + 2 + 2 + 8 + 8);
const _: () = assert!(NOTICE_BYTES == 1 + 8 + 8 + 8 && NOTICE_BYTES <= BODY_MAX);
const _: () = assert!(RECEIPT_BYTES == 1 + 8 + 64 + 8 && RECEIPT_BYTES <= BODY_MAX);
/// Pieces of the longest word: a text, an edit's head being shorter.
pub const PIECES_MAX: u16 = 50;
const _: () = assert!((word::TEXT_HEAD_BYTES + TEXT_BYTES_MAX).div_ceil(PIECE_BYTES) == 50);

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
    /// A piece of a word.
    Piece(Piece),
    /// Words are given up, and later ones are under way already.
    Notice {
        /// Number of a word that is known of.
        sequence: u64,
        /// Which are given up before it.
        loss: Loss,
    },
    /// What came and what was read.
    Receipt(Receipt),
    /// Somebody asks, through an address.
    Request {
        /// Host of its mailbox.
        provider: NodeId,
        /// Its address for this contact.
        address: MailboxAddress,
        /// What it says with that.
        note: String,
    },
}

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Number of the word in its direction, from 1.
    pub sequence: u64,
    /// Which piece.
    pub index: u16,
    /// How many there are.
    pub count: u16,
    /// Which words before are given up.
    pub loss: Loss,
    /// Its bytes.
    pub data: Zeroizing<Vec<u8>>,
}

impl Body {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(BODY_MAX);
        match self {
            Self::Greeting { provider, address } => {
                w.u8(GREETING).u8(DEVICES).u8(DEVICE);
                w.put(provider.as_bytes()).put(address.as_bytes());
            }
            Self::Piece(piece) => {
                w.u8(PIECE).u64(piece.sequence);
                w.u16(piece.index).u16(piece.count);
                piece.loss.write(&mut w);
                w.put(&piece.data);
            }
            Self::Notice { sequence, loss } => {
                w.u8(NOTICE).u64(*sequence);
                loss.write(&mut w);
            }
            Self::Receipt(receipt) => {
                w.u8(RECEIPT);
                receipt.write(&mut w);
            }
            Self::Request {
                provider,
                address,
                note,
            } => {
                w.u8(REQUEST).u8(DEVICES).u8(DEVICE);
                w.put(provider.as_bytes()).put(address.as_bytes());
                w.put(note.as_bytes());
            }
        }
        w.into_bytes()
    }

    /// The body, if it is one. What a later version adds is unknown, and left alone.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        match r.u8().ok()? {
            kind @ (GREETING | REQUEST) => {
                let devices = [r.u8().ok()?, r.u8().ok()?];
                let provider = NodeId::from_bytes(r.array().ok()?);
                let address = MailboxAddress::from_bytes(r.array().ok()?);
                let rest = r.rest();
                let known = devices == [DEVICES, DEVICE];
                if kind == GREETING {
                    let sound = known && rest.is_empty();
                    return sound.then_some(Self::Greeting { provider, address });
                }
                let note = String::from_utf8(rest.to_vec()).ok()?;
                let sound = known && note.len() <= NOTE_BYTES_MAX;
                sound.then_some(Self::Request {
                    provider,
                    address,
                    note,
                })
            }
            PIECE => {
                let piece = Piece {
                    sequence: r.u64().ok()?,
                    index: r.u16().ok()?,
                    count: r.u16().ok()?,
                    loss: Loss::read(&mut r)?,
                    data: Zeroizing::new(r.rest().to_vec()),
                };
                let sound = piece.index < piece.count
                    && (1..=piece.sequence).contains(&piece.loss.floor)
                    && piece.count <= PIECES_MAX
                    && piece.data.len() <= PIECE_BYTES;
                sound.then_some(Self::Piece(piece))
            }
            NOTICE => {
                let sequence = r.u64().ok()?;
                let loss = Loss::read(&mut r)?;
                let sound = (1..=sequence).contains(&loss.floor) && r.rest().is_empty();
                sound.then_some(Self::Notice { sequence, loss })
            }
            RECEIPT => {
                let receipt = Receipt::parse(&mut r)?;
                r.rest().is_empty().then_some(Self::Receipt(receipt))
            }
            _ => None,
        }
    }
}

/// Cuts a word into pieces, which say what is given up before it.
pub fn pieces(sequence: u64, loss: Loss, word: &[u8]) -> Vec<Piece> {
    let mut chunks: Vec<&[u8]> = word.chunks(PIECE_BYTES).collect();
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
            data: Zeroizing::new(data.to_vec()),
        })
        .collect()
}
