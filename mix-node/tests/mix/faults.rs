//! Kills at any moment, and a disk that fails.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use rand_core::Rng as _;
use whist_link::{Input, Output, Role};
use whist_mix::{Command, Effect, KeyEvent, MixError, MixNode, Note};
use whist_netdoc::Follower;
use whist_netdoc::testing::Authorities;
use whist_packet::keyring::MemoryKeyStore;
use whist_packet::{KeyStore, Packet, StoreFault};
use whist_types::{Epoch, Instant, Now, Secret, Wall};

use crate::rig::{self, GENESIS, Rig, quiet};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn twenty_kills_under_load_and_replays_after_each_send_nothing_on_twice() {
    let mut rig = Rig::serving(1, quiet(), 1_500);
    let sender = rig.mixes(0)[0].link;
    let nexts = rig.mixes(2);
    let mut recorded: Vec<Packet> = Vec::new();
    let mut passed_after = Vec::new();
    for kill in 0..20_u64 {
        for _ in 0..15 {
            let next = nexts[rig.rng.next_u32() as usize % nexts.len()].clone();
            let delay = u64::from(rig.rng.next_u32() % 80);
            let packet = rig.packet_now(&next, delay);
            rig.send_from(sender, &packet);
            recorded.push(packet);
            let pause = u64::from(rig.rng.next_u32() % 20);
            rig.run_for(MS(pause));
        }
        // Every fourth kill falls between an epoch's change and the first packet after it.
        if kill % 4 == 3 {
            let next = rig.epoch().next().number();
            rig.run_until_epoch(next);
        }
        rig.restart(false);
        for packet in &recorded {
            rig.send_from(sender, packet);
        }
        let before = rig.packets_sent().len();
        let fresh = rig.packet_now(&nexts[0], 0);
        rig.send_from(sender, &fresh);
        recorded.push(fresh);
        rig.run_for(MS(300));
        passed_after.push(rig.packets_sent().len() > before);
        assert!(rig.stats().balances());
        let at_most = recorded.len().saturating_sub(200);
        recorded.drain(..at_most);
    }
    assert!(
        passed_after.iter().all(|passed| *passed),
        "fresh packets pass: {passed_after:?}"
    );
    let sent: Vec<_> = rig
        .packets_sent()
        .into_iter()
        .map(|(.., p)| *p.as_bytes())
        .collect();
    assert!(sent.len() > 250, "{}", sent.len());
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), sent.len());
}

/// A store whose disk can be pulled.
struct Faulty {
    inner: MemoryKeyStore,
    broken: Rc<Cell<bool>>,
}

impl Faulty {
    fn try_disk(&mut self) -> Result<&mut MemoryKeyStore, StoreFault> {
        if self.broken.get() {
            Err(StoreFault("pulled".to_owned()))
        } else {
            Ok(&mut self.inner)
        }
    }
}

impl KeyStore for Faulty {
    fn save(&mut self, epoch: Epoch, secret: &Secret<32>) -> Result<(), StoreFault> {
        self.try_disk()?.save(epoch, secret)
    }

    fn load(&mut self, epoch: Epoch) -> Result<Option<Secret<32>>, StoreFault> {
        self.try_disk()?.load(epoch)
    }

    fn delete(&mut self, epoch: Epoch) -> Result<(), StoreFault> {
        self.try_disk()?.delete(epoch)
    }

    fn epochs(&mut self) -> Result<Vec<Epoch>, StoreFault> {
        self.try_disk()?.epochs()
    }

    fn record_generations(&mut self, record: &[(Epoch, u64)]) -> Result<(), StoreFault> {
        self.try_disk()?.record_generations(record)
    }

    fn generations(&mut self) -> Result<Vec<(Epoch, u64)>, StoreFault> {
        self.try_disk()?.generations()
    }
}

fn faulty_store(broken: &Rc<Cell<bool>>) -> Faulty {
    Faulty {
        inner: MemoryKeyStore::default(),
        broken: broken.clone(),
    }
}

fn faulty_mix(
    store: &mut Faulty,
    memory: [Vec<u8>; 2],
    now: Now,
) -> Result<MixNode<Vec<u8>>, MixError> {
    let authorities = Authorities::new(1, 4, quiet(), Wall::from_millis(GENESIS));
    let follower = Follower::new(authorities.trusted());
    MixNode::new(
        rig::config(7, 100),
        follower,
        memory,
        store,
        &Secret::new([1; 32]),
        now,
    )
}

