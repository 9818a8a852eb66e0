#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::collections::HashSet;

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use whist_types::{Epoch, Secret};

use super::header::SLOT_BYTES;
use super::page::{PAGE_BYTES, SLOTS};
use super::*;
use crate::{ReplayTag, SphinxSecret};

const EPOCH: Epoch = Epoch::new(7);

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn key() -> SphinxSecret {
    SphinxSecret::from_secret(&Secret::new([42; 32]))
}

fn tag(n: u64) -> ReplayTag {
    ReplayTag::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn table(bytes: usize) -> ReplayTable<Vec<u8>> {
    ReplayTable::create(vec![0xee; bytes], EPOCH, &key(), &mut rng(1)).unwrap()
}

/// A table of `pages` pages with tags 0..n in it.
fn filled(pages: usize, n: u64) -> ReplayTable<Vec<u8>> {
    let mut table = table((pages + 1) * PAGE_BYTES);
    for i in 0..n {
        assert_eq!(table.insert(&tag(i)), Inserted::Fresh);
    }
    table
}

fn assert_all_seen(table: &mut ReplayTable<Vec<u8>>, n: u64) {
    for i in 0..n {
        assert_eq!(table.insert(&tag(i)), Inserted::Seen, "tag {i} forgotten");
    }
}

#[test]
fn a_tag_is_fresh_once_and_seen_ever_after_also_when_opened_again() {
    let mut model = HashSet::new();
    let mut table = table(bytes_for(4_000));
    let mut rng = rng(3);
    for step in 0..6_000 {
        let n = rng.next_u64() % 4_000;
        let expected = if model.insert(n) {
            Inserted::Fresh
        } else {
            Inserted::Seen
        };
        assert_eq!(table.insert(&tag(n)), expected);
        if step % 997 == 0 {
            let generation = table.generation();
            table = ReplayTable::open(table.into_memory(), generation).unwrap();
            assert_eq!(table.generation(), generation + 1);
            assert_eq!(table.tags(), model.len() as u64);
            assert_eq!(table.secret().public(), key().public());
            assert_eq!(table.epoch(), EPOCH);
        }
    }
}

#[test]
fn a_region_of_the_planned_size_holds_the_planned_tags_in_under_20_bytes_each() {
    for n in [1, 100, 1_000, 5_000, 60_000] {
        let bytes = bytes_for(n);
        if n >= 50_000 {
            assert!(bytes <= 20 * n, "{bytes} for {n}");
        }
        let mut table = table(bytes);
        for i in 0..n as u64 {
            assert_eq!(table.insert(&tag(i)), Inserted::Fresh, "{i} of {n}");
        }
        assert!(table.capacity() >= n as u64);
    }
    assert!(bytes_for(100_000_000) <= 2_000_000_000);
}

#[test]
fn a_full_table_refuses_what_is_fresh_and_forgets_nothing() {
    let mut table = table(3 * PAGE_BYTES);
    let mut kept = 0;
    while table.insert(&tag(kept)) == Inserted::Fresh {
        kept += 1;
    }
    assert_eq!(kept, 2 * SLOTS as u64, "every slot is used before any drop");
    for i in kept..kept + 100 {
        assert_eq!(table.insert(&tag(i)), Inserted::Full);
    }
    assert_all_seen(&mut table, kept);
    let mut table = ReplayTable::open(table.into_memory(), 1).unwrap();
    assert_all_seen(&mut table, kept);
    assert_eq!(table.insert(&tag(kept)), Inserted::Full);
}

#[test]
fn a_region_too_small_for_a_page_is_given_back() {
    for bytes in [0, 1, PAGE_BYTES, 2 * PAGE_BYTES - 1] {
        let refused = ReplayTable::create(vec![0; bytes], EPOCH, &key(), &mut rng(1)).unwrap_err();
        assert_eq!(refused.why, Damaged::TooSmall);
        assert_eq!(refused.memory.len(), bytes);
    }
}

#[test]
fn a_table_that_was_cut_or_grown_gives_no_table() {
    let image = filled(3, 500).into_memory();
    for len in (0..image.len()).step_by(97).chain([image.len() - 1]) {
        assert!(
            ReplayTable::open(image[..len].to_vec(), 1).is_err(),
            "{len}"
        );
    }
    let mut grown = image.clone();
    grown.resize(image.len() + PAGE_BYTES, 0);
    assert_eq!(
        ReplayTable::open(grown, 1).unwrap_err().why,
        Damaged::Length
    );
    // Cut and filled up again with zeros, as a file system may do after a crash.
    for kept in 1..4 {
        let mut zeroed = image.clone();
        zeroed[kept * PAGE_BYTES..].fill(0);
        assert_eq!(ReplayTable::open(zeroed, 1).unwrap_err().why, Damaged::Page);
    }
}

#[test]
fn a_table_with_any_byte_flipped_gives_no_table_or_forgets_nothing() {
    let n = 430;
    let table = filled(2, n);
    let generation = table.generation();
    let image = table.into_memory();
    let mut refused = 0;
    for at in 0..image.len() {
        let mut flipped = image.clone();
        flipped[at] ^= 1 << (at % 8);
        match ReplayTable::open(flipped, generation) {
            Err(_) => refused += 1,
            Ok(mut table) => {
                let in_page = at % PAGE_BYTES;
                let old_slot = at < SLOT_BYTES;
                let check = at >= PAGE_BYTES && in_page < 8;
                // In a free slot it looks like a tag torn by a kill: kept, and of nobody.
                let slot = at - at % 16;
                let free = at >= PAGE_BYTES
                    && in_page >= 16
                    && image[slot..slot + 16].iter().all(|&b| b == 0);
                assert!(old_slot || check || free, "byte {at} was missed");
                assert_all_seen(&mut table, n);
            }
        }
    }
    assert!(refused >= 16 * n as usize + 2 * 8 + PAGE_BYTES - SLOT_BYTES);
}

#[test]
fn pages_that_changed_places_give_no_table() {
    let mut image = filled(2, 300).into_memory();
    let (head, tail) = image.split_at_mut(2 * PAGE_BYTES);
    head[PAGE_BYTES..].swap_with_slice(tail);
    assert_eq!(ReplayTable::open(image, 1).unwrap_err().why, Damaged::Page);
}

#[test]
fn a_table_swapped_for_an_older_copy_of_itself_gives_no_table() {
    let table = filled(2, 100);
    let older = table.into_memory();
    let mut table = ReplayTable::open(older.clone(), 1).unwrap();
    let recorded = table.generation();
    assert_eq!(table.insert(&tag(100)), Inserted::Fresh);
    assert_eq!(
        ReplayTable::open(older, recorded).unwrap_err().why,
        Damaged::Older { found: 1, recorded }
    );
    let mut table = ReplayTable::open(table.into_memory(), recorded).unwrap();
    assert_all_seen(&mut table, 101);
}

#[test]
fn a_kill_between_any_two_bytes_of_an_insert_forgets_nothing_and_serves_on() {
    let n = 300;
    for seed in 0..20 {
        let mut table = filled(2, n);
        table.journal.clear();
        let before = table.memory_for_test();
        let new = tag(10_000 + seed);
        assert_eq!(table.insert(&new), Inserted::Fresh);
        let writes: Vec<(usize, u8)> = table
            .journal
            .iter()
            .flat_map(|(at, bytes)| bytes.iter().enumerate().map(move |(i, b)| (at + i, *b)))
            .collect();
        assert_eq!(writes.len(), 16 + 8);
        for kept in 0..=writes.len() {
            let mut image = before.clone();
            for &(at, byte) in &writes[..kept] {
                image[at] = byte;
            }
            let mut table = ReplayTable::open(image, 1).unwrap();
            assert_all_seen(&mut table, n);
            let found = table.insert(&new);
            if kept >= 16 {
                assert_eq!(found, Inserted::Seen, "a whole tag is kept");
            } else {
                assert_ne!(found, Inserted::Damaged);
            }
            // What was repaired is whole.
            let mut table = ReplayTable::open(table.into_memory(), 2).unwrap();
            assert_all_seen(&mut table, n);
            assert_eq!(table.insert(&new), Inserted::Seen);
        }
    }
}

#[test]
fn a_check_torn_in_any_order_of_its_bytes_is_repaired() {
    let n = 200;
    let mut table = filled(1, n);
    table.journal.clear();
    let before = table.memory_for_test();
    assert_eq!(table.insert(&tag(n)), Inserted::Fresh);
    let (at, check) = table.journal[1].clone();
    let after = table.into_memory();
    for subset in 0..256_u32 {
        let mut image = after.clone();
        for (i, byte) in check.iter().enumerate() {
            let written = subset >> i & 1 == 1;
            image[at + i] = if written { *byte } else { before[at + i] };
        }
        let mut table = ReplayTable::open(image, 1).unwrap();
        assert_all_seen(&mut table, n + 1);
    }
}

#[test]
fn a_kill_while_a_generation_is_marked_leaves_the_one_before() {
    let mut table = filled(2, 50);
    table.journal.clear();
    let before = table.memory_for_test();
    table.advance();
    let (at, bytes) = table.journal[0].clone();
    for kept in 0..=bytes.len() {
        let mut image = before.clone();
        image[at..at + kept].copy_from_slice(&bytes[..kept]);
        let mut table = ReplayTable::open(image, 1).unwrap();
        assert_eq!(table.generation(), if kept == bytes.len() { 3 } else { 2 });
        assert_all_seen(&mut table, 50);
    }
}

#[test]
fn a_kill_while_a_key_is_moved_in_leaves_no_table() {
    let table = table(3 * PAGE_BYTES);
    let writes: Vec<(usize, u8)> = table
        .journal
        .iter()
        .flat_map(|(at, bytes)| bytes.iter().enumerate().map(move |(i, b)| (at + i, *b)))
        .collect();
    let mut image = vec![0; 3 * PAGE_BYTES];
    let first_slot = SLOT_BYTES;
    for (i, &(at, byte)) in writes.iter().enumerate() {
        let found = inspect(&image);
        match found {
            Found::Blank => assert_eq!(i, 0),
            Found::Damaged => assert!(i < first_slot),
            Found::Entering(epoch) => assert!(epoch == EPOCH && i >= first_slot),
            Found::Ready { .. } => panic!("ready after {i} of {} writes", writes.len()),
        }
        assert!(ReplayTable::open(image.clone(), 0).is_err());
        image[at] = byte;
    }
    assert_eq!(
        inspect(&image),
        Found::Ready {
            epoch: EPOCH,
            generation: 1
        }
    );
    assert!(ReplayTable::open(image, 1).is_ok());
}

#[test]
fn a_retired_region_is_all_zeros() {
    let memory = filled(3, 500).retire();
    assert!(memory.iter().all(|&b| b == 0));
    assert_eq!(inspect(&memory), Found::Blank);
    assert!(ReplayTable::open(memory, 0).is_err());
}

#[test]
fn a_large_table_opens_by_its_header_and_finds_damage_at_first_touch() {
    let pages = 16_400;
    let n = 2_000;
    let image = filled(pages, n).into_memory();
    let mut damaged = image.clone();
    let page = (1..=pages)
        .find(|p| {
            damaged[p * PAGE_BYTES + 16..(p + 1) * PAGE_BYTES]
                .iter()
                .any(|&b| b != 0)
        })
        .unwrap();
    damaged[page * PAGE_BYTES + 16..(page + 1) * PAGE_BYTES].fill(0);
    let mut table = ReplayTable::open(damaged, 1).unwrap();
    assert_eq!(table.tags(), 0, "no page was read yet");
    let found: Vec<_> = (0..n).map(|i| table.insert(&tag(i))).collect();
    assert!(found.contains(&Inserted::Damaged));
    assert!(!found.contains(&Inserted::Fresh), "a tag was forgotten");
    let mut table = ReplayTable::open(image, 1).unwrap();
    assert_all_seen(&mut table, n);
}

#[test]
fn tables_of_one_key_share_no_bytes_of_tags() {
    let make = |seed| {
        let memory = vec![0; 2 * PAGE_BYTES];
        let mut table = ReplayTable::create(memory, EPOCH, &key(), &mut rng(seed)).unwrap();
        assert_eq!(table.insert(&tag(1)), Inserted::Fresh);
        let memory = table.into_memory();
        let mut slots = memory[PAGE_BYTES + 16..].chunks(16).map(<[u8]>::to_vec);
        slots.find(|slot| slot.iter().any(|&b| b != 0)).unwrap()
    };
    assert_ne!(make(1), make(2));
    assert_ne!(make(1), tag(1).as_bytes()[..16].to_vec());
}

/// `cargo test --release -p whist-packet --lib hundred_million -- --ignored --nocapture`
#[test]
#[ignore = "needs 2 GB of memory"]
#[allow(clippy::disallowed_methods, reason = "a measurement")]
fn a_region_for_a_hundred_million_tags_serves_within_two_seconds_of_a_restart() {
    let clock = std::time::Instant::now;
    let begun = clock();
    let mut table =
        ReplayTable::create(vec![0; bytes_for(100_000_000)], EPOCH, &key(), &mut rng(1)).unwrap();
    let created = begun.elapsed();
    // Filled, as far as the layout goes, with 2 million real tags.
    for i in 0..2_000_000 {
        assert_eq!(table.insert(&tag(i)), Inserted::Fresh);
    }
    let memory = table.into_memory();
    let begun = clock();
    let mut table = ReplayTable::open(memory, 1).unwrap();
    for i in 0..1_000 {
        assert_eq!(table.insert(&tag(i)), Inserted::Seen);
    }
    let served = begun.elapsed();
    assert!(
        served < std::time::Duration::from_secs(2),
        "{served:?} (created in {created:?})"
    );
}
