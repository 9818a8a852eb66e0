//! What the public surface cannot build: keys of small order in places that are signed or sealed,
//! contents that no honest program writes.
#![allow(clippy::arithmetic_side_effects)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use data_encoding::HEXLOWER;
use whist_types::{ConsensusHash, MailboxAddress, NodeId, Secret, Wall};

use crate::aead;
use crate::bundle::{BUNDLE_BYTES, ENCODE_EC, signed_prekey};
use crate::identity::agree;
use crate::limits::{FIRST_INNER_BYTES, PLAINTEXT_BYTES, RIDER_BYTES};
use crate::shared::{Rider, Shared, Verdict};
use crate::sparse::Sealing;
use crate::{
    Bundle, Error, IdentitySecret, InvitationKey, Item, PersonKey, Plaintext, PrekeySecrets,
    SecretState, Session, SharedSecret, UnverifiedBundle, open_bundle,
};

const NOW: Wall = Wall::from_secs(1_800_000_000);

/// All u of order 1, 2, 4 and 8 on the curve and its twist, canonical or not (RFC 7748, section 6,
/// and Bernstein's list).
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Ed25519 points of small order, canonical and not.
const SMALL_POINTS: [&str; 8] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn low_order() -> impl Iterator<Item = [u8; 32]> {
    LOW_ORDER.iter().flat_map(|text| {
        let bytes: [u8; 32] = HEXLOWER
            .decode(text.as_bytes())
            .unwrap()
            .try_into()
            .unwrap();
        let mut twin = bytes;
        twin[31] |= 0x80;
        [bytes, twin]
    })
}

struct Scene {
    rng: ChaCha20Rng,
    alice: IdentitySecret,
    bob: IdentitySecret,
    prekeys: PrekeySecrets,
    bundle: Bundle,
}

fn scene() -> Scene {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let alice = IdentitySecret::generate(&mut rng);
    let bob = IdentitySecret::generate(&mut rng);
    let (provider, address) = (
        NodeId::from_bytes([1; 32]),
        MailboxAddress::from_bytes([2; 32]),
    );
    let (prekeys, bundle) = PrekeySecrets::generate(&bob, provider, address, &mut rng);
    Scene {
        rng,
        alice,
        bob,
        prekeys,
        bundle,
    }
}

fn hello() -> Plaintext {
    Plaintext {
        device: 1,
        consensus: ConsensusHash::from_bytes([5; 32]),
        body: b"hello".to_vec(),
    }
}

/// Seals `inner` as a first item of this invitation.
fn first_item(key: &InvitationKey, inner: &[u8]) -> Item {
    let sealed = aead::seal_extended(&key.first_contact_key(), &[9; 24], inner);
    Item::from_vec([[9; 24].as_slice(), &sealed].concat())
}

#[test]
fn an_exchange_with_a_point_of_small_order_is_refused() {
    for point in low_order() {
        assert_eq!(
            agree(&Secret::new([7; 32]), &point).err(),
            Some(Error::BadKey)
        );
    }
}

#[test]
fn an_identity_of_small_or_mixed_order_or_not_canonical_is_refused() {
    use curve25519_dalek::constants::EIGHT_TORSION;
    for text in SMALL_POINTS {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(PersonKey::from_bytes(bytes), Err(Error::BadKey), "{text}");
    }
    let honest = scene().alice.public();
    assert_eq!(PersonKey::from_bytes(*honest.as_bytes()), Ok(honest));
    let point = curve25519_dalek::edwards::CompressedEdwardsY(*honest.as_bytes())
        .decompress()
        .unwrap();
    for torsion in &EIGHT_TORSION[1..] {
        let twin = (point + torsion).compress().to_bytes();
        assert_eq!(PersonKey::from_bytes(twin), Err(Error::BadKey));
    }
}

