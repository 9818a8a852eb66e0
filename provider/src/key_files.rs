//! Keys of the store's days, sealed on disk. Those of epochs wait beside them, in a
//! [`whist_node::DiskKeyStore`].

use whist_rt::RtError;
use whist_rt::sealed::SealedDir;
use whist_types::Secret;

use crate::store::{Day, DayKeys, StoreFault};

/// Sealed files by day.
#[derive(Debug)]
pub struct DiskDayKeys {
    sealed: SealedDir,
}

impl DiskDayKeys {
    /// The folder of sealed keys.
    pub const fn new(sealed: SealedDir) -> Self {
        Self { sealed }
    }
}

fn fault(error: RtError) -> StoreFault {
    StoreFault::Disk(error.to_string())
}

impl DayKeys for DiskDayKeys {
    fn save(&mut self, day: Day, key: &Secret<32>) -> Result<(), StoreFault> {
        let number = u64::from(day.number());
        self.sealed.save(number, key).map_err(fault)
    }

    fn load(&mut self, day: Day) -> Result<Option<Secret<32>>, StoreFault> {
        let number = u64::from(day.number());
        self.sealed.load(number).map_err(fault)
    }

    fn delete(&mut self, day: Day) -> Result<(), StoreFault> {
        let number = u64::from(day.number());
        self.sealed.delete(number).map_err(fault)
    }

    fn days(&mut self) -> Result<Vec<Day>, StoreFault> {
        let numbers = self.sealed.list().map_err(fault)?;
        let days = numbers.into_iter().filter_map(|n| u32::try_from(n).ok());
        Ok(days.map(Day::new).collect())
    }
}
