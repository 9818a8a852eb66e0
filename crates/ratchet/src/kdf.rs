//! Key derivation: the root KDF, the chain KDF and the labels of everything hashed.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use whist_types::Secret;
use zeroize::{Zeroize, Zeroizing};

/// PQXDH's `info`: application, curve, hash and KEM joined by `_` (section 2.2).
pub(crate) const PQXDH_INFO: &[u8] = b"Whist_CURVE25519_SHA-256_ML-KEM-768";
/// The root KDF's `info` (Double Ratchet, section 7.2 wants an application-specific one).
pub(crate) const ROOT_INFO: &[u8] = b"whist 2026 double ratchet root v1";

/// The `info` of the step in which a shared secret stands where a root step has the exchange.
pub(crate) const SECRET_INFO: &[u8] = b"whist 2026 double ratchet shared secret v1";

/// The post-quantum ratchet's `info`s (Double Ratchet, section 7.2): its first keys, those of each
/// later epoch, and a step of a chain.
pub(crate) const SPARSE_START_INFO: &[u8] = b"whist 2026 sparse ratchet start v1";
pub(crate) const SPARSE_INFO: &[u8] = b"whist 2026 sparse ratchet epoch v1";
const SPARSE_STEP_INFO: &[u8] = b"whist 2026 sparse ratchet chain v1";
/// The `info` under which both ratchets' keys become one.
const HYBRID_INFO: &[u8] = b"whist 2026 triple ratchet message v1";

/// HKDF-SHA256 with 96 bytes of output, cut into three keys: `KDF_RK_HE` of the Double Ratchet
/// (root, chain, next header) and the output of PQXDH (root, two header keys).
pub(crate) fn three_keys(salt: &[u8; 32], ikm: &[u8], info: &[u8]) -> [Secret<32>; 3] {
    keys(salt, ikm, info)
}

/// HKDF-SHA256, its output cut into keys.
pub(crate) fn keys<const N: usize>(salt: &[u8; 32], ikm: &[u8], info: &[u8]) -> [Secret<32>; N] {
    let mut okm = Zeroizing::new([[0u8; 32]; N]);
    #[expect(clippy::expect_used, reason = "RFC 5869 allows up to 8,160 bytes")]
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand(info, okm.as_flattened_mut())
        .expect("four keys at most are fewer than 255 hashes");
    okm.map(Secret::new)
}

/// `KDF_CK` of the Double Ratchet (section 7.2): HMAC-SHA256 of one byte under the chain key.
/// Returns the next chain key and the message key.
pub(crate) fn chain_step(chain: &Secret<32>) -> (Secret<32>, Secret<32>) {
    (hmac_byte(chain, 2), hmac_byte(chain, 1))
}

fn hmac_byte(key: &Secret<32>, byte: u8) -> Secret<32> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    mac.update(&[byte]);
    Secret::new(mac.finalize().into_bytes().into())
}

/// `KDF_SCKA_CK` of the Double Ratchet (section 7.2): HKDF-SHA256 of the chain key, the number in
/// the `info`. Returns the next chain key and the message key.
pub(crate) fn numbered_step(chain: &Secret<32>, number: u32) -> [Secret<32>; 2] {
    let info = [SPARSE_STEP_INFO, &number.to_be_bytes()].concat();
    keys(&[0; 32], chain.expose(), &info)
}

/// `KDF_HYBRID` of the Triple Ratchet (section 7.2): HKDF-SHA256 with the post-quantum ratchet's
/// key as salt over the classical one's. Who lacks either key learns nothing of the result.
pub(crate) fn hybrid(classical: &Secret<32>, sparse: &Secret<32>) -> Secret<32> {
    let [key] = keys(sparse.expose(), classical.expose(), HYBRID_INFO);
    key
}

/// BLAKE3 in its key derivation mode, over several parts of fixed length.
pub(crate) fn labelled(label: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(label);
    for part in parts {
        hasher.update(part);
    }
    let hash = *hasher.finalize().as_bytes();
    hasher.zeroize();
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_agrees_with_rfc_5869_test_case_1() {
        let hex = |s: &str| data_encoding::HEXLOWER.decode(s.as_bytes()).unwrap();
        let mut okm = [0; 42];
        Hkdf::<Sha256>::new(Some(&hex("000102030405060708090a0b0c")), &[0x0b; 22])
            .expand(&hex("f0f1f2f3f4f5f6f7f8f9"), &mut okm)
            .unwrap();
        assert_eq!(
            okm.as_slice(),
            hex(concat!(
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
                "34007208d5b887185865"
            ))
        );
    }

    #[test]
    fn a_chain_step_gives_two_unlike_keys() {
        let (next, message) = chain_step(&Secret::new([7; 32]));
        assert_ne!(next, message);
        assert_ne!(next, Secret::new([7; 32]));
    }
}
