//! The one thing that mailboxes hold, and what stands inside it.

use std::fmt;

use whist_types::{ConsensusHash, ItemHash, Reader, Writer};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::Error;
use crate::kdf::labelled;
use crate::limits::{PLAINTEXT_HEAD_BYTES, RIDER_BYTES};
use crate::shared::Rider;

/// Size of every item.
pub const ITEM_BYTES: usize = 1536;

/// A sealed item: uniform random bytes to anybody but its recipient.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Item(Box<[u8; ITEM_BYTES]>);

impl Item {
    /// Wraps bytes as they come from a mailbox. Any bytes may be an item.
    pub const fn from_bytes(bytes: Box<[u8; ITEM_BYTES]>) -> Self {
        Self(bytes)
    }

    /// The bytes as they go to a mailbox.
    pub const fn as_bytes(&self) -> &[u8; ITEM_BYTES] {
        &self.0
    }

    /// The bytes as they go to a mailbox.
    pub fn into_bytes(self) -> Box<[u8; ITEM_BYTES]> {
        self.0
    }

    /// The item's name.
    pub fn hash(&self) -> ItemHash {
        ItemHash::from_bytes(labelled("whist 2026 item v1", &[self.0.as_slice()]))
    }

    pub(crate) fn from_vec(bytes: Vec<u8>) -> Self {
        #[expect(clippy::expect_used, reason = "callers add up constants to ITEM_BYTES")]
        let bytes = bytes
            .try_into()
            .expect("the parts of an item add up to its size");
        Self(bytes)
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Item([redacted])")
    }
}

/// An item that a [`crate::Session`] has sealed. An outbox that takes nothing else has no path for
/// clear text: nobody but a session makes one.
///
/// ```
/// fn leaves(item: whist_ratchet::SealedItem) -> Box<[u8; 1536]> {
///     item.into_item().into_bytes()
/// }
/// ```
///
/// ```compile_fail,E0451
/// fn leaves(clear: whist_ratchet::Item) -> whist_ratchet::SealedItem {
///     whist_ratchet::SealedItem { item: clear }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SealedItem {
    item: Item,
}

impl SealedItem {
    pub(crate) const fn new(item: Item) -> Self {
        Self { item }
    }

    /// Takes the word of the store that a session once sealed `item`. For rows that are read back
    /// from the vault, and for nothing else.
    pub const fn dangerously_restored(item: Item) -> Self {
        Self { item }
    }

    /// The item as it goes to a mailbox.
    pub const fn item(&self) -> &Item {
        &self.item
    }

    /// The item as it goes to a mailbox.
    pub fn into_item(self) -> Item {
        self.item
    }
}

impl fmt::Debug for SealedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedItem([redacted])")
    }
}

/// What a person's program says to another's in one item.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | format | 1; 2 if a rider stands before the fragment |
/// | 1 | 1 | device | which of the sender's devices |
/// | 2 | 32 | consensus | hash of the sender's newest consensus |
/// | 34 | 2 | length | of the body, big-endian |
/// | 36 | length | body | |
/// | 36 + length | 0 or 23 | rider | what is said of a shared secret (`shared.rs`) |
/// | after it | up to the rest | fragment | of the post-quantum ratchet, if the header says so |
/// | after it | rest | padding | zero |
#[derive(Clone, PartialEq, Eq)]
pub struct Plaintext {
    /// Which of the sender's devices.
    pub device: u8,
    /// The hash of the sender's newest consensus, by which both notice a split directory.
    pub consensus: ConsensusHash,
    /// The contents: at most [`crate::BODY_MAX`], in a first item
    /// [`crate::FIRST_PAYLOAD_MAX`] bytes.
    pub body: Vec<u8>,
}

// A text stands in it.
impl Drop for Plaintext {
    fn drop(&mut self) {
        self.body.zeroize();
    }
}

impl ZeroizeOnDrop for Plaintext {}

const FORMAT: u8 = 1;
const FORMAT_WITH_RIDER: u8 = 2;

impl Plaintext {
    /// What is free beside the body in `size` bytes, or [`Error::TooLong`] if it is above
    /// `body_max`.
    pub(crate) fn room(&self, body_max: usize, size: usize) -> Result<usize, Error> {
        if self.body.len() > body_max {
            return Err(Error::TooLong);
        }
        let used = PLAINTEXT_HEAD_BYTES.saturating_add(self.body.len());
        size.checked_sub(used).ok_or(Error::TooLong)
    }

    /// Exactly `size` bytes, with a fragment that has at most [`Self::room`], less the rider's size
    /// if there is one.
    pub(crate) fn pad(
        &self,
        rider: Option<&Rider>,
        fragment: &[u8],
        size: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let length = u16::try_from(self.body.len()).map_err(|_| Error::TooLong)?;
        let mut w = Writer::with_capacity(size);
        let format = rider.map_or(FORMAT, |_| FORMAT_WITH_RIDER);
        w.u8(format).u8(self.device);
        w.put(self.consensus.as_bytes()).u16(length).put(&self.body);
        w.put(&rider.map(Rider::to_bytes).unwrap_or_default());
        w.put(fragment);
        let mut bytes = Zeroizing::new(w.into_bytes());
        bytes.resize(size, 0);
        Ok(bytes)
    }

    /// Reads what [`Self::pad`] made; strict, so that one meaning has one form. `fragment_bytes`
    /// tells how long the fragment is for the room that there was.
    pub(crate) fn unpad(
        bytes: &[u8],
        body_max: usize,
        fragment_bytes: impl FnOnce(usize) -> Result<usize, Error>,
    ) -> Result<Unpadded<'_>, Error> {
        let mut r = Reader::new(bytes);
        let format = r.u8().map_err(|_| Error::Malformed)?;
        let device = r.u8().map_err(|_| Error::Malformed)?;
        let consensus = r.array().map_err(|_| Error::Malformed)?;
        let length = usize::from(r.u16().map_err(|_| Error::Malformed)?);
        if !matches!(format, FORMAT | FORMAT_WITH_RIDER) || length > body_max {
            return Err(Error::Malformed);
        }
        let body = r.slice(length).map_err(|_| Error::Malformed)?;
        let rider = (format == FORMAT_WITH_RIDER).then(|| r.slice(RIDER_BYTES));
        let rider = rider.transpose().map_err(|_| Error::Malformed)?;
        let room = r.rest();
        let (fragment, padding) = room
            .split_at_checked(fragment_bytes(room.len())?)
            .ok_or(Error::Malformed)?;
        if padding.iter().any(|&b| b != 0) {
            return Err(Error::Malformed);
        }
        let plaintext = Self {
            device,
            consensus: ConsensusHash::from_bytes(consensus),
            body: body.to_vec(),
        };
        Ok(Unpadded {
            plaintext,
            rider,
            fragment,
        })
    }
}

/// What stood in an item.
pub(crate) struct Unpadded<'a> {
    pub(crate) plaintext: Plaintext,
    pub(crate) rider: Option<&'a [u8]>,
    pub(crate) fragment: &'a [u8],
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext([redacted])")
    }
}

const _: () = assert!(PLAINTEXT_HEAD_BYTES == 1 + 1 + ConsensusHash::LEN + 2);
