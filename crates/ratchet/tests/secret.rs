//! A secret that both people know: how it gets into the keys, and what happens if it does not.
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

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use common::{NOW, Pair, text};
use whist_ratchet::{BODY_MAX, Error, Item, SecretState, Session, SharedSecret};
use whist_types::{ConsensusHash, Secret};

const ALICE: usize = 0;
const BOB: usize = 1;

fn secret(n: u8) -> SharedSecret {
    SharedSecret::new(Secret::new([n; 32]))
}

/// Alice, who initiated, and Bob, each killed and started again after every step.
struct Ends {
    rng: ChaCha20Rng,
    sessions: [Session; 2],
}

impl Ends {
    fn new(seed: u64) -> Self {
        let mut p = Pair::new(seed);
        p.round_trip();
        Self {
            rng: p.rng,
            sessions: [p.alice, p.bob],
        }
    }

    fn restart(&mut self, end: usize) {
        let stored = self.sessions[end].to_bytes();
        self.sessions[end] = Session::from_bytes(&stored).unwrap();
        assert_eq!(*self.sessions[end].to_bytes(), *stored);
    }

    fn set(&mut self, end: usize, n: u8) -> Result<(), Error> {
        let done = self.sessions[end].set_secret(&secret(n));
        self.restart(end);
        done
    }

    fn says(&mut self, end: usize, body: &[u8]) -> Result<Item, Error> {
        let sealed = self.sessions[end].seal(&text(body), &mut self.rng);
        self.restart(end);
        sealed.map(|item| item.into_item())
    }

    fn bare(&mut self, end: usize) -> Item {
        let consensus = ConsensusHash::from_bytes([5; 32]);
        let sealed = self.sessions[end].seal_bare(1, consensus, &mut self.rng);
        self.restart(end);
        sealed.unwrap().into_item()
    }

    fn hears(&mut self, end: usize, item: &Item) -> Result<Vec<u8>, Error> {
        let said = self.sessions[end].open(item, NOW, &mut self.rng);
        self.restart(end);
        said.map(|text| text.body.clone())
    }

    fn tells(&mut self, end: usize) {
        let item = self.says(end, b"text").unwrap();
        assert_eq!(self.hears(1 - end, &item).unwrap(), b"text");
    }

    fn states(&self) -> [SecretState; 2] {
        [ALICE, BOB].map(|end| self.sessions[end].secret_state())
    }

    fn secrets(&self) -> [u16; 2] {
        [ALICE, BOB].map(|end| self.sessions[end].secrets())
    }

    /// Sends what is owed until nothing is: how many items that took.
    fn settle(&mut self) -> usize {
        for count in 0..20 {
            let owes = |end: &usize| self.sessions[*end].owes_item();
            let Some(end) = [ALICE, BOB].into_iter().find(owes) else {
                return count;
            };
            let item = self.bare(end);
            assert_eq!(self.hears(1 - end, &item).unwrap(), b"");
        }
        panic!("they never come to an end");
    }
}

#[test]
fn a_secret_that_both_set_is_in_use_after_three_items_of_nothing_else() {
    for order in [[ALICE, BOB], [BOB, ALICE]] {
        let mut e = Ends::new(1);
        assert_eq!(
            e.sessions[ALICE].secret_salt(),
            e.sessions[BOB].secret_salt()
        );
        e.set(order[0], 7).unwrap();
        assert_eq!(e.sessions[order[0]].secret_state(), SecretState::Waiting);
        e.settle();
        assert_eq!(e.sessions[order[0]].secret_state(), SecretState::Waiting);
        assert_eq!(e.sessions[order[1]].secret_state(), SecretState::None);
        e.tells(ALICE);
        e.tells(BOB);
        e.set(order[1], 7).unwrap();
        assert!(e.settle() <= 3);
        assert_eq!(e.states(), [SecretState::InUse; 2]);
        assert_eq!(e.secrets(), [1, 1]);
        e.tells(BOB);
        e.tells(ALICE);
    }
}

