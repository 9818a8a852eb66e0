//! Laws of a session, and attacks on it.
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

use std::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use common::{NOW, Pair, inviter, text};
use whist_ratchet::{
    BODY_MAX, Error, FIRST_PAYLOAD_MAX, Fault, ITEM_BYTES, IdentitySecret, Item,
    SKIPPED_IN_CHAIN_MAX, SKIPPED_IN_SESSION_MAX, Session,
};
use whist_types::{ConsensusHash, ItemHash};

const DAY: Duration = Duration::from_secs(86_400);

fn flipped(item: &Item, offset: usize) -> Item {
    let mut bytes = item.clone().into_bytes();
    bytes[offset] ^= 0x10;
    Item::from_bytes(bytes)
}

#[test]
fn two_people_talk_in_both_directions_and_learn_device_and_consensus() {
    let mut p = Pair::new(1);
    for round in 0..20u8 {
        let mut said = text(&vec![round; usize::from(round) * 50]);
        said.device = round;
        said.consensus = ConsensusHash::from_bytes([round; 32]);
        let item = p.alice.seal(&said, &mut p.rng).unwrap().into_item();
        assert_eq!(p.bob.open(&item, NOW, &mut p.rng), Ok(said));
        let item = p.bob_seals(&[round]);
        assert_eq!(p.alice_opens(&item).unwrap(), [round]);
    }
}

#[test]
fn the_longest_bodies_fit_and_one_byte_more_is_refused_without_a_trace() {
    let mut p = Pair::new(2);
    let item = p.alice_seals(&[7; BODY_MAX]);
    assert_eq!(p.bob_opens(&item).unwrap(), [7; BODY_MAX]);
    let before = p.alice.to_bytes();
    let long = text(&[7; BODY_MAX + 1]);
    assert_eq!(p.alice.seal(&long, &mut p.rng).err(), Some(Error::TooLong));
    assert_eq!(p.alice.to_bytes(), before);

    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let (alice, bob) = (IdentitySecret::generate(&mut rng), inviter(&mut rng));
    let first = |body: &[u8], rng: &mut ChaCha20Rng| {
        Session::initiate(&alice, &bob.bundle, &bob.key, &text(body), rng)
            .map(|(_, item)| item.into_item())
    };
    let item = first(&[7; FIRST_PAYLOAD_MAX], &mut rng).unwrap();
    let (_, said, _) =
        Session::accept(&bob.identity, &bob.prekeys, &bob.key, &item, &mut rng).unwrap();
    assert_eq!(said.body, [7; FIRST_PAYLOAD_MAX]);
    assert_eq!(
        first(&[7; FIRST_PAYLOAD_MAX + 1], &mut rng),
        Err(Error::TooLong)
    );
}

#[test]
fn a_replayed_item_is_refused_at_once_after_a_while_and_after_a_restart() {
    let mut p = Pair::new(4);
    let item = p.alice_seals(b"once");
    assert_eq!(p.bob_opens(&item).unwrap(), b"once");
    assert_eq!(p.bob_opens(&item), Err(Error::Replayed));
    p.bob = Session::from_bytes(&p.bob.to_bytes()).unwrap();
    assert_eq!(p.bob_opens(&item), Err(Error::Replayed));
    p.round_trip();
    p.round_trip();
    // The chain is gone, and with it every trace of the item.
    assert_eq!(p.bob_opens(&item), Err(Error::NotForUs));
}

#[test]
fn a_jumped_item_opens_once_and_only_once() {
    let mut p = Pair::new(5);
    let early = p.alice_seals(b"early");
    let late = p.alice_seals(b"late");
    assert_eq!(p.bob_opens(&late).unwrap(), b"late");
    assert_eq!(p.bob.skipped(), 1);
    p.round_trip();
    p.round_trip();
    assert_eq!(p.bob_opens(&early).unwrap(), b"early");
    assert_eq!(p.bob.skipped(), 0);
    assert_eq!(p.bob_opens(&early), Err(Error::NotForUs));
}

