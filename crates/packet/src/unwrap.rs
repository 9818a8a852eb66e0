//! One hop's work: check, know the tag, open.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use sphinx_packet::header::SphinxHeader;
use sphinx_packet::header::shared_secret::ExpandedSharedSecret;
use sphinx_packet::payload::Payload;
use sphinx_packet::{ProcessedPacketData, SphinxPacket};
use subtle::ConstantTimeEq;
use whist_types::{NodeId, SessionAddress, SurbId};
use x25519_dalek::StaticSecret;

use crate::build::VERSION;
use crate::surb::open_padding;
use crate::{Destination, DropReason, PAYLOAD_BYTES, Packet, SEALED_PAYLOAD_BYTES, SphinxSecret};

/// What a packet is to its node for replay: derived from the shared secret, so that every form of
/// one alpha (bit 255 set or not, reduced or not, a small-order point added) has the same tag.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplayTag([u8; 32]);

impl ReplayTag {
    /// A tag with these bytes; for tests and models of tables.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The derived tag.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ReplayTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayTag([scrubbed])")
    }
}

/// A packet that one key did not open, given back so that another may try.
pub struct Rejected {
    /// Why.
    pub reason: DropReason,
    /// The packet as it was.
    pub packet: Packet,
}

/// A packet whose MAC holds under a key; its payload has not been touched yet.
pub struct Checked {
    tag: ReplayTag,
    header: SphinxHeader,
    expanded: ExpandedSharedSecret,
    packet: Packet,
}

/// The tag of alphas whose shared secret is zero. Zero times anything is zero, so any key will do
/// to compute it. Comparing tags costs no second scalar multiplication: the library computes the
/// shared secret and keeps it to itself.
static ZERO_SECRET_TAG: LazyLock<Option<[u8; 32]>> = LazyLock::new(|| {
    SphinxHeader::from_bytes(&[0; crate::HEADER_BYTES])
        .ok()
        .map(|header| {
            *header
                .compute_expanded_shared_secret(&StaticSecret::from([1; 32]))
                .replay_tag()
        })
});

/// The first phase: one scalar multiplication, and the MAC. Afterwards the tag is known, and the
/// payload has cost nothing.
///
/// # Errors
/// The packet back, with [`DropReason::LowOrderPoint`] or [`DropReason::BadMac`].
pub fn check(packet: Packet, secret: &SphinxSecret) -> Result<Checked, Rejected> {
    let Ok(header) = SphinxHeader::from_bytes(packet.header()) else {
        let reason = DropReason::WrongSize;
        return Err(Rejected { reason, packet });
    };
    let expanded = header.compute_expanded_shared_secret(secret.inner());
    let contributory =
        ZERO_SECRET_TAG.is_some_and(|zero| !bool::from(zero.ct_eq(expanded.replay_tag())));
    if !contributory {
        let reason = DropReason::LowOrderPoint;
        return Err(Rejected { reason, packet });
    }
    if header.ensure_header_integrity(&expanded).is_err() {
        let reason = DropReason::BadMac;
        return Err(Rejected { reason, packet });
    }
    Ok(Checked {
        tag: ReplayTag(*expanded.replay_tag()),
        header,
        expanded,
        packet,
    })
}

impl Checked {
    /// The tag, to be entered into the table before [`Checked::finish`].
    pub const fn tag(&self) -> &ReplayTag {
        &self.tag
    }

