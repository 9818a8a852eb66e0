//! Single-use reply blocks.

use std::fmt;

use sphinx_packet::payload::Payload;
use sphinx_packet::surb::{SURB, SurbReplyRecovery};
use whist_types::{NodeId, SphinxKey, SurbId};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    BuildError, DropReason, HEADER_BYTES, PAYLOAD_BYTES, Packet, SEALED_PAYLOAD_BYTES, SURB_BYTES,
};

/// BLAKE3 of a SURB, which binds a signed request to the reply that it asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SurbHash([u8; 32]);

impl SurbHash {
    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A single-use reply block: a header built beforehand by who wants the reply.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 348 | Sphinx header of the reply |
/// | 348 | 32 | node id of the first hop |
/// | 380 | 16 | the last hop's payload key seed |
///
/// Not `Clone`: a SURB is used once ([`Surb::reply`] consumes it).
#[derive(PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Surb(Box<[u8; SURB_BYTES]>);

impl Surb {
    pub(crate) fn from_built(bytes: [u8; SURB_BYTES]) -> Self {
        Self(Box::new(bytes))
    }

    /// Parses a SURB out of a request.
    ///
    /// # Errors
    /// [`DropReason::BadSurb`] if its first hop would have to refuse it (alpha of small order) or
    /// if it names no first hop: there is nobody to answer.
    pub fn from_bytes(bytes: &[u8; SURB_BYTES]) -> Result<Self, DropReason> {
        let surb = Self(Box::new(*bytes));
        let (alpha, _) = bytes.split_first_chunk::<32>().ok_or(DropReason::BadSurb)?;
        if SphinxKey::from_bytes(*alpha).is_small_order() || surb.first_hop().is_zero() {
            return Err(DropReason::BadSurb);
        }
        Ok(surb)
    }

    /// The bytes as they stand in a request.
    pub fn to_bytes(&self) -> [u8; SURB_BYTES] {
        *self.0
    }

    /// The hash that signed requests bind to.
    pub fn hash(&self) -> SurbHash {
        SurbHash(blake3::derive_key("whist 2026 surb hash v1", &*self.0))
    }

    /// To whom the reply is handed first.
    pub fn first_hop(&self) -> NodeId {
        let (_, rest) = self.0.split_at(HEADER_BYTES);
        rest.first_chunk()
            .map_or(NodeId::from_bytes([0; 32]), |id| NodeId::from_bytes(*id))
    }

    /// Uses the SURB up: the reply as a packet, and to whom it is handed.
    ///
    /// # Errors
    /// [`BuildError::Bug`] only: all sizes are fixed by types.
    pub fn reply(self, payload: &[u8; PAYLOAD_BYTES]) -> Result<(NodeId, Packet), BuildError> {
        let surb = SURB::from_bytes(&*self.0).map_err(|_| BuildError::Bug)?;
        let (packet, first) = surb
            .use_surb(payload, SEALED_PAYLOAD_BYTES)
            .map_err(|_| BuildError::Bug)?;
        let packet = Packet::try_from_vec(packet.to_bytes()).map_err(|_| BuildError::Bug)?;
        Ok((NodeId::from_bytes(first.to_bytes()), packet))
    }
}

impl fmt::Debug for Surb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surb([redacted])")
    }
}

/// What only the maker of a SURB has: the seeds that open its reply. Zeroized on drop.
pub struct SurbSecret {
    id: SurbId,
    recovery: SurbReplyRecovery,
}

impl SurbSecret {
    pub(crate) const fn new(id: SurbId, recovery: SurbReplyRecovery) -> Self {
        Self { id, recovery }
    }

    /// The identifier under which the reply arrives.
    pub const fn id(&self) -> SurbId {
        self.id
    }

    /// Opens the payload as the last hop handed it over.
    ///
    /// # Errors
    /// [`DropReason::BadPayload`] if it is of another SURB or was altered on the way.
    pub fn open(
        &self,
        sealed: &[u8; SEALED_PAYLOAD_BYTES],
    ) -> Result<Box<[u8; PAYLOAD_BYTES]>, DropReason> {
        let payload = Payload::from_bytes(sealed).map_err(|_| DropReason::BadPayload)?;
        let padded = self
            .recovery
            .unseal(payload)
            .map_err(|_| DropReason::BadPayload)?
            .into_bytes();
        open_padding(&padded)
    }
}

impl fmt::Debug for SurbSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SurbSecret([redacted])")
    }
}

/// Sphinx's payload check (Danezis and Goldberg 2009, section 3): 16 zero bytes in front. The
/// closing byte stands where 2,048 B of user payload put it and nowhere else, so that no payload
/// of another length is ever delivered.
pub(crate) fn open_padding(padded: &[u8]) -> Result<Box<[u8; PAYLOAD_BYTES]>, DropReason> {
    const ZEROS: usize = SEALED_PAYLOAD_BYTES - PAYLOAD_BYTES - 1;
    let (zeros, rest) = padded
        .split_at_checked(ZEROS)
        .ok_or(DropReason::BadPayload)?;
    let (end, user) = rest.split_last().ok_or(DropReason::BadPayload)?;
    if zeros.iter().any(|&b| b != 0) || *end != 1 {
        return Err(DropReason::BadPayload);
    }
    user.to_vec()
        .into_boxed_slice()
        .try_into()
        .map_err(|_| DropReason::BadPayload)
}
