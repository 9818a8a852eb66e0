//! Drops: `PUBLISH` and `FETCH` (protocol.md section 3). A drop holds one sealed blob for whoever
//! comes first, and for nobody else.
//!
//! | state | row |
//! |---|---|
//! | sealed | 0, blob hash 32, blob 1,554 |
//! | bound | 1, blob hash 32, token hash 32, hour 4, blob 1,554 |
//! | opened | 2, blob hash 32 |

use whist_packet::request::{BLOB_BYTES, ReplyBody};
use whist_types::{DropId, Reader, Truncated, Writer};

use crate::desk::{Answer, Desk, Moment};
use crate::limits;
use crate::store::{Batch, Day, Key, Owner, Store, StoreFault, Table};

enum State {
    Sealed(Box<[u8; BLOB_BYTES]>),
    Bound {
        token: [u8; 32],
        hour: u32,
        blob: Box<[u8; BLOB_BYTES]>,
    },
    Opened,
}

struct Drop {
    /// By which `PUBLISH` is idempotent, also after the blob is gone.
    hash: [u8; 32],
    state: State,
}

impl Drop {
    fn parse(row: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(row);
        let state = r.u8()?;
        let hash = r.array()?;
        let state = match state {
            0 => State::Sealed(Box::new(r.array()?)),
            1 => State::Bound {
                token: r.array()?,
                hour: r.u32()?,
                blob: Box::new(r.array()?),
            },
            _ => State::Opened,
        };
        Ok(Self { hash, state })
    }

    fn to_row(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match &self.state {
            State::Sealed(blob) => w.u8(0).put(&self.hash).put(&**blob),
            State::Bound { token, hour, blob } => {
                w.u8(1).put(&self.hash).put(token);
                w.u32(*hour).put(&**blob)
            }
            State::Opened => w.u8(2).put(&self.hash),
        };
        w.into_bytes()
    }
}

impl<S: Store> Desk<S> {
    /// `PUBLISH`. Idempotent; another blob under the same id is refused.
    pub fn publish(&mut self, drop: &DropId, blob: &[u8; BLOB_BYTES]) -> Answer {
        let answer = self.try_publish(drop, blob);
        self.or_full(answer)
    }

    fn try_publish(
        &mut self,
        drop: &DropId,
        blob: &[u8; BLOB_BYTES],
    ) -> Result<Answer, StoreFault> {
        let hash = blake3::derive_key("whist 2026 drop blob v1", blob);
        if let Some((_, there)) = self.find_drop(drop)? {
            return Ok(match there.hash == hash {
                true => Answer::after(ReplyBody::Ok, self.tickets.touch()),
                false => Answer::now(ReplyBody::Refused),
            });
        }
        if !self.has_room() {
            return Ok(Answer::now(ReplyBody::Full));
        }
        let state = State::Sealed(Box::new(*blob));
        let mut batch = Batch::new();
        let key = Key::of(self.today, Table::Drop, drop.to_bytes());
        batch.put(key, Drop { hash, state }.to_row());
        let ticket = self.commit_counted(&mut batch, &[(self.today, 1)])?;
        Ok(Answer::after(ReplyBody::Ok, ticket))
    }

    /// `FETCH`: the first token binds the drop, durably before the blob leaves; the same token
    /// gets it again for 24 hours; any other, and any later, gets `opened`. A drop that is not
    /// there gives `none`, so that only a drop that somebody else opened raises an alarm.
    pub fn fetch(&mut self, at: Moment, drop: &DropId, token: &[u8; 32]) -> Answer {
        let answer = self.try_fetch(at, drop, token);
        self.or_full(answer)
    }

