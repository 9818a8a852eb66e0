//! Making a vault: whole, or not at all. Its files are written under names of their own, and take
//! those of a vault when all that is in them is durable, the first rows too. So a file that has a
//! vault's name is never written by a making, nor removed or replaced by one, whatever else lies in
//! the folder; and what a making removes was never of a vault that anybody was told of.

use std::path::Path;

use whist_timing::Rng;
use whist_types::Secret;

use super::medium::{self, Media, Name};
use super::slots::{Home, Keys, Slots};
use super::{Cost, Credential, SlotsAt, Vault, VaultError};
use crate::rows::Batch;

impl Vault {
    /// Makes a vault in a folder, with fresh keys and its first rows; durable when this returns.
    /// What is left there of a making that was cut short goes first. Whoever calls this holds the
    /// folder's lock.
    ///
    /// # Errors
    /// [`VaultError::Exists`] where any file of a vault is, a cost out of bounds, or the disk.
    pub fn make(
        home: &Path,
        by: &Credential,
        cost: Cost,
        first: &Batch,
        rng: Rng,
    ) -> Result<Self, VaultError> {
        make(home, cost, first, rng, |slots| slots.derive(by))
    }

    /// Makes a vault without rows.
    ///
    /// # Errors
    /// As [`Vault::make`].
    pub fn create(home: &Path, by: &Credential, cost: Cost, rng: Rng) -> Result<Self, VaultError> {
        Self::make(home, by, cost, &Batch::new(), rng)
    }

    /// Whether a folder has no file of a vault in it. One that cannot be looked at counts as there.
    pub fn is_vacant(home: &Path) -> bool {
        Name::each().all(|name| !name.of_vault(home))
    }

    /// Whether a making was cut short when its files had begun to take their names. All of it is
    /// durable then, and [`Vault::finish`] does the rest.
    pub fn is_unfinished(home: &Path) -> bool {
        !Self::is_vacant(home) && Name::each().any(|name| name.is_due(home))
    }

    /// Gives the files of such a making their names; no file is replaced or removed. Whoever calls
    /// this holds the folder's lock.
    ///
    /// # Errors
    /// The disk; it can be done again.
    pub fn finish(home: &Path) -> Result<(), VaultError> {
        for name in Name::each().filter(|name| name.is_due(home)) {
            name.take(home)?;
        }
        Ok(medium::sync(home)?)
    }
}

