//! Functions over bytes that must return, whatever the bytes are. `cargo test` runs them over the
//! committed corpus and over random and mutated inputs; cargo-fuzz runs them for hours.

use std::time::Duration;

use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::Version;
use whist_types::{Epoch, Reader, Secret};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::replay::{ReplayTable, inspect};
use crate::request::{parse_reply, parse_request};
use crate::{
    PACKET_BYTES, PAYLOAD_BYTES, Packet, SEALED_PAYLOAD_BYTES, SURB_BYTES, SphinxSecret, Surb,
    Unwrapped, check, unwrap,
};

const CAP: Duration = Duration::from_millis(5_526);

/// The key that inputs are opened with; known, so that a corpus can hold packets for it.
pub fn fuzz_secret() -> SphinxSecret {
    SphinxSecret::from_secret(&Secret::new([0x42; 32]))
}

/// As many bytes as fit, the rest zeros.
fn sized<const N: usize>(data: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(data) {
        *to = *from;
    }
    bytes
}

/// A packet off the wire: any bytes of any size, and packets with a MAC that holds around fields
/// that the bytes choose.
///
/// # Panics
/// Only if this crate is wrong: what opens is not what was built, or a tag depends on bit 255.
#[expect(clippy::panic, reason = "a fuzz function reports by panicking")]
pub fn fuzz_unwrap(data: &[u8]) {
    let secret = fuzz_secret();
    if Packet::try_from_slice(data).is_ok() != (data.len() == PACKET_BYTES) {
        panic!("size");
    }
    let packet = Packet::from_bytes(Box::new(sized(data)));
    let mut twin = packet.clone().into_bytes();
    if let Some(top) = twin.get_mut(31) {
        *top ^= 0x80;
    }
    let tags = [packet.clone(), Packet::from_bytes(twin)].map(|p| {
        check(p, &secret)
            .map(|checked| checked.tag().clone())
            .map_err(|rejected| rejected.reason)
    });
    if tags.first() != tags.last() {
        panic!("twins differ");
    }
    open_and_go_on(packet, &secret);
    if let Some(packet) = chosen(data, &secret) {
        open_and_go_on(packet, &secret);
    }
    if let Ok(surb) = Surb::from_bytes(&sized::<SURB_BYTES>(data))
        && let Ok((_, packet)) = surb.reply(&sized::<PAYLOAD_BYTES>(data))
    {
        open_and_go_on(packet, &secret);
    }
}

fn open_and_go_on(packet: Packet, secret: &SphinxSecret) {
    match unwrap(packet, secret, CAP).map(|opened| opened.content) {
        Ok(Unwrapped::Forward { packet, .. }) => {
            let _dropped = unwrap(packet, secret, CAP);
        }
        Ok(Unwrapped::Final { payload, .. }) => {
            if let Ok(request) = payload.request() {
                let _parsed = parse_request(&request);
            }
        }
        Err(_) => {}
    }
}

/// A packet whose version, delay, hops, next node and destination are the input's.
fn chosen(data: &[u8], secret: &SphinxSecret) -> Option<Packet> {
    let mut r = Reader::new(data);
    let initial = StaticSecret::from(r.array::<32>().ok()?);
    let version = Version::new(r.u16().ok()?);
    let delay = Delay::new_from_nanos(r.u64().ok()?);
    let hops = usize::from(r.u8().ok()? % 5).checked_add(1)?;
    let node = Node::new(
        NodeAddressBytes::from_bytes(r.array().ok()?),
        PublicKey::from(secret.public().to_bytes()),
    );
    let to = Destination::new(
        DestinationAddressBytes::from_bytes(r.array().ok()?),
        r.array().ok()?,
    );
    let packet = SphinxPacketBuilder::new()
        .with_version(version)
        .with_payload_size(SEALED_PAYLOAD_BYTES)
        .with_initial_secret(&initial)
        .build_packet(
            sized::<PAYLOAD_BYTES>(r.rest()),
            &vec![node; hops],
            &to,
            &vec![delay; hops],
        )
        .ok()?;
    Packet::try_from_slice(&packet.to_bytes()).ok()
}

/// A request's and a reply's payload, as they come out of Sphinx: what parses must mean the same
/// when it is encoded again.
///
/// # Panics
/// Only if this crate is wrong.
#[expect(clippy::panic, reason = "a fuzz function reports by panicking")]
pub fn fuzz_request(data: &[u8]) {
    use crate::request::{encode_reply, encode_request};
    let payload = sized::<PAYLOAD_BYTES>(data);
    if let Ok((surb, Ok(request))) = parse_request(&payload) {
        let again = encode_request(&request, &surb, &mut Zeros);
        match parse_request(&again) {
            Ok((same_surb, Ok(same))) if same == request && same_surb == surb => {}
            _ => panic!("a request changed its meaning"),
        }
    }
    if let Ok(reply) = parse_reply(&payload) {
        let again = encode_reply(&reply.consensus, &reply.body, &mut Zeros);
        if parse_reply(&again) != Ok(reply) {
            panic!("a reply changed its meaning");
        }
    }
}

/// A region of memory that claims to be a replay table.
///
/// # Panics
/// Only if this crate is wrong: a tag that was fresh is not seen afterwards.
#[expect(clippy::panic, reason = "a fuzz function reports by panicking")]
pub fn fuzz_replay_region(data: &[u8]) {
    use crate::{Inserted, ReplayTag};
    let _found = inspect(data);
    let Ok(mut table) = ReplayTable::open(data.to_vec(), 0) else {
        return;
    };
    let tag = ReplayTag::from_bytes(sized(data));
    if table.insert(&tag) == Inserted::Fresh && table.insert(&tag) != Inserted::Seen {
        panic!("a tag was forgotten");
    }
    let _epoch: Epoch = table.epoch();
}

/// A generator of zeros, for encodings whose unused bytes do not matter.
struct Zeros;

impl rand_core::TryRng for Zeros {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        dst.fill(0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Zeros {}
