//! `network.toml` and descriptors: what is refused before a network is trusted.
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

use whist_netdoc::testing::{Authorities, entries};
use whist_netdoc::{
    DESCRIPTOR_BYTES_MAX, Descriptor, IdentitySecret, Kind, LOOP_SEGMENTS_MAX, LinkSecret,
    LoopReport, LoopSegment, Network, NodeRole, Parameters, Refused, SignedDescriptor,
};
use whist_types::{Epoch, Family, NodeId, Secret, SphinxKey, Wall};

fn network() -> Network {
    let mut a = Authorities::new(3, 4, Parameters::default(), Wall::from_secs(1_000));
    a.set_providers(&entries(3, 1, 3));
    a.network().clone()
}

#[test]
fn a_network_survives_its_text_form() {
    let network = network();
    assert_eq!(Network::parse(&network.to_toml()), Ok(network));
}

#[test]
fn a_network_that_could_be_split_or_not_started_is_refused() {
    let refused = |change: fn(&mut Network)| {
        let mut n = network();
        change(&mut n);
        Network::parse(&n.to_toml()).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|n| n.version = 2));
    assert!(refused(|n| n.quorum = 2));
    assert!(refused(|n| n.quorum = 5));
    assert!(refused(|n| drop(n.authorities.pop())));
    assert!(refused(|n| drop(n.providers.pop())));
    assert!(refused(|n| n.schedule.epoch_ms = 0));
    assert!(refused(|n| n.authorities[1].link = n.authorities[0].link));
    assert!(refused(|n| n.authorities[0].address = "no port".into()));
    let unknown = format!("surprise = 1\n{}", network().to_toml());
    assert!(matches!(Network::parse(&unknown), Err(Refused::Text(_))));
}

#[test]
fn another_quorum_schedule_or_key_is_another_network() {
    let hash = |change: fn(&mut Network)| {
        let mut n = network();
        change(&mut n);
        n.trusted().network_hash()
    };
    let own = hash(|_| ());
    assert_ne!(own, hash(|n| n.quorum = 4));
    assert_ne!(own, hash(|n| n.schedule.genesis_ms += 1));
    assert_ne!(own, hash(|n| n.authorities.swap(0, 1)));
    assert_eq!(own, hash(|n| n.authorities[0].address = "moved:1".into()));
}

fn keys(number: u8) -> (IdentitySecret, LinkSecret) {
    (
        IdentitySecret::from_seed(&Secret::new([number; 32])),
        LinkSecret::from_seed(&Secret::new([number ^ 0x80; 32])),
    )
}

fn descriptor(number: u8, kind: Kind, family: u8, epoch: u64) -> Descriptor {
    let (identity, link) = keys(number);
    Descriptor {
        epoch: Epoch::new(epoch),
        identity: identity.public(),
        link: link.public(),
        keys: [SphinxKey::from_bytes([number; 32]); 4],
        address: format!("node-{number}.example:9000"),
        kind,
        family: Family::from_bytes([family; 32]),
        capacity: 100,
        load: 0,
        loops: LoopReport::default(),
    }
}

#[test]
fn a_descriptor_needs_both_signatures_over_its_very_bytes() {
    let d = descriptor(1, Kind::Mix, 1, 5);
    let (identity, link) = keys(1);
    let (other_identity, other_link) = keys(2);
    let verify = |bytes: &[u8]| SignedDescriptor::parse(bytes)?.verify();
    let signed = d.sign(&identity, &link);
    assert_eq!(verify(signed.as_bytes()), Ok(d.clone()));
    let refused = Err(Refused::BadSignature);
    assert_eq!(verify(d.sign(&other_identity, &link).as_bytes()), refused);
    assert_eq!(verify(d.sign(&identity, &other_link).as_bytes()), refused);
    for at in 0..signed.as_bytes().len() {
        let mut bytes = signed.as_bytes().to_vec();
        bytes[at] ^= 1;
        assert!(verify(&bytes).is_err(), "byte {at}");
    }
    let longer = [signed.as_bytes(), &[0]].concat();
    assert_eq!(verify(&longer), Err(Refused::Malformed("descriptor")));
    let bomb = [0; DESCRIPTOR_BYTES_MAX + 1];
    assert_eq!(verify(&bomb), Err(Refused::TooLarge));
}

#[test]
fn a_descriptor_with_a_key_that_no_route_takes_is_refused() {
    let (identity, link) = keys(1);
    let verify = |at: usize, key: SphinxKey| {
        let mut d = descriptor(1, Kind::Mix, 1, 5);
        d.keys[at] = key;
        SignedDescriptor::parse(d.sign(&identity, &link).as_bytes())?.verify()
    };
    let with_top_bit = |key: SphinxKey| {
        let mut bytes = key.to_bytes();
        bytes[31] |= 0x80;
        SphinxKey::from_bytes(bytes)
    };
    let good = SphinxKey::from_bytes([9; 32]);
    let mut above_p = [0xff; 32];
    above_p[31] = 0x7f;
    let mut bad = SphinxKey::SMALL_ORDER.to_vec();
    bad.extend(SphinxKey::SMALL_ORDER.map(with_top_bit));
    bad.extend([with_top_bit(good), SphinxKey::from_bytes(above_p)]);
    for at in 0..4 {
        assert!(verify(at, good).is_ok());
        for key in &bad {
            let refused = Err(Refused::Malformed("Sphinx key"));
            assert_eq!(verify(at, *key), refused, "{key} at {at}");
        }
    }
}

