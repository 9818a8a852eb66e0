//! The fuzz functions on the committed corpus, and on mutations of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    dead_code,
    unreachable_pub,
    missing_docs
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Once;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use common::{Pair, inviter};
use whist_ratchet::{Invitation, fuzzing, seal_bundle};
use whist_types::NodeId;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    bless();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// What the corpus begins with: one honest input for each parser. Longer runs add to it.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut rng = ChaCha20Rng::seed_from_u64(40);
    let bob = inviter(&mut rng);
    let mut p = Pair::new(41);
    let item = p.alice_seals(b"lost");
    let heard = p.alice_seals(b"heard");
    p.bob_opens(&heard).unwrap();
    let mut inner = vec![1];
    inner.extend_from_slice(p.alice.peer().as_bytes());
    inner.resize(1_496, 9);
    let mut plaintext = vec![0; 1_436];
    plaintext[..2].copy_from_slice(&[1, 4]);
    plaintext[34..41].copy_from_slice(&[0, 5, b'h', b'e', b'l', b'l', b'o']);
    let invitation = Invitation {
        provider: NodeId::from_bytes([1; 32]),
        key: bob.key.duplicate(),
    };
    vec![
        ("bundle", bob.bundle.to_bytes().to_vec()),
        ("blob", seal_bundle(&bob.bundle).to_vec()),
        ("invitation", invitation.to_string().into_bytes()),
        ("first_item", inner),
        ("item", item.as_bytes().to_vec()),
        ("plaintext", plaintext),
        ("stored_session", p.bob.to_bytes().to_vec()),
        ("stored_session", p.alice.to_bytes().to_vec()),
        ("stored_prekeys", bob.prekeys.to_bytes().to_vec()),
    ]
}

#[test]
fn the_corpus_holds_an_honest_input_for_each_parser() {
    for (target, bytes) in seeds() {
        assert!(corpus(target).contains(&bytes), "{target}");
    }
}

/// Writes the seeds anew if `WHIST_BLESS` is set.
fn bless() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        if std::env::var_os("WHIST_BLESS").is_none() {
            return;
        }
        for (number, (target, bytes)) in seeds().iter().enumerate() {
            std::fs::create_dir_all(folder(target)).unwrap();
            std::fs::write(folder(target).join(format!("honest-{number}")), bytes).unwrap();
        }
    });
}

fn mutate(bytes: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=rng.next_u32() % 4 {
        let at = rng.next_u32() as usize % (bytes.len() + 1);
        match rng.next_u32() % 5 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.next_u32() as u8),
            2 => bytes.extend_from_within(at..),
            _ if at < bytes.len() => bytes[at] = rng.next_u32() as u8,
            _ => bytes.push(0),
        }
        bytes.truncate(8_192);
    }
    bytes
}

/// `WHIST_FUZZ_ROUNDS` raises the number of inputs for a long run.
fn rounds() -> usize {
    let set = std::env::var("WHIST_FUZZ_ROUNDS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

#[test]
fn no_parser_panics_on_the_corpus_or_on_what_is_near_it() {
    let mut rng = ChaCha20Rng::seed_from_u64(42);
    for (name, target) in fuzzing::ALL {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name}");
        inputs.iter().for_each(|input| target(input));
        for round in 0..rounds() {
            target(&mutate(&inputs[round % inputs.len()], &mut rng));
        }
    }
}
