//! The sparse post-quantum ratchet (Signal's Double Ratchet specification, section 5): exchanges of
//! a KEM in fragments, each of which ends an epoch and begins the next. `docs/protocol/ratchet.md`
//! has its state table.
//!
//! Exchange x leads from epoch x - 1 to epoch x. The initiator of the session offers the key of odd
//! exchanges, the responder that of even ones: so two ends never offer at once. Who sends in epoch
//! e works on exchange e + 1; no item needs to say which.

mod kem;
#[cfg(test)]
mod model;
mod parts;
mod stored;

use std::marker::PhantomData;

use rand_core::CryptoRng;
use whist_types::Secret;
use zeroize::Zeroizing;

pub(crate) use kem::{Kem, MlKem768};
use parts::{Incoming, Outgoing};

use crate::Error;
use crate::kdf::{SPARSE_INFO, SPARSE_START_INFO, numbered_step, three_keys};
use crate::limits::KEM_SEED_BYTES;

/// What the ratchet says in each item's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    /// The epoch whose chain the item's key is of.
    pub(crate) epoch: u32,
    /// Its number in that chain.
    pub(crate) number: u32,
    /// Where the fragment stands that the item holds, if it holds one.
    pub(crate) offset: Option<u16>,
    /// So many bytes from the start of the peer's key or ciphertext are there.
    pub(crate) acknowledged: u16,
}

/// One direction of one epoch.
pub(crate) struct EpochChain {
    pub(crate) epoch: u32,
    pub(crate) key: Secret<32>,
    pub(crate) next: u32,
}

impl EpochChain {
    const fn new(epoch: u32, key: Secret<32>) -> Self {
        Self {
            epoch,
            key,
            next: 0,
        }
    }

    const fn duplicate(&self) -> Self {
        Self {
            epoch: self.epoch,
            key: self.key.duplicate(),
            next: self.next,
        }
    }

    fn step(&mut self) -> Result<Secret<32>, Error> {
        let next = self.next.checked_add(1).ok_or(Error::Exhausted)?;
        let [key, message] = numbered_step(&self.key, self.next);
        (self.key, self.next) = (key, next);
        Ok(message)
    }
}

/// What waits for the peer's first item of the next epoch.
pub(crate) struct Coming {
    pub(crate) receive: EpochChain,
    /// Whoever answered sends in the new epoch only when the offerer is heard in it.
    pub(crate) send: Option<EpochChain>,
}

/// What this end does for the exchange under way.
pub(crate) enum Turn {
    /// The next item that is sealed begins an offer.
    Due,
    /// Its key is on the way; the peer's ciphertext comes in.
    Offer {
        seed: Secret<KEM_SEED_BYTES>,
        key: Outgoing,
        answer: Incoming,
    },
    /// The peer's key comes in. Once it is whole, the next item that is sealed begins the answer.
    Collect { key: Incoming },
    /// The ciphertext is on the way.
    Answer { ciphertext: Outgoing },
}

/// Everything that one end knows.
pub(crate) struct Sparse<K: Kem> {
    pub(crate) initiator: bool,
    pub(crate) root: Secret<32>,
    pub(crate) send: EpochChain,
    pub(crate) receive: EpochChain,
    pub(crate) coming: Option<Coming>,
    pub(crate) turn: Turn,
    kem: PhantomData<K>,
}

/// What one sealed item takes from the ratchet.
pub(crate) struct Sealing {
    pub(crate) key: Secret<32>,
    pub(crate) note: Note,
    pub(crate) fragment: Zeroizing<Vec<u8>>,
}

impl<K: Kem> Sparse<K> {
    /// Epoch 0, from the secret that both ends agreed on.
    pub(crate) fn new(initiator: bool, secret: &Secret<32>) -> Self {
        let keys = three_keys(&[0; 32], secret.expose(), SPARSE_START_INFO);
        let (root, send, receive) = chains(initiator, 0, keys);
        let turn = if initiator { Turn::Due } else { collect::<K>() };
        Self {
            initiator,
            root,
            send,
            receive,
            coming: None,
            turn,
            kem: PhantomData,
        }
    }

