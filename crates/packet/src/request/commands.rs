//! What a request can ask for.

use whist_types::{ConsensusHash, DropId, Epoch, MailboxAddress, MailboxKey, Salt16};

// From the specification (protocol.md §3, §7).

/// Bytes of an item.
pub const ITEM_BYTES: usize = 1_536;
/// Bytes of an invitation's sealed bundle.
pub const BLOB_BYTES: usize = 1_554;
/// Bytes of a consensus header and its signatures in one `DOC` reply.
pub const DOC_CHUNK_BYTES: usize = 1_900;
/// Addresses that one request can name.
pub const ADDRESSES_MAX: usize = 32;
/// Numbers above `acked` that a `GET` can speak of.
pub const NUMBER_MAP_BITS: u64 = 512;

/// The command byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Command {
    /// Cover and measurement.
    Echo = 0,
    /// Leave an item at an address.
    Put = 1,
    /// Poll a mailbox.
    Get = 2,
    /// Open a mailbox.
    Create = 3,
    /// Add addresses to a mailbox.
    Add = 4,
    /// Revoke addresses of a mailbox.
    Revoke = 5,
    /// Leave a sealed bundle in a drop.
    Publish = 6,
    /// Open a drop.
    Fetch = 7,
    /// Ask for a consensus header.
    Doc = 8,
}

impl Command {
    /// Every command.
    pub const ALL: [Self; 9] = [
        Self::Echo,
        Self::Put,
        Self::Get,
        Self::Create,
        Self::Add,
        Self::Revoke,
        Self::Publish,
        Self::Fetch,
        Self::Doc,
    ];

    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Echo => 0,
            Self::Put => 1,
            Self::Get => 2,
            Self::Create => 3,
            Self::Add => 4,
            Self::Revoke => 5,
            Self::Publish => 6,
            Self::Fetch => 7,
            Self::Doc => 8,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.byte() == byte)
    }
}

/// A request to a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Asks for nothing: cover and measurement. Body: random.
    Echo,
    /// Leaves an item.
    ///
    /// | offset in body | size | field |
    /// |---|---|---|
    /// | 0 | 32 | address |
    /// | 32 | 1,536 | item |
    Put {
        /// Whose mailbox, and which contact's address of it.
        address: MailboxAddress,
        /// Uniform random to anybody but the recipient.
        item: Box<[u8; ITEM_BYTES]>,
    },
    /// Polls a mailbox.
    Get(Box<Get>),
    /// Opens a mailbox.
    Create(Box<Create>),
    /// Adds addresses.
    Add(Box<Add>),
    /// Revokes addresses and deletes what waits from them.
    Revoke(Box<Revoke>),
    /// Leaves a sealed bundle.
    ///
    /// | offset in body | size | field |
    /// |---|---|---|
    /// | 0 | 32 | drop id |
    /// | 32 | 64 | admission proof |
    /// | 96 | 1,554 | blob |
    Publish {
        /// Where.
        drop: DropId,
        /// Proof of admission.
        proof: [u8; 64],
        /// The sealed bundle.
        blob: Box<[u8; BLOB_BYTES]>,
    },
    /// Opens a drop, and binds it to a token.
    ///
    /// | offset in body | size | field |
    /// |---|---|---|
    /// | 0 | 32 | drop id |
    /// | 32 | 32 | hash of a random token |
    Fetch {
        /// Which.
        drop: DropId,
        /// The hash of the token that may fetch it again for 24 h.
        token_hash: [u8; 32],
    },
    /// Asks for a part of a consensus header and its signatures.
    ///
    /// | offset in body | size | field |
    /// |---|---|---|
    /// | 0 | 32 | hash |
    /// | 32 | 4 | chunk number, from 0 |
    Doc {
        /// Which consensus.
        hash: ConsensusHash,
        /// Which part.
        chunk: u32,
    },
}

impl Request {
    /// Its command.
    pub const fn command(&self) -> Command {
        match self {
            Self::Echo => Command::Echo,
            Self::Put { .. } => Command::Put,
            Self::Get(_) => Command::Get,
            Self::Create(_) => Command::Create,
            Self::Add(_) => Command::Add,
            Self::Revoke(_) => Command::Revoke,
            Self::Publish { .. } => Command::Publish,
            Self::Fetch { .. } => Command::Fetch,
            Self::Doc { .. } => Command::Doc,
        }
    }
}