#[test]
fn a_signed_prekey_of_small_order_is_refused() {
    let mut s = scene();
    for point in low_order() {
        let mut bytes = s.bundle.to_bytes();
        bytes[33..65].copy_from_slice(&point);
        bytes[65..129].copy_from_slice(&s.bob.sign(&signed_prekey(ENCODE_EC, &point)));
        let bundle = UnverifiedBundle::from_bytes(&bytes)
            .unwrap()
            .verify()
            .unwrap();
        let key = bundle.invitation_key();
        let result = Session::initiate(&s.alice, &bundle, &key, &hello(), &mut s.rng);
        assert_eq!(result.err(), Some(Error::BadKey));
    }
}

#[test]
fn a_first_item_with_a_key_of_small_order_is_refused() {
    let mut s = scene();
    let key = s.bundle.invitation_key();
    for point in low_order() {
        let mut inner = vec![0; FIRST_INNER_BYTES];
        inner[0] = 1;
        inner[1..33].copy_from_slice(s.alice.public().as_bytes());
        inner[33..65].copy_from_slice(&point);
        let item = first_item(&key, &inner);
        let result = Session::accept(&s.bob, &s.prekeys, &key, &item, &mut s.rng);
        assert_eq!(result.err(), Some(Error::BadKey));
        inner[1..33].copy_from_slice(&point);
        let item = first_item(&key, &inner);
        let result = Session::accept(&s.bob, &s.prekeys, &key, &item, &mut s.rng);
        assert_eq!(result.err(), Some(Error::BadKey));
    }
}

#[test]
fn a_ratchet_key_of_small_order_is_refused_and_changes_nothing() {
    let mut s = scene();
    let key = s.bundle.invitation_key();
    let (alice, first) =
        Session::initiate(&s.alice, &s.bundle, &key, &hello(), &mut s.rng).unwrap();
    let (mut bob, ..) =
        Session::accept(&s.bob, &s.prekeys, &key, first.item(), &mut s.rng).unwrap();
    let before = bob.to_bytes();
    for point in low_order() {
        let header = [point.as_slice(), &[0; 16], &[0xff, 0xff, 0, 0, 0, 1, 0, 0]].concat();
        // Alice's program is malicious: it knows the key of her next chain's headers.
        let header = aead::seal(&alice.ratchet.next_send_header, &[3; 12], &[], &header);
        let item = [[3; 12].as_slice(), &header, &[0; 1452]].concat();
        let result = bob.open(&Item::from_vec(item), NOW, &mut s.rng);
        assert_eq!(result.err(), Some(Error::BadKey));
        assert_eq!(bob.to_bytes(), before);
    }
}

#[test]
fn authentic_contents_that_no_honest_program_writes_are_refused() {
    let mut s = scene();
    let key = s.bundle.invitation_key();
    let (mut alice, first) =
        Session::initiate(&s.alice, &s.bundle, &key, &hello(), &mut s.rng).unwrap();
    let (mut bob, ..) =
        Session::accept(&s.bob, &s.prekeys, &key, first.item(), &mut s.rng).unwrap();
    let honest = hello().pad(None, &[], PLAINTEXT_BYTES).unwrap();
    // Format, length beyond the body's limit, padding, and padding that hides behind the length.
    for (offset, value) in [(0, 2), (34, 6), (36 + 5, 1), (PLAINTEXT_BYTES - 1, 1)] {
        let mut text = honest.to_vec();
        text[offset] = value;
        let sealing = alice.sparse.seal(0, &mut s.rng).unwrap();
        let sealed = alice
            .ratchet
            .seal(&alice.ad, &text, &sealing, &mut s.rng)
            .unwrap();
        let before = bob.to_bytes();
        let result = bob.open(&Item::from_vec(sealed), NOW, &mut s.rng);
        assert_eq!(result.err(), Some(Error::Malformed));
        assert_eq!(bob.to_bytes(), before);
    }
    let after = alice.seal(&hello(), &mut s.rng).unwrap().into_item();
    assert_eq!(bob.open(&after, NOW, &mut s.rng), Ok(hello()));
}

