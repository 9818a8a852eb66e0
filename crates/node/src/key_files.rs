//! Keys of epochs to come, sealed on disk.

use std::path::PathBuf;

use whist_packet::{KeyStore, StoreFault};
use whist_rt::sealed::SealedDir;
use whist_rt::{RtError, files};
use whist_types::{Epoch, Reader, Secret, Writer};

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