#[test]
fn a_store_that_was_set_back_seals_no_two_texts_under_one_key_and_nonce() {
    let mut p = Pair::new(6);
    let earlier = p.alice.to_bytes();
    let one = p.alice_seals(b"one");
    p.alice = Session::from_bytes(&earlier).unwrap();
    let two = p.alice_seals(b"two");
    assert_ne!(one.as_bytes()[..12], two.as_bytes()[..12]);
    assert_eq!(p.bob_opens(&one).unwrap(), b"one");
    assert_eq!(p.bob_opens(&two), Err(Error::Replayed));
    p.round_trip();
}

#[test]
fn a_jump_of_2000_is_followed_and_one_of_2001_refused() {
    let mut p = Pair::new(7);
    for _ in 0..SKIPPED_IN_CHAIN_MAX {
        p.alice_seals(b"lost");
    }
    let (within, beyond) = (p.alice_seals(b"within"), p.alice_seals(b"beyond"));
    let before = p.bob.to_bytes();
    assert_eq!(p.bob_opens(&beyond), Err(Error::TooManySkipped));
    assert_eq!(p.bob.to_bytes(), before);
    assert_eq!(p.bob_opens(&within).unwrap(), b"within");
    assert_eq!(p.bob.skipped(), SKIPPED_IN_CHAIN_MAX as usize);
    assert_eq!(p.bob_opens(&beyond).unwrap(), b"beyond");

    // The same at the end of a chain, announced by the first item of the next.
    for _ in 0..=SKIPPED_IN_CHAIN_MAX {
        p.alice_seals(b"lost");
    }
    let item = p.bob_seals(b"turn");
    p.alice_opens(&item).unwrap();
    let next = p.alice_seals(b"next");
    let before = p.bob.to_bytes();
    assert_eq!(p.bob_opens(&next), Err(Error::TooManySkipped));
    assert_eq!(p.bob.to_bytes(), before);
}

#[test]
fn kept_keys_are_bounded_in_a_chain_and_in_a_session_and_the_oldest_go() {
    let mut p = Pair::new(8);
    let mut kept = Vec::new();
    for chain in 0..7 {
        let oldest = p.alice_seals(b"oldest");
        for _ in 0..SKIPPED_IN_CHAIN_MAX - 1 {
            kept.truncate(chain * 2 + 1);
            kept.push(p.alice_seals(b"newest"));
        }
        kept.insert(chain * 2, oldest);
        kept.truncate(chain * 2 + 2);
        let item = p.alice_seals(b"heard");
        p.bob_opens(&item).unwrap();
        let item = p.bob_seals(b"turn");
        p.alice_opens(&item).unwrap();
    }
    assert_eq!(p.bob.skipped(), SKIPPED_IN_SESSION_MAX);
    assert!(p.bob.to_bytes().len() < 404 + 40 * SKIPPED_IN_SESSION_MAX + 36 * 10 + 4_096);
    p.bob = Session::from_bytes(&p.bob.to_bytes()).unwrap();
    assert_eq!(p.bob_opens(&kept[0]), Err(Error::NotForUs));
    assert_eq!(p.bob_opens(&kept[12]).unwrap(), b"oldest");
    assert_eq!(p.bob_opens(&kept[13]).unwrap(), b"newest");
}

#[test]
fn two_jumps_in_one_chain_keep_no_more_than_2000_keys() {
    let mut p = Pair::new(9);
    let oldest = p.alice_seals(b"oldest");
    for _ in 0..2 {
        for _ in 0..SKIPPED_IN_CHAIN_MAX - 1 {
            p.alice_seals(b"lost");
        }
        let item = p.alice_seals(b"heard");
        p.bob_opens(&item).unwrap();
    }
    assert_eq!(p.bob.skipped(), SKIPPED_IN_CHAIN_MAX as usize);
    assert_eq!(p.bob_opens(&oldest), Err(Error::Replayed));
}

#[test]
fn kept_keys_expire_with_the_time_to_live() {
    let mut p = Pair::new(10);
    let lost = p.alice_seals(b"lost");
    let heard = p.alice_seals(b"heard");
    p.bob_opens(&heard).unwrap();
    assert_eq!(p.bob.expire(NOW.after(13 * DAY), 14 * DAY), 0);
    assert_eq!(p.bob.expire(NOW.after(15 * DAY), 14 * DAY), 1);
    assert_eq!(p.bob_opens(&lost), Err(Error::Replayed));
    p.round_trip();
}

