//! A network of keys, and the malformed twin of a packet with all fields in the open.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::time::Duration;

use chacha20::ChaCha20Rng;
use hkdf::Hkdf;
use rand_core::{Rng, SeedableRng};
use sha2::Sha256;
use sphinx_packet::constants::{
    EXPANDED_SHARED_SECRET_HKDF_INFO, EXPANDED_SHARED_SECRET_HKDF_SALT,
    EXPANDED_SHARED_SECRET_LENGTH,
};
use sphinx_packet::crypto::{compute_keyed_hmac, generate_pseudorandom_bytes};
use sphinx_packet::payload::Payload;
use whist_packet::{
    Destination, HEADER_BYTES, Hop, PAYLOAD_BYTES, Packet, Route, SEALED_PAYLOAD_BYTES,
    SphinxSecret, build,
};
use whist_types::{NodeId, Secret, SessionAddress, SurbId};
use x25519_dalek::x25519;

pub(crate) const CAP: Duration = Duration::from_millis(5_526);

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn node_id(n: u8) -> NodeId {
    NodeId::from_bytes([n + 1; 32])
}

/// The secret of node `n` in all tests.
pub(crate) fn secret(n: u8) -> SphinxSecret {
    SphinxSecret::from_secret(&secret_bytes(n))
}

pub(crate) fn secret_bytes(n: u8) -> Secret<32> {
    Secret::new(blake3::derive_key("test sphinx secret", &[n]))
}

pub(crate) fn hop(n: u8) -> Hop {
    Hop {
        node: node_id(n),
        key: secret(n).public(),
        delay: Duration::from_nanos(1_000_000_007 * (u64::from(n) + 1)),
    }
}

/// A route over nodes 0..n.
pub(crate) fn route(n: u8) -> Route {
    Route::exactly((0..n).map(hop).collect(), n.into()).unwrap()
}

pub(crate) fn session() -> Destination {
    Destination {
        session: SessionAddress::from_bytes([0x5e; 32]),
        surb: SurbId::from_bytes([0x1d; 16]),
    }
}

pub(crate) fn random_payload(rng: &mut impl Rng) -> Box<[u8; PAYLOAD_BYTES]> {
    let mut payload = Box::new([0; PAYLOAD_BYTES]);
    rng.fill_bytes(&mut *payload);
    payload
}

/// A request to the last of `hops` nodes.
pub(crate) fn request_packet(hops: u8, seed: u64) -> Packet {
    let mut rng = rng(seed);
    let payload = random_payload(&mut rng);
    build(&route(hops), &Destination::REQUEST, &payload, &mut rng).unwrap()
}

pub(crate) fn altered(packet: &Packet, change: impl FnOnce(&mut [u8])) -> Packet {
    let mut bytes = packet.clone().into_bytes();
    change(&mut bytes[..]);
    Packet::from_bytes(bytes)
}

pub(crate) fn flipped(packet: &Packet, bit: usize) -> Packet {
    altered(packet, |bytes| bytes[bit / 8] ^= 1 << (bit % 8))
}

/// OpenMLS would call it a frankenstein: a packet whose parts are all free to choose, under a MAC
/// that holds. The library can build none of them.
pub(crate) struct RawPacket {
    pub(crate) alpha: [u8; 32],
    /// flag 1, version 3, then as the flag says.
    pub(crate) routing: [u8; 300],
    pub(crate) payload: [u8; PAYLOAD_BYTES],
}

impl RawPacket {
    pub(crate) fn last_hop(alpha: [u8; 32], to: &Destination) -> Self {
        let mut routing = [0x33; 300];
        routing[0] = 2;
        routing[1..4].copy_from_slice(&[0, 1, 4]);
        routing[4..36].copy_from_slice(to.session.as_bytes());
        routing[36..52].copy_from_slice(to.surb.as_bytes());
        Self {
            alpha,
            routing,
            payload: [0x77; PAYLOAD_BYTES],
        }
    }

    pub(crate) fn forward_hop(alpha: [u8; 32], next: NodeId, delay_ns: u64) -> Self {
        let mut raw = Self::last_hop(alpha, &Destination::REQUEST);
        raw.routing[0] = 1;
        raw.routing[4..36].copy_from_slice(next.as_bytes());
        raw.routing[36..44].copy_from_slice(&delay_ns.to_be_bytes());
        raw
    }

    /// The packet, made with the node's own secret: nobody knows the logarithm of a chosen alpha.
    pub(crate) fn seal(&self, secret: &Secret<32>) -> Packet {
        let shared = x25519(*secret.expose(), self.alpha);
        let mut expanded = [0; EXPANDED_SHARED_SECRET_LENGTH];
        Hkdf::<Sha256>::new(Some(EXPANDED_SHARED_SECRET_HKDF_SALT), &shared)
            .expand(EXPANDED_SHARED_SECRET_HKDF_INFO, &mut expanded)
            .unwrap();
        let stream = generate_pseudorandom_bytes(expanded[..16].try_into().unwrap(), &[0; 16], 360);
        let beta: Vec<u8> = self
            .routing
            .iter()
            .zip(stream)
            .map(|(a, b)| a ^ b)
            .collect();
        let mac = compute_keyed_hmac::<Sha256>(&expanded[16..32], &beta).unwrap();
        let seed: [u8; 16] = expanded[32..48].try_into().unwrap();
        let delta =
            Payload::encapsulate_message(&self.payload, &[seed], SEALED_PAYLOAD_BYTES).unwrap();
        let mut bytes = self.alpha.to_vec();
        bytes.extend_from_slice(&mac.into_bytes()[..16]);
        bytes.extend_from_slice(&beta);
        assert_eq!(bytes.len(), HEADER_BYTES);
        bytes.extend_from_slice(delta.as_bytes());
        Packet::try_from_slice(&bytes).unwrap()
    }
}
