//! A cut-down model, explored whole: the ratchet as it is, on a KEM of two bytes with one byte in
//! each fragment, two items on the way in each direction at once, any of which may be lost, or come
//! in any order, however late.
//!
//! Keys, counters and the bytes of keys and ciphertexts do not steer the ratchet, and epochs only
//! by their difference and whether they are odd. So two states that are equal in everything else
//! behave alike, the states that are left are finite in number, and all of them are visited.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_macros
)]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use rand_core::CryptoRng;
use whist_types::{Reader, Secret, Writer};

use super::{Incoming, Kem, Note, Outgoing, Sparse, Turn};
use crate::Error;
use crate::kdf::labelled;
use crate::limits::KEM_SEED_BYTES;

struct Toy;

impl Kem for Toy {
    const KEY_BYTES: usize = 2;
    const CIPHERTEXT_BYTES: usize = 2;

    fn key(seed: &Secret<KEM_SEED_BYTES>) -> Vec<u8> {
        seed.expose()[..2].to_vec()
    }

    fn check(_: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn encapsulate(key: &[u8], rng: &mut impl CryptoRng) -> Result<(Vec<u8>, Secret<32>), Error> {
        let mut m = [0; 32];
        rng.fill_bytes(&mut m);
        let shared = labelled("whist 2026 toy kem", &[key, &m[..2]]);
        Ok((m[..2].to_vec(), Secret::new(shared)))
    }

    fn decapsulate(seed: &Secret<KEM_SEED_BYTES>, ciphertext: &[u8]) -> Result<Secret<32>, Error> {
        let shared = labelled("whist 2026 toy kem", &[&seed.expose()[..2], ciphertext]);
        Ok(Secret::new(shared))
    }
}

/// An item on its way: its number among all of its sender, and what it says and holds.
struct Flying {
    number: u32,
    key: Secret<32>,
    note: Note,
    fragment: Vec<u8>,
}

struct World {
    ends: [Sparse<Toy>; 2],
    sealed: [u32; 2],
    /// So many of the peer's items are accounted for.
    front: [u32; 2],
    /// On the way to each end.
    flying: [Vec<Flying>; 2],
    /// Keys of the peer's items that were jumped over.
    kept: [BTreeMap<u32, Secret<32>>; 2],
}

const ON_THE_WAY_MAX: usize = 2;

impl World {
    fn new() -> Self {
        let secret = Secret::new([7; 32]);
        Self {
            ends: [Sparse::new(true, &secret), Sparse::new(false, &secret)],
            sealed: [0; 2],
            front: [0; 2],
            flying: [Vec::new(), Vec::new()],
            kept: [BTreeMap::new(), BTreeMap::new()],
        }
    }

    fn duplicate(&self) -> Self {
        let flying = |items: &Vec<Flying>| {
            let one = |item: &Flying| Flying {
                number: item.number,
                key: item.key.duplicate(),
                note: item.note,
                fragment: item.fragment.clone(),
            };
            items.iter().map(one).collect()
        };
        let kept = |keys: &BTreeMap<u32, Secret<32>>| {
            keys.iter().map(|(n, key)| (*n, key.duplicate())).collect()
        };
        Self {
            ends: [0, 1].map(|end| self.ends[end].duplicate()),
            sealed: self.sealed,
            front: self.front,
            flying: [0, 1].map(|end| flying(&self.flying[end])),
            kept: [0, 1].map(|end| kept(&self.kept[end])),
        }
    }

    fn seal(&mut self, end: usize) {
        let seed = u64::from(self.ends[end].send.epoch) * 2 + end as u64;
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let sealing = self.ends[end].seal(1, &mut rng).unwrap();
        self.flying[1 - end].push(Flying {
            number: self.sealed[end],
            key: sealing.key,
            note: sealing.note,
            fragment: sealing.fragment.to_vec(),
        });
        self.sealed[end] += 1;
    }

    /// The law of agreement: whatever comes opens with the key that it was sealed with.
    fn deliver(&mut self, end: usize, place: usize) {
        let item = self.flying[end].remove(place);
        if let Some(jumped) = item.number.checked_sub(self.front[end]) {
            let (keys, key) = self.ends[end].follow(&item.note, jumped).unwrap();
            assert!(key == item.key);
            self.kept[end].extend((self.front[end]..).zip(keys));
            self.front[end] = item.number + 1;
        } else {
            assert!(self.kept[end].remove(&item.number).unwrap() == item.key);
        }
        let size = self.ends[end].fragment_bytes(&item.note, 1);
        assert_eq!(size, Ok(item.fragment.len()));
        self.ends[end].take(&item.note, &item.fragment).unwrap();
        let back = stored(&self.ends[end]);
        let again = Sparse::<Toy>::read(&mut Reader::new(&back)).unwrap();
        assert_eq!(stored(&again), back);
    }

