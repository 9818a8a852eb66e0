//! A session on disk.

use std::collections::VecDeque;

use whist_types::{Reader, Secret, Truncated, Writer};
use zeroize::Zeroizing;

use crate::limits::{SKIPPED_IN_CHAIN_MAX, SKIPPED_IN_SESSION_MAX};
use crate::ratchet::{Chain, Ratchet};
use crate::shared::{self, Shared};
use crate::skipped::{Hour, Skipped, SkippedChain, SkippedKey};
use crate::sparse::{MlKem768, Sparse};
use crate::{Error, PersonKey, Session};

const VERSION: u8 = 3;
/// Everything before the kept keys.
const FIXED_BYTES: usize = 1 + 32 + 98 + 32 + 32 + 70 + 71 + 32 + 32 + 4 + 4;

impl Session {
    /// For the store.
    ///
    /// | offset | size | field |
    /// |---|---|---|
    /// | 0 | 1 | version, 3 |
    /// | 1 | 32 | peer |
    /// | 33 | 98 | associated data |
    /// | 131 | 32 | root key |
    /// | 163 | 32 | own ratchet secret |
    /// | 195 | 70 | sending chain: header key 32, chain key 32, next number 4, secrets 2 |
    /// | 265 | 1 | 1 if there is a receiving chain, else 0 |
    /// | 266 | 70 | receiving chain, or zeros |
    /// | 336 | 32 | next header key, sending |
    /// | 368 | 32 | next header key, receiving |
    /// | 400 | 4 | items in the previous sending chain |
    /// | 404 | 4 | chains with kept keys |
    /// | 408 | | for each: header key 32, count 4, and so many of: number 4, hour 4, key 32 |
    /// | | | the post-quantum ratchet (`sparse/stored.rs`) |
    /// | | 55 | a shared secret that is not mixed in yet (`shared.rs`) |
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let r = &self.ratchet;
        let kept = self.skipped.len().saturating_mul(40);
        let chains = self.skipped.chains.len().saturating_mul(36);
        // Never grown on the way, since a Vec that moves leaves a copy of its bytes behind.
        let size = FIXED_BYTES
            .saturating_add(kept)
            .saturating_add(chains)
            .saturating_add(Sparse::<MlKem768>::STORED_BYTES_MAX)
            .saturating_add(shared::STORED_BYTES);
        let mut w = Writer::with_capacity(size);
        w.u8(VERSION).put(self.peer.as_bytes()).put(&self.ad);
        w.put(r.root.expose()).put(r.own.expose());
        put_chain(&mut w, &r.send);
        match &r.receive {
            Some(chain) => put_chain(w.u8(1), chain),
            None => {
                w.put(&[0; 71]);
            }
        }
        w.put(r.next_send_header.expose());
        w.put(r.next_receive_header.expose()).u32(r.previous);
        w.u32(count(self.skipped.chains.len()));
        for chain in &self.skipped.chains {
            w.put(chain.header.expose()).u32(count(chain.keys.len()));
            for key in &chain.keys {
                w.u32(key.number).u32(key.since.0).put(key.key.expose());
            }
        }
        self.sparse.write(&mut w);
        self.shared.write(&mut w);
        Zeroizing::new(w.into_bytes())
    }

    /// Reads what [`Self::to_bytes`] wrote: [`Error::DamagedState`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let session = read_session(&mut r)?;
        if r.rest().is_empty() {
            Ok(session)
        } else {
            Err(Error::DamagedState)
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn put_chain(w: &mut Writer, chain: &Chain) {
    w.put(chain.header.expose())
        .put(chain.key.expose())
        .u32(chain.next)
        .u16(chain.secrets);
}

fn read_chain(r: &mut Reader<'_>) -> Result<Chain, Truncated> {
    Ok(Chain {
        header: Secret::new(r.array()?),
        key: Secret::new(r.array()?),
        next: r.u32()?,
        secrets: r.u16()?,
    })
}

fn read_session(r: &mut Reader<'_>) -> Result<Session, Error> {
    let damaged = |_: Truncated| Error::DamagedState;
    if r.u8().map_err(damaged)? != VERSION {
        return Err(Error::DamagedState);
    }
    let peer =
        PersonKey::from_bytes(r.array().map_err(damaged)?).map_err(|_| Error::DamagedState)?;
    let ad = r.array().map_err(damaged)?;
    let ratchet = read_ratchet(r)?;
    let skipped = read_skipped(r)?;
    let sparse: Sparse<MlKem768> = Sparse::read(r)?;
    let shared = Shared::read(r, sparse.initiator)?;
    Ok(Session {
        peer,
        ad,
        ratchet,
        skipped,
        sparse,
        shared,
    })
}

fn read_ratchet(r: &mut Reader<'_>) -> Result<Ratchet, Error> {
    let mut read = || {
        let root = Secret::new(r.array()?);
        let own = Secret::new(r.array()?);
        let send = read_chain(r)?;
        let flag = r.u8()?;
        let mut receive_bytes = Reader::new(r.slice(70)?);
        let ratchet = Ratchet {
            root,
            own,
            send,
            receive: Some(read_chain(&mut receive_bytes)?),
            next_send_header: Secret::new(r.array()?),
            next_receive_header: Secret::new(r.array()?),
            previous: r.u32()?,
        };
        Ok::<_, Truncated>((flag, ratchet))
    };
    let (flag, mut ratchet) = read().map_err(|_| Error::DamagedState)?;
    match (flag, &ratchet.receive) {
        (1, _) => Ok(ratchet),
        (
            0,
            Some(Chain {
                header,
                key,
                next: 0,
                secrets: 0,
            }),
        ) if *header == Secret::new([0; 32]) && *key == Secret::new([0; 32]) => {
            ratchet.receive = None;
            Ok(ratchet)
        }
        _ => Err(Error::DamagedState),
    }
}

fn read_skipped(r: &mut Reader<'_>) -> Result<Skipped, Error> {
    let damaged = |_: Truncated| Error::DamagedState;
    let mut skipped = Skipped::default();
    let mut total = 0usize;
    for _ in 0..r.u32().map_err(damaged)? {
        let header = Secret::new(r.array().map_err(damaged)?);
        let count = r.u32().map_err(damaged)?;
        if count == 0 || count > SKIPPED_IN_CHAIN_MAX {
            return Err(Error::DamagedState);
        }
        let mut keys: VecDeque<SkippedKey> = VecDeque::new();
        for _ in 0..count {
            let mut read = || Ok::<_, Truncated>((r.u32()?, r.u32()?, r.array()?));
            let (number, hour, key) = read().map_err(damaged)?;
            if keys.back().is_some_and(|last| last.number >= number) {
                return Err(Error::DamagedState);
            }
            keys.push_back(SkippedKey {
                number,
                since: Hour(hour),
                key: Secret::new(key),
            });
        }
        total = total.saturating_add(keys.len());
        if total > SKIPPED_IN_SESSION_MAX {
            return Err(Error::DamagedState);
        }
        skipped.chains.push_back(SkippedChain { header, keys });
    }
    Ok(skipped)
}