fn clock(ms: u64) -> Now {
    Now {
        instant: Instant::from_nanos(ms * 1_000_000),
        wall: Wall::from_millis(GENESIS + ms),
    }
}

#[test]
fn a_store_that_does_not_work_ends_the_start() {
    let broken = Rc::new(Cell::new(true));
    let refused = faulty_mix(&mut faulty_store(&broken), rig::regions(), clock(0));
    assert!(matches!(refused, Err(MixError::Store(_))));
}

#[test]
fn a_table_too_small_for_the_rate_or_its_memory_is_refused() {
    let broken = Rc::new(Cell::new(false));
    let memory = [vec![0; 8_192], vec![0; 8_192]];
    let small = faulty_mix(&mut faulty_store(&broken), memory, clock(0));
    assert!(matches!(small, Err(MixError::Memory { .. })));
    let authorities = Authorities::new(1, 4, quiet(), Wall::from_millis(GENESIS));
    let refused = MixNode::new(
        rig::config(7, 2_000),
        Follower::new(authorities.trusted()),
        rig::regions(),
        &mut MemoryKeyStore::default(),
        &Secret::new([1; 32]),
        clock(0),
    );
    let line = refused.err().unwrap().to_string();
    assert!(
        line.contains("need 24000 tags, `table_tags` is 20000"),
        "{line}"
    );
}

#[test]
fn a_disk_that_fails_at_an_epochs_change_keeps_the_key_out_until_it_works() {
    let broken = Rc::new(Cell::new(false));
    let mut store = faulty_store(&broken);
    let mut mix = faulty_mix(&mut store, rig::regions(), clock(100)).unwrap();
    mix.handle(clock(100), Input::Timeout);
    let fault = Note::Key(KeyEvent::Fault("key store: pulled".to_owned()));
    let mut notes = Vec::new();
    let mut run = |mix: &mut MixNode<Vec<u8>>, ms| {
        mix.handle(clock(ms), Input::Timeout);
        notes.clear();
        while let Some(output) = mix.poll_output() {
            match output {
                Output::Effect(Effect::Note(note)) => notes.push(note),
                Output::Effect(Effect::Keys(job)) => {
                    let done = Command::Keys(job.run(&mut store));
                    mix.handle(clock(ms), Input::Command(done));
                }
                _ => {}
            }
        }
        notes.contains(&fault)
    };
    assert!(!run(&mut mix, 200));
    broken.set(true);
    assert!(run(&mut mix, 9_500), "the window before epoch 1 has begun");
    assert!(
        mix.stats().keys.is_empty(),
        "no key serves that could not be taken off the disk"
    );
    broken.set(false);
    assert!(!run(&mut mix, 10_500));
    assert_eq!(mix.stats().keys, [Epoch::new(1)]);
}

#[test]
fn a_key_disk_that_takes_long_moves_no_packet_and_no_key_serves_before_it_is_off_the_disk() {
    let run = |key_disk: Duration| {
        let mut rig = Rig::serving(1, quiet(), 1_500);
        rig.key_disk = key_disk;
        let sender = rig.mixes(0)[0].link;
        let next = rig.mixes(2)[0].clone();
        let mut deadlines = Vec::new();
        // Four changes of epochs, and all that the disk has to do for them.
        for _ in 0..400 {
            let packet = rig.packet_now(&next, 60);
            rig.send_from(sender, &packet);
            deadlines.push(rig.now.instant.after(MS(60)));
            rig.run_for(MS(100));
            for epoch in rig.stats().keys {
                let on_disk = rig.keys.load(epoch).unwrap().is_some();
                assert!(!on_disk, "a key in service is on the disk");
            }
        }
        let left: Vec<Instant> = rig.packets_sent().iter().map(|(at, ..)| *at).collect();
        let dropped = rig.stats().dropped;
        assert!(left == deadlines, "{key_disk:?}: {dropped:?}");
    };
    run(Duration::ZERO);
    // Two jobs in a row before a key serves, and its window begins a second before its epoch.
    run(MS(450));
}