#[test]
fn an_item_altered_in_any_byte_is_refused_and_changes_nothing() {
    let mut p = Pair::new(11);
    let current = p.alice_seals(b"of the current chain");
    let item = p.bob_seals(b"turn");
    p.alice_opens(&item).unwrap();
    let next = p.alice_seals(b"of the next chain");
    let before = p.bob.to_bytes();
    for item in [&current, &next] {
        for offset in 0..ITEM_BYTES {
            let error = p.bob_opens(&flipped(item, offset)).unwrap_err();
            assert!(matches!(error, Error::NotForUs | Error::Altered));
            assert_eq!(error.fault(), Fault::Peer);
            assert_eq!(p.bob.to_bytes(), before, "offset {offset}");
        }
    }
    assert_eq!(p.bob_opens(&next).unwrap(), b"of the next chain");
    assert_eq!(p.bob_opens(&current).unwrap(), b"of the current chain");
}

#[test]
fn a_first_item_altered_in_any_byte_is_refused_and_the_honest_one_still_opens() {
    let mut rng = ChaCha20Rng::seed_from_u64(12);
    let (alice, bob) = (IdentitySecret::generate(&mut rng), inviter(&mut rng));
    let (_, first) =
        Session::initiate(&alice, &bob.bundle, &bob.key, &text(b"hi"), &mut rng).unwrap();
    let accept = |item: &Item, rng: &mut ChaCha20Rng| {
        Session::accept(&bob.identity, &bob.prekeys, &bob.key, item, rng)
            .map(|got| got.1.body.clone())
    };
    for offset in 0..ITEM_BYTES {
        let altered = flipped(first.item(), offset);
        assert_eq!(accept(&altered, &mut rng), Err(Error::NotForUs));
    }
    assert_eq!(accept(first.item(), &mut rng).unwrap(), b"hi");
}

#[test]
fn an_item_for_somebody_else_is_not_for_us() {
    let (mut p, mut q) = (Pair::new(13), Pair::new(14));
    let item = p.alice_seals(b"to Bob");
    assert_eq!(q.bob_opens(&item), Err(Error::NotForUs));
    assert_eq!(p.alice_opens(&item), Err(Error::NotForUs));
    let mut rng = ChaCha20Rng::seed_from_u64(15);
    let carol = inviter(&mut rng);
    let result = Session::accept(&carol.identity, &carol.prekeys, &carol.key, &item, &mut rng);
    assert_eq!(result.err(), Some(Error::NotForUs));
}

#[test]
fn items_that_overtake_the_first_one_open_once_it_is_there() {
    let mut rng = ChaCha20Rng::seed_from_u64(16);
    let (alice, bob) = (IdentitySecret::generate(&mut rng), inviter(&mut rng));
    let (mut session, first) =
        Session::initiate(&alice, &bob.bundle, &bob.key, &text(b"0"), &mut rng).unwrap();
    let second = session.seal(&text(b"1"), &mut rng).unwrap().into_item();
    let early = Session::accept(&bob.identity, &bob.prekeys, &bob.key, &second, &mut rng);
    assert_eq!(early.err(), Some(Error::NotForUs));
    let (mut bob, ..) = Session::accept(
        &bob.identity,
        &bob.prekeys,
        &bob.key,
        first.item(),
        &mut rng,
    )
    .unwrap();
    assert_eq!(bob.open(&second, NOW, &mut rng), Ok(text(b"1")));
}

#[test]
fn a_stolen_state_reads_nothing_after_two_round_trips() {
    let mut p = Pair::new(17);
    let mut thief = Session::from_bytes(&p.bob.to_bytes()).unwrap();
    let item = p.alice_seals(b"seen by the thief");
    assert!(thief.open(&item, NOW, &mut p.rng).is_ok());
    p.bob_opens(&item).unwrap();
    p.round_trip();
    p.round_trip();
    let item = p.alice_seals(b"not seen");
    assert_eq!(thief.open(&item, NOW, &mut p.rng), Err(Error::NotForUs));
    assert_eq!(p.bob_opens(&item).unwrap(), b"not seen");
}