/// Polls a mailbox, and says what may be deleted.
///
/// | offset in body | size | field |
/// |---|---|---|
/// | 0 | 32 | mailbox key |
/// | 32 | 8 | epoch |
/// | 40 | 8 | acked: all numbers up to it may be deleted |
/// | 48 | 64 | done: bit i stands for acked + 1 + i, delete |
/// | 112 | 64 | held: keep, and do not hand out |
/// | 176 | 4 | lease in seconds |
/// | 180 | 8 | the one number wanted, or 0; numbers start at 1 |
/// | 188 | 64 | signature |
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Get {
    /// The mailbox.
    pub mailbox: MailboxKey,
    /// The epoch of the request, so that an old one cannot be used again.
    pub epoch: Epoch,
    /// All numbers up to this one may be deleted.
    pub acked: u64,
    /// Numbers above `acked` that may be deleted ([`map_contains`]).
    pub done: [u8; 64],
    /// Numbers above `acked` that are to be kept and not handed out ([`map_contains`]).
    pub held: [u8; 64],
    /// How long an item that was handed out is not handed out again, in seconds.
    pub lease_s: u32,
    /// The one number wanted, or 0 for whatever is next.
    pub wanted: u64,
    /// By the mailbox's key over [`super::signing_bytes`].
    pub signature: [u8; 64],
}

/// Opens a mailbox with its first 32 addresses.
///
/// | offset in body | size | field |
/// |---|---|---|
/// | 0 | 32 | mailbox key |
/// | 32 | 8 | epoch |
/// | 40 | 512 | 32 salts of 16 B, one for each address |
/// | 552 | 64 | admission proof |
/// | 616 | 64 | signature |
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Create {
    /// The mailbox.
    pub mailbox: MailboxKey,
    /// The epoch of the request.
    pub epoch: Epoch,
    /// What its first addresses are made of.
    pub salts: [Salt16; ADDRESSES_MAX],
    /// Proof of admission.
    pub proof: [u8; 64],
    /// By the mailbox's key over [`super::signing_bytes`].
    pub signature: [u8; 64],
}

/// Adds addresses to a mailbox.
///
/// | offset in body | size | field |
/// |---|---|---|
/// | 0 | 32 | mailbox key |
/// | 32 | 8 | epoch |
/// | 40 | 1 | how many, at most 32 |
/// | 41 | 512 | salts of 16 B; those beyond the count are random and not signed |
/// | 553 | 64 | signature |
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Add {
    /// The mailbox.
    pub mailbox: MailboxKey,
    /// The epoch of the request.
    pub epoch: Epoch,
    /// What the addresses are made of: at most [`ADDRESSES_MAX`]; more are not encoded.
    pub salts: Vec<Salt16>,
    /// By the mailbox's key over [`super::signing_bytes`].
    pub signature: [u8; 64],
}

/// Revokes addresses of a mailbox.
///
/// | offset in body | size | field |
/// |---|---|---|
/// | 0 | 32 | mailbox key |
/// | 32 | 8 | epoch |
/// | 40 | 1 | how many, at most 32 |
/// | 41 | 1,024 | addresses of 32 B; those beyond the count are random and not signed |
/// | 1,065 | 64 | signature |
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revoke {
    /// The mailbox.
    pub mailbox: MailboxKey,
    /// The epoch of the request.
    pub epoch: Epoch,
    /// Which: at most [`ADDRESSES_MAX`]; more are not encoded.
    pub addresses: Vec<MailboxAddress>,
    /// By the mailbox's key over [`super::signing_bytes`].
    pub signature: [u8; 64],
}

/// The bit of `number` in a map over the numbers above `acked`: byte and mask.
fn map_bit(acked: u64, number: u64) -> Option<(usize, u8)> {
    let offset = number.checked_sub(acked)?.checked_sub(1)?;
    if offset >= NUMBER_MAP_BITS {
        return None;
    }
    let byte = usize::try_from(offset / 8).ok()?;
    Some((byte, 1 << (offset % 8)))
}

/// Whether a `GET`'s map over the numbers above `acked` contains `number`.
pub fn map_contains(map: &[u8; 64], acked: u64, number: u64) -> bool {
    map_bit(acked, number)
        .and_then(|(byte, mask)| map.get(byte).map(|b| b & mask != 0))
        .unwrap_or(false)
}

/// Enters `number` into a `GET`'s map over the numbers above `acked`; false if it is not among
/// the 512 that the map speaks of.
#[must_use]
pub fn map_insert(map: &mut [u8; 64], acked: u64, number: u64) -> bool {
    let Some((byte, mask)) = map_bit(acked, number) else {
        return false;
    };
    let Some(entry) = map.get_mut(byte) else {
        return false;
    };
    *entry |= mask;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_speaks_of_the_512_numbers_above_acked_and_no_other() {
        let mut map = [0; 64];
        assert!(!map_insert(&mut map, 10, 10) && !map_insert(&mut map, 10, 523));
        assert!(map_insert(&mut map, 10, 11) && map_insert(&mut map, 10, 522));
        assert_eq!((map[0], map[63]), (1, 0x80));
        assert!(map_contains(&map, 10, 11) && map_contains(&map, 10, 522));
        assert!(!map_contains(&map, 10, 12) && !map_contains(&map, u64::MAX, 0));
        assert!(!map_contains(&[0xff; 64], 0, 0) && !map_contains(&[0xff; 64], 0, 513));
    }
}
