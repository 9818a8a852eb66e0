//! The post-quantum ratchet on disk.

use std::marker::PhantomData;

use whist_types::{Reader, Secret, Truncated, Writer};

use super::{Coming, EpochChain, Incoming, Kem, Outgoing, Sparse, Turn};
use crate::Error;

impl<K: Kem> Sparse<K> {
    /// More than [`Self::write`] ever writes.
    pub(crate) const STORED_BYTES_MAX: usize = 2 * (K::KEY_BYTES + K::CIPHERTEXT_BYTES) + 512;

    /// | offset | size | field |
    /// |---|---|---|
    /// | 0 | 1 | 1 for the session's initiator, else 0 |
    /// | 1 | 32 | root key |
    /// | 33 | 40 | sending chain: epoch 4, chain key 32, next number 4 |
    /// | 73 | 40 | receiving chain |
    /// | 113 | 1 | of the next epoch there are: 0 no chain, 1 the receiving one, 2 both |
    /// | 114 | | none, one or two chains of 40 bytes |
    /// | | 1 | turn: 0 due, 1 offer, 2 collect, 3 answer |
    /// | | | due: nothing |
    /// | | | offer: seed 64, acknowledged 2, next offset 2, ciphertext 1,088, map 136 |
    /// | | | collect: key 1,184, map 148 |
    /// | | | answer: ciphertext 1,088, acknowledged 2, next offset 2 |
    ///
    /// A map has one bit for each byte, the first in the highest bit: whether the byte is there.
    pub(crate) fn write(&self, w: &mut Writer) {
        w.u8(u8::from(self.initiator)).put(self.root.expose());
        put_chain(w, &self.send);
        put_chain(w, &self.receive);
        match &self.coming {
            None => {
                w.u8(0);
            }
            Some(Coming { receive, send }) => {
                w.u8(if send.is_some() { 2 } else { 1 });
                put_chain(w, receive);
                if let Some(send) = send {
                    put_chain(w, send);
                }
            }
        }
        match &self.turn {
            Turn::Due => {
                w.u8(0);
            }
            Turn::Offer { seed, key, answer } => {
                w.u8(1).put(seed.expose());
                put_progress(w, key);
                put_incoming(w, answer);
            }
            Turn::Collect { key } => put_incoming(w.u8(2), key),
            Turn::Answer { ciphertext } => {
                w.u8(3).put(&ciphertext.bytes);
                put_progress(w, ciphertext);
            }
        }
    }

    /// Reads what [`Self::write`] wrote: [`Error::DamagedState`] for anything else.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let damaged = |_: Truncated| Error::DamagedState;
        let initiator = match r.u8().map_err(damaged)? {
            0 => false,
            1 => true,
            _ => return Err(Error::DamagedState),
        };
        let mut read = || {
            let root = Secret::new(r.array()?);
            let (send, receive) = (read_chain(r)?, read_chain(r)?);
            let coming = match r.u8()? {
                0 => Ok(None),
                1 => Ok(Some((read_chain(r)?, None))),
                2 => Ok(Some((read_chain(r)?, Some(read_chain(r)?)))),
                _ => Err(Error::DamagedState),
            };
            Ok::<_, Truncated>((root, send, receive, coming, r.u8()?))
        };
        let (root, send, receive, coming, tag) = read().map_err(damaged)?;
        let turn = match tag {
            0 => Turn::Due,
            1 => read_offer::<K>(r)?,
            2 => read_collect::<K>(r)?,
            3 => Turn::Answer {
                ciphertext: {
                    let bytes = r.slice(K::CIPHERTEXT_BYTES).map_err(damaged)?.to_vec();
                    read_progress(r, bytes)?
                },
            },
            _ => return Err(Error::DamagedState),
        };
        let sparse = Self {
            initiator,
            root,
            send,
            receive,
            coming: coming?.map(|(receive, send)| Coming { receive, send }),
            turn,
            kem: PhantomData,
        };
        sparse.check()?;
        Ok(sparse)
    }

    /// What holds in every state that the ratchet reaches.
    fn check(&self) -> Result<(), Error> {
        let here = self.send.epoch;
        let ours = here.is_multiple_of(2) == self.initiator;
        let coming = self.coming.as_ref();
        let next = coming.map(|c| (c.receive.epoch, c.send.as_ref().map(|send| send.epoch)));
        let level = self.receive.epoch == here;
        let sound = match &self.turn {
            Turn::Due | Turn::Offer { .. } => ours && level && next.is_none(),
            Turn::Answer { .. } => {
                let then = here.checked_add(1);
                !ours && level && then.is_some() && next == then.map(|then| (then, Some(then)))
            }
            Turn::Collect { .. } => match next {
                None => !ours && level,
                Some(next) => {
                    let behind = self.receive.epoch.checked_add(1) == Some(here);
                    !ours && behind && next == (here, None)
                }
            },
        };
        if sound {
            Ok(())
        } else {
            Err(Error::DamagedState)
        }
    }
}