#[test]
fn both_set_it_at_once_with_texts_in_flight_and_texts_alone_carry_it() {
    let mut e = Ends::new(2);
    let (one, two) = (e.says(ALICE, b"one").unwrap(), e.says(BOB, b"two").unwrap());
    e.set(ALICE, 7).unwrap();
    e.set(BOB, 7).unwrap();
    let (three, four) = (
        e.says(ALICE, &[3; BODY_MAX]).unwrap(),
        e.says(BOB, b"4").unwrap(),
    );
    assert_eq!(e.hears(BOB, &three).unwrap(), [3; BODY_MAX]);
    assert_eq!(e.hears(ALICE, &four).unwrap(), b"4");
    for _ in 0..3 {
        e.tells(BOB);
        e.tells(ALICE);
    }
    assert_eq!(e.states(), [SecretState::InUse; 2]);
    // What was jumped over opens under the keys of its time.
    assert_eq!(e.hears(BOB, &one).unwrap(), b"one");
    assert_eq!(e.hears(ALICE, &two).unwrap(), b"two");
}

#[test]
fn nothing_is_sealed_to_who_has_another_secret_until_it_is_set_right_on_either_side() {
    for mended in [ALICE, BOB] {
        let mut e = Ends::new(3);
        e.set(ALICE, 7).unwrap();
        e.set(BOB, 8).unwrap();
        e.settle();
        assert_eq!(e.states(), [SecretState::Differs; 2]);
        for end in [ALICE, BOB] {
            assert_eq!(e.says(end, b"text"), Err(Error::SecretsDiffer));
            // Words about the secret still go, and say no text.
            let item = e.bare(end);
            assert_eq!(e.hears(1 - end, &item).unwrap(), b"");
        }
        e.set(mended, if mended == ALICE { 8 } else { 7 }).unwrap();
        e.settle();
        assert_eq!(e.states(), [SecretState::InUse; 2]);
        e.tells(ALICE);
        e.tells(BOB);
    }
}

#[test]
fn a_difference_ends_only_where_the_person_says_so() {
    let mut e = Ends::new(4);
    e.set(ALICE, 7).unwrap();
    e.set(BOB, 8).unwrap();
    e.settle();
    e.sessions[ALICE].withdraw_secret().unwrap();
    e.settle();
    assert_eq!(e.states(), [SecretState::None, SecretState::Differs]);
    assert_eq!(e.says(BOB, b"text"), Err(Error::SecretsDiffer));
    e.tells(ALICE);
    e.sessions[BOB].withdraw_secret().unwrap();
    e.tells(BOB);
    // And again from the start.
    e.set(BOB, 9).unwrap();
    assert_eq!(e.states()[BOB], SecretState::Waiting);
    e.set(ALICE, 9).unwrap();
    e.settle();
    assert_eq!(e.states(), [SecretState::InUse; 2]);
}

#[test]
fn who_changes_the_secret_before_the_answer_came_is_not_answered_about_the_old_one() {
    let mut e = Ends::new(5);
    e.set(ALICE, 7).unwrap();
    e.set(BOB, 7).unwrap();
    let claim = e.bare(ALICE);
    e.hears(BOB, &claim).unwrap();
    let yes = e.bare(BOB);
    assert_eq!(e.states()[BOB], SecretState::Agreed);
    // Bob has promised: what Alice may mix in he keeps.
    assert_eq!(e.set(BOB, 8), Err(Error::SecretAgreed));
    assert_eq!(e.sessions[BOB].withdraw_secret(), Err(Error::SecretAgreed));
    e.set(ALICE, 8).unwrap();
    e.hears(ALICE, &yes).unwrap();
    assert_eq!(e.states()[ALICE], SecretState::Waiting);
    e.settle();
    assert_eq!(e.states(), [SecretState::Differs; 2]);
    e.set(BOB, 8).unwrap();
    e.settle();
    assert_eq!((e.states(), e.secrets()), ([SecretState::InUse; 2], [1, 1]));
}

