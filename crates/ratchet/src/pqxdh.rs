//! PQXDH (Signal, revision 3), without a one-time curve prekey: the prekeys of a bundle serve one
//! invitation alone, so all of them are one-time.

use ml_kem::kem::{Decapsulate, Encapsulate};
use rand_core::CryptoRng;
use whist_types::Secret;
use zeroize::Zeroizing;

use crate::bundle::ENCODE_IDENTITY;
use crate::identity::agree;
use crate::kdf::{PQXDH_INFO, keys};
use crate::limits::KEM_CIPHERTEXT_BYTES;
use crate::{Bundle, Error, IdentitySecret, InvitationKey, PersonKey, PrekeySecrets};

/// What both ends know after PQXDH.
pub(crate) struct Agreed {
    /// `SK`, the Double Ratchet's first root key.
    pub(crate) root: Secret<32>,
    /// `shared_hka`: seals the headers of the initiator's first chain.
    pub(crate) initiator_header: Secret<32>,
    /// `shared_nhkb`: seals the headers of the responder's first chain.
    pub(crate) responder_header: Secret<32>,
    /// Where the post-quantum ratchet starts.
    pub(crate) sparse: Secret<32>,
}

/// Size of the associated data: two encoded identities and `k`.
pub(crate) const AD_BYTES: usize = 1 + 32 + 1 + 32 + 32;

/// `AD` of PQXDH (section 3.3), bound to every item of the session: the encoded identities, then
/// `k`, the hash of the whole bundle, so that both ends mean the same prekeys (section 4.13).
pub(crate) fn associated_data(
    initiator: &PersonKey,
    responder: &PersonKey,
    key: &InvitationKey,
) -> [u8; AD_BYTES] {
    let parts: [&[u8]; 5] = [
        &[ENCODE_IDENTITY],
        initiator.as_bytes(),
        &[ENCODE_IDENTITY],
        responder.as_bytes(),
        key.expose(),
    ];
    #[expect(clippy::expect_used, reason = "fields of fixed size")]
    parts.concat().try_into().expect("the fields add up")
}

/// The initiator's half. Draws 32 bytes, ML-KEM's `m`.
pub(crate) fn initiate(
    identity: &IdentitySecret,
    ephemeral: &Secret<32>,
    bundle: &Bundle,
    rng: &mut impl CryptoRng,
) -> Result<(Agreed, [u8; KEM_CIPHERTEXT_BYTES]), Error> {
    let theirs = bundle.identity().montgomery()?;
    let dh1 = agree(&identity.exchange_secret(), bundle.prekey())?;
    let dh2 = agree(ephemeral, &theirs)?;
    let dh3 = agree(ephemeral, bundle.prekey())?;
    let (ciphertext, shared) = bundle.encapsulation_key()?.encapsulate_with_rng(rng);
    let shared = Secret::new(shared.into());
    Ok((derive(&[dh1, dh2, dh3, shared]), ciphertext.into()))
}

/// The responder's half.
pub(crate) fn respond(
    identity: &IdentitySecret,
    prekeys: &PrekeySecrets,
    initiator: &PersonKey,
    ephemeral: &[u8; 32],
    ciphertext: &[u8; KEM_CIPHERTEXT_BYTES],
) -> Result<Agreed, Error> {
    let dh1 = agree(&prekeys.prekey, &initiator.montgomery()?)?;
    let dh2 = agree(&identity.exchange_secret(), ephemeral)?;
    let dh3 = agree(&prekeys.prekey, ephemeral)?;
    let shared = prekeys.decapsulation_key().decapsulate(ciphertext.into());
    let shared = Secret::new(shared.into());
    Ok(derive(&[dh1, dh2, dh3, shared]))
}

/// `KDF(DH1 ‖ DH2 ‖ DH3 ‖ SS)` (section 2.2): HKDF-SHA256, zero salt, 32 bytes of 0xff before the
/// key material. 128 bytes instead of 32: the Double Ratchet with header encryption starts from
/// three keys, the post-quantum ratchet from one.
fn derive(secrets: &[Secret<32>; 4]) -> Agreed {
    let mut ikm = Zeroizing::new(Vec::with_capacity(5 * 32));
    ikm.extend_from_slice(&[0xff; 32]);
    for secret in secrets {
        ikm.extend_from_slice(secret.expose());
    }
    let [root, initiator_header, responder_header, sparse] = keys(&[0; 32], &ikm, PQXDH_INFO);
    Agreed {
        root,
        initiator_header,
        responder_header,
        sparse,
    }
}