fn read_offer<K: Kem>(r: &mut Reader<'_>) -> Result<Turn, Error> {
    let seed = Secret::new(r.array().map_err(|_| Error::DamagedState)?);
    let key = read_progress(r, K::key(&seed))?;
    let answer = read_incoming(r, K::CIPHERTEXT_BYTES)?;
    if answer.is_whole() {
        return Err(Error::DamagedState);
    }
    Ok(Turn::Offer { seed, key, answer })
}

fn read_collect<K: Kem>(r: &mut Reader<'_>) -> Result<Turn, Error> {
    let key = read_incoming(r, K::KEY_BYTES)?;
    if key.is_whole() {
        K::check(&key.bytes).map_err(|_| Error::DamagedState)?;
    }
    Ok(Turn::Collect { key })
}

fn put_chain(w: &mut Writer, chain: &EpochChain) {
    w.u32(chain.epoch).put(chain.key.expose()).u32(chain.next);
}

fn read_chain(r: &mut Reader<'_>) -> Result<EpochChain, Truncated> {
    Ok(EpochChain {
        epoch: r.u32()?,
        key: Secret::new(r.array()?),
        next: r.u32()?,
    })
}

fn put_progress(w: &mut Writer, out: &Outgoing) {
    let short = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    w.u16(short(out.acknowledged)).u16(short(out.next));
}

fn read_progress(r: &mut Reader<'_>, bytes: Vec<u8>) -> Result<Outgoing, Error> {
    let mut short = || r.u16().map(usize::from).map_err(|_| Error::DamagedState);
    let (acknowledged, next) = (short()?, short()?);
    if acknowledged > bytes.len() || next > bytes.len() {
        return Err(Error::DamagedState);
    }
    Ok(Outgoing {
        bytes,
        acknowledged,
        next,
    })
}

const BITS: [u8; 8] = [0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01];

fn put_incoming(w: &mut Writer, incoming: &Incoming) {
    w.put(&incoming.bytes);
    for eight in incoming.there.chunks(8) {
        let set = eight.iter().zip(BITS).filter(|(there, _)| **there);
        w.u8(set.fold(0, |map, (_, bit)| map | bit));
    }
}

fn read_incoming(r: &mut Reader<'_>, size: usize) -> Result<Incoming, Error> {
    let bytes = r.slice(size).map_err(|_| Error::DamagedState)?.to_vec();
    let map = r.slice(size.div_ceil(8)).map_err(|_| Error::DamagedState)?;
    let bits = map.iter().flat_map(|byte| BITS.map(|bit| byte & bit != 0));
    let mut there: Vec<bool> = bits.collect();
    let beyond = there.split_off(size);
    // One meaning, one form: what is not there is zero.
    let stray = bytes
        .iter()
        .zip(&there)
        .any(|(byte, there)| !there && *byte != 0);
    if stray || beyond.contains(&true) {
        return Err(Error::DamagedState);
    }
    Ok(Incoming { bytes, there })
}
