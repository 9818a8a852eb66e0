//! attacks.md row 5: a bit flipped anywhere is a drop, or garbage that no request is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

mod rig;

use std::time::Duration;

use rig::{flipped, request_packet, rng, route, secret, session};
use whist_packet::{
    DropReason, HEADER_BYTES, PACKET_BYTES, SEALED_PAYLOAD_BYTES, Unwrapped, build_surb, unwrap,
};

const CAP: Duration = Duration::from_secs(3_600);
/// The one bit that X25519 ignores.
const BIT_255: usize = 255;

#[test]
fn every_header_bit_flipped_at_the_first_hop_is_a_drop_but_the_one_that_x25519_ignores() {
    let packet = request_packet(3, 1);
    let Ok(original) = unwrap(packet.clone(), &secret(0), CAP) else {
        panic!("the original passes");
    };
    for bit in 0..8 * HEADER_BYTES {
        match unwrap(flipped(&packet, bit), &secret(0), CAP) {
            Err(reason) => assert_eq!(reason, DropReason::BadMac, "bit {bit}"),
            Ok(twin) => {
                // It is the same packet to its node, the tag says so, and nothing of the bit
                // travels on.
                assert_eq!(bit, BIT_255);
                assert_eq!(twin.tag, original.tag);
                let bytes = |content: &Unwrapped| match content {
                    Unwrapped::Forward { packet, .. } => packet.as_bytes().to_vec(),
                    Unwrapped::Final { .. } => panic!("three hops"),
                };
                assert_eq!(bytes(&twin.content), bytes(&original.content));
            }
        }
    }
}

#[test]
fn every_payload_bit_flipped_before_the_last_hop_is_garbage_that_no_request_is() {
    let packet = request_packet(1, 2);
    for bit in 8 * HEADER_BYTES..8 * PACKET_BYTES {
        let opened = unwrap(flipped(&packet, bit), &secret(0), CAP).unwrap();
        let Unwrapped::Final { payload, .. } = opened.content else {
            panic!("one hop");
        };
        assert_eq!(payload.request(), Err(DropReason::BadPayload), "bit {bit}");
    }
}

#[test]
fn payload_bits_flipped_at_any_hop_end_as_garbage_at_the_exit() {
    let hops = 5;
    for at in 0..hops {
        for bit in (8 * HEADER_BYTES..8 * PACKET_BYTES).step_by(1_009) {
            let mut packet = request_packet(hops, 3);
            for n in 0..hops {
                if n == at {
                    packet = flipped(&packet, bit);
                }
                match unwrap(packet.clone(), &secret(n), CAP).unwrap().content {
                    Unwrapped::Forward { packet: onward, .. } => packet = onward,
                    Unwrapped::Final { payload, .. } => {
                        assert_eq!(payload.request(), Err(DropReason::BadPayload));
                    }
                }
            }
        }
    }
}

#[test]
fn header_bits_flipped_at_any_hop_are_a_drop_there() {
    let hops = 5;
    let mut packet = request_packet(hops, 4);
    for n in 0..hops {
        for bit in (0..8 * HEADER_BYTES)
            .step_by(31)
            .filter(|&bit| bit != BIT_255)
        {
            let reason = unwrap(flipped(&packet, bit), &secret(n), CAP).unwrap_err();
            assert_eq!(reason, DropReason::BadMac);
        }
        if let Unwrapped::Forward { packet: onward, .. } =
            unwrap(packet.clone(), &secret(n), CAP).unwrap().content
        {
            packet = onward;
        }
    }
}

#[test]
fn a_bit_of_a_reply_flipped_anywhere_gives_its_maker_nothing() {
    let mut rng = rng(5);
    // With a single hop there would be no layer left at its maker to garble (README).
    let hops = 4;
    let (surb, opener) = build_surb(&route(hops), &session(), &mut rng).unwrap();
    let (_, mut packet) = surb.reply(&rig::random_payload(&mut rng)).unwrap();
    let mut arrived = None;
    for n in 0..hops {
        match unwrap(packet.clone(), &secret(n), CAP).unwrap().content {
            Unwrapped::Forward { packet: onward, .. } => packet = onward,
            Unwrapped::Final { payload, .. } => arrived = Some(payload),
        }
    }
    let payload = arrived.unwrap();
    assert!(opener.open(payload.sealed()).is_ok());
    for bit in (0..8 * SEALED_PAYLOAD_BYTES).step_by(7) {
        let mut sealed = *payload.sealed();
        sealed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(opener.open(&sealed), Err(DropReason::BadPayload));
    }
}
