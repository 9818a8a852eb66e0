//! The fuzz functions on the committed corpus and on seeded mutations of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use whist_link::fuzzing;

/// Every file of a folder of the corpus, in the order of names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
}

/// Each input as it is, then `times` with bytes changed, cut, doubled or appended.
fn run(name: &str, times: usize, fuzz: fn(&[u8])) {
    let mut rng = ChaCha20Rng::seed_from_u64(35);
    for input in corpus(name) {
        fuzz(&input);
        for _ in 0..times {
            let mut mutated = input.clone();
            for _ in 0..=rng.next_u32() % 4 {
                let at = rng.next_u32() as usize % mutated.len().max(1);
                match rng.next_u32() % 5 {
                    0 => mutated.truncate(at),
                    1 => mutated.extend_from_slice(&rng.next_u64().to_be_bytes()),
                    2 => mutated.extend_from_within(at.min(mutated.len())..),
                    _ => {
                        if let Some(byte) = mutated.get_mut(at) {
                            *byte ^= 1 << (rng.next_u32() % 8);
                        }
                    }
                }
                mutated.truncate(40_000);
            }
            fuzz(&mutated);
        }
    }
}

#[test]
fn no_bytes_of_a_frame_panic() {
    run("frame", 2_000, fuzzing::fuzz_frame);
}

#[test]
fn no_bytes_of_parts_panic() {
    run("parts", 2_000, fuzzing::fuzz_parts);
}

#[test]
fn no_bytes_of_a_puzzle_panic() {
    run("puzzle", 2_000, fuzzing::fuzz_puzzle);
}

#[test]
fn no_bytes_on_a_connection_panic() {
    run("connection", 12, fuzzing::fuzz_connection);
}
