//! Replay: across twins, epochs, kills, reboots and damage (attacks.md rows 2, 3, 4).
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
use rand_core::Rng;
use rig::{altered, flipped, node_id, rng};
use whist_packet::keyring::{EnterError, MemoryKeyStore, Started, Turned};
use whist_packet::replay::bytes_for;
use whist_packet::{
    Damaged, Destination, DropReason, Hop, KeyStore, Keyring, PAYLOAD_BYTES, Packet, Route,
    SphinxSecret, StoreFault, build,
};
use whist_types::{Epoch, EpochSchedule, Secret, Wall};

const CAP: Duration = Duration::from_secs(3_600);
const SCHEDULE: EpochSchedule = EpochSchedule {
    genesis_ms: 0,
    epoch_ms: 10_000,
    key_window_ms: 1_000,
};
const E: Epoch = Epoch::new(5);

type Ring = Keyring<Vec<u8>>;

fn at(epoch: Epoch, ms: u64) -> Wall {
    SCHEDULE.start(epoch).after(Duration::from_millis(ms))
}

fn secret_of(epoch: Epoch) -> Secret<32> {
    Secret::new(blake3::derive_key(
        "test epoch key",
        &epoch.number().to_le_bytes(),
    ))
}

fn packet_for(epoch: Epoch, seed: u64) -> Packet {
    let hop = Hop {
        node: node_id(0),
        key: SphinxSecret::from_secret(&secret_of(epoch)).public(),
        delay: Duration::ZERO,
    };
    let route = Route::exactly(vec![hop], 1).unwrap();
    let payload = [0x5a; PAYLOAD_BYTES];
    build(&route, &Destination::REQUEST, &payload, &mut rng(seed)).unwrap()
}

fn store_with(epochs: std::ops::Range<u64>) -> MemoryKeyStore {
    let mut store = MemoryKeyStore::default();
    for epoch in epochs.map(Epoch::new) {
        store.save(epoch, &secret_of(epoch)).unwrap();
    }
    store
}

fn regions(tags: usize) -> [Vec<u8>; 2] {
    [vec![0; bytes_for(tags)], vec![0; bytes_for(tags)]]
}

fn start(regions: [Vec<u8>; 2], wall: Wall, store: &mut MemoryKeyStore) -> (Ring, Started) {
    let (mut ring, started) = Keyring::start(regions, SCHEDULE, wall, store).unwrap();
    ring.turn(wall, store, &mut rng(99)).unwrap();
    (ring, started)
}

/// A ring in the middle of epoch 5, its keys as a node has them after running for a while.
fn running(tags: usize) -> (Ring, MemoryKeyStore) {
    let mut store = store_with(5..9);
    let (mut ring, _) = start(regions(tags), at(E.previous(), 0), &mut store);
    ring.turn(at(E, 2_000), &mut store, &mut rng(1)).unwrap();
    assert_eq!(ring.epochs(), [E]);
    (ring, store)
}

fn kill(ring: Ring) -> [Vec<u8>; 2] {
    ring.into_regions().try_into().unwrap()
}

fn accepted(ring: &mut Ring, packet: &Packet, wall: Wall) -> bool {
    ring.open(packet.clone(), wall, CAP).is_ok()
}

#[test]
fn of_10000_originals_each_with_twins_in_any_order_one_each_is_accepted() {
    let originals = 10_000;
    let (mut ring, _) = running(originals);
    let wall = at(E, 3_000);
    let mut order = rng(4);
    let mut counts = [0; 2];
    for seed in 0..originals as u64 {
        let packet = packet_for(E, seed);
        let alpha = MontgomeryPoint(packet.as_bytes()[..32].try_into().unwrap());
        let torsion = EIGHT_TORSION[1 + seed as usize % 7];
        let shifted = (alpha.to_edwards(0).unwrap() + torsion).to_montgomery();
        let with = |point: MontgomeryPoint| {
            altered(&packet, |bytes| {
                bytes[..32].copy_from_slice(point.as_bytes())
            })
        };
        let twins = [
            packet.clone(),
            packet.clone(),
            flipped(&packet, 255),
            with(shifted),
            flipped(&with(shifted), 255),
        ];
        let first = order.next_u32() as usize % twins.len();
        let mut passed = 0;
        for i in 0..twins.len() {
            match ring.open(twins[(first + i) % twins.len()].clone(), wall, CAP) {
                Ok(_) => passed += 1,
                Err(reason) => assert_eq!(reason, DropReason::Replayed),
            }
        }
        assert_eq!(passed, 1, "original {seed}");
        counts[0] += 1;
        counts[1] += twins.len();
    }
    assert_eq!(counts, [originals, 5 * originals]);
    assert_eq!(ring.table(E).unwrap().tags(), originals as u64);
}