    /// The state without what does not steer it.
    fn shape(&self) -> Vec<u32> {
        let base = self.ends[0].receive.epoch.min(self.ends[1].receive.epoch);
        let mut shape = vec![base % 2];
        for (end, flying) in self.ends.iter().zip(&self.flying) {
            shape.extend([end.send.epoch - base, end.receive.epoch - base]);
            shape.push(match &end.coming {
                None => 0,
                Some(coming) => 1 + u32::from(coming.send.is_some()),
            });
            shape_of_turn(&end.turn, &mut shape);
            shape.push(flying.len() as u32);
            let front = self.front[usize::from(!end.initiator)];
            for item in flying {
                // All items of exchanges that are over are alike.
                let epoch = (item.note.epoch + 2).saturating_sub(base);
                let late = item.number < front;
                shape.extend([u32::from(late), epoch]);
                let over = epoch < 2;
                let offset = item.note.offset.map_or(9, u32::from);
                let note = [offset, u32::from(item.note.acknowledged)];
                shape.extend(if over { [0, 0] } else { note });
            }
        }
        shape
    }

    /// No deadlock: once items get through again, epoch follows epoch.
    fn assert_moves(&self) {
        let mut world = self.duplicate();
        world.flying = [Vec::new(), Vec::new()];
        let before = world.ends[0].receive.epoch;
        for _ in 0..12 {
            for end in [0, 1] {
                world.seal(end);
                world.deliver(1 - end, 0);
            }
        }
        assert!(world.ends.iter().all(|end| end.receive.epoch >= before + 2));
    }
}

fn shape_of_turn(turn: &Turn, shape: &mut Vec<u32>) {
    let out = |out: &Outgoing| [out.acknowledged as u32, out.next as u32];
    let incoming = |one: &Incoming| [u32::from(one.there[0]), u32::from(one.there[1])];
    match turn {
        Turn::Due => shape.push(0),
        Turn::Offer { key, answer, .. } => {
            shape.push(1);
            shape.extend(out(key));
            shape.extend(incoming(answer));
        }
        Turn::Collect { key } => {
            shape.push(2);
            shape.extend(incoming(key));
        }
        Turn::Answer { ciphertext } => {
            shape.push(3);
            shape.extend(out(ciphertext));
        }
    }
}

fn stored(end: &Sparse<Toy>) -> Vec<u8> {
    let mut w = Writer::with_capacity(Sparse::<Toy>::STORED_BYTES_MAX);
    end.write(&mut w);
    w.into_bytes()
}

fn next_worlds(world: &World) -> Vec<World> {
    let mut all = Vec::new();
    for end in [0, 1] {
        if world.flying[1 - end].len() < ON_THE_WAY_MAX {
            let mut next = world.duplicate();
            next.seal(end);
            all.push(next);
        }
        for place in 0..world.flying[end].len() {
            let mut next = world.duplicate();
            next.deliver(end, place);
            all.push(next);
            let mut next = world.duplicate();
            next.flying[end].remove(place);
            all.push(next);
        }
    }
    for world in &mut all {
        for end in [0, 1] {
            let alive: BTreeSet<u32> = world.flying[end].iter().map(|item| item.number).collect();
            world.kept[end].retain(|number, _| alive.contains(number));
        }
    }
    all
}

#[test]
fn both_ends_agree_and_none_is_ever_stuck_in_any_state_of_the_model() {
    let (mut seen, mut moving) = (HashSet::new(), HashSet::new());
    let mut open = vec![World::new()];
    seen.insert(open[0].shape());
    let mut steps = 0u64;
    while let Some(world) = open.pop() {
        let mut alone = world.duplicate();
        alone.flying = [Vec::new(), Vec::new()];
        if moving.insert(alone.shape()) {
            world.assert_moves();
        }
        for next in next_worlds(&world) {
            steps += 1;
            if seen.insert(next.shape()) {
                open.push(next);
            }
        }
    }
    println!(
        "{} states, {steps} steps, {} pairs of ends",
        seen.len(),
        moving.len()
    );
    assert!(seen.len() > 1_000 && moving.len() > 30);
}
