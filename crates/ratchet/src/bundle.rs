//! What an invitation leads to: the keys with which a stranger writes first.

use std::fmt;

use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use ml_kem::{KeyExport, KeyInit};
use rand_core::CryptoRng;
use whist_types::{MailboxAddress, NodeId, Reader, Secret, Truncated, Writer};
use zeroize::Zeroizing;

use crate::identity::exchange_public;
use crate::kdf::labelled;
use crate::limits::{KEM_KEY_BYTES, KEM_SEED_BYTES, SIGNATURE_BYTES, TAG_BYTES};
use crate::{BLOB_BYTES, Error, IdentitySecret, InvitationKey, PersonKey};

/// Size of a bundle.
pub const BUNDLE_BYTES: usize = BLOB_BYTES - TAG_BYTES;

const VERSION: u8 = 1;
/// The list of the inviter's devices: how many follow, and which. One device for now, as a
/// greeting has it.
const DEVICES: [u8; 2] = [1, 0];
const FIELDS_BYTES: usize = 1 + 32 + 32 + SIGNATURE_BYTES + KEM_KEY_BYTES + SIGNATURE_BYTES + 98;
const _: () = assert!(FIELDS_BYTES == 1_475 && BUNDLE_BYTES == 1_538);

/// `EncodeEC`, `EncodeKEM` of PQXDH (section 2.1): a byte that names the kind, then the key. The
/// three ranges are disjoint.
pub(crate) const ENCODE_IDENTITY: u8 = 1;
pub(crate) const ENCODE_EC: u8 = 2;
pub(crate) const ENCODE_KEM: u8 = 3;

/// What the identity signs: a label that no other protocol has, then the encoded prekey.
const SIGNED_LABEL: &[u8] = b"whist 2026 prekey v1";

/// The secret half of one invitation's prekeys. Used once and then deleted.
#[derive(PartialEq, Eq)]
pub struct PrekeySecrets {
    pub(crate) prekey: Secret<32>,
    pub(crate) kem_seed: Secret<KEM_SEED_BYTES>,
}

impl PrekeySecrets {
    /// New prekeys and the bundle that publishes them, with the mailbox at which answers are
    /// awaited. Draws 32 bytes (prekey), 64 (KEM seed), 32 (the bundle's random field).
    pub fn generate(
        identity: &IdentitySecret,
        provider: NodeId,
        address: MailboxAddress,
        rng: &mut impl CryptoRng,
    ) -> (Self, Bundle) {
        let secrets = Self {
            prekey: Secret::random(rng),
            kem_seed: Secret::random(rng),
        };
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        let prekey = exchange_public(&secrets.prekey);
        let kem_key: [u8; KEM_KEY_BYTES] = secrets
            .decapsulation_key()
            .encapsulation_key()
            .to_bytes()
            .into();
        let bundle = Bundle(Box::new(Fields {
            identity: identity.public(),
            prekey,
            prekey_signature: identity.sign(&signed_prekey(ENCODE_EC, &prekey)),
            kem_key,
            kem_signature: identity.sign(&signed_prekey(ENCODE_KEM, &kem_key)),
            provider,
            address,
            random,
        }));
        (secrets, bundle)
    }

    pub(crate) fn decapsulation_key(&self) -> DecapsulationKey {
        DecapsulationKey::new(self.kem_seed.expose().into())
    }

    /// For the store: version 1, prekey 32, KEM seed 64.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::with_capacity(97);
        w.u8(VERSION)
            .put(self.prekey.expose())
            .put(self.kem_seed.expose());
        Zeroizing::new(w.into_bytes())
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let read = |r: &mut Reader<'_>| {
            let version = r.u8()?;
            Ok::<_, Truncated>((version, Secret::new(r.array()?), Secret::new(r.array()?)))
        };
        let (version, prekey, kem_seed) = read(&mut r).map_err(|_| Error::DamagedState)?;
        if version != VERSION || !r.rest().is_empty() {
            return Err(Error::DamagedState);
        }
        Ok(Self { prekey, kem_seed })
    }
}

impl fmt::Debug for PrekeySecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrekeySecrets([redacted])")
    }
}

pub(crate) fn signed_prekey(kind: u8, key: &[u8]) -> Vec<u8> {
    [SIGNED_LABEL, &[kind], key].concat()
}

/// The fields of a bundle, in their order on the wire.
#[derive(Clone, PartialEq, Eq)]
struct Fields {
    identity: PersonKey,
    prekey: [u8; 32],
    prekey_signature: [u8; SIGNATURE_BYTES],
    kem_key: [u8; KEM_KEY_BYTES],
    kem_signature: [u8; SIGNATURE_BYTES],
    provider: NodeId,
    address: MailboxAddress,
    random: [u8; 32],
}

