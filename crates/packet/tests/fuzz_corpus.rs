//! The fuzz functions over the committed corpus, and over random and mutated inputs.
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

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use rand_core::Rng;
use rig::{RawPacket, node_id, rng, route, session};
use whist_packet::fuzzing::{fuzz_replay_region, fuzz_request, fuzz_secret, fuzz_unwrap};
use whist_packet::replay::bytes_for;
use whist_packet::request::{ReplyBody, Request, encode_reply, encode_request};
use whist_packet::{
    Destination, Hop, PACKET_BYTES, PAYLOAD_BYTES, ReplayTable, ReplayTag, Route, build, build_surb,
};
use whist_types::{ConsensusHash, Epoch, Secret};

type FuzzFunction = fn(&[u8]);

const FUNCTIONS: [(&str, FuzzFunction); 3] = [
    ("unwrap", fuzz_unwrap),
    ("request", fuzz_request),
    ("replay_region", fuzz_replay_region),
];

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn the_committed_corpus_panics_nowhere_neither_whole_nor_cut_nor_flipped() {
    for (name, function) in FUNCTIONS {
        let inputs = corpus(name);
        assert!(inputs.len() >= 4, "{name}");
        let mut rng = rng(1);
        for (_, input) in inputs {
            function(&input);
            function(&input[..input.len() / 2]);
            for _ in 0..100 {
                let mut mutated = input.clone();
                if !mutated.is_empty() {
                    let at = rng.next_u64() as usize % mutated.len();
                    mutated[at] ^= 1 << (rng.next_u32() % 8);
                }
                function(&mutated);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_bytes_of_any_length_panic_anything(data in prop::collection::vec(any::<u8>(), 0..5_000)) {
        for (_, function) in FUNCTIONS {
            function(&data);
        }
    }

    #[test]
    fn no_routing_information_under_a_mac_that_holds_panics_a_hop(
        routing in prop::collection::vec(any::<u8>(), 300),
        flag in 0..4_u8,
        pinned in any::<bool>(),
    ) {
        let mut alpha = [0; 32];
        alpha[0] = 9;
        let mut raw = RawPacket::last_hop(alpha, &session());
        raw.routing.copy_from_slice(&routing);
        raw.routing[0] = flag;
        if pinned {
            raw.routing[1..4].copy_from_slice(&[0, 1, 4]);
        }
        let packet = raw.seal(&fuzz_secret().expose());
        fuzz_unwrap(packet.as_bytes());
    }

    #[test]
    fn no_request_with_a_good_start_panics_a_provider(
        mut data in prop::collection::vec(any::<u8>(), PAYLOAD_BYTES),
        command in 0..10_u8,
    ) {
        data[0] = 1;
        data[1] = command;
        fuzz_request(&data);
    }
}

/// Writes the corpus anew: `cargo test -p whist-packet --test fuzz_corpus -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_corpus() {
    let write = |name: &str, file: &str, bytes: &[u8]| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), bytes).unwrap();
    };
    let rng = &mut rng(1);
    let hop = |n| Hop {
        node: node_id(n),
        key: fuzz_secret().public(),
        delay: Duration::from_millis(200),
    };
    let surb = build_surb(&route(4), &session(), rng).unwrap().0;
    let echo = encode_request(&Request::Echo, &surb, rng);
    for hops in [1, 2, 5] {
        let route = Route::exactly((0..hops).map(hop).collect(), hops.into()).unwrap();
        let packet = build(&route, &Destination::REQUEST, &echo, rng).unwrap();
        write("unwrap", &format!("{hops}_hops"), packet.as_bytes());
    }
    write("unwrap", "zeros", &[0; PACKET_BYTES]);
    write("unwrap", "one_short", &[0xff; PACKET_BYTES - 1]);
    let raw = RawPacket::forward_hop([9; 32], node_id(1), u64::MAX);
    write(
        "unwrap",
        "endless_delay",
        raw.seal(&fuzz_secret().expose()).as_bytes(),
    );
    let (own, _) = build_surb(&Route::exactly(vec![hop(0)], 1).unwrap(), &session(), rng).unwrap();
    write("unwrap", "surb", &own.to_bytes());

    write("request", "echo", &echo[..]);
    let put = Request::Put {
        address: whist_types::MailboxAddress::from_bytes([1; 32]),
        item: Box::new([2; 1_536]),
    };
    write("request", "put", &encode_request(&put, &surb, rng)[..]);
    for command in 2..=9 {
        let mut bytes = echo.clone();
        bytes[1] = command;
        bytes[2 + 396 + 40] = 5;
        write("request", &format!("command_{command}"), &bytes[..]);
    }
    let zero = ConsensusHash::from_bytes([0; 32]);
    let none = ReplyBody::None {
        waiting: 1,
        oldest: 2,
    };
    write(
        "request",
        "reply_none",
        &encode_reply(&zero, &none, rng)[..],
    );

    let key = whist_packet::SphinxSecret::from_secret(&Secret::new([7; 32]));
    let memory = vec![0; bytes_for(10)];
    let mut table = ReplayTable::create(memory, Epoch::new(3), &key, rng).unwrap();
    for n in 0..10 {
        let _fresh = table.insert(&ReplayTag::from_bytes([n; 32]));
    }
    let whole = table.into_memory();
    write("replay_region", "whole", &whole);
    write("replay_region", "cut", &whole[..5_000]);
    write("replay_region", "blank", &vec![0; 4_096]);
    let mut entering = whole;
    entering[128..256].fill(0);
    write("replay_region", "entering", &entering);
}
