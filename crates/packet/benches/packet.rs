//! What a packet costs: unwrapping and building, each beside `sphinx-packet` itself in the same
//! run. Prints a table and writes `target/bench/packet.json`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    missing_docs,
    reason = "a bench reads the clock and prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination as To, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{SphinxPacket, SphinxPacketBuilder};
use whist_packet::{
    Destination, HOPS_MAX, Hop, PAYLOAD_BYTES, Packet, Route, SEALED_PAYLOAD_BYTES, SphinxSecret,
    build, unwrap,
};
use whist_types::{NodeId, Secret};
use x25519_dalek::{PublicKey, StaticSecret};

/// Both sides take turns, so that whatever else the machine does meets both.
const ROUNDS: usize = 60;
const EACH: usize = 20;
const DELAY: Duration = Duration::from_millis(200);

fn secret(hop: usize) -> [u8; 32] {
    [hop as u8 + 1; 32]
}

fn id(hop: usize) -> [u8; 32] {
    [hop as u8 + 100; 32]
}

fn route() -> Route {
    let hops = (0..HOPS_MAX).map(|hop| Hop {
        node: NodeId::from_bytes(id(hop)),
        key: SphinxSecret::from_secret(&Secret::new(secret(hop))).public(),
        delay: DELAY,
    });
    Route::exactly(hops.collect(), HOPS_MAX).unwrap()
}

/// The same route as the library takes it.
fn library_route() -> (Vec<Node>, Vec<Delay>) {
    let node = |hop| {
        let key = PublicKey::from(&StaticSecret::from(secret(hop)));
        Node::new(NodeAddressBytes::from_bytes(id(hop)), key)
    };
    let delay = Delay::new_from_nanos(DELAY.as_nanos() as u64);
    ((0..HOPS_MAX).map(node).collect(), vec![delay; HOPS_MAX])
}

fn time(each: &mut dyn FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..EACH {
        each();
    }
    begun.elapsed().as_secs_f64() * 1e6 / EACH as f64
}

/// Medians over the rounds, in µs: ours and the reference's.
fn compare(ours: &mut dyn FnMut(), theirs: &mut dyn FnMut()) -> [f64; 2] {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(time(ours));
        b.push(time(theirs));
    }
    [a, b].map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

fn main() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (route, payload) = (route(), [7; PAYLOAD_BYTES]);
    let packet = build(&route, &Destination::REQUEST, &payload, &mut rng).unwrap();
    let (key, raw) = (
        SphinxSecret::from_secret(&Secret::new(secret(0))),
        StaticSecret::from(secret(0)),
    );
    let bytes = packet.as_bytes().to_vec();
    let unwrapping = compare(
        &mut || {
            let packet = Packet::try_from_slice(&bytes).unwrap();
            black_box(unwrap(packet, &key, Duration::MAX).unwrap());
        },
        &mut || {
            let parsed = SphinxPacket::from_bytes(&bytes).unwrap();
            black_box(parsed.process(&raw).unwrap());
        },
    );
    let (nodes, delays) = library_route();
    let to = To::new(DestinationAddressBytes::from_bytes([0; 32]), [0; 16]);
    let mut other = ChaCha20Rng::seed_from_u64(2);
    let building = compare(
        &mut || {
            black_box(build(&route, &Destination::REQUEST, &payload, &mut rng).unwrap());
        },
        &mut || {
            let initial = StaticSecret::random_from_rng(&mut other);
            let builder = SphinxPacketBuilder::new()
                .with_version(SINGLE_SEED_SURB_VERSION)
                .with_payload_size(SEALED_PAYLOAD_BYTES)
                .with_initial_secret(&initial);
            black_box(
                builder
                    .build_packet(payload, &nodes, &to, &delays)
                    .unwrap()
                    .to_bytes(),
            );
        },
    );
    let rows = [
        ("unwrap a forward hop", unwrapping),
        ("build, 5 hops", building),
    ];
    let mut json = Vec::new();
    println!(
        "{:22} {:>10} {:>16} {:>7}",
        "", "µs", "sphinx-packet µs", "ratio"
    );
    for (name, [ours, theirs]) in rows {
        let ratio = theirs / ours;
        println!("{name:22} {ours:>10.1} {theirs:>16.1} {ratio:>7.2}");
        json.push(format!(
            "{{\"name\":\"{name}\",\"value\":{ours:.2},\"unit\":\"us\",\
             \"reference\":\"sphinx-packet 0.8\",\"reference_value\":{theirs:.2},\
             \"ratio\":{ratio:.3}}}"
        ));
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(
        format!("{folder}/packet.json"),
        format!("[{}]\n", json.join(",")),
    )
    .unwrap();
}
