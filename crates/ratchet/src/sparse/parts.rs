//! A key or a ciphertext on its way, in fragments of any size.

use crate::Error;

/// Bytes on their way out: round and round, until the peer has them all.
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    /// So many from the start are known to be there.
    pub(crate) acknowledged: usize,
    /// Where the next fragment begins.
    pub(crate) next: usize,
}

impl Outgoing {
    pub(crate) const fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            acknowledged: 0,
            next: 0,
        }
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            acknowledged: self.acknowledged,
            next: self.next,
        }
    }

    /// The next fragment, as large as the room: its offset and its bytes.
    pub(crate) fn take(&mut self, room: usize) -> Option<(usize, &[u8])> {
        let over = self.next >= self.bytes.len();
        let start = if over {
            self.acknowledged
        } else {
            self.next.max(self.acknowledged)
        };
        let end = start.saturating_add(room).min(self.bytes.len());
        if start >= end {
            return None;
        }
        self.next = end;
        Some((start, self.bytes.get(start..end)?))
    }

    /// The peer has the first `count` bytes. Older news than what is known changes nothing.
    pub(crate) fn acknowledge(&mut self, count: usize) -> Result<(), Error> {
        if count > self.bytes.len() {
            return Err(Error::Malformed);
        }
        self.acknowledged = self.acknowledged.max(count);
        Ok(())
    }
}

/// Bytes on their way in.
pub(crate) struct Incoming {
    pub(crate) bytes: Vec<u8>,
    /// Which of them are there.
    pub(crate) there: Vec<bool>,
}

impl Incoming {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size],
            there: vec![false; size],
        }
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            there: self.there.clone(),
        }
    }

    /// Adds a fragment. One that says otherwise than an earlier one is [`Error::Malformed`].
    pub(crate) fn put(&mut self, offset: usize, fragment: &[u8]) -> Result<(), Error> {
        let end = offset.saturating_add(fragment.len());
        let bytes = self.bytes.get_mut(offset..end).ok_or(Error::Malformed)?;
        let there = self.there.get_mut(offset..end).ok_or(Error::Malformed)?;
        for ((byte, there), new) in bytes.iter_mut().zip(there).zip(fragment) {
            if *there && byte != new {
                return Err(Error::Malformed);
            }
            (*byte, *there) = (*new, true);
        }
        Ok(())
    }

    /// So many from the start are there.
    pub(crate) fn prefix(&self) -> usize {
        let missing = self.there.iter().position(|there| !there);
        missing.unwrap_or(self.bytes.len())
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.there.iter().all(|there| *there)
    }
}
