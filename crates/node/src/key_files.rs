//! Keys of epochs to come, sealed on disk.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use whist_packet::{KeyStore, StoreFault};
use whist_rt::sealed::SealedDir;
use whist_rt::{Handle, RtError, Shutdown, files};
use whist_types::{Epoch, Reader, Secret, Writer};

use crate::key_jobs::{KeyDone, KeyJob};

/// A record of generations has at most two tables.
const RECORD_BYTES_MAX: u64 = 64;

/// Sealed files by epoch, and the record of table generations beside them.
#[derive(Debug)]
pub struct DiskKeyStore {
    sealed: SealedDir,
    record: PathBuf,
}

impl DiskKeyStore {
    /// The folder of sealed keys, and the path of the record.
    pub const fn new(sealed: SealedDir, record: PathBuf) -> Self {
        Self { sealed, record }
    }
}

fn fault(error: RtError) -> StoreFault {
    StoreFault(error.to_string())
}

impl KeyStore for DiskKeyStore {
    fn save(&mut self, epoch: Epoch, secret: &Secret<32>) -> Result<(), StoreFault> {
        self.sealed.save(epoch.number(), secret).map_err(fault)
    }

    fn load(&mut self, epoch: Epoch) -> Result<Option<Secret<32>>, StoreFault> {
        self.sealed.load(epoch.number()).map_err(fault)
    }

    fn delete(&mut self, epoch: Epoch) -> Result<(), StoreFault> {
        self.sealed.delete(epoch.number()).map_err(fault)
    }

    fn epochs(&mut self) -> Result<Vec<Epoch>, StoreFault> {
        let numbers = self.sealed.list().map_err(fault)?;
        Ok(numbers.into_iter().map(Epoch::new).collect())
    }

    fn record_generations(&mut self, record: &[(Epoch, u64)]) -> Result<(), StoreFault> {
        let mut w = Writer::new();
        for (epoch, generation) in record {
            w.u64(epoch.number()).u64(*generation);
        }
        files::write_atomic(&self.record, &w.into_bytes()).map_err(fault)
    }

    fn generations(&mut self) -> Result<Vec<(Epoch, u64)>, StoreFault> {
        let bytes = files::read(&self.record, RECORD_BYTES_MAX)
            .map_err(fault)?
            .unwrap_or_default();
        let mut r = Reader::new(&bytes);
        let mut record = Vec::new();
        while let (Ok(epoch), Ok(generation)) = (r.u64(), r.u64()) {
            record.push((Epoch::new(epoch), generation));
        }
        Ok(record)
    }
}

/// Does [`KeyJob`]s on threads for blocking work, and tells a role of their end.
#[derive(Debug)]
pub struct KeyDisk<K, C> {
    store: Arc<Mutex<K>>,
    handle: Handle<C>,
    tell: fn(KeyDone) -> C,
    stop: Shutdown,
}

impl<K, C> KeyDisk<K, C>
where
    K: KeyStore + Send + 'static,
    C: Send + 'static,
{
    /// Over this store, with the command that tells the role.
    pub fn new(store: K, handle: Handle<C>, tell: fn(KeyDone) -> C, stop: Shutdown) -> Self {
        Self {
            store: Arc::new(Mutex::new(store)),
            handle,
            tell,
            stop,
        }
    }

    /// Begins a job. Never blocks: the role gives one at a time.
    pub fn run(&self, job: KeyJob) {
        let (store, handle, tell) = (self.store.clone(), self.handle.clone(), self.tell);
        self.stop.spawn_blocking(move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let done = job.run(&mut *store);
            drop(store);
            // The role has ended: nobody waits.
            let _ = handle.blocking_send(tell(done));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::time::Duration;

    use whist_packet::keyring::MemoryKeyStore;
    use whist_rt::{block_on, commands, time};

    use super::*;

    /// Only there so that a hang ends.
    const LIMIT: Duration = Duration::from_secs(120);

    #[derive(Default)]
    struct Gate(Mutex<bool>, Condvar);

    /// A disk that stands still until its gate is opened.
    struct Still(MemoryKeyStore, Arc<Gate>);

    impl Still {
        fn disk(&mut self) -> &mut MemoryKeyStore {
            let shut = self.1.0.lock().unwrap();
            drop(self.1.1.wait_while(shut, |open| !*open).unwrap());
            &mut self.0
        }
    }

    impl KeyStore for Still {
        fn save(&mut self, epoch: Epoch, secret: &Secret<32>) -> Result<(), StoreFault> {
            self.disk().save(epoch, secret)
        }
        fn load(&mut self, epoch: Epoch) -> Result<Option<Secret<32>>, StoreFault> {
            self.disk().load(epoch)
        }
        fn delete(&mut self, epoch: Epoch) -> Result<(), StoreFault> {
            self.disk().delete(epoch)
        }
        fn epochs(&mut self) -> Result<Vec<Epoch>, StoreFault> {
            self.disk().epochs()
        }
        fn record_generations(&mut self, record: &[(Epoch, u64)]) -> Result<(), StoreFault> {
            self.disk().record_generations(record)
        }
        fn generations(&mut self) -> Result<Vec<(Epoch, u64)>, StoreFault> {
            self.disk().generations()
        }
    }

    #[test]
    fn who_gives_the_keys_disk_a_job_does_not_wait_for_it() {
        let gate = Arc::new(Gate::default());
        let store = Still(MemoryKeyStore::default(), gate.clone());
        block_on(async {
            let (handle, mut told) = commands::<KeyDone>();
            let disk = KeyDisk::new(store, handle, |done| done, Shutdown::new());
            let (epoch, secret) = (Epoch::new(7), Secret::new([1; 32]));
            // Returns, or this test would never end.
            disk.run(KeyJob::Save { epoch, secret });
            *gate.0.lock().unwrap() = true;
            gate.1.notify_all();
            let done = time::timeout(LIMIT, told.recv()).await.unwrap().unwrap();
            assert!(matches!(done.0, Ok(None)));
            disk.run(KeyJob::Load(epoch));
            let done = time::timeout(LIMIT, told.recv()).await.unwrap().unwrap();
            assert_eq!(done.0.unwrap(), Some(Secret::new([1; 32])));
        })
        .unwrap();
    }
}
