//! Random interleavings of everything that two people and a bad network can do.
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

use std::sync::LazyLock;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use common::{NOW, Pair, text};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use whist_ratchet::{Item, Session};

/// Who does it: 0 is Alice, 1 is Bob.
type Who = usize;

#[derive(Debug, Clone)]
enum Step {
    Seal(Who),
    /// One of the items that were sent to them and not opened yet.
    Open(Who, prop::sample::Index),
    /// One that they opened before.
    Replay(Who, prop::sample::Index),
    /// Any item that anybody sent, with one byte changed.
    Tamper(Who, prop::sample::Index, prop::sample::Index),
    /// An item comes back to the one who sealed it.
    Reflect(Who, prop::sample::Index),
    Lose(Who, prop::sample::Index),
    /// The program restarts.
    Restart(Who),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (who, any) = (0..2usize, any::<prop::sample::Index>);
    let step = prop_oneof![
        6 => who.clone().prop_map(Step::Seal),
        6 => (who.clone(), any()).prop_map(|(w, i)| Step::Open(w, i)),
        1 => (who.clone(), any()).prop_map(|(w, i)| Step::Replay(w, i)),
        1 => (who.clone(), any(), any()).prop_map(|(w, i, b)| Step::Tamper(w, i, b)),
        1 => (who.clone(), any()).prop_map(|(w, i)| Step::Reflect(w, i)),
        1 => (who.clone(), any()).prop_map(|(w, i)| Step::Lose(w, i)),
        1 => who.prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..24)
}

struct World {
    rng: ChaCha20Rng,
    people: [Session; 2],
    /// Sent to each, and not opened or lost yet.
    flying: [Vec<(Item, Vec<u8>)>; 2],
    opened: [Vec<Item>; 2],
    sent: [Vec<Item>; 2],
    count: u32,
}

/// A pair as it stands in the store: cheaper than an exchange for each case.
static STORED: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let p = Pair::new(100);
    [p.alice.to_bytes().to_vec(), p.bob.to_bytes().to_vec()]
});

impl World {
    fn new() -> Self {
        Self {
            rng: ChaCha20Rng::seed_from_u64(101),
            people: [0, 1].map(|who| Session::from_bytes(&STORED[who]).unwrap()),
            flying: [Vec::new(), Vec::new()],
            opened: [Vec::new(), Vec::new()],
            sent: [Vec::new(), Vec::new()],
            count: 0,
        }
    }

    /// `item` must be refused, and the state stay what it was.
    fn refuse(&mut self, who: Who, item: &Item) {
        let before = self.people[who].to_bytes();
        assert!(self.people[who].open(item, NOW, &mut self.rng).is_err());
        assert_eq!(self.people[who].to_bytes(), before);
    }

    fn open(&mut self, who: Who, place: usize) {
        let (item, body) = self.flying[who].swap_remove(place);
        let opened = self.people[who].open(&item, NOW, &mut self.rng);
        assert_eq!(opened, Ok(text(&body)));
        self.opened[who].push(item);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Seal(who) => {
                self.count += 1;
                let body = self.count.to_be_bytes().to_vec();
                let item = self.people[*who].seal(&text(&body), &mut self.rng).unwrap();
                let item = item.into_item();
                self.sent[*who].push(item.clone());
                self.flying[1 - who].push((item, body));
            }
            Step::Open(who, index) if !self.flying[*who].is_empty() => {
                self.open(*who, index.index(self.flying[*who].len()));
            }
            Step::Replay(who, index) if !self.opened[*who].is_empty() => {
                let item = index.get(&self.opened[*who]).clone();
                self.refuse(*who, &item);
            }
            Step::Tamper(who, index, offset) if !self.sent[1 - who].is_empty() => {
                let mut bytes = index.get(&self.sent[1 - who]).clone().into_bytes();
                bytes[offset.index(1536)] ^= 0x40;
                self.refuse(*who, &Item::from_bytes(bytes));
            }
            Step::Reflect(who, index) if !self.sent[*who].is_empty() => {
                let item = index.get(&self.sent[*who]).clone();
                self.refuse(*who, &item);
            }
            Step::Lose(who, index) if !self.flying[*who].is_empty() => {
                let place = index.index(self.flying[*who].len());
                self.flying[*who].swap_remove(place);
            }
            Step::Restart(who) => {
                let bytes = self.people[*who].to_bytes();
                self.people[*who] = Session::from_bytes(&bytes).unwrap();
            }
            _ => {}
        }
    }

    /// Whatever happened, what still flies opens, and both can go on.
    fn settle(&mut self) {
        for who in [0, 1, 0, 1] {
            while !self.flying[who].is_empty() {
                self.open(who, 0);
            }
            self.step(&Step::Seal(who));
        }
    }
}

/// `PROPTEST_CASES` raises the number of cases for a long run.
fn cases() -> u32 {
    let set = std::env::var("PROPTEST_CASES").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

/// Half of the cases, from a seed of its own.
fn run(half: u8) {
    let config = Config {
        cases: cases().div_ceil(2),
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[half; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&steps(), |steps| {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.settle();
        Ok(())
    });
    result.unwrap();
}

// In two halves, for two cores.
#[test]
fn each_item_opens_exactly_once_whatever_the_network_does() {
    run(1);
}

#[test]
fn each_item_opens_exactly_once_whatever_else_the_network_does() {
    run(2);
}
