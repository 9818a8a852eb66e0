//! Sealing of rows: XChaCha20-Poly1305 with a random nonce, bound to the blinded key, so that a
//! row moved to another's place does not open; lengths are padded to buckets. The key of a row is
//! made of the vault's and of one of its own, its shred.

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

/// Seals under a key: the nonce first, then the text and the tag.
pub(super) fn wrap(key: &Secret<32>, text: &[u8], bound: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let payload = Payload {
        msg: text,
        aad: bound,
    };
    #[expect(clippy::expect_used, reason = "the cipher's limit is 256 GiB")]
    let sealed = cipher(key)
        .encrypt(&XNonce::from(nonce), payload)
        .expect("rows are far below the cipher's limit");
    [nonce.as_slice(), &sealed].concat()
}

/// Opens what `wrap` made.
pub(super) fn unwrap(key: &Secret<32>, sealed: &[u8], bound: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let payload = Payload {
        msg: text,
        aad: bound,
    };
    let opened = cipher(key).decrypt(&XNonce::from(*nonce), payload).ok()?;
    Some(Zeroizing::new(opened))
}

fn cipher(key: &Secret<32>) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key.expose()))
}

/// The keys of one part of a vault.
pub(super) struct Sealer {
    rows: Secret<32>,
    names: Secret<32>,
}

impl Sealer {
    pub(super) fn new(key: &Secret<32>) -> Self {
        let sub = |label| Secret::new(blake3::derive_key(label, key.expose()));
        Self {
            rows: sub("whist 2026 vault rows v2"),
            names: sub("whist 2026 vault names v2"),
        }
    }

    /// The key under which a row stands on disk; tells nothing of table and key.
    pub(super) fn blind(&self, table: Table, key: &[u8]) -> [u8; 32] {
        let mut hasher = Hasher::new_keyed(self.names.expose());
        hasher.update(&[table.number()]);
        hasher.update(key);
        *hasher.finalize().as_bytes()
    }

    fn key(&self, shred: &Secret<32>) -> Secret<32> {
        let hash = blake3::keyed_hash(self.rows.expose(), shred.expose());
        Secret::new(*hash.as_bytes())
    }

    pub(super) fn seal(
        &self,
        shred: &Secret<32>,
        blinded: &[u8; 32],
        (table, key): (Table, &[u8]),
        value: &[u8],
        rng: &mut Rng,
    ) -> Vec<u8> {
        // All of it from the start: a buffer that grows leaves a copy behind.
        let whole = value.len().saturating_add(key.len()).saturating_add(9);
        let mut text = Writer::with_capacity(padded(whole));
        text.u8(table.number())
            .u32(u32::try_from(key.len()).unwrap_or(u32::MAX))
            .put(key)
            .u32(u32::try_from(value.len()).unwrap_or(u32::MAX))
            .put(value);
        let mut text = Zeroizing::new(text.into_bytes());
        let size = padded(text.len());
        text.resize(size, 0);
        wrap(&self.key(shred), &text, blinded, rng)
    }

    /// The row, if it is one that was sealed for this place.
    pub(super) fn open(
        &self,
        shred: &Secret<32>,
        blinded: &[u8; 32],
        sealed: &[u8],
    ) -> Option<(RowName, Zeroizing<Vec<u8>>)> {
        let text = unwrap(&self.key(shred), sealed, blinded)?;
        let mut fields = Reader::new(&text);
        let table = Table::from_number(fields.u8().ok()?)?;
        let key_bytes = usize::try_from(fields.u32().ok()?).ok()?;
        let key = fields.slice(key_bytes).ok()?.to_vec();
        let value_bytes = usize::try_from(fields.u32().ok()?).ok()?;
        let value = Zeroizing::new(fields.slice(value_bytes).ok()?.to_vec());
        Some(((table, key), value))
    }
}

fn padded(len: usize) -> usize {
    BUCKETS
        .into_iter()
        .find(|&bucket| len <= bucket)
        .unwrap_or_else(|| len.next_multiple_of(PAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;

    #[test]
    fn rows_of_one_bucket_have_one_size_on_disk() {
        let sealer = Sealer::new(&Secret::new([1; 32]));
        let mut rng = Rng::from_seed([4; 32]);
        let mut size = |n: usize| {
            let name = (Table::Message, [1].as_slice());
            let shred = Secret::new([2; 32]);
            let blinded = sealer.blind(name.0, name.1);
            let sealed = sealer.seal(&shred, &blinded, name, &vec![0; n], &mut rng);
            sealed.len()
        };
        assert_eq!(size(1), size(100));
        assert_eq!(size(1_600), size(1_200));
        assert_eq!(size(5_000), size(8_000));
    }
}