#[test]
fn a_stolen_state_reads_nothing_that_was_opened_before() {
    let mut p = Pair::new(18);
    let item = p.alice_seals(b"read");
    p.bob_opens(&item).unwrap();
    let mut thief = Session::from_bytes(&p.bob.to_bytes()).unwrap();
    assert_eq!(thief.open(&item, NOW, &mut p.rng), Err(Error::Replayed));
}

#[test]
fn stored_state_that_was_cut_or_extended_or_changed_in_form_is_refused() {
    let mut p = Pair::new(19);
    p.alice_seals(b"lost");
    let heard = p.alice_seals(b"heard");
    p.bob_opens(&heard).unwrap();
    let bytes = p.bob.to_bytes();
    // The fixed part, one kept key, a post-quantum ratchet that collects a key, and no secret.
    let (sparse, shared) = (484, 484 + 115 + 1_184 + 148);
    assert_eq!(sparse, 408 + 36 + 40);
    assert_eq!(bytes.len(), shared + 55);
    for length in 0..bytes.len() {
        assert_eq!(
            Session::from_bytes(&bytes[..length]).err(),
            Some(Error::DamagedState)
        );
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(Session::from_bytes(&longer).is_err());
    for (offset, value) in [
        (0, 1),
        (265, 2),
        (265, 0),
        (404, 1),
        (407, 2),
        (440, 1),
        (443, 0),
        (sparse, 1),
        (sparse, 2),
        (sparse + 36, 1),
        (sparse + 113, 1),
        (sparse + 113, 3),
        (sparse + 114, 0),
        (sparse + 114, 4),
        (sparse + 115 + 1_184, 0),
        (shared, 0x80),
        (shared + 1, 1),
        (shared + 37, 1),
        (shared + 53, 1),
        (shared + 53, 3),
        (shared + 54, 255),
    ] {
        let mut changed = bytes.to_vec();
        changed[offset] = value;
        assert!(Session::from_bytes(&changed).is_err(), "offset {offset}");
    }
}

#[test]
fn stored_state_with_two_kept_keys_of_one_number_is_refused() {
    let mut p = Pair::new(23);
    p.alice_seals(b"lost");
    p.alice_seals(b"lost");
    let heard = p.alice_seals(b"heard");
    p.bob_opens(&heard).unwrap();
    let mut bytes = p.bob.to_bytes().to_vec();
    assert!(Session::from_bytes(&bytes).is_ok());
    let (first, second) = (408 + 36, 408 + 36 + 40);
    assert_eq!(bytes[second..second + 4], 2u32.to_be_bytes());
    bytes.copy_within(first..first + 4, second);
    assert_eq!(Session::from_bytes(&bytes).err(), Some(Error::DamagedState));
}

#[test]
fn every_item_has_a_name_of_its_own() {
    let mut p = Pair::new(20);
    let (one, two) = (p.alice_seals(b"same"), p.alice_seals(b"same"));
    let name: ItemHash = one.hash();
    assert_eq!(name, Item::from_bytes(one.clone().into_bytes()).hash());
    assert_ne!(name, two.hash());
}

#[test]
fn an_item_that_is_held_opens_again_until_it_is_finished() {
    let mut p = Pair::new(24);
    p.alice_seals(b"lost");
    let current = p.alice_seals(b"of this chain");
    p.round_trip();
    let late = p.alice_seals(b"late");
    let overtakes = p.alice_seals(b"overtakes");
    p.bob_opens(&overtakes).unwrap();
    let item = p.bob_seals(b"turn");
    p.alice_opens(&item).unwrap();
    let next = p.alice_seals(b"of the next chain");
    for (item, said) in [
        (&next, b"of the next chain".as_slice()),
        (&late, b"late"),
        (&current, b"of this chain"),
    ] {
        for _crash in 0..2 {
            let before = p.bob.to_bytes();
            let (text, held) = p.bob.open_held(item, NOW, &mut p.rng).unwrap();
            assert_eq!(text.body, said);
            assert_eq!(format!("{held:?}"), "Held([redacted])");
            drop(held);
            assert_eq!(p.bob.to_bytes(), before);
        }
        let (_, held) = p.bob.open_held(item, NOW, &mut p.rng).unwrap();
        held.finish();
        assert!(p.bob.open_held(item, NOW, &mut p.rng).is_err());
    }
    p.round_trip();
}
