//! Sealing of rows: XChaCha20-Poly1305 with a random nonce, bound to the blinded key, so that a
//! row moved to another's place does not open; lengths are padded to buckets.

use blake3::Hasher;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use rand_core::Rng as _;
use whist_timing::Rng;
use whist_types::{Reader, Secret, Writer};
use zeroize::Zeroizing;

use crate::rows::{RowName, Table};

const NONCE_BYTES: usize = 24;
/// Rows are padded to the least of these that holds them, then to whole pages.
const BUCKETS: [usize; 4] = [128, 512, 1_024, 2_048];
const PAGE_BYTES: usize = 4_096;

fn cipher(key: &Secret<32>) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key.expose()))
}

fn encrypt(key: &XChaCha20Poly1305, text: &[u8], bound: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let payload = Payload {
        msg: text,
        aad: bound,
    };
    #[expect(clippy::expect_used, reason = "the cipher's limit is 256 GiB")]
    let sealed = key
        .encrypt(&XNonce::from(nonce), payload)
        .expect("rows are far below the cipher's limit");
    [nonce.as_slice(), &sealed].concat()
}

fn decrypt(key: &XChaCha20Poly1305, sealed: &[u8], bound: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let payload = Payload {
        msg: text,
        aad: bound,
    };
    let opened = key.decrypt(&XNonce::from(*nonce), payload).ok()?;
    Some(Zeroizing::new(opened))
}

/// Seals the data key under the passphrase's key: 72 bytes, nonce first.
pub(super) fn wrap(key: &Secret<32>, data: &Secret<32>, bound: &[u8], rng: &mut Rng) -> Vec<u8> {
    encrypt(&cipher(key), data.expose(), bound, rng)
}

/// Opens what `wrap` made.
pub(super) fn unwrap(key: &Secret<32>, sealed: &[u8], bound: &[u8]) -> Option<Secret<32>> {
    let opened = decrypt(&cipher(key), sealed, bound)?;
    <[u8; 32]>::try_from(opened.as_slice())
        .ok()
        .map(Secret::new)
}

/// The keys of an open vault.
pub(super) struct Sealer {
    rows: XChaCha20Poly1305,
    names: Secret<32>,
    rng: Rng,
}

impl Sealer {
    pub(super) fn new(data_key: &Secret<32>, rng: Rng) -> Self {
        let sub = |label| Secret::new(blake3::derive_key(label, data_key.expose()));
        Self {
            rows: cipher(&sub("whist 2026 vault rows v1")),
            names: sub("whist 2026 vault names v1"),
            rng,
        }
    }

    /// The key under which a row stands on disk; tells nothing of table and key.
    pub(super) fn blind(&self, table: Table, key: &[u8]) -> [u8; 32] {
        let mut hasher = Hasher::new_keyed(self.names.expose());
        hasher.update(&[table.number()]);
        hasher.update(key);
        *hasher.finalize().as_bytes()
    }

    pub(super) fn seal(
        &mut self,
        blinded: &[u8; 32],
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Vec<u8> {
        let mut text = Writer::with_capacity(padded(value.len().saturating_add(key.len())));
        text.u8(table.number())
            .u32(u32::try_from(key.len()).unwrap_or(u32::MAX))
            .put(key)
            .u32(u32::try_from(value.len()).unwrap_or(u32::MAX))
            .put(value);
        let mut text = Zeroizing::new(text.into_bytes());
        let size = padded(text.len());
        text.resize(size, 0);
        encrypt(&self.rows, &text, blinded, &mut self.rng)
    }

    /// The row, if it is one that was sealed for this place.
    pub(super) fn open(&self, blinded: &[u8; 32], sealed: &[u8]) -> Option<(RowName, Vec<u8>)> {
        let text = decrypt(&self.rows, sealed, blinded)?;
        let mut fields = Reader::new(&text);
        let table = Table::from_number(fields.u8().ok()?)?;
        let key_bytes = usize::try_from(fields.u32().ok()?).ok()?;
        let key = fields.slice(key_bytes).ok()?.to_vec();
        let value_bytes = usize::try_from(fields.u32().ok()?).ok()?;
        let value = fields.slice(value_bytes).ok()?.to_vec();
        Some(((table, key), value))
    }
}

fn padded(len: usize) -> usize {
    BUCKETS
        .into_iter()
        .find(|&bucket| len <= bucket)
        .unwrap_or_else(|| len.next_multiple_of(PAGE_BYTES))
}
