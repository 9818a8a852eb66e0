//! Replies to bytes and back.

use rand_core::CryptoRng;
use whist_types::{ConsensusHash, MailboxAddress, Reader, Truncated, Writer};

use super::commands::{BLOB_BYTES, DOC_CHUNK_BYTES, ITEM_BYTES};
use crate::PAYLOAD_BYTES;

const REPLY_VERSION: u8 = 1;
const BODY_BYTES: usize = 2_014;
const _: () = assert!(1 + 1 + 32 + BODY_BYTES == PAYLOAD_BYTES);
const _: () = assert!(8 + 32 + 4 + 8 + ITEM_BYTES <= BODY_BYTES);
const _: () = assert!(BLOB_BYTES <= BODY_BYTES && 4 + 4 + DOC_CHUNK_BYTES <= BODY_BYTES);

/// A provider's answer, with the consensus that it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The hash of the provider's consensus.
    pub consensus: ConsensusHash,
    /// The answer.
    pub body: ReplyBody,
}

/// What a provider answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplyBody {
    /// Status 0: done. Body: random.
    Ok,
    /// Status 1: the mailbox exists.
    ///
    /// | offset in body | size | field |
    /// |---|---|---|
    /// | 0 | 4 | items a day for each address |
    /// | 4 | 4 | burst |
    Created {
        /// Items a day for each address.
        per_day: u32,
        /// How many may come at once.
        burst: u32,
    },
    /// Status 2: the item is durable, or nobody will ever know. Body: random.
    Stored,
    /// Status 3: no room now. Body: random.
    Full,
    /// Status 4: an item.
    ///
    /// | offset in body | size | field |
    /// |---|---|---|
    /// | 0 | 8 | its number |
    /// | 8 | 32 | the address it came to |
    /// | 40 | 4 | how many wait |
    /// | 44 | 8 | the oldest number kept |
    /// | 52 | 1,536 | item |
    Item {
        /// Its number in the mailbox, from 1, without gaps.
        number: u64,
        /// The address it came to.
        address: MailboxAddress,
        /// How many items wait.
        waiting: u32,
        /// The oldest number kept.
        oldest: u64,
        /// The item.
        item: Box<[u8; ITEM_BYTES]>,
    },
    /// Status 5: nothing to hand out.
    ///
    /// | offset in body | size | field |
    /// |---|---|---|
    /// | 0 | 4 | how many wait |
    /// | 4 | 8 | the oldest number kept |
    None {
        /// How many items wait (leased or held).
        waiting: u32,
        /// The oldest number kept.
        oldest: u64,
    },
    /// Status 6: what a drop held, 1,554 B from the body's start.
    Blob(Box<[u8; BLOB_BYTES]>),
    /// Status 7: another token opened the drop first. Body: random.
    Opened,
    /// Status 8: a part of a consensus header and its signatures.
    ///
    /// | offset in body | size | field |
    /// |---|---|---|
    /// | 0 | 4 | chunk number |
    /// | 4 | 4 | how many there are |
    /// | 8 | 1,900 | bytes, the last chunk padded with zeros |
    Doc {
        /// Which part, from 0.
        chunk: u32,
        /// How many there are.
        count: u32,
        /// Its bytes, zero-padded.
        data: Box<[u8; DOC_CHUNK_BYTES]>,
    },
    /// Status 9: malformed, unsigned, or against a rule. Body: random.
    Refused,
}

impl ReplyBody {
    /// The status byte.
    pub const fn status(&self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Created { .. } => 1,
            Self::Stored => 2,
            Self::Full => 3,
            Self::Item { .. } => 4,
            Self::None { .. } => 5,
            Self::Blob(_) => 6,
            Self::Opened => 7,
            Self::Doc { .. } => 8,
            Self::Refused => 9,
        }
    }
}

/// A reply that the provider made wrong: its Sphinx payload check held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// Another version of the layout.
    #[error("unknown version {0}")]
    Version(u8),
    /// No such status.
    #[error("unknown status {0}")]
    Status(u8),
    /// Its fields do not fit: cannot happen to a payload of the one size.
    #[error("truncated")]
    Truncated,
}

impl From<Truncated> for BadReply {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// Encodes a reply.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 1 | status ([`ReplyBody`]) |
/// | 2 | 32 | hash of the provider's consensus |
/// | 34 | 2,014 | body, by status; what it leaves unused is random |
pub fn encode_reply(
    consensus: &ConsensusHash,
    body: &ReplyBody,
    rng: &mut impl CryptoRng,
) -> Box<[u8; PAYLOAD_BYTES]> {
    let mut payload = Box::new([0; PAYLOAD_BYTES]);
    rng.fill_bytes(&mut *payload);
    let mut w = Writer::with_capacity(PAYLOAD_BYTES);
    w.u8(REPLY_VERSION)
        .u8(body.status())
        .put(consensus.as_bytes());
    match body {
        ReplyBody::Ok
        | ReplyBody::Stored
        | ReplyBody::Full
        | ReplyBody::Opened
        | ReplyBody::Refused => {}
        ReplyBody::Created { per_day, burst } => {
            w.u32(*per_day).u32(*burst);
        }
        ReplyBody::Item {
            number,
            address,
            waiting,
            oldest,
            item,
        } => {
            w.u64(*number).put(address.as_bytes());
            w.u32(*waiting).u64(*oldest).put(&**item);
        }
        ReplyBody::None { waiting, oldest } => {
            w.u32(*waiting).u64(*oldest);
        }
        ReplyBody::Blob(blob) => {
            w.put(&**blob);
        }
        ReplyBody::Doc { chunk, count, data } => {
            w.u32(*chunk).u32(*count).put(&**data);
        }
    }
    for (to, from) in payload.iter_mut().zip(w.into_bytes()) {
        *to = from;
    }
    payload
}

/// Parses a reply.
///
/// # Errors
/// [`BadReply`].
pub fn parse_reply(payload: &[u8; PAYLOAD_BYTES]) -> Result<Reply, BadReply> {
    let mut r = Reader::new(payload);
    let version = r.u8()?;
    if version != REPLY_VERSION {
        return Err(BadReply::Version(version));
    }
    let status = r.u8()?;
    let consensus = ConsensusHash::from_bytes(r.array()?);
    let body = match status {
        0 => ReplyBody::Ok,
        1 => ReplyBody::Created {
            per_day: r.u32()?,
            burst: r.u32()?,
        },
        2 => ReplyBody::Stored,
        3 => ReplyBody::Full,
        4 => ReplyBody::Item {
            number: r.u64()?,
            address: MailboxAddress::from_bytes(r.array()?),
            waiting: r.u32()?,
            oldest: r.u64()?,
            item: Box::new(r.array()?),
        },
        5 => ReplyBody::None {
            waiting: r.u32()?,
            oldest: r.u64()?,
        },
        6 => ReplyBody::Blob(Box::new(r.array()?)),
        7 => ReplyBody::Opened,
        8 => ReplyBody::Doc {
            chunk: r.u32()?,
            count: r.u32()?,
            data: Box::new(r.array()?),
        },
        9 => ReplyBody::Refused,
        other => return Err(BadReply::Status(other)),
    };
    Ok(Reply { consensus, body })
}