    /// A second copy, on which an item is tried.
    pub(crate) fn duplicate(&self) -> Self {
        let turn = match &self.turn {
            Turn::Due => Turn::Due,
            Turn::Offer { seed, key, answer } => Turn::Offer {
                seed: seed.duplicate(),
                key: key.duplicate(),
                answer: answer.duplicate(),
            },
            Turn::Collect { key } => Turn::Collect {
                key: key.duplicate(),
            },
            Turn::Answer { ciphertext } => Turn::Answer {
                ciphertext: ciphertext.duplicate(),
            },
        };
        Self {
            initiator: self.initiator,
            root: self.root.duplicate(),
            send: self.send.duplicate(),
            receive: self.receive.duplicate(),
            coming: self.coming.as_ref().map(|coming| Coming {
                receive: coming.receive.duplicate(),
                send: coming.send.as_ref().map(EpochChain::duplicate),
            }),
            turn,
            kem: PhantomData,
        }
    }

    /// The key of the next item, and what rides in it, where `room` bytes are free. Draws 64 bytes
    /// if an offer begins, 32 if an answer does.
    pub(crate) fn seal(&mut self, room: usize, rng: &mut impl CryptoRng) -> Result<Sealing, Error> {
        self.begin(rng)?;
        let (epoch, number) = (self.send.epoch, self.send.next);
        let key = self.send.step()?;
        let outgoing = match &mut self.turn {
            Turn::Offer { key, .. } => Some(key),
            Turn::Answer { ciphertext } => Some(ciphertext),
            Turn::Due | Turn::Collect { .. } => None,
        };
        let taken = outgoing.and_then(|outgoing| outgoing.take(room));
        let (offset, fragment) = match taken {
            Some((offset, bytes)) => (u16::try_from(offset).ok(), bytes.to_vec()),
            None => (None, Vec::new()),
        };
        let acknowledged = match &self.turn {
            Turn::Due => 0,
            Turn::Offer { answer, .. } => answer.prefix(),
            Turn::Collect { key } => key.prefix(),
            Turn::Answer { .. } => K::KEY_BYTES,
        };
        let note = Note {
            epoch,
            number,
            offset,
            acknowledged: u16::try_from(acknowledged).unwrap_or(u16::MAX),
        };
        Ok(Sealing {
            key,
            note,
            fragment: Zeroizing::new(fragment),
        })
    }

    /// Makes the key pair that is due, or answers the key that is whole. Both wait for an item that
    /// leaves: keys that nobody has seen yet are the harder to steal the later they are made.
    fn begin(&mut self, rng: &mut impl CryptoRng) -> Result<(), Error> {
        match &self.turn {
            Turn::Due => {
                let seed = Secret::random(rng);
                self.turn = Turn::Offer {
                    key: Outgoing::new(K::key(&seed)),
                    answer: Incoming::new(K::CIPHERTEXT_BYTES),
                    seed,
                };
            }
            Turn::Collect { key } if key.is_whole() && self.coming.is_none() => {
                let (ciphertext, shared) = K::encapsulate(&key.bytes, rng)?;
                let (receive, send) = self.advance(&shared)?;
                self.coming = Some(Coming {
                    receive,
                    send: Some(send),
                });
                self.turn = Turn::Answer {
                    ciphertext: Outgoing::new(ciphertext),
                };
            }
            _ => {}
        }
        Ok(())
    }

    /// The keys of `jumped` items that are missing and that of the item after them, for an item
    /// beyond all that were opened before. Both ends count alike: if the peer has begun an epoch
    /// in between, its number there tells how many of the missing ones belong to which.
    pub(crate) fn follow(
        &mut self,
        note: &Note,
        jumped: u32,
    ) -> Result<(Vec<Secret<32>>, Secret<32>), Error> {
        let mut keys = Vec::with_capacity(usize::try_from(jumped).unwrap_or(0));
        let here = if note.epoch == self.receive.epoch {
            let expected = self.receive.next.checked_add(jumped);
            if expected != Some(note.number) {
                return Err(Error::Malformed);
            }
            jumped
        } else {
            let coming = self.coming.take().ok_or(Error::Malformed)?;
            if note.epoch != coming.receive.epoch {
                return Err(Error::Malformed);
            }
            let before = jumped.checked_sub(note.number).ok_or(Error::Malformed)?;
            for _ in 0..before {
                keys.push(self.receive.step()?);
            }
            self.receive = coming.receive;
            if let Some(send) = coming.send {
                // The offerer has the ciphertext: this exchange is over, the next one is ours.
                self.send = send;
                self.turn = Turn::Due;
            }
            note.number
        };
        for _ in 0..here {
            keys.push(self.receive.step()?);
        }
        let key = self.receive.step()?;
        Ok((keys, key))
    }

