//! Invitations and bundles from the outside.
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
use chacha20::rand_core::SeedableRng;
use common::{inviter, text};
use whist_ratchet::{
    BLOB_BYTES, Error, IdentitySecret, Invitation, InvitationKey, PrekeySecrets, Session,
    open_bundle, seal_bundle,
};
use whist_types::NodeId;

fn invitation() -> Invitation {
    Invitation {
        provider: NodeId::from_bytes([0x11; 32]),
        key: InvitationKey::from_bytes([0x22; 32]),
    }
}

#[test]
fn an_invitation_is_a_short_text() {
    let text = concat!(
        "whist:aeirceirceirceirceirceirceirceirceirceirceirceirceircirceirceirceirceirceirce",
        "irceirceirceirceirceirceirctyow4cq"
    );
    assert_eq!(invitation().to_string(), text);
    assert_eq!(invitation().to_string().len(), 117);
}

#[test]
fn an_invitation_is_read_in_capitals_and_with_space_around_it() {
    let written = invitation().to_string();
    for form in [
        written.clone(),
        written.to_ascii_uppercase(),
        format!("  {written}\r\n"),
    ] {
        assert!(form.parse::<Invitation>().unwrap() == invitation());
    }
}

#[test]
fn a_wrong_invitation_says_what_is_wrong() {
    let written = invitation().to_string();
    let error = |text: &str| text.parse::<Invitation>().err().unwrap().to_string();
    insta::assert_snapshot!(error("hello"), @r#"not an invitation: it must begin with "whist:""#);
    insta::assert_snapshot!(error(&written[..100]), @"the invitation is incomplete or too long");
    insta::assert_snapshot!(
        error(&format!("{written}a")),
        @"the invitation is incomplete or too long"
    );
    insta::assert_snapshot!(
        error(&written.replace('e', "é")),
        @"the invitation holds a character that does not belong there"
    );
    let newer = format!("whist:ai{}", &written[8..]);
    insta::assert_snapshot!(
        error(&newer),
        @"the invitation has version 2; a newer program is needed"
    );
}

#[test]
fn one_misread_character_anywhere_is_noticed() {
    let written = invitation().to_string();
    for offset in 8..written.len() {
        let mut bytes = written.clone().into_bytes();
        bytes[offset] = if bytes[offset] == b'q' { b'r' } else { b'q' };
        let read = String::from_utf8(bytes).unwrap().parse::<Invitation>();
        assert_eq!(read.err(), Some(Error::BadChecksum), "offset {offset}");
    }
}

#[test]
fn a_blob_opens_with_its_key_alone_and_not_when_altered() {
    let mut rng = ChaCha20Rng::seed_from_u64(30);
    let (bob, eve) = (inviter(&mut rng), inviter(&mut rng));
    let blob = seal_bundle(&bob.bundle);
    assert!(open_bundle(&bob.key, &blob).unwrap() == bob.bundle);
    assert_eq!(open_bundle(&eve.key, &blob), Err(Error::WrongBundle));
    assert_eq!(
        open_bundle(&bob.key, &seal_bundle(&eve.bundle)),
        Err(Error::WrongBundle)
    );
    for offset in 0..BLOB_BYTES {
        let mut altered = blob.clone();
        altered[offset] ^= 1;
        assert_eq!(open_bundle(&bob.key, &altered), Err(Error::WrongBundle));
    }
}

#[test]
fn every_invitation_has_a_key_a_drop_and_a_blob_of_its_own() {
    let mut rng = ChaCha20Rng::seed_from_u64(31);
    let (one, two) = (inviter(&mut rng), inviter(&mut rng));
    assert!(one.key != two.key);
    assert_ne!(one.key.drop_id(), two.key.drop_id());
    let (one, two) = (seal_bundle(&one.bundle), seal_bundle(&two.bundle));
    assert!(
        one.windows(8)
            .all(|part| !two.windows(8).any(|other| part == other))
    );
}

#[test]
fn a_bundle_is_answered_with_its_own_key_and_not_by_its_owner() {
    let mut rng = ChaCha20Rng::seed_from_u64(32);
    let alice = IdentitySecret::generate(&mut rng);
    let (bob, eve) = (inviter(&mut rng), inviter(&mut rng));
    let wrong = Session::initiate(&alice, &bob.bundle, &eve.key, &text(b""), &mut rng);
    assert_eq!(wrong.err(), Some(Error::WrongBundle));
    let own = Session::initiate(&bob.identity, &bob.bundle, &bob.key, &text(b""), &mut rng);
    assert_eq!(own.err(), Some(Error::OwnInvitation));
}

#[test]
fn a_first_item_does_not_open_with_other_prekeys_or_another_identity() {
    let mut rng = ChaCha20Rng::seed_from_u64(33);
    let alice = IdentitySecret::generate(&mut rng);
    let (bob, eve) = (inviter(&mut rng), inviter(&mut rng));
    let (_, first) =
        Session::initiate(&alice, &bob.bundle, &bob.key, &text(b"hi"), &mut rng).unwrap();
    // Eve holds the invitation, so she can lift the outer seal; no more.
    let result = Session::accept(
        &eve.identity,
        &eve.prekeys,
        &bob.key,
        first.item(),
        &mut rng,
    );
    assert_eq!(result.err(), Some(Error::Altered));
    let result = Session::accept(
        &eve.identity,
        &bob.prekeys,
        &bob.key,
        first.item(),
        &mut rng,
    );
    assert_eq!(result.err(), Some(Error::Altered));
    let result = Session::accept(
        &bob.identity,
        &eve.prekeys,
        &bob.key,
        first.item(),
        &mut rng,
    );
    assert_eq!(result.err(), Some(Error::Altered));
}

#[test]
fn two_who_use_one_invitation_are_two_people_to_its_owner() {
    let mut rng = ChaCha20Rng::seed_from_u64(34);
    let bob = inviter(&mut rng);
    let mut peers = Vec::new();
    for _ in 0..2 {
        let someone = IdentitySecret::generate(&mut rng);
        let (_, first) =
            Session::initiate(&someone, &bob.bundle, &bob.key, &text(b""), &mut rng).unwrap();
        let (session, _, peer) = Session::accept(
            &bob.identity,
            &bob.prekeys,
            &bob.key,
            first.item(),
            &mut rng,
        )
        .unwrap();
        assert_eq!((peer, session.peer()), (someone.public(), someone.public()));
        peers.push(peer.fingerprint().to_string());
    }
    assert_ne!(peers[0], peers[1]);
    assert_eq!(peers[0].len(), 39);
}

#[test]
fn prekeys_survive_the_store_and_damage_is_noticed() {
    let mut rng = ChaCha20Rng::seed_from_u64(35);
    let bytes = inviter(&mut rng).prekeys.to_bytes();
    let again = PrekeySecrets::from_bytes(&bytes).unwrap();
    assert_eq!(again.to_bytes(), bytes);
    assert_eq!(bytes.len(), 97);
    for damaged in [&bytes[..96], &[0; 97], &[1; 98]] {
        assert_eq!(
            PrekeySecrets::from_bytes(damaged).err(),
            Some(Error::DamagedState)
        );
    }
}