#[test]
fn a_first_item_that_claims_a_later_number_is_refused() {
    let mut s = scene();
    let key = s.bundle.invitation_key();
    let (mut alice, first) =
        Session::initiate(&s.alice, &s.bundle, &key, &hello(), &mut s.rng).unwrap();
    let nonce: [u8; 24] = first.item().as_bytes()[..24].try_into().unwrap();
    let opened = aead::open_extended(
        &key.first_contact_key(),
        &nonce,
        &first.item().as_bytes()[24..],
    );
    let mut inner = opened.ok().unwrap().to_vec();
    let text = hello().pad(None, &[], 243).unwrap();
    let sealing = alice.sparse.seal(0, &mut s.rng).unwrap();
    let second = alice
        .ratchet
        .seal(&alice.ad, &text, &sealing, &mut s.rng)
        .unwrap();
    inner[1153..].copy_from_slice(&second);
    let item = first_item(&key, &inner);
    let result = Session::accept(&s.bob, &s.prekeys, &key, &item, &mut s.rng);
    assert_eq!(result.err(), Some(Error::Malformed));
}

#[test]
fn a_bundle_that_is_not_in_its_one_form_is_refused() {
    let s = scene();
    let refused = |offset: usize, error: Error| {
        let mut bytes = s.bundle.to_bytes();
        bytes[offset] ^= 1;
        let result = UnverifiedBundle::from_bytes(&bytes).and_then(UnverifiedBundle::verify);
        assert_eq!(result.err(), Some(error), "offset {offset}");
    };
    refused(0, Error::Malformed);
    refused(33, Error::BadSignature);
    refused(70, Error::BadSignature);
    refused(200, Error::BadSignature);
    refused(1_320, Error::BadSignature);
    // No device, another one than the one that there is, and padding.
    refused(1_473, Error::Malformed);
    refused(1_474, Error::Malformed);
    refused(1_475, Error::Malformed);
    refused(BUNDLE_BYTES - 1, Error::Malformed);
    // A coefficient of the KEM key at or above q.
    let mut bytes = s.bundle.to_bytes();
    bytes[129..132].fill(0xff);
    assert_eq!(UnverifiedBundle::from_bytes(&bytes), Err(Error::BadKey));
}

#[test]
fn another_bundle_under_the_right_sealing_key_is_refused() {
    // Who was given the invitation could publish a bundle of their own in the inviter's drop.
    let mut s = scene();
    let key = s.bundle.invitation_key();
    let (provider, address) = (s.bundle.provider(), s.bundle.address());
    let (_, other) = PrekeySecrets::generate(&s.alice, provider, address, &mut s.rng);
    let sealed = aead::seal(&key.sealing_key(), &[0; 12], &[], &other.to_bytes());
    let blob = sealed.try_into().unwrap();
    assert_eq!(open_bundle(&key, &blob), Err(Error::WrongBundle));
}