#[test]
fn the_longest_descriptor_fits_its_limit() {
    let mut d = descriptor(1, Kind::Mix, 1, 5);
    d.address = format!("{}:65535", "a".repeat(254));
    d.loops = LoopReport::alarm((0..LOOP_SEGMENTS_MAX).map(|n| segment(n as u8)).collect());
    let (identity, link) = keys(1);
    let signed = d.sign(&identity, &link);
    assert!(signed.as_bytes().len() <= DESCRIPTOR_BYTES_MAX);
    assert!(
        SignedDescriptor::parse(signed.as_bytes())
            .unwrap()
            .verify()
            .is_ok()
    );
}

fn segment(from: u8) -> LoopSegment {
    let node = |byte| NodeId::from_bytes([byte; 32]);
    LoopSegment::rounded(node(from), node(0xff), 1_000, 999).unwrap()
}

#[test]
fn a_loop_report_has_one_form_says_little_and_stands_in_no_consensus() {
    let (identity, link) = keys(1);
    let verify = |d: &Descriptor| {
        let signed = d.sign(&identity, &link);
        SignedDescriptor::parse(signed.as_bytes())?.verify()
    };
    let mut silent = descriptor(1, Kind::Mix, 1, 5);
    let mut loud = silent.clone();
    loud.loops = LoopReport::alarm(vec![segment(9), segment(3)]);
    assert_eq!(verify(&loud), Ok(loud.clone()));
    let [first, second] = loud.loops.segments[..] else {
        panic!("two segments");
    };
    assert!(first.from < second.from, "in their order");
    assert_eq!((first.sent, first.lost), (512, 512), "rounded");
    assert_eq!(LoopSegment::rounded(first.from, first.to, 100, 0), None);
    assert_eq!(
        LoopReport::alarm((0..9).map(segment).collect())
            .segments
            .len(),
        4
    );

    let bad = |change: fn(&mut LoopReport)| {
        let mut d = loud.clone();
        change(&mut d.loops);
        assert_eq!(verify(&d), Err(Refused::Malformed("loop report")));
    };
    bad(|report| report.alarm = false);
    bad(|report| report.segments.reverse());
    bad(|report| report.segments[1] = report.segments[0]);
    bad(|report| report.segments = (0..5).map(segment).collect());
    bad(|report| report.segments[0].sent = 0);
    bad(|report| report.segments[0].sent = 511);
    bad(|report| report.segments[0].lost = 3);
    bad(|report| report.segments[0].sent = 256);
    let entries = |d: &Descriptor| {
        let nodes = whist_netdoc::entries(Epoch::new(5), &Parameters::demo(), [d]);
        borsh::to_vec(&nodes).unwrap()
    };
    assert_eq!(entries(&loud), entries(&silent));
    silent.kind = Kind::Provider;
    assert!(verify(&silent).is_ok());
    silent.loops = loud.loops;
    assert!(verify(&silent).is_err(), "a provider has no loops");
}

#[test]
fn descriptors_become_entries_and_a_family_of_both_kinds_none() {
    let parameters = Parameters::demo();
    let mut all: Vec<_> = (0..9).map(|n| descriptor(n, Kind::Mix, n, 5)).collect();
    all.push(descriptor(20, Kind::Provider, 20, 5));
    all.push(descriptor(21, Kind::Provider, 3, 5));
    all.push(descriptor(22, Kind::Provider, 22, 6));
    let nodes = whist_netdoc::entries(Epoch::new(5), &parameters, &all);
    // Mix 3 and provider 21 share a family; 22 is for another epoch.
    assert_eq!(nodes.len(), 9);
    let of = |n: u8| {
        nodes
            .iter()
            .find(|e| e.id == descriptor(n, Kind::Mix, n, 5).id())
    };
    assert!(of(3).is_none() && of(21).is_none() && of(22).is_none());
    assert_eq!(of(20).unwrap().role, NodeRole::Provider);
    let mut layers = BTreeMap::new();
    for node in &nodes {
        *layers.entry(node.role.layer()).or_insert(0) += 1;
    }
    layers.remove(&None);
    assert_eq!(layers.into_values().collect::<Vec<_>>(), [3, 3, 2]);
}

#[test]
fn layers_hold_for_their_life_and_are_drawn_anew_after_it() {
    let parameters = Parameters {
        layer_life_epochs: 10,
        ..Parameters::demo()
    };
    let layers = |epoch| {
        let all: Vec<_> = (0..30)
            .map(|n| descriptor(n, Kind::Mix, n, epoch))
            .collect();
        let nodes = whist_netdoc::entries(Epoch::new(epoch), &parameters, &all);
        nodes.iter().map(|n| (n.id, n.role)).collect::<Vec<_>>()
    };
    assert_eq!(layers(10), layers(19));
    assert_ne!(layers(19), layers(20));
    assert_ne!(layers(0), layers(10));
}