#[test]
fn a_second_secret_is_mixed_in_after_the_first_and_late_words_of_the_first_do_nothing() {
    let mut e = Ends::new(6);
    e.set(ALICE, 7).unwrap();
    let late = e.says(ALICE, b"late").unwrap();
    e.set(BOB, 7).unwrap();
    // What an item was to say that does not come, the next one says.
    e.tells(ALICE);
    e.settle();
    assert_eq!(e.secrets(), [1, 1]);
    e.set(BOB, 9).unwrap();
    assert_eq!(e.hears(BOB, &late).unwrap(), b"late");
    assert_eq!(e.states()[BOB], SecretState::Waiting);
    e.set(ALICE, 9).unwrap();
    e.settle();
    assert_eq!((e.states(), e.secrets()), ([SecretState::InUse; 2], [2, 2]));
    e.tells(BOB);
}

#[test]
fn a_session_that_demands_a_secret_seals_nothing_before_one_is_in_use() {
    let mut e = Ends::new(7);
    for end in [ALICE, BOB] {
        e.sessions[end].require_secret();
        e.restart(end);
        assert_eq!(e.says(end, b"text"), Err(Error::SecretMissing));
    }
    assert_eq!(e.states(), [SecretState::Missing; 2]);
    e.set(BOB, 7).unwrap();
    assert_eq!(e.says(BOB, b"text"), Err(Error::SecretMissing));
    e.set(ALICE, 7).unwrap();
    e.settle();
    assert_eq!(e.states(), [SecretState::InUse; 2]);
    e.tells(BOB);
    e.tells(ALICE);
    let mut e = Ends::new(8);
    e.sessions[ALICE].require_secret();
    e.sessions[ALICE].withdraw_secret().unwrap();
    e.tells(ALICE);
}

#[test]
fn who_claims_again_and_again_is_not_compared_for_ever() {
    let mut e = Ends::new(9);
    e.set(BOB, 7).unwrap();
    for guess in [1, 2, 3, 7] {
        e.set(ALICE, guess).unwrap();
        e.settle();
        assert_eq!(e.states(), [SecretState::Differs; 2], "{guess}");
    }
    // The person at the other end has a say.
    e.set(BOB, 7).unwrap();
    e.settle();
    assert_eq!(e.states(), [SecretState::InUse; 2]);
}

#[test]
fn whatever_is_lost_late_or_set_when_both_agree_in_the_end_and_every_text_opens_once() {
    for seed in 0..60 {
        let mut e = Ends::new(100 + seed);
        let mut dice = ChaCha20Rng::seed_from_u64(seed);
        let mut flying: [Vec<(Item, Vec<u8>)>; 2] = Default::default();
        for step in 0..60u8 {
            let roll = dice.next_u32();
            let end = (roll >> 8) as usize % 2;
            match roll % 8 {
                0 if step < 50 => {
                    let _ = e.set(end, [7, 7, 8][(roll >> 16) as usize % 3]);
                }
                1 if step < 50 => {
                    let _ = e.sessions[end].withdraw_secret();
                }
                2 if !flying[end].is_empty() => {
                    let at = (roll >> 16) as usize % flying[end].len();
                    flying[end].remove(at);
                }
                3..=5 if !flying[end].is_empty() => {
                    let at = (roll >> 16) as usize % flying[end].len();
                    let (item, body) = flying[end].remove(at);
                    assert_eq!(e.hears(end, &item).as_ref(), Ok(&body), "{seed} {step}");
                    assert!(e.hears(end, &item).is_err());
                }
                _ => {
                    let differs = e.states()[end] == SecretState::Differs;
                    match e.says(end, &[step]) {
                        Ok(item) => flying[1 - end].push((item, vec![step])),
                        Err(error) => assert!(differs && error == Error::SecretsDiffer),
                    }
                }
            }
        }
        for end in [ALICE, BOB].repeat(4) {
            if e.states() != [SecretState::InUse; 2] {
                let _ = e.set(end, 9);
                e.settle();
                let item = e.bare(end);
                e.hears(1 - end, &item).unwrap();
                e.settle();
            }
        }
        assert_eq!(e.states(), [SecretState::InUse; 2], "{seed}");
        let [one, two] = e.secrets();
        assert_eq!(one, two, "{seed}");
        for end in [ALICE, BOB] {
            for (item, body) in std::mem::take(&mut flying[end]) {
                assert_eq!(e.hears(end, &item), Ok(body), "{seed}");
            }
            e.tells(end);
        }
    }
}
