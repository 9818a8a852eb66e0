//! What an observer of items could look for.
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

use std::collections::HashMap;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use common::{Pair, inviter, text};
use whist_ratchet::{ITEM_BYTES, IdentitySecret, Item, Session};

/// First items, items of one chain, and items of many chains, all with equal texts.
fn items(first: usize, ordinary: usize) -> Vec<Item> {
    let mut rng = ChaCha20Rng::seed_from_u64(2026);
    let alice = IdentitySecret::generate(&mut rng);
    let bob = inviter(&mut rng);
    let mut all: Vec<Item> = (0..first)
        .map(|_| {
            let made = Session::initiate(&alice, &bob.bundle, &bob.key, &text(b"same"), &mut rng);
            made.unwrap().1.into_item()
        })
        .collect();
    let mut p = Pair::new(21);
    for round in 0..ordinary / 4 {
        all.extend([p.alice_seals(b"same"), p.alice_seals(b"same")]);
        all.extend([p.bob_seals(b"same"), p.bob_seals(b"same")]);
        if round % 8 == 0 {
            p.round_trip();
        }
    }
    all
}

#[test]
fn no_two_items_share_eight_bytes_in_a_row() {
    let mut seen: HashMap<[u8; 8], usize> = HashMap::new();
    for (number, item) in items(40, 200).iter().enumerate() {
        for window in item.as_bytes().windows(8) {
            let before = seen.insert(window.try_into().unwrap(), number);
            assert_eq!(before, None, "item {number}");
        }
    }
}

/// Pearson's statistic of byte values against the uniform law: 255 degrees of freedom.
fn chi_squared(bytes: impl Iterator<Item = u8>) -> f64 {
    let mut counts = [0u32; 256];
    bytes.for_each(|b| counts[usize::from(b)] += 1);
    let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
    let terms = counts.iter().map(|&n| (f64::from(n) - expected).powi(2));
    terms.sum::<f64>() / expected
}

/// Quantiles of χ² with 255 degrees of freedom at 0.001 and 0.999.
const CHI_LOW: f64 = 190.9;
const CHI_HIGH: f64 = 330.5;

#[test]
fn the_bytes_of_items_are_uniform_as_a_whole() {
    for items in [items(300, 0), items(0, 2_000)] {
        let statistic = chi_squared(items.iter().flat_map(|item| *item.as_bytes()));
        assert!((CHI_LOW..CHI_HIGH).contains(&statistic), "{statistic}");
    }
}

#[test]
fn the_bytes_of_items_are_uniform_at_every_offset() {
    // 1,536 offsets: at 5 standard deviations a fair generator fails once in a thousand seeds.
    for items in [items(300, 0), items(0, 2_000)] {
        let n = items.len() as f64;
        let deviation = (65_535.0_f64 / 12.0 / n).sqrt();
        for offset in 0..ITEM_BYTES {
            let sum: u32 = items
                .iter()
                .map(|item| u32::from(item.as_bytes()[offset]))
                .sum();
            let distance = (f64::from(sum) / n - 127.5).abs() / deviation;
            assert!(distance < 5.0, "offset {offset}: {distance} deviations");
        }
    }
}

#[test]
fn the_statistics_find_a_bit_that_is_always_zero() {
    // The control: an X25519 key in the clear, whose highest bit is never set.
    let items = items(0, 400);
    let cleared = items.iter().map(|item| item.as_bytes()[7] & 0x7f);
    assert!(chi_squared(cleared) > CHI_HIGH);
}

#[test]
fn nothing_secret_is_printed() {
    let mut rng = ChaCha20Rng::seed_from_u64(22);
    let alice = IdentitySecret::generate(&mut rng);
    let bob = inviter(&mut rng);
    let (session, item) =
        Session::initiate(&alice, &bob.bundle, &bob.key, &text(b"secret"), &mut rng).unwrap();
    insta::assert_snapshot!(format!("{alice:?}"), @"IdentitySecret([redacted])");
    insta::assert_snapshot!(format!("{:?}", alice.public()), @"PersonKey([redacted])");
    insta::assert_snapshot!(
        format!("{:?}", alice.public().fingerprint()),
        @"Fingerprint([redacted])"
    );
    insta::assert_snapshot!(format!("{:?}", bob.prekeys), @"PrekeySecrets([redacted])");
    insta::assert_snapshot!(format!("{:?}", bob.bundle), @"Bundle([redacted])");
    insta::assert_snapshot!(format!("{:?}", bob.key), @"InvitationKey([redacted])");
    insta::assert_snapshot!(format!("{session:?}"), @"Session([redacted])");
    insta::assert_snapshot!(format!("{item:?}"), @"SealedItem([redacted])");
    insta::assert_snapshot!(format!("{:?}", item.item()), @"Item([redacted])");
    insta::assert_snapshot!(format!("{:?}", text(b"secret")), @"Plaintext([redacted])");
}