    /// How long the peer's fragment is whose item has `room` bytes free.
    pub(crate) fn fragment_bytes(&self, note: &Note, room: usize) -> Result<usize, Error> {
        let Some(offset) = note.offset else {
            return Ok(0);
        };
        // Odd exchanges are the initiator's to offer, and those follow even epochs.
        let peer_offers = note.epoch.is_multiple_of(2) != self.initiator;
        let size = if peer_offers {
            K::KEY_BYTES
        } else {
            K::CIPHERTEXT_BYTES
        };
        match size.checked_sub(usize::from(offset)) {
            None | Some(0) => Err(Error::Malformed),
            Some(rest) => Ok(rest.min(room)),
        }
    }

    /// Takes what rode in an item, be it late or not. What belongs to an exchange that is over is
    /// ignored.
    pub(crate) fn take(&mut self, note: &Note, fragment: &[u8]) -> Result<(), Error> {
        if note.epoch != self.send.epoch {
            return Ok(());
        }
        let acknowledged = usize::from(note.acknowledged);
        let offset = note.offset.map(usize::from);
        match &mut self.turn {
            Turn::Due if offset.is_none() && acknowledged == 0 => Ok(()),
            Turn::Collect { key } if acknowledged == 0 => {
                if let Some(offset) = offset {
                    let was_whole = key.is_whole();
                    key.put(offset, fragment)?;
                    if key.is_whole() && !was_whole {
                        K::check(&key.bytes)?;
                    }
                }
                Ok(())
            }
            Turn::Due | Turn::Collect { .. } => Err(Error::Malformed),
            Turn::Answer { ciphertext } => ciphertext.acknowledge(acknowledged),
            Turn::Offer { key, answer, .. } => {
                key.acknowledge(acknowledged)?;
                if let Some(offset) = offset {
                    answer.put(offset, fragment)?;
                }
                self.finish()
            }
        }
    }

    /// Ends an exchange of ours once the ciphertext is whole: from now on items leave in the new
    /// epoch, which tells the peer.
    fn finish(&mut self) -> Result<(), Error> {
        let shared = match &self.turn {
            Turn::Offer { seed, answer, .. } if answer.is_whole() => {
                K::decapsulate(seed, &answer.bytes)?
            }
            _ => return Ok(()),
        };
        let (receive, send) = self.advance(&shared)?;
        self.send = send;
        self.coming = Some(Coming {
            receive,
            send: None,
        });
        self.turn = collect::<K>();
        Ok(())
    }

    /// The chains of the next epoch, receiving and sending; the root moves on.
    fn advance(&mut self, shared: &Secret<32>) -> Result<(EpochChain, EpochChain), Error> {
        let epoch = self.send.epoch.checked_add(1).ok_or(Error::Exhausted)?;
        let keys = three_keys(self.root.expose(), shared.expose(), SPARSE_INFO);
        let (root, send, receive) = chains(self.initiator, epoch, keys);
        self.root = root;
        Ok((receive, send))
    }
}

fn collect<K: Kem>() -> Turn {
    Turn::Collect {
        key: Incoming::new(K::KEY_BYTES),
    }
}

/// Root, own sending chain and own receiving chain of an epoch: the first chain is the initiator's.
fn chains(
    initiator: bool,
    epoch: u32,
    [root, first, second]: [Secret<32>; 3],
) -> (Secret<32>, EpochChain, EpochChain) {
    let (first, second) = (
        EpochChain::new(epoch, first),
        EpochChain::new(epoch, second),
    );
    if initiator {
        (root, first, second)
    } else {
        (root, second, first)
    }
}