#[test]
fn what_was_recorded_in_an_epoch_is_not_accepted_again_in_it_nor_in_the_next_two() {
    let (mut ring, mut store) = running(1_000);
    let mut recorded = Vec::new();
    for seed in 0..200 {
        let packet = packet_for(E, seed);
        assert!(accepted(&mut ring, &packet, at(E, 2_000 + seed)));
        recorded.push(packet);
    }
    let mut again = 0;
    for ms in (2_500..30_000).step_by(500) {
        let wall = at(E, ms);
        ring.turn(wall, &mut store, &mut rng(ms)).unwrap();
        if ms % 3_000 == 0 {
            let (resumed, _) = start(kill(ring), wall, &mut store);
            ring = resumed;
        }
        for packet in recorded.iter().step_by(9) {
            again += u32::from(accepted(&mut ring, packet, wall));
        }
        let fresh = packet_for(SCHEDULE.epoch_at(wall), 10_000 + ms);
        assert!(accepted(&mut ring, &fresh, wall), "fresh at {ms}");
    }
    assert_eq!(again, 0);
}

#[test]
fn inside_a_window_both_keys_open_packets_and_outside_only_one() {
    let (mut ring, mut store) = running(100);
    let next = E.next();
    let early = at(next, 0).before(Duration::from_millis(1_001));
    ring.turn(early, &mut store, &mut rng(1)).unwrap();
    let refused = ring.open(packet_for(next, 1), early, CAP).unwrap_err();
    assert_eq!(refused, DropReason::BadMac);
    assert_eq!(ring.next_turn(early), SCHEDULE.key_from(next));
    let opens = SCHEDULE.key_from(next);
    let turned = ring.turn(opens, &mut store, &mut rng(1)).unwrap();
    assert_eq!(turned.entered, [next]);
    let last = at(next, 999);
    for wall in [opens, at(next, 0), last] {
        let seed = wall.as_millis();
        let found = ring.open(packet_for(E, seed), wall, CAP).unwrap();
        assert_eq!(found.0, E);
        assert_eq!(
            ring.open(packet_for(next, seed), wall, CAP).unwrap().0,
            next
        );
    }
    assert_eq!(ring.next_turn(last), SCHEDULE.key_until(E));
    // Even before anybody turns, the clock alone ends a key.
    let over = SCHEDULE.key_until(E);
    assert!(!accepted(&mut ring, &packet_for(E, 77), over));
    let turned = ring.turn(over, &mut store, &mut rng(1)).unwrap();
    assert_eq!(turned.retired, [E]);
}

#[test]
fn a_retired_keys_region_is_all_zeros() {
    let (mut ring, mut store) = running(100);
    for seed in 0..50 {
        assert!(accepted(&mut ring, &packet_for(E, seed), at(E, 3_000)));
    }
    let key = *secret_of(E).expose();
    let wall = at(E.plus(2), 2_000);
    let turned = ring.turn(wall, &mut store, &mut rng(1)).unwrap();
    assert_eq!(ring.epochs(), [E.plus(2)]);
    // Nor does a key stay on disk whose epoch went by unused.
    assert_eq!(turned.deleted, [E.next()]);
    assert!(store.load(E.next()).unwrap().is_none());
    let regions = kill(ring);
    assert_eq!(
        regions.iter().filter(|r| r.iter().all(|&b| b == 0)).count(),
        1
    );
    for region in &regions {
        assert!(!region.windows(32).any(|bytes| bytes == key));
    }
}

