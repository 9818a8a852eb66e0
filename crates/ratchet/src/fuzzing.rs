//! One function for each parser: any bytes in, no panic, and what is read is what was written.

use std::convert::Infallible;
use std::sync::OnceLock;

use rand_core::{TryCryptoRng, TryRng};
use whist_types::{ConsensusHash, MailboxAddress, NodeId, Wall};

use crate::item::Unpadded;
use crate::shared::Rider;
use crate::{
    BLOB_BYTES, BUNDLE_BYTES, IdentitySecret, Invitation, InvitationKey, Item, Plaintext,
    PrekeySecrets, Session, UnverifiedBundle, aead, open_bundle,
};

/// A generator whose output is fixed: BLAKE3's output stream.
struct Fixed(blake3::OutputReader);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

fn fixed(seed: &[u8]) -> Fixed {
    Fixed(blake3::Hasher::new().update(seed).finalize_xof())
}

/// An inviter who waits, and a stored session of hers with somebody.
struct Scene {
    identity: IdentitySecret,
    prekeys: PrekeySecrets,
    key: InvitationKey,
    session: Vec<u8>,
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let mut rng = fixed(b"scene");
        let identity = IdentitySecret::generate(&mut rng);
        let provider = NodeId::from_bytes([1; 32]);
        let address = MailboxAddress::from_bytes([2; 32]);
        let (prekeys, bundle) = PrekeySecrets::generate(&identity, provider, address, &mut rng);
        let key = bundle.invitation_key();
        let peer = IdentitySecret::generate(&mut rng);
        let hello = Plaintext {
            device: 0,
            consensus: ConsensusHash::from_bytes([3; 32]),
            body: Vec::new(),
        };
        let made = Session::initiate(&peer, &bundle, &key, &hello, &mut rng);
        let session = made.map_or_else(|_| Vec::new(), |(session, _)| session.to_bytes().to_vec());
        Scene {
            identity,
            prekeys,
            key,
            session,
        }
    })
}

/// `data`, cut or filled with zeros to `N` bytes.
fn sized<const N: usize>(data: &[u8]) -> Box<[u8; N]> {
    let mut bytes = Box::new([0; N]);
    for (to, from) in bytes.iter_mut().zip(data) {
        *to = *from;
    }
    bytes
}

/// A bundle as it stands inside a blob.
pub fn bundle(data: &[u8]) {
    let bytes = sized::<BUNDLE_BYTES>(data);
    if let Ok(unverified) = UnverifiedBundle::from_bytes(&bytes)
        && let Ok(bundle) = unverified.verify()
    {
        assert!(bundle.to_bytes() == *bytes, "a bundle has one form");
    }
}

/// A blob as a provider gives it, under the key that the bytes ask for.
pub fn blob(data: &[u8]) {
    let inner = sized::<BUNDLE_BYTES>(data);
    assert!(
        open_bundle(&InvitationKey::of(&inner), &sized::<BLOB_BYTES>(data)).is_err(),
        "nobody finds a sealed blob by chance"
    );
}

/// The text of an invitation.
pub fn invitation(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(invitation) = text.parse::<Invitation>()
    {
        let written = invitation.to_string();
        assert!(
            written.eq_ignore_ascii_case(text.trim()),
            "a text has one form"
        );
    }
}

/// A first item whose outer seal is right and whose contents are `data`.
pub fn first_item(data: &[u8]) {
    let scene = scene();
    let inner = sized::<1496>(data);
    let sealed = aead::seal_extended(&scene.key.first_contact_key(), &[0; 24], inner.as_slice());
    let item = Item::from_vec([[0; 24].as_slice(), &sealed].concat());
    let result = Session::accept(
        &scene.identity,
        &scene.prekeys,
        &scene.key,
        &item,
        &mut fixed(data),
    );
    assert!(result.is_err(), "nobody agrees on a key by chance");
}

/// An item for a session that waits for its first answer.
pub fn item(data: &[u8]) {
    if let Ok(mut session) = Session::from_bytes(&scene().session) {
        let item = Item::from_bytes(sized(data));
        let result = session.open(&item, Wall::from_millis(0), &mut fixed(data));
        assert!(result.is_err(), "nobody seals an item by chance");
    }
}

/// What stands inside an item once it is open.
pub fn plaintext(data: &[u8]) {
    let fragment_bytes = |room: usize| Ok(room.min(crate::PADDING_MIN));
    let read = Plaintext::unpad(data, crate::BODY_MAX, fragment_bytes);
    if let Ok(Unpadded {
        plaintext,
        rider,
        fragment,
    }) = read
    {
        let by = |initiator| rider.map(|rider| Rider::parse(rider, initiator));
        let [one, other] = [by(true), by(false)];
        let rider = match (one, other) {
            (Some(Err(_)), Some(Err(_))) => return,
            (one, other) => one.and_then(Result::ok).or(other.and_then(Result::ok)),
        };
        let padded = plaintext.pad(rider.as_ref(), fragment, data.len());
        let same = padded.is_ok_and(|bytes| bytes.as_slice() == data);
        assert!(same, "a plaintext has one form");
    }
}

/// A stored session. One that parses also survives an item.
pub fn stored_session(data: &[u8]) {
    if let Ok(mut session) = Session::from_bytes(data) {
        assert!(
            session.to_bytes().as_slice() == data,
            "a state has one form"
        );
        let hello = Plaintext {
            device: 0,
            consensus: ConsensusHash::from_bytes([3; 32]),
            body: Vec::new(),
        };
        let _sealed_or_exhausted = session.seal(&hello, &mut fixed(data));
        let _sealed = session.seal_bare(0, hello.consensus, &mut fixed(data));
        let item = Item::from_bytes(sized(data));
        let _refused = session.open(&item, Wall::from_millis(0), &mut fixed(data));
        session.expire(Wall::from_millis(u64::MAX), std::time::Duration::ZERO);
    }
}

/// Stored prekeys.
pub fn stored_prekeys(data: &[u8]) {
    if let Ok(prekeys) = PrekeySecrets::from_bytes(data) {
        assert!(
            prekeys.to_bytes().as_slice() == data,
            "a state has one form"
        );
    }
}

/// A parser under test.
pub type Target = fn(&[u8]);

/// Every function above, by name.
pub const ALL: [(&str, Target); 8] = [
    ("bundle", bundle),
    ("blob", blob),
    ("invitation", invitation),
    ("first_item", first_item),
    ("item", item),
    ("plaintext", plaintext),
    ("stored_session", stored_session),
    ("stored_prekeys", stored_prekeys),
];
