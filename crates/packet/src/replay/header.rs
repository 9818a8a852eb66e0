//! The header of a region: which key, which geometry, which generation.

use whist_types::{Epoch, Reader, Secret, Writer};
use zeroize::Zeroize;

use super::page::PAGE_BYTES;

/// Bytes of one of the two header slots.
pub(super) const SLOT_BYTES: usize = 128;
const MAGIC: [u8; 8] = *b"whisttt1";
const CHECK_BYTES: usize = 16;
const SIGNED_BYTES: usize = SLOT_BYTES - CHECK_BYTES;
const _: () = assert!(SIGNED_BYTES == 8 + 8 + 8 + 8 + 8 + 8 + 32 + 32);
const _: () = assert!(2 * SLOT_BYTES <= PAGE_BYTES);

/// How far a region has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Being filled: its key has opened no packet yet and still is on disk.
    Entering,
    /// A table in service.
    Ready,
}

/// One slot of the header.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | magic `whisttt1` |
/// | 8 | 8 | state: 1 entering, 2 ready |
/// | 16 | 8 | generation |
/// | 24 | 8 | epoch |
/// | 32 | 8 | pages |
/// | 40 | 8 | bytes of the region |
/// | 48 | 32 | salt of this table |
/// | 80 | 32 | Sphinx key (secret half) |
/// | 112 | 16 | BLAKE3 of all before, under a domain label |
pub(super) struct Header {
    pub(super) state: State,
    pub(super) generation: u64,
    pub(super) epoch: Epoch,
    pub(super) pages: u64,
    pub(super) region_bytes: u64,
    pub(super) salt: Secret<32>,
    pub(super) secret: Secret<32>,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(SLOT_BYTES);
        w.put(&MAGIC).u64(match self.state {
            State::Entering => 1,
            State::Ready => 2,
        });
        w.u64(self.generation).u64(self.epoch.number());
        w.u64(self.pages).u64(self.region_bytes);
        w.put(self.salt.expose()).put(self.secret.expose());
        let mut bytes = w.into_bytes();
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let (signed, stored) = slot.split_at_checked(SIGNED_BYTES)?;
        if check(signed) != *stored {
            return None;
        }
        let mut r = Reader::new(signed);
        if r.array().ok()? != MAGIC {
            return None;
        }
        let state = match r.u64().ok()? {
            1 => State::Entering,
            2 => State::Ready,
            _ => return None,
        };
        Some(Self {
            state,
            generation: r.u64().ok()?,
            epoch: Epoch::new(r.u64().ok()?),
            pages: r.u64().ok()?,
            region_bytes: r.u64().ok()?,
            salt: Secret::new(r.array().ok()?),
            secret: Secret::new(r.array().ok()?),
        })
    }
}

fn check(signed: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = blake3::derive_key("whist 2026 replay header v1", signed);
    let mut out = [0; CHECK_BYTES];
    for (to, from) in out.iter_mut().zip(hash) {
        *to = from;
    }
    hash.zeroize();
    out
}

/// What a region holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// All of the header is zero: new memory, or a retired key.
    Blank,
    /// A key was being moved in when the process died; it has opened no packet.
    Entering(Epoch),
    /// A table, as far as its header tells.
    Ready {
        /// The epoch of its key.
        epoch: Epoch,
        /// How often it was opened or marked.
        generation: u64,
    },
    /// Neither of these.
    Damaged,
}

/// Looks at a region without changing it.
pub fn inspect(memory: &[u8]) -> Found {
    let Some(first) = memory.get(..PAGE_BYTES) else {
        return Found::Damaged;
    };
    if first.iter().all(|&b| b == 0) {
        return Found::Blank;
    }
    match newest(memory) {
        None => Found::Damaged,
        Some((_, header)) => match header.state {
            State::Entering => Found::Entering(header.epoch),
            State::Ready => Found::Ready {
                epoch: header.epoch,
                generation: header.generation,
            },
        },
    }
}

/// The valid slot of the higher generation, and where it stands (0 or 1).
pub(super) fn newest(memory: &[u8]) -> Option<(usize, Header)> {
    let (slots, zeros) = memory.get(..PAGE_BYTES)?.split_at_checked(2 * SLOT_BYTES)?;
    if zeros.iter().any(|&b| b != 0) {
        return None;
    }
    slots
        .chunks_exact(SLOT_BYTES)
        .enumerate()
        .filter_map(|(i, slot)| Some((i, Header::decode(slot)?)))
        .max_by_key(|(_, header)| header.generation)
}