#[test]
fn kills_at_random_moments_let_nothing_pass_twice_and_lose_nothing_fresh() {
    let (mut ring, mut store) = running(5_000);
    let mut rng = rng(6);
    let mut recorded: Vec<(Packet, u32)> = Vec::new();
    for round in 0..40 {
        // Every half second of two and a half epochs, so that some fall into windows.
        let wall = at(E, 2_000 + 500 * round);
        ring.turn(wall, &mut store, &mut rng).unwrap();
        for i in 0..rng.next_u64() % 12 {
            let packet = packet_for(SCHEDULE.epoch_at(wall), 1_000 * round + i);
            let passed = accepted(&mut ring, &packet, wall);
            assert!(passed, "fresh packet lost in round {round}");
            recorded.push((packet, 1));
        }
        let (resumed, started) = start(kill(ring), wall, &mut store);
        ring = resumed;
        assert!(started.lost.is_empty());
        assert!(started.resumed.contains(&SCHEDULE.epoch_at(wall)));
        for (packet, passed) in &mut recorded {
            *passed += u32::from(accepted(&mut ring, packet, wall));
        }
    }
    assert!(recorded.len() > 150);
    assert!(recorded.iter().all(|(_, passed)| *passed == 1));
}

#[test]
fn after_a_reboot_the_old_key_opens_nothing_and_the_next_epochs_key_serves() {
    let (mut ring, mut store) = running(100);
    let packet = packet_for(E, 1);
    assert!(accepted(&mut ring, &packet, at(E, 3_000)));
    drop(ring);
    // A copy of the disk from before the key entered service came back, too.
    store.save(E, &secret_of(E)).unwrap();
    let (mut ring, started) = start(regions(100), at(E, 4_000), &mut store);
    assert_eq!(started.deleted, [E]);
    assert_eq!(started.resumed, []);
    for seed in [1, 2] {
        let reason = ring
            .open(packet_for(E, seed), at(E, 4_000), CAP)
            .unwrap_err();
        assert_eq!(reason, DropReason::NoKey);
    }
    let turned = ring.turn(at(E, 4_000), &mut store, &mut rng(1)).unwrap();
    assert_eq!(turned.missing, [E]);
    let wall = SCHEDULE.key_from(E.next());
    ring.turn(wall, &mut store, &mut rng(1)).unwrap();
    assert!(accepted(&mut ring, &packet_for(E.next(), 3), wall));
    assert!(!accepted(&mut ring, &packet, wall));
}

#[test]
fn a_damaged_region_means_a_new_key_and_never_an_empty_table_under_the_old_one() {
    type Harm = fn(&mut Vec<u8>);
    let harms: [(&str, Harm); 5] = [
        ("cut", |r| r.truncate(r.len() - 4_096)),
        ("header", |r| r[..256].fill(0xff)),
        ("tags zeroed", |r| r[4_096..].fill(0)),
        ("one bit", |r| {
            let at = (4_096 + 16..r.len()).find(|&i| r[i] != 0).unwrap();
            r[at] ^= 1;
        }),
        ("all zero", |r| r.fill(0)),
    ];
    for (name, harm) in harms {
        let (mut ring, mut store) = running(100);
        for seed in 0..50 {
            assert!(accepted(&mut ring, &packet_for(E, seed), at(E, 3_000)));
        }
        let mut regions = kill(ring);
        let used = regions
            .iter_mut()
            .find(|r| r.iter().any(|&b| b != 0))
            .unwrap();
        harm(used);
        let (mut ring, started) = start(regions, at(E, 4_000), &mut store);
        assert_eq!(started.resumed, [], "{name}");
        for seed in 0..60 {
            assert!(
                !accepted(&mut ring, &packet_for(E, seed), at(E, 4_000)),
                "{name}"
            );
        }
        assert!(
            kill(ring).iter().all(|r| r.iter().all(|&b| b == 0)),
            "{name}"
        );
    }
}

#[test]
fn a_region_swapped_for_an_older_copy_of_itself_is_refused_and_erased() {
    let (mut ring, mut store) = running(100);
    let old = kill(ring);
    let (resumed, _) = start(old.clone(), at(E, 3_000), &mut store);
    ring = resumed;
    let packet = packet_for(E, 1);
    assert!(accepted(&mut ring, &packet, at(E, 3_000)));
    ring.checkpoint(&mut store).unwrap();
    drop(ring);
    let (mut ring, started) = start(old, at(E, 3_500), &mut store);
    assert!(
        matches!(started.lost[..], [Damaged::Older { .. }]),
        "{started:?}"
    );
    assert!(!accepted(&mut ring, &packet, at(E, 3_500)));
    assert!(kill(ring).iter().all(|r| r.iter().all(|&b| b == 0)));
}

