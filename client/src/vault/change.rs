//! What is changed at the slots alone. It needs a secret that opens one and no daemon, and works
//! while a daemon runs.

use std::path::Path;

use rand_core::SeedableRng as _;
use whist_timing::Rng;
use whist_types::Secret;

use super::medium::SlotsFile;
use super::slots::{Home, Kind, Opened, Slots};
use super::{Credential, Vault, VaultError};

/// The slots of a vault, opened by a secret and held against other writers.
pub struct Change {
    _file: SlotsFile,
    slots: Slots,
    opened: Opened,
    rng: Rng,
}

impl Change {
    /// Opens the slots. Where nobody has the rows they are opened first, as at a start: a duress
    /// secret ends the person's vault, here as everywhere, and what follows is the decoy's for
    /// good.
    ///
    /// # Errors
    /// [`VaultError::Locked`] if the secret opens no slot; [`VaultError::InUse`] if it asks for the
    /// decoy while a daemon has the rows of the person; the disk.
    pub fn open(home: &Path, by: &Credential, mut rng: Rng) -> Result<Self, VaultError> {
        let own = Rng::from_seed(*Secret::<32>::random(&mut rng).expose());
        match Vault::open(home, by, own) {
            Ok(_) | Err(VaultError::InUse) => {}
            Err(error) => return Err(error),
        }
        Self::over(SlotsFile::open(home)?, by, rng)
    }

    pub(super) fn over(file: SlotsFile, by: &Credential, rng: Rng) -> Result<Self, VaultError> {
        let slots = Slots::read(file.medium.clone())?;
        let opened = slots.open(slots.derive(by)?)?;
        Self::of(file, slots, opened, rng)
    }

    /// A slot that is put beside one of duress goes when the decoy takes over: that comes first.
    pub(super) fn of(
        file: SlotsFile,
        slots: Slots,
        opened: Opened,
        rng: Rng,
    ) -> Result<Self, VaultError> {
        if opened.keys.kind == Kind::Duress {
            return Err(VaultError::InUse);
        }
        Ok(Self {
            _file: file,
            slots,
            opened,
            rng,
        })
    }

    /// Another passphrase in the place of the one that opened, or, if it was the recovery phrase,
    /// in the place of whichever there was. The new one opens before the old one ends.
    ///
    /// The data key stays. Who has an old copy of the slots, the old passphrase, and a newer copy
    /// of the rest, reads that copy.
    ///
    /// # Errors
    /// [`VaultError::Taken`] if the new one opens the vault already; the disk.
    pub fn passphrase(mut self, new: &Credential) -> Result<(), VaultError> {
        let by = self.unused(new)?;
        let keys = &self.opened.keys;
        let (first, second) = (keys.home(Home::First), keys.home(Home::Second));
        let old = self.opened.number;
        let place = if old == first { second } else { first };
        self.slots.put(place, &by, keys, &mut self.rng)?;
        let kept = [place, keys.home(Home::Recovery)];
        let ended: Vec<_> = [first, second, old]
            .into_iter()
            .filter(|number| !kept.contains(number))
            .collect();
        self.slots.destroy(&ended, &mut self.rng)
    }

    /// Another recovery phrase; an earlier one opens nothing from then on.
    ///
    /// # Errors
    /// The disk.
    pub fn recovery(mut self, new: &Credential) -> Result<(), VaultError> {
        let by = self.unused(new)?;
        let keys = &self.opened.keys;
        let place = keys.home(Home::Recovery);
        self.slots.put(place, &by, keys, &mut self.rng)
    }

    /// Another duress passphrase, and with it another decoy; an earlier one opens nothing from
    /// then on.
    ///
    /// # Errors
    /// [`VaultError::Taken`] if it opens the vault already; the disk.
    pub fn duress(mut self, new: &Credential) -> Result<(), VaultError> {
        let by = self.unused(new)?;
        let place = self.opened.keys.home(Home::Duress);
        let decoy = self.opened.keys.decoy(place, &mut self.rng);
        self.slots.put(place, &by, &decoy, &mut self.rng)
    }

    /// The key of a secret that opens nothing yet: two slots of one secret would be one too many.
    fn unused(&self, new: &Credential) -> Result<Secret<32>, VaultError> {
        let by = self.slots.derive(new)?;
        match self.slots.open(by.duplicate()) {
            Err(VaultError::Locked) => Ok(by),
            Ok(_) => Err(VaultError::Taken),
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Change([redacted])")
    }
}
