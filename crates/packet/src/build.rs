//! Building packets and SURBs.

use rand_core::CryptoRng;
use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::route::DestinationAddressBytes;
use sphinx_packet::surb::{SURB, SURBMaterial};
use sphinx_packet::version::{SINGLE_SEED_SURB_VERSION, Version};
use whist_types::{SessionAddress, SurbId};
use x25519_dalek::StaticSecret;

use crate::{PAYLOAD_BYTES, Packet, Route, SEALED_PAYLOAD_BYTES, Surb, SurbSecret};

/// The one Sphinx format of the network: 260, whose SURBs tell the replier one seed only.
pub(crate) const VERSION: Version = SINGLE_SEED_SURB_VERSION;
const _: () = assert!(VERSION.0 == 260);

/// To whom the last hop gives the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// A client's session at its entry provider, or zero.
    pub session: SessionAddress,
    /// Which of the client's SURBs brought it, or zero.
    pub surb: SurbId,
}

impl Destination {
    /// The last hop itself: its payload is a request.
    pub const REQUEST: Self = Self {
        session: SessionAddress::from_bytes([0; 32]),
        surb: SurbId::from_bytes([0; 16]),
    };

    /// Whether the payload is a request to the last hop itself.
    pub fn is_request(&self) -> bool {
        *self == Self::REQUEST
    }

    fn sphinx(&self) -> sphinx_packet::route::Destination {
        sphinx_packet::route::Destination::new(
            DestinationAddressBytes::from_bytes(self.session.to_bytes()),
            self.surb.to_bytes(),
        )
    }
}

/// A packet or SURB that could not be built: a mistake on this side, never a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A SURB needs a non-zero identifier, by which its secret is found again.
    #[error("a SURB needs a non-zero identifier")]
    ZeroSurbId,
    /// The Sphinx library refused what [`Route`] had accepted.
    #[error("the sphinx library refused a valid route")]
    Bug,
}

/// Builds a packet. Everything random but the padding of the last hop's routing information comes
/// from `rng`; that padding is the library's own, never seen by anybody but the last hop.
///
/// # Errors
/// [`BuildError::Bug`] only, as a [`Route`] is valid by its type.
pub fn build(
    route: &Route,
    to: &Destination,
    payload: &[u8; PAYLOAD_BYTES],
    rng: &mut impl CryptoRng,
) -> Result<Packet, BuildError> {
    let initial = StaticSecret::random_from_rng(rng);
    let packet = SphinxPacketBuilder::new()
        .with_version(VERSION)
        .with_payload_size(SEALED_PAYLOAD_BYTES)
        .with_initial_secret(&initial)
        .build_packet(
            payload,
            &route.sphinx_nodes(),
            &to.sphinx(),
            &route.sphinx_delays(),
        )
        .map_err(|_| BuildError::Bug)?;
    Packet::try_from_vec(packet.to_bytes()).map_err(|_| BuildError::Bug)
}

/// Builds a SURB that ends at `to`, and the secret that opens its reply.
///
/// With two hops or more the last hop sees noise. With one hop there is one layer, and that hop
/// sees the text: such a SURB is for a node that is its maker, a mix's own loop.
///
/// # Errors
/// [`BuildError::ZeroSurbId`] if `to.surb` is zero.
pub fn build_surb(
    route: &Route,
    to: &Destination,
    rng: &mut impl CryptoRng,
) -> Result<(Surb, SurbSecret), BuildError> {
    if to.surb.is_zero() {
        return Err(BuildError::ZeroSurbId);
    }
    let initial = StaticSecret::random_from_rng(rng);
    let material = SURBMaterial::new(
        route.sphinx_nodes(),
        route.sphinx_delays(),
        to.sphinx(),
        VERSION,
    );
    let (surb, recovery) = SURB::new_recoverable(initial, material).map_err(|_| BuildError::Bug)?;
    let bytes = surb.to_bytes().try_into().map_err(|_| BuildError::Bug)?;
    Ok((Surb::from_built(bytes), SurbSecret::new(to.surb, recovery)))
}
