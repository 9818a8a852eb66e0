//! Memory that outlives its user: the tmpfs of the virtual machine.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// A tmpfs of one virtual machine: it survives a kill of the process and is lost at a reboot.
#[derive(Clone, Default)]
pub struct Tmpfs {
    regions: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
}

impl Tmpfs {
    /// Takes region `index` of `len` bytes: as it was left, or zeroed if it is new.
    pub fn region(&self, index: usize, len: usize) -> TmpfsRegion {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if regions.len() <= index {
            regions.resize_with(index.saturating_add(1), || None);
        }
        let kept = regions.get_mut(index).and_then(Option::take);
        let bytes = kept
            .filter(|bytes| bytes.len() == len)
            .unwrap_or_else(|| vec![0; len]);
        TmpfsRegion {
            bytes,
            index,
            home: self.clone(),
        }
    }

    /// What a reboot does. Nobody may hold a region meanwhile.
    pub fn wipe(&self) {
        self.regions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// A copy of what a region holds while nobody uses it, for tests that tamper.
    pub fn peek(&self, index: usize) -> Option<Vec<u8>> {
        let regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        regions.get(index).cloned().flatten()
    }
}

/// One mapped region; dropping it (a kill drops the role) leaves its contents in the [`Tmpfs`].
pub struct TmpfsRegion {
    bytes: Vec<u8>,
    index: usize,
    home: Tmpfs,
}

impl Deref for TmpfsRegion {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for TmpfsRegion {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for TmpfsRegion {
    fn drop(&mut self) {
        let mut regions = self
            .home
            .regions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = regions.get_mut(self.index) {
            *slot = Some(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_survives_its_user_and_not_a_reboot() {
        let tmpfs = Tmpfs::default();
        tmpfs.region(1, 4).copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(&tmpfs.region(1, 4)[..], &[1, 2, 3, 4]);
        tmpfs.wipe();
        assert_eq!(&tmpfs.region(1, 4)[..], &[0; 4]);
    }
}
