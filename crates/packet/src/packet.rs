//! The geometry, and a packet as it stands on the wire.

use std::fmt;

use crate::DropReason;

// From the specification (protocol.md §1).

/// Bytes of a packet, always.
pub const PACKET_BYTES: usize = 2_413;
/// Bytes of its header: alpha 32, MAC 16, encrypted routing information 300.
pub const HEADER_BYTES: usize = 348;
/// Bytes of user payload.
pub const PAYLOAD_BYTES: usize = 2_048;
/// Bytes of the payload as it travels: 16 zero bytes, the user's, and one closing byte.
pub const SEALED_PAYLOAD_BYTES: usize = 2_065;
/// Bytes of a SURB: header, first hop's node id, one payload key seed.
pub const SURB_BYTES: usize = 396;
/// Hops that a header has room for.
pub const HOPS_MAX: usize = 5;

const _: () = assert!(PACKET_BYTES == HEADER_BYTES + SEALED_PAYLOAD_BYTES);
const _: () = assert!(HEADER_BYTES == sphinx_packet::header::HEADER_SIZE);
const _: () =
    assert!(SEALED_PAYLOAD_BYTES == PAYLOAD_BYTES + sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE);
const _: () = assert!(HOPS_MAX == sphinx_packet::constants::MAX_PATH_LENGTH);
const _: () = assert!(
    SURB_BYTES
        == HEADER_BYTES
            + sphinx_packet::constants::NODE_ADDRESS_LENGTH
            + sphinx_packet::constants::PAYLOAD_KEY_SEED_SIZE
);

/// A Sphinx packet as it stands on the wire. Nothing of it has been checked but its size.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 32 | alpha: a point of Curve25519 |
/// | 32 | 16 | gamma: the MAC over beta |
/// | 48 | 300 | beta: routing information, encrypted for each hop |
/// | 348 | 2,065 | delta: the payload, a wide block under one layer for each hop |
#[derive(Clone, PartialEq, Eq)]
pub struct Packet(Box<[u8; PACKET_BYTES]>);

impl Packet {
    /// Takes over bytes that have the right size by their type.
    pub const fn from_bytes(bytes: Box<[u8; PACKET_BYTES]>) -> Self {
        Self(bytes)
    }

    /// Copies a slice, if it has the one size that a packet has.
    ///
    /// # Errors
    /// [`DropReason::WrongSize`].
    pub fn try_from_slice(bytes: &[u8]) -> Result<Self, DropReason> {
        Self::try_from_vec(bytes.to_vec())
    }

    pub(crate) fn try_from_vec(bytes: Vec<u8>) -> Result<Self, DropReason> {
        bytes
            .into_boxed_slice()
            .try_into()
            .map(Self)
            .map_err(|_| DropReason::WrongSize)
    }

    /// The bytes as they stand on the wire.
    pub const fn as_bytes(&self) -> &[u8; PACKET_BYTES] {
        &self.0
    }

    /// The bytes as they stand on the wire.
    pub fn into_bytes(self) -> Box<[u8; PACKET_BYTES]> {
        self.0
    }

    pub(crate) fn header(&self) -> &[u8] {
        self.0.split_at(HEADER_BYTES).0
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.0.split_at(HEADER_BYTES).1
    }
}

/// Prints no byte: a packet in a log would link its two sides.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packet")
    }
}