    /// The second phase: removes this hop's layer. `delay_cap` is the 1 − 1e-12 quantile of the
    /// largest mean delay among the consensuses whose keys are accepted.
    ///
    /// # Errors
    /// [`DropReason::BadRouting`], [`DropReason::WrongVersion`], [`DropReason::DelayAboveCap`].
    pub fn finish(self, delay_cap: Duration) -> Result<Unwrapped, DropReason> {
        let payload =
            Payload::from_bytes(self.packet.payload()).map_err(|_| DropReason::WrongSize)?;
        let processed = SphinxPacket {
            header: self.header,
            payload,
        }
        .process_with_expanded_secret(&self.expanded)
        .map_err(|_| DropReason::BadRouting)?;
        if processed.version != VERSION {
            return Err(DropReason::WrongVersion);
        }
        match processed.data {
            ProcessedPacketData::ForwardHop {
                next_hop_packet,
                next_hop_address,
                delay,
            } => {
                let delay = delay.to_duration();
                if delay > delay_cap {
                    return Err(DropReason::DelayAboveCap);
                }
                Ok(Unwrapped::Forward {
                    next: NodeId::from_bytes(next_hop_address.to_bytes()),
                    delay,
                    packet: Packet::try_from_vec(next_hop_packet.to_bytes())?,
                })
            }
            ProcessedPacketData::FinalHop {
                destination,
                identifier,
                payload,
            } => Ok(Unwrapped::Final {
                to: Destination {
                    session: SessionAddress::from_bytes(destination.as_bytes()),
                    surb: SurbId::from_bytes(identifier),
                },
                payload: FinalPayload(
                    payload
                        .into_bytes()
                        .into_boxed_slice()
                        .try_into()
                        .map_err(|_| DropReason::WrongSize)?,
                ),
            }),
        }
    }
}

/// What a hop finds under its layer.
#[derive(Debug)]
pub enum Unwrapped {
    /// To be held and sent on.
    Forward {
        /// To whom.
        next: NodeId,
        /// How long to hold it first.
        delay: Duration,
        /// What goes out.
        packet: Packet,
    },
    /// This is the last hop.
    Final {
        /// A session of a client, or zero for a request to this node.
        to: Destination,
        /// What arrived.
        payload: FinalPayload,
    },
}

/// The payload as the last hop has it: plaintext of a request, or still sealed for the maker of a
/// SURB. The last hop cannot tell a reply's contents from noise.
#[derive(Clone, PartialEq, Eq)]
pub struct FinalPayload(Box<[u8; SEALED_PAYLOAD_BYTES]>);

impl FinalPayload {
    /// The bytes to hand to a client's session, which opens them with its [`crate::SurbSecret`].
    pub const fn sealed(&self) -> &[u8; SEALED_PAYLOAD_BYTES] {
        &self.0
    }

    /// The bytes to hand to a client's session.
    pub fn into_sealed(self) -> Box<[u8; SEALED_PAYLOAD_BYTES]> {
        self.0
    }

    /// The request, if the payload passes Sphinx's check.
    ///
    /// # Errors
    /// [`DropReason::BadPayload`]: it was altered on the way, or is no request.
    pub fn request(self) -> Result<Box<[u8; PAYLOAD_BYTES]>, DropReason> {
        open_padding(&*self.0)
    }
}

impl fmt::Debug for FinalPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FinalPayload([scrubbed])")
    }
}

/// A packet unwrapped in one go, with the tag that the caller must still look up.
#[derive(Debug)]
pub struct Opened {
    /// To be entered into the replay table of the key before anything else happens.
    pub tag: ReplayTag,
    /// What the packet holds.
    pub content: Unwrapped,
}

/// Both phases at once. Nodes use [`crate::Keyring::open`], which looks the tag up in between.
///
/// # Errors
/// Any reason that [`check`] and [`Checked::finish`] give.
pub fn unwrap(
    packet: Packet,
    secret: &SphinxSecret,
    delay_cap: Duration,
) -> Result<Opened, DropReason> {
    let checked = check(packet, secret).map_err(|rejected| rejected.reason)?;
    let tag = checked.tag().clone();
    let content = checked.finish(delay_cap)?;
    Ok(Opened { tag, content })
}

/// Unwraps many packets of one key, results in the order of `packets`.
pub fn unwrap_batch(
    packets: Vec<Packet>,
    secret: &SphinxSecret,
    delay_cap: Duration,
) -> Vec<Result<Opened, DropReason>> {
    packets
        .into_iter()
        .map(|packet| unwrap(packet, secret, delay_cap))
        .collect()
}
