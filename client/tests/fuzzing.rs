//! The fuzz functions on the committed corpus, on what mutates it, and on noise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::path::Path;

use rand_core::{Rng as _, SeedableRng as _};
use whist::fuzzing;
use whist_timing::Rng;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

fn run(name: &str, function: fn(&[u8]), rounds: u32) {
    let seeds = corpus(name);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| function(seed));
    let mut rng = Rng::from_seed([11; 32]);
    for _ in 0..rounds {
        let mut input = seeds[rng.next_u32() as usize % seeds.len()].clone();
        for _ in 0..=rng.next_u32() % 4 {
            let place = rng.next_u32() as usize % (input.len() + 1);
            match rng.next_u32() % 4 {
                0 => input.truncate(place),
                1 => input.insert(place, rng.next_u32() as u8),
                2 => input.extend_from_within(..place),
                _ if place < input.len() => input[place] ^= 1 << (rng.next_u32() % 8),
                _ => {}
            }
        }
        function(&input);
        let mut noise = vec![0; rng.next_u32() as usize % 300];
        rng.fill_bytes(&mut noise);
        function(&noise);
    }
}

#[test]
fn no_line_of_the_socket_breaks_the_daemon() {
    run("line", fuzzing::line, 20_000);
}

#[test]
fn no_body_of_an_item_breaks_a_conversation() {
    run("bodies", fuzzing::bodies, 20_000);
}

#[test]
fn no_row_of_the_vault_breaks_the_start() {
    run("rows", fuzzing::rows, 3_000);
}