#[test]
fn a_secret_that_was_not_agreed_on_is_not_mixed_in_and_a_rider_of_the_wrong_end_is_refused() {
    let mut s = scene();
    let key = s.bundle.invitation_key();
    let (mut alice, first) =
        Session::initiate(&s.alice, &s.bundle, &key, &hello(), &mut s.rng).unwrap();
    let (mut bob, ..) =
        Session::accept(&s.bob, &s.prekeys, &key, first.item(), &mut s.rng).unwrap();
    let pong = bob.seal(&hello(), &mut s.rng).unwrap();
    alice.open(pong.item(), NOW, &mut s.rng).unwrap();
    let stored = alice.to_bytes();
    // Alice's program is malicious; Bob waits for a claim, or has refused one.
    bob.set_secret(&SharedSecret::new(Secret::new([7; 32])))
        .unwrap();
    for refused in [false, true] {
        let mut alice = Session::from_bytes(&stored).unwrap();
        if refused {
            alice
                .set_secret(&SharedSecret::new(Secret::new([8; 32])))
                .unwrap();
            let claim = alice.seal(&hello(), &mut s.rng).unwrap();
            bob.open(claim.item(), NOW, &mut s.rng).unwrap();
            assert_eq!(bob.secret_state(), SecretState::Differs);
            let no = bob.seal_bare(0, hello().consensus, &mut s.rng).unwrap();
            alice.open(no.item(), NOW, &mut s.rng).unwrap();
        }
        alice.ratchet.mix(&Secret::new([7; 32])).unwrap();
        alice.shared = Shared::default();
        let item = alice.seal(&hello(), &mut s.rng).unwrap();
        let before = bob.to_bytes();
        let result = bob.open(item.item(), NOW, &mut s.rng);
        assert_eq!(result.err(), Some(Error::Malformed));
        assert_eq!(bob.to_bytes(), before);
    }
    // Bob's program is malicious: it says yes and lacks the secret.
    let mut alice = Session::from_bytes(&stored).unwrap();
    alice
        .set_secret(&SharedSecret::new(Secret::new([8; 32])))
        .unwrap();
    (bob.shared.round, bob.shared.verdict) = (1, Verdict::Same);
    let yes = bob.seal_bare(0, hello().consensus, &mut s.rng).unwrap();
    alice.open(yes.item(), NOW, &mut s.rng).unwrap();
    assert_eq!(alice.secret_state(), SecretState::Differs);
    let rider = |kind, which, round, proof: u8| {
        let mut bytes = vec![kind, 0, which, 0, 0, 0, round];
        bytes.resize(RIDER_BYTES, proof);
        [true, false].map(|initiator| Rider::parse(&bytes, initiator).is_ok())
    };
    assert_eq!(rider(1, 1, 1, 9), [true, false]);
    assert_eq!(rider(2, 1, 1, 0), [true, false]);
    assert_eq!(rider(3, 1, 1, 9), [false, true]);
    assert_eq!(rider(4, 1, 1, 0), [false, true]);
    for (kind, which, round, proof) in [
        (0, 1, 1, 0),
        (5, 1, 1, 0),
        (1, 0, 1, 9),
        (1, 1, 0, 9),
        (2, 1, 1, 9),
        (4, 1, 1, 9),
    ] {
        assert_eq!(rider(kind, which, round, proof), [false, false], "{kind}");
    }
}

#[test]
fn an_item_whose_post_quantum_part_cannot_be_is_refused_and_changes_nothing() {
    let mut s = scene();
    let key = s.bundle.invitation_key();
    let (alice, first) =
        Session::initiate(&s.alice, &s.bundle, &key, &hello(), &mut s.rng).unwrap();
    let (mut bob, ..) =
        Session::accept(&s.bob, &s.prekeys, &key, first.item(), &mut s.rng).unwrap();
    let stored = alice.to_bytes();
    type Lie = fn(&mut Sealing);
    let lies: [(Lie, Option<Error>); 9] = [
        (|_| {}, None),
        (|s| s.note.epoch = 1, Some(Error::Malformed)),
        (|s| s.note.epoch = u32::MAX, Some(Error::Malformed)),
        (|s| s.note.number += 1, Some(Error::Malformed)),
        (|s| s.note.number = u32::MAX, Some(Error::Malformed)),
        (|s| s.note.acknowledged = 1, Some(Error::Malformed)),
        (|s| s.note.offset = Some(1_184), Some(Error::Malformed)),
        // Another byte where one is already.
        (|s| s.note.offset = Some(0), Some(Error::Malformed)),
        // Coefficients at or above q.
        (|s| s.fragment.fill(0xff), Some(Error::BadKey)),
    ];
    for (number, (lie, refused)) in lies.into_iter().enumerate().rev() {
        let mut alice = Session::from_bytes(&stored).unwrap();
        let mut sealing = alice.sparse.seal(1_395, &mut s.rng).unwrap();
        assert!(sealing.note.offset.is_some_and(|offset| offset > 0));
        lie(&mut sealing);
        let text = hello()
            .pad(None, &sealing.fragment, PLAINTEXT_BYTES)
            .unwrap();
        let sealed = alice
            .ratchet
            .seal(&alice.ad, &text, &sealing, &mut s.rng)
            .unwrap();
        let before = bob.to_bytes();
        let result = bob.open(&Item::from_vec(sealed), NOW, &mut s.rng);
        assert_eq!(result.err(), refused, "lie {number}");
        assert!(refused.is_none() || bob.to_bytes() == before);
    }
}