#[test]
fn one_key_in_both_regions_is_refused_in_both() {
    let (ring, mut store) = running(100);
    let [used, _] = kill(ring);
    let (ring, started) = start([used.clone(), used], at(E, 3_000), &mut store);
    assert_eq!(started.lost, [Damaged::Doubled, Damaged::Doubled]);
    assert_eq!(ring.epochs(), []);
}

#[test]
fn a_kill_while_a_key_enters_service_neither_loses_it_nor_leaves_it_on_disk() {
    let wall = at(E, 2_000);
    let (ring, store) = running(100);
    let [used, free] = kill(ring);
    // Moved into the region, recorded, not deleted yet.
    let mut disk = store_with(5..9);
    disk.record_generations(&[(E, 1)]).unwrap();
    let (mut ring, started) = start([used.clone(), free.clone()], wall, &mut disk);
    assert_eq!(started.resumed, [E]);
    assert!(disk.load(E).unwrap().is_none());
    assert!(accepted(&mut ring, &packet_for(E, 1), wall));
    // Moved into the region, not recorded yet; and the region half written.
    let mut half = used.clone();
    half[128..256].fill(0);
    for region in [used.clone(), half] {
        let mut disk = store_with(5..9);
        let (mut ring, started) = start([region, free.clone()], wall, &mut disk);
        assert_eq!(started, Started::default());
        assert_eq!(ring.epochs(), [E]);
        assert!(disk.load(E).unwrap().is_none());
        assert!(accepted(&mut ring, &packet_for(E, 1), wall));
    }
    // Half written, and the disk has no key: nothing is made up.
    let mut half = used;
    half[128..256].fill(0);
    let mut disk = store_with(6..9);
    let (ring, _) = start([half, free], wall, &mut disk);
    assert_eq!(ring.epochs(), []);
    drop(store);
}

#[test]
fn a_disk_put_back_to_before_a_key_served_does_not_bring_the_key_back_without_its_tags() {
    let (mut ring, mut store) = running(10);
    let wall = at(E, 3_000);
    let packet = packet_for(E, 1);
    assert!(accepted(&mut ring, &packet, wall));
    ring.checkpoint(&mut store).unwrap();
    let mut older_disk = store_with(5..9);
    let (mut ring, started) = start(kill(ring), wall, &mut older_disk);
    assert!(!started.lost.is_empty());
    assert!(older_disk.load(E).unwrap().is_none());
    assert!(!accepted(&mut ring, &packet, wall));
    assert!(!ring.epochs().contains(&E));
}

#[test]
fn a_full_table_drops_what_is_fresh_and_still_knows_what_it_saw() {
    let (mut ring, _) = running(1);
    let wall = at(E, 3_000);
    let packets: Vec<_> = (0..260).map(|seed| packet_for(E, seed)).collect();
    for packet in &packets[..255] {
        assert!(accepted(&mut ring, packet, wall));
    }
    for packet in &packets[255..] {
        let reason = ring.open(packet.clone(), wall, CAP).unwrap_err();
        assert_eq!(reason, DropReason::TableFull);
    }
    for packet in &packets[..255] {
        let reason = ring.open(packet.clone(), wall, CAP).unwrap_err();
        assert_eq!(reason, DropReason::Replayed);
    }
}

#[test]
fn a_page_that_does_not_check_out_in_service_ends_its_key() {
    // Large enough that pages are checked when they are first touched.
    let (ring, mut store) = running(16_400 * 216);
    let mut regions = kill(ring);
    for region in &mut regions {
        for page in region.chunks_mut(4_096).skip(1) {
            page[0] ^= 0xff;
        }
    }
    let (mut ring, started) = start(regions, at(E, 3_000), &mut store);
    assert_eq!(started.resumed, [E]);
    let wall = at(E, 3_000);
    let reason = ring.open(packet_for(E, 1), wall, CAP).unwrap_err();
    assert_eq!(reason, DropReason::TableDamaged);
    assert_eq!(ring.take_lost(), [E]);
    assert_eq!(ring.take_lost(), []);
    let reason = ring.open(packet_for(E, 1), wall, CAP).unwrap_err();
    assert_eq!(reason, DropReason::NoKey);
    assert!(kill(ring).iter().any(|r| r.iter().all(|&b| b == 0)));
}

