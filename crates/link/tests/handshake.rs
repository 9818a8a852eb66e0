//! How a link opens, and everything that must keep it shut.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::collections::BTreeMap;
use std::time::Duration;

use whist_link::pair::{Setup, records};
use whist_link::{Clients, Error, Frame, LinkIdentity, Pair, RECORD_BYTES, Remote, limits};
use whist_types::{LinkKey, Reader, Secret};

#[test]
fn two_nodes_open_a_link_and_each_knows_the_others_key() {
    let setup = Setup::nodes();
    let pair = Pair::connected(&setup).unwrap();
    assert!(pair.is_open());
    let client = setup.client.as_ref().unwrap().public();
    assert_eq!(pair.server.remote(), Some(Remote::Node(client)));
    assert_eq!(
        pair.client.remote(),
        Some(Remote::Node(setup.server.public()))
    );
}

#[test]
fn a_client_opens_a_link_without_proving_anything() {
    let pair = Pair::connected(&Setup::client()).unwrap();
    assert!(pair.is_open());
    assert_eq!(pair.server.remote(), Some(Remote::Anonymous));
}

#[test]
fn a_provider_takes_a_node_on_the_same_listener() {
    let setup = Setup {
        clients: Clients::Allowed,
        ..Setup::nodes()
    };
    let pair = Pair::connected(&setup).unwrap();
    let client = setup.client.as_ref().unwrap().public();
    assert_eq!(pair.server.remote(), Some(Remote::Node(client)));
}

#[test]
fn a_server_that_wants_keys_refuses_a_peer_without_one() {
    let setup = Setup {
        clients: Clients::Refused,
        ..Setup::client()
    };
    let pair = Pair::connected(&setup).unwrap();
    assert_eq!(pair.server.error(), Some(&Error::WrongKey));
    assert!(pair.server.remote().is_none() && pair.client.is_closed());
}

#[test]
fn a_server_with_another_key_than_expected_is_refused_in_silence() {
    let setup = Setup {
        expected: LinkKey::from_bytes([7; 32]),
        ..Setup::nodes()
    };
    let pair = Pair::connected(&setup).unwrap();
    assert_eq!(pair.client.error(), Some(&Error::WrongKey));
    assert!(pair.client.remote().is_none() && !pair.server.is_open());
    // Nothing but the ClientHello went out: no alert tells the server why.
    assert_eq!(records(&pair.client_wire).len(), 1);
}

#[test]
fn a_bit_flipped_in_the_servers_flight_keeps_the_link_shut() {
    let mut pair = Pair::new(&Setup::nodes()).unwrap();
    pair.client_to_server(|_| {});
    pair.server_to_client(|bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    assert!(pair.client.is_closed() && pair.client.remote().is_none());
}

/// The extensions of a ClientHello, in the order of their types (the library shuffles them). The
/// key share is replaced by its group and length.
fn hello(setup: &Setup) -> BTreeMap<u16, Vec<u8>> {
    let mut pair = Pair::new(setup).unwrap();
    pair.client_to_server(|_| {});
    assert!(pair.client_wire.len() < limits::HANDSHAKE_RECORD / 2);
    let mut r = Reader::new(&pair.client_wire);
    // Record and handshake headers, version, random, session id of 32 bytes.
    r.slice(5 + 4 + 2 + 32 + 1 + 32).unwrap();
    // One suite: ChaCha20-Poly1305 (and the signal of RFC 5746, if TLS 1.2 were offered).
    assert_eq!(r.array(), Ok([0, 2, 0x13, 0x03]));
    // No compression.
    assert_eq!(r.array(), Ok([1, 0]));
    let mut rest = Reader::new(r.rest());
    assert_eq!(usize::from(rest.u16().unwrap()), rest.rest().len());
    let mut extensions = BTreeMap::new();
    while let Ok(kind) = rest.u16() {
        let length = rest.u16().unwrap();
        let mut body = rest.slice(length.into()).unwrap().to_vec();
        if kind == 51 {
            body.truncate(6);
        }
        extensions.insert(kind, body);
    }
    extensions
}

#[test]
fn clients_and_nodes_begin_with_equal_hellos_that_offer_one_way_alone() {
    let node = hello(&Setup::nodes());
    assert_eq!(node, hello(&Setup::client()));
    // Supported groups, versions, signatures; one key share of 1,216 bytes; raw keys both ways.
    assert_eq!(node[&10], [0, 2, 0x11, 0xec]);
    assert_eq!(node[&43], [2, 3, 4]);
    assert_eq!(node[&13], [0, 2, 8, 7]);
    assert_eq!(node[&51], [4, 0xc4, 0x11, 0xec, 4, 0xc0]);
    assert_eq!((&node[&19], &node[&20]), (&vec![1, 2], &vec![1, 2]));
    // Server name, protocols, session ticket, pre-shared key, early data, ticket request: none.
    assert!(
        [0, 16, 35, 41, 42, 58]
            .iter()
            .all(|e| !node.contains_key(e))
    );
}

#[test]
fn every_frame_is_one_record_of_2436_bytes_in_both_directions() {
    let mut pair = Pair::connected(&Setup::nodes()).unwrap();
    for i in 0..20 {
        pair.client.send(pair.now, Frame::Dummy).unwrap();
        let packet = Frame::Packet(Box::new([i; 2413]));
        pair.server.send(pair.now, packet).unwrap();
        if i % 3 == 0 {
            pair.drive();
        }
    }
    pair.drive();
    assert_eq!(
        (pair.client_frames.len(), pair.server_frames.len()),
        (20, 20)
    );
    pair.client.close();
    pair.drive();
    assert!(pair.client.error().is_none() && pair.server.error().is_none());
    assert!(pair.client.is_closed() && pair.server.is_closed());
    for wire in [&pair.client_wire, &pair.server_wire] {
        let sealed: Vec<usize> = records(wire)
            .iter()
            .filter(|r| r.kind == 23)
            .map(|r| r.bytes)
            .collect();
        // The handshake's flight, the frames, close_notify.
        assert_eq!(sealed.len(), 22);
        assert!(
            sealed[1..21].iter().all(|&b| b == RECORD_BYTES),
            "{sealed:?}"
        );
        assert_eq!(sealed[21], 24);
    }
}

#[test]
fn a_handshake_that_takes_ten_seconds_is_abandoned() {
    let mut pair = Pair::new(&Setup::nodes()).unwrap();
    let due = pair.now.instant.after(limits::HANDSHAKE);
    assert_eq!(pair.client.poll_timeout(), Some(due));
    pair.advance(limits::HANDSHAKE.saturating_sub(Duration::from_nanos(1)));
    assert!(!pair.server.is_closed());
    pair.advance(Duration::from_nanos(1));
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.error(), Some(&Error::TimedOut("handshake")));
        assert_eq!(end.poll_timeout(), None);
    }
    let mut out = Vec::new();
    assert_eq!(pair.client.transmit(&mut out), 0);
}

#[test]
fn identities_print_nothing_of_themselves() {
    let identity = LinkIdentity::from_secret(&Secret::new([0xab; 32]));
    assert_eq!(format!("{identity:?}"), "[redacted]");
    let setup = Setup {
        server: LinkIdentity::from_secret(&Secret::new([0xab; 32])),
        ..Setup::nodes()
    };
    let pair = Pair::connected(&setup).unwrap();
    let shown = format!("{setup:?} {pair:?}");
    assert!(!shown.contains("171, 171, 171") && !shown.to_lowercase().contains("abababab"));
}