fn make(
    home: &Path,
    cost: Cost,
    first: &Batch,
    mut rng: Rng,
    key: impl FnOnce(&Slots) -> Result<Secret<32>, VaultError>,
) -> Result<Vault, VaultError> {
    if !Vault::is_vacant(home) {
        return Err(VaultError::Exists);
    }
    for name in Name::each() {
        name.clear(home)?;
    }
    let media = Media::create(home)?;
    let slots = media.slots.clone();
    let keys = Keys::random(&mut rng);
    let mut vault = Vault::over(media, SlotsAt::Home(home.to_owned()), rng)?;
    vault.adopt(&keys);
    let slots = Slots::create(slots, cost, &mut vault.rng)?;
    let key = key(&slots)?;
    slots.put(keys.home(Home::First), &key, &keys, &mut vault.rng)?;
    vault.apply(first)?;
    // The files' own bytes are durable by now; that the files are there is from here on.
    medium::sync(home)?;
    Vault::finish(home)?;
    Ok(vault)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
    use std::path::PathBuf;

    use rand_core::Rng as _;

    use super::super::kills::{Contents, Write};
    use super::super::medium::log::{self, Step};
    use super::super::tests::{first_batch, rng};
    use super::super::{Opened, Table};
    use super::*;

    /// What lies in a folder, by name.
    type Files = BTreeMap<PathBuf, Vec<u8>>;

    thread_local! {
        static FIRST: Batch = first_batch();
    }

    fn attempt(home: &Path, seed: u8) -> Result<Vault, VaultError> {
        let key = |_: &Slots| Ok(Secret::new([7; 32]));
        FIRST.with(|first| make(home, Cost::LEAST, first, rng(seed), key))
    }

    /// What a daemon does with it.
    fn opens(home: &Path) -> Result<(), VaultError> {
        let mut vault = Vault::closed(home, rng(9))?;
        let file = SlotsAt::Home(home.to_owned()).open()?;
        let opened = Slots::read(file.medium.clone())?.open(Secret::new([7; 32]))?;
        drop(file);
        vault.unlock(Opened(opened))?;
        assert_eq!(vault.load()?.of(Table::Account).count(), 1);
        Ok(())
    }

    fn laid(files: &Files) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
        }
        dir
    }

    fn read(home: &Path) -> Files {
        let entries = std::fs::read_dir(home).unwrap().map(Result::unwrap);
        let read = |path: PathBuf| (name(&path), std::fs::read(path).unwrap());
        entries.map(|entry| read(entry.path())).collect()
    }

    fn name(path: &Path) -> PathBuf {
        path.file_name().unwrap().into()
    }

    /// How a process or a machine ends.
    #[derive(Debug, Clone, Copy)]
    enum End {
        /// What was done is there.
        Kill,
        /// What was synced is there, and of all else whatever a coin says; nothing with zero.
        Power(u8),
    }

    const ENDS: [End; 3] = [End::Kill, End::Power(0), End::Power(1)];

    /// What is left of the first steps on what lay in a folder. Each change of a name is durable
    /// with the folder's sync, each write with its file's.
    fn left(home: &Path, before: &Files, steps: &[Step], end: End) -> Files {
        let (mut names, mut files) = (BTreeMap::new(), BTreeMap::<u64, Contents>::new());
        for (name, bytes) in before {
            let id = std::fs::metadata(home.join(name)).unwrap().ino();
            names.insert(name.clone(), id);
            let file = Contents {
                durable: bytes.clone(),
                writes: Vec::new(),
                now: bytes.clone(),
            };
            files.insert(id, file);
        }
        let mut pending = Vec::new();
        for step in steps {
            match step {
                Step::Write(id, at, bytes) => {
                    let at = usize::try_from(*at).unwrap();
                    let write = Write::Bytes(at, bytes.clone());
                    files.get_mut(id).unwrap().write(write);
                }
                Step::Length(id, length) => {
                    let length = usize::try_from(*length).unwrap();
                    files.get_mut(id).unwrap().write(Write::Length(length));
                }
                Step::Sync(id) => {
                    let file = files.get_mut(id).unwrap();
                    file.writes.clear();
                    file.durable.clone_from(&file.now);
                }
                Step::Create(_, id) => {
                    files.insert(*id, Contents::default());
                    pending.push(step);
                }
                Step::Rename(..) | Step::Remove(_) => pending.push(step),
                Step::SyncFolder => {
                    for step in std::mem::take(&mut pending) {
                        rename(&mut names, step);
                    }
                }
            }
        }
        let mut coins = match end {
            End::Power(seed) => Some((seed, rng(seed))),
            End::Kill => None,
        };
        let mut stays = || match &mut coins {
            Some((0, _)) => false,
            Some((_, coins)) => coins.next_u32() & 1 == 1,
            None => true,
        };
        for step in pending {
            if stays() {
                rename(&mut names, step);
            }
        }
        for file in files.values_mut() {
            for write in std::mem::take(&mut file.writes) {
                if stays() {
                    write.apply(&mut file.durable);
                }
            }
        }
        let of = |id: u64| files[&id].durable.clone();
        names.into_iter().map(|(name, id)| (name, of(id))).collect()
    }

    fn rename(names: &mut BTreeMap<PathBuf, u64>, step: &Step) {
        match step {
            Step::Create(path, id) => {
                names.insert(name(path), *id);
            }
            Step::Remove(path) => {
                names.remove(&name(path));
            }
            Step::Rename(from, to) => {
                if let Some(id) = names.remove(&name(from)) {
                    names.insert(name(to), id);
                }
            }
            _ => panic!("no change of a name: {step:?}"),
        }
    }

    /// What `init` does, the next time.
    fn again(home: &Path) {
        match Vault::is_unfinished(home) {
            true => Vault::finish(home).unwrap(),
            false => match attempt(home, 2) {
                Ok(_) | Err(VaultError::Exists) => {}
                Err(error) => panic!("{error}"),
            },
        }
        opens(home).unwrap();
    }

    #[test]
    fn a_making_that_is_cut_short_anywhere_is_done_again_or_finished_and_opens() {
        let dir = tempfile::tempdir().unwrap();
        attempt(dir.path(), 1).unwrap();
        let steps = log::take();
        let (mut vacant, mut unfinished, mut tried) = (0, 0, BTreeSet::new());
        for (count, end) in (0..=steps.len()).flat_map(|n| ENDS.map(|end| (n, end))) {
            let found = left(dir.path(), &Files::new(), &steps[..count], end);
            let home = laid(&found);
            let home = home.path();
            let whole = !Vault::is_vacant(home) && !Vault::is_unfinished(home);
            assert!(
                whole || count < steps.len(),
                "{end:?}: it was said to be there"
            );
            if whole {
                opens(home).unwrap_or_else(|error| panic!("{count}, {end:?}: {error}"));
                continue;
            }
            assert!(opens(home).is_err(), "{count}, {end:?}: half a vault opens");
            if Vault::is_vacant(home) {
                vacant += 1;
                // Of what lies there only the names matter.
                if tried.insert(found.into_keys().collect::<Vec<_>>()) || count % 8 == 0 {
                    again(home);
                }
                continue;
            }
            unfinished += 1;
            log::take();
            let other = laid(&found);
            again(other.path());
            // That is cut short too.
            let steps = log::take();
            let renames = steps.iter().filter(|step| matches!(step, Step::Rename(..)));
            assert!(renames.count() > 0);
            let folder = laid(&found);
            for (count, end) in (0..3).flat_map(|n| ENDS.map(|end| (n, end))) {
                let steps = steps.get(..count).unwrap_or(&steps);
                again(laid(&left(folder.path(), &found, steps, end)).path());
            }
        }
        assert!(vacant > 20 && unfinished > 2, "{vacant}, {unfinished}");
    }

    #[test]
    fn a_file_of_a_vault_is_never_replaced_whatever_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        attempt(dir.path(), 1).unwrap();
        let files = read(dir.path());
        let is_in = |set: usize, n: usize| set >> n & 1 == 1;
        for (kept, beside) in (1..8).flat_map(|kept| (0..8).map(move |beside| (kept, beside))) {
            let mut found = Files::new();
            for (n, name) in medium::FILES.into_iter().enumerate() {
                if is_in(kept, n) {
                    found.insert(name.into(), files[Path::new(name)].clone());
                }
                if is_in(beside, n) {
                    found.insert(format!("{name}.making").into(), b"a stranger's".to_vec());
                }
            }
            found.insert("making".into(), Vec::new());
            let dir = laid(&found);
            let made = attempt(dir.path(), 2);
            assert!(matches!(made, Err(VaultError::Exists)), "{kept}, {beside}");
            assert_eq!(read(dir.path()), found, "{kept}, {beside}");
            assert_eq!(opens(dir.path()).is_ok(), kept == 7);
            let found = read(dir.path());
            Vault::finish(dir.path()).unwrap();
            let after = read(dir.path());
            for name in medium::FILES.map(Path::new) {
                let before = found.get(name);
                assert!(before.is_none() || before == after.get(name), "{name:?}");
            }
            assert_eq!(found.len(), after.len(), "nothing is removed");
        }
    }
}