/// A store whose n-th operation fails.
struct Faulty {
    inner: MemoryKeyStore,
    left: u32,
}

impl Faulty {
    fn step(&mut self) -> Result<(), StoreFault> {
        if self.left == 0 {
            return Err(StoreFault("disk on fire".into()));
        }
        self.left -= 1;
        Ok(())
    }
}

impl KeyStore for Faulty {
    fn save(&mut self, epoch: Epoch, secret: &Secret<32>) -> Result<(), StoreFault> {
        self.step().and_then(|()| self.inner.save(epoch, secret))
    }
    fn load(&mut self, epoch: Epoch) -> Result<Option<Secret<32>>, StoreFault> {
        self.step().and_then(|()| self.inner.load(epoch))
    }
    fn delete(&mut self, epoch: Epoch) -> Result<(), StoreFault> {
        self.step().and_then(|()| self.inner.delete(epoch))
    }
    fn epochs(&mut self) -> Result<Vec<Epoch>, StoreFault> {
        self.step().and_then(|()| self.inner.epochs())
    }
    fn record_generations(&mut self, record: &[(Epoch, u64)]) -> Result<(), StoreFault> {
        self.step()
            .and_then(|()| self.inner.record_generations(record))
    }
    fn generations(&mut self) -> Result<Vec<(Epoch, u64)>, StoreFault> {
        self.step().and_then(|()| self.inner.generations())
    }
}

#[test]
fn whichever_operation_of_the_disk_fails_no_key_serves_while_it_is_still_there() {
    let mut entered_at = None;
    for n in 0..20 {
        let mut store = Faulty {
            inner: store_with(5..9),
            left: n,
        };
        let Ok((mut ring, _)) = Keyring::start(
            regions(10),
            SCHEDULE,
            at(E, 0).before(Duration::from_secs(5)),
            &mut store,
        ) else {
            continue;
        };
        match ring.turn(at(E, 2_000), &mut store, &mut rng(1)) {
            Ok(Turned { entered, .. }) => {
                assert_eq!(entered, [E]);
                assert!(store.inner.load(E).unwrap().is_none());
                entered_at.get_or_insert(n);
            }
            Err(failed) => {
                assert!(matches!(failed.error, EnterError::Store(_)));
                let reason = ring.open(packet_for(E, 1), at(E, 2_000), CAP).unwrap_err();
                assert_eq!(reason, DropReason::NoKey);
                // The disk recovers, and so does the node.
                store.left = 100;
                ring.turn(at(E, 2_000), &mut store, &mut rng(1)).unwrap();
                assert_eq!(ring.epochs(), [E]);
            }
        }
    }
    assert_eq!(entered_at, Some(7));
}

#[test]
fn a_turn_that_fails_still_says_which_keys_it_erased() {
    let mut store = Faulty {
        inner: store_with(5..9),
        left: 100,
    };
    let started = at(E, 0).before(Duration::from_secs(5));
    let (mut ring, _) = Keyring::start(regions(10), SCHEDULE, started, &mut store).unwrap();
    ring.turn(at(E, 2_000), &mut store, &mut rng(1)).unwrap();
    store.left = 0;
    let next = at(E.next(), 2_000);
    let failed = ring.turn(next, &mut store, &mut rng(1)).unwrap_err();
    assert_eq!(failed.turned.retired, [E]);
    assert!(matches!(failed.error, EnterError::Store(_)));
    assert_eq!(ring.epochs(), []);
}

#[test]
fn a_clock_that_jumps_brings_no_erased_key_back() {
    let (mut ring, mut store) = running(100);
    let packet = packet_for(E, 1);
    assert!(accepted(&mut ring, &packet, at(E, 2_000)));
    ring.turn(at(E.plus(3), 2_000), &mut store, &mut rng(1))
        .unwrap();
    let turned = ring.turn(at(E, 2_500), &mut store, &mut rng(1)).unwrap();
    assert_eq!(turned.missing, [E]);
    assert!(!accepted(&mut ring, &packet, at(E, 2_500)));
}