    fn try_fetch(
        &mut self,
        at: Moment,
        id: &DropId,
        token: &[u8; 32],
    ) -> Result<Answer, StoreFault> {
        let Some((day, drop)) = self.find_drop(id)? else {
            return Ok(Answer::now(ReplyBody::None {
                waiting: 0,
                oldest: 0,
            }));
        };
        match drop.state {
            State::Sealed(blob) => {
                let state = State::Bound {
                    token: *token,
                    hour: at.hour(),
                    blob: blob.clone(),
                };
                let hash = drop.hash;
                let mut batch = Batch::new();
                let key = Key::of(day, Table::Drop, id.to_bytes());
                batch.put(key, Drop { hash, state }.to_row());
                let mut bound = Writer::new();
                bound.put(id.as_bytes()).u32(day.number());
                batch.put(self.bound_key(at, id), bound.into_bytes());
                let ticket = self.commit(&batch)?;
                Ok(Answer::after(ReplyBody::Blob(blob), ticket))
            }
            State::Bound {
                token: bound,
                hour,
                blob,
            } if bound == *token && !is_over(hour, at) => {
                Ok(Answer::after(ReplyBody::Blob(blob), self.tickets.touch()))
            }
            State::Bound { .. } | State::Opened => Ok(Answer::now(ReplyBody::Opened)),
        }
    }

    fn find_drop(&self, id: &DropId) -> Result<Option<(Day, Drop)>, StoreFault> {
        let expired = self.today.minus(self.rules.item_days);
        let found = self.store.find(Table::Drop, id.as_bytes())?;
        let Some((day, row)) = found.filter(|(day, _)| *day >= expired) else {
            return Ok(None);
        };
        let drop = Drop::parse(&row).map_err(|_| StoreFault::Damaged)?;
        Ok(Some((day, drop)))
    }

    /// Where a drop that is opened now is noted, so that its blob is deleted in time: by hour,
    /// then by a part of its id.
    fn bound_key(&self, at: Moment, id: &DropId) -> Key {
        let [a, b, c, d, e, ..] = id.to_bytes();
        let id = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        let hour = u64::from(at.hour() & 0x00ff_ffff);
        Key::indexed(self.today, Table::Bound, [0; 32], hour << 40 | id)
    }

    /// Deletes the blobs of drops that were opened more than 24 hours ago. Called once an hour.
    pub(crate) fn sweep_drops(&mut self, at: Moment) -> Result<(), StoreFault> {
        let mut batch = Batch::new();
        for noted in self.store.days() {
            for (index, row) in self.store.scan(noted, Table::Bound, Owner::PROVIDER)? {
                let note = Key::indexed(noted, Table::Bound, [0; 32], index);
                // A note that does not open: its blob dies with its day, and the others in time.
                let Some((id, day)) = row.and_then(|row| noted_drop(&row)) else {
                    self.met_damage();
                    batch.delete(note);
                    continue;
                };
                let key = Key::of(day, Table::Drop, id.to_bytes());
                let drop = self.store.get(&key);
                let drop = match drop {
                    Ok(row) => row.and_then(|row| Drop::parse(&row).ok()),
                    Err(StoreFault::NoKey | StoreFault::Damaged) => None,
                    Err(fault) => return Err(fault),
                };
                match drop {
                    Some(Drop {
                        hash,
                        state: State::Bound { hour, .. },
                    }) if is_over(hour, at) => {
                        let state = State::Opened;
                        batch.put(key, Drop { hash, state }.to_row());
                        batch.delete(note);
                    }
                    Some(Drop {
                        state: State::Bound { .. },
                        ..
                    }) => {}
                    _ => {
                        batch.delete(note);
                    }
                }
            }
        }
        if !batch.is_empty() {
            self.commit(&batch)?;
        }
        Ok(())
    }
}

/// Which drop a note is about, and the drop's day.
fn noted_drop(row: &[u8]) -> Option<(DropId, Day)> {
    let mut r = Reader::new(row);
    let id = DropId::from_bytes(r.array().ok()?);
    Some((id, Day::new(r.u32().ok()?)))
}

fn is_over(hour: u32, at: Moment) -> bool {
    at.hour() > hour.saturating_add(limits::DROP_BOUND_HOURS)
}
