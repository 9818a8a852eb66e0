//! ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03).

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, XChaCha20Poly1305};
use whist_types::Secret;
use zeroize::Zeroizing;

use crate::limits::{NONCE_BYTES, XNONCE_BYTES};

/// The tag does not fit.
pub(crate) struct Forged;

pub(crate) fn seal(key: &Secret<32>, nonce: &[u8; NONCE_BYTES], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "fails only beyond 2^38 bytes (RFC 8439)"
    )]
    ChaCha20Poly1305::new(key.expose().into())
        .encrypt(nonce.into(), Payload { msg, aad })
        .expect("messages are shorter than an item")
}

pub(crate) fn open(
    key: &Secret<32>,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    msg: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Forged> {
    ChaCha20Poly1305::new(key.expose().into())
        .decrypt(nonce.into(), Payload { msg, aad })
        .map(Zeroizing::new)
        .map_err(|_| Forged)
}

pub(crate) fn seal_extended(key: &Secret<32>, nonce: &[u8; XNONCE_BYTES], msg: &[u8]) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "fails only beyond 2^38 bytes (RFC 8439)"
    )]
    XChaCha20Poly1305::new(key.expose().into())
        .encrypt(nonce.into(), msg)
        .expect("messages are shorter than an item")
}

pub(crate) fn open_extended(
    key: &Secret<32>,
    nonce: &[u8; XNONCE_BYTES],
    msg: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Forged> {
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt(nonce.into(), msg)
        .map(Zeroizing::new)
        .map_err(|_| Forged)
}