/// A bundle whose signatures hold.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | version | 1 |
/// | 1 | 32 | identity | the inviter's [`PersonKey`] |
/// | 33 | 32 | prekey | X25519 |
/// | 65 | 64 | prekey signature | Ed25519 over `"whist 2026 prekey v1" ‖ 0x02 ‖ prekey` |
/// | 129 | 1184 | KEM key | ML-KEM-768 |
/// | 1313 | 64 | KEM signature | Ed25519 over `"whist 2026 prekey v1" ‖ 0x03 ‖ KEM key` |
/// | 1377 | 32 | provider | where the inviter's mailbox is |
/// | 1409 | 32 | address | of the mailbox, for this contact alone |
/// | 1441 | 32 | random | makes the hash unguessable |
/// | 1473 | 1 | devices | of the inviter that follow: 1 for now |
/// | 1474 | 1 | device | which, 0 for now |
/// | 1475 | 63 | padding | zero |
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle(Box<Fields>);

impl Bundle {
    /// The bytes that are hashed and sealed.
    pub fn to_bytes(&self) -> [u8; BUNDLE_BYTES] {
        let f = &self.0;
        let mut w = Writer::with_capacity(BUNDLE_BYTES);
        w.u8(VERSION).put(f.identity.as_bytes());
        w.put(&f.prekey).put(&f.prekey_signature);
        w.put(&f.kem_key).put(&f.kem_signature);
        w.put(f.provider.as_bytes()).put(f.address.as_bytes());
        w.put(&f.random).put(&DEVICES);
        let mut bytes = w.into_bytes();
        bytes.resize(BUNDLE_BYTES, 0);
        #[expect(clippy::expect_used, reason = "resized one line above")]
        bytes.try_into().expect("a bundle has its size")
    }

    /// Who invites.
    pub fn identity(&self) -> PersonKey {
        self.0.identity
    }

    /// Where the inviter's mailbox is.
    pub fn provider(&self) -> NodeId {
        self.0.provider
    }

    /// The address of that mailbox that this invitation gives away.
    pub fn address(&self) -> MailboxAddress {
        self.0.address
    }

    /// The key that names this bundle: its hash.
    pub fn invitation_key(&self) -> InvitationKey {
        InvitationKey::of(&self.to_bytes())
    }

    pub(crate) fn prekey(&self) -> &[u8; 32] {
        &self.0.prekey
    }

    pub(crate) fn encapsulation_key(&self) -> Result<EncapsulationKey, Error> {
        encapsulation_key(&self.0.kem_key)
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bundle([redacted])")
    }
}

fn encapsulation_key(bytes: &[u8; KEM_KEY_BYTES]) -> Result<EncapsulationKey, Error> {
    EncapsulationKey::new(bytes.into()).map_err(|_| Error::BadKey)
}

/// A bundle as it was received.
#[derive(Clone, PartialEq, Eq)]
pub struct UnverifiedBundle(Box<Fields>);

impl UnverifiedBundle {
    /// Reads the fields: [`Error::Malformed`] or [`Error::BadKey`] if they cannot be a bundle's.
    pub fn from_bytes(bytes: &[u8; BUNDLE_BYTES]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        if r.u8() != Ok(VERSION) {
            return Err(Error::Malformed);
        }
        let mut identity = || r.array::<32>().map_err(|_| Error::Malformed);
        let identity = PersonKey::from_bytes(identity()?)?;
        let mut fields = || {
            Ok::<_, Truncated>(Fields {
                identity,
                prekey: r.array()?,
                prekey_signature: r.array()?,
                kem_key: r.array()?,
                kem_signature: r.array()?,
                provider: NodeId::from_bytes(r.array()?),
                address: MailboxAddress::from_bytes(r.array()?),
                random: r.array()?,
            })
        };
        let fields = fields().map_err(|_| Error::Malformed)?;
        if r.array() != Ok(DEVICES) || r.rest().iter().any(|&b| b != 0) {
            return Err(Error::Malformed);
        }
        encapsulation_key(&fields.kem_key)?;
        Ok(Self(Box::new(fields)))
    }

    /// Checks both signatures.
    pub fn verify(self) -> Result<Bundle, Error> {
        let f = &self.0;
        f.identity
            .verify(&signed_prekey(ENCODE_EC, &f.prekey), &f.prekey_signature)?;
        f.identity
            .verify(&signed_prekey(ENCODE_KEM, &f.kem_key), &f.kem_signature)?;
        Ok(Bundle(self.0))
    }
}

impl fmt::Debug for UnverifiedBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedBundle([redacted])")
    }
}

/// The hash of a bundle's bytes, `k`.
pub(crate) fn bundle_hash(bytes: &[u8; BUNDLE_BYTES]) -> [u8; 32] {
    labelled("whist 2026 invitation bundle v1", &[bytes])
}
