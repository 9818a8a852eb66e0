//! What the shells of both do alike: files, memory, signals, the port for metrics, the log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand_core::CryptoRng;
use serde::de::DeserializeOwned;
use whist_netdoc::{Follower, Network};
use whist_rt::prometheus::{IntGauge, Registry};
use whist_rt::sealed::SealedDir;
use whist_rt::state::StateDir;
use whist_rt::tmpfs::{Locked, Region};
use whist_rt::tracing::{info, warn};
use whist_rt::{
    Commands, Exit, Failure, Handle, MetricsPort, RtError, Shutdown, Signals, config, files, keys,
    process, swap, time,
};
use whist_types::{Epoch, EpochSchedule, Secret};

use crate::key_files::DiskKeyStore;
use crate::keys::{KeyEvent, region_bytes};
use crate::line_rate::{self, LineRate};

const IDENTITY_FILE: &str = "identity.key";
const LINK_FILE: &str = "link.key";
const SEAL_FILE: &str = "seal.key";
const SPHINX_FOLDER: &str = "sphinx";
const GENERATIONS_FILE: &str = "generations";
const DIRECTORY_FILE: &str = "directory";

/// `network.toml` and the kept consensuses are not larger.
const NETWORK_BYTES_MAX: u64 = 1 << 20;
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// How often the metrics are brought up to date.
const REPORT: Duration = Duration::from_secs(1);

/// The keys in a node's state folder, a file each.
#[derive(Debug)]
pub struct NodeKeys {
    /// Seed of the identity key.
    pub identity: Secret<32>,
    /// Seed of the key of its links.
    pub link: Secret<32>,
    /// Seals other keys on disk.
    pub seal: Secret<32>,
}

impl NodeKeys {
    /// Makes those that are not there yet.
    ///
    /// # Errors
    /// A file is exposed, damaged or cannot be written.
    pub fn read_or_create(state: &StateDir) -> Result<Self, RtError> {
        Self::by(|name| keys::read_or_create(&state.file(name)))
    }

    /// Reads them.
    ///
    /// # Errors
    /// A file is missing, exposed or damaged.
    pub fn read(state: &StateDir) -> Result<Self, RtError> {
        Self::by(|name| keys::read(&state.file(name)))
    }

    fn by(read: impl Fn(&str) -> Result<Secret<32>, RtError>) -> Result<Self, RtError> {
        Ok(Self {
            identity: read(IDENTITY_FILE)?,
            link: read(LINK_FILE)?,
            seal: read(SEAL_FILE)?,
        })
    }
}

/// The store of Sphinx keys to come, in the state folder.
///
/// # Errors
/// The folder cannot be made or is open to others.
pub fn key_store(state: &StateDir, seal: Secret<32>) -> Result<DiskKeyStore, RtError> {
    let sealed = SealedDir::open(&state.file(SPHINX_FOLDER), seal)?;
    Ok(DiskKeyStore::new(sealed, state.file(GENERATIONS_FILE)))
}

/// The two regions for keys in service and their tags, in a folder on a tmpfs.
///
/// # Errors
/// The folder is not memory-backed, is open to others or has no room.
pub fn regions(tag_dir: &Path, table_tags: u64) -> Result<[Region; 2], RtError> {
    keys::create_folder(tag_dir)?;
    let bytes = region_bytes(table_tags);
    let regions = [
        region(&tag_dir.join("table.0"), bytes)?,
        region(&tag_dir.join("table.1"), bytes)?,
    ];
    if swap::reaches_memory() {
        warn!(
            "this system swaps, and what a process holds may end on a disk: switch swap off, or \
             set MemorySwapMax=0"
        );
    }
    let whole = regions.iter().all(|region| region.locked() == Locked::All);
    if !whole && swap::reaches(tag_dir)? {
        warn!(
            "replay tags may be swapped to a disk, keys in service are not: raise LimitMEMLOCK=, \
             or mount tag_dir with noswap"
        );
    }
    Ok(regions)
}

/// A table of another size is none: `table_tags` was changed, and its key goes with it.
fn region(path: &Path, bytes: usize) -> Result<Region, RtError> {
    match Region::open(path, bytes) {
        Err(RtError::RegionSize { .. }) => {
            warn!("table_tags was changed: keys in service are erased");
            Region::remove(path)?;
            Region::open(path, bytes)
        }
        opened => opened,
    }
}

/// A follower of the network of this file, with the consensuses kept from the last run.
///
/// # Errors
/// The file is no network's, or what was kept is not of this network.
pub fn follower(network: &Path, state: &StateDir) -> Result<Follower, Failure> {
    let usage = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", network.display()));
    let text = files::read(network, NETWORK_BYTES_MAX)?
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| usage("no such file, or no text".to_owned()))?;
    let trusted = Network::parse(&text)
        .map_err(|refused| usage(refused.to_string()))?
        .trusted();
    let kept = state.file(DIRECTORY_FILE);
    let Some(bytes) = files::read(&kept, DIRECTORY_BYTES_MAX)? else {
        return Ok(Follower::new(trusted));
    };
    let follower = Follower::from_bytes(trusted, &bytes).map_err(|refused| {
        let what = format!("{}: {refused}; remove it to start anew", kept.display());
        Failure::new(Exit::Refused, what)
    })?;
    if let Some(evidence) = follower.evidence() {
        log_split(evidence.epoch);
    }
    Ok(follower)
}

/// Tells the log, at the moment and at each start, that the authorities are not to be trusted.
pub fn log_split(epoch: Epoch) {
    warn!(
        "the authorities signed two consensuses of epoch {epoch}: no newer one is taken, the one \
         before it serves until its grace ends; the proof is in {DIRECTORY_FILE} in state_dir"
    );
}

/// The file in which the consensuses are kept for the next start.
#[derive(Debug, Clone)]
pub struct DirectoryFile(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// What is still to be written.
    latest: Mutex<Option<Vec<u8>>>,
    /// Held while writing.
    writing: Mutex<()>,
}

impl DirectoryFile {
    /// In this state folder.
    pub fn new(state: &StateDir) -> Self {
        Self::at(state.file(DIRECTORY_FILE))
    }

    fn at(path: PathBuf) -> Self {
        Self(Arc::new(Kept {
            path,
            latest: Mutex::new(None),
            writing: Mutex::new(()),
        }))
    }

    /// Keeps them. Without it they are fetched again, so that a failure is only told.
    pub fn keep(&self, stop: &Shutdown, bytes: Vec<u8>) {
        self.put(bytes);
        let file = self.clone();
        stop.spawn_blocking(move || file.write());
    }

    fn put(&self, bytes: Vec<u8>) {
        let mut latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = Some(bytes);
    }

    /// Threads come in any order: whichever comes first writes what is newest, the others find
    /// nothing to do.
    fn write(&self) {
        let _writing = self
            .0
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = latest.take();
        drop(latest);
        if let Some(bytes) = taken
            && let Err(error) = files::write_atomic(&self.0.path, &bytes)
        {
            warn!("the consensus was not kept: {error}");
        }
    }
}

/// The line rate of this machine, measured, below the operator's `most` and what the table holds;
/// the log and the gauge of the line rate show it. [`LineRate::of_build`] says what a debug build
/// does with it.
///
/// # Errors
/// There is none to promise.
pub fn line_rate(
    most: u32,
    table_tags: u64,
    schedule: &EpochSchedule,
    rng: &mut impl CryptoRng,
) -> Result<LineRate, Failure> {
    let measured = line_rate::measure(process::cpu_time, rng);
    let debug = cfg!(debug_assertions);
    let rate = LineRate::of_build(measured, table_tags, schedule, most, debug)?;
    info!(
        "line rate: {} packets/s, limited by {}; {measured:.0} unwraps/s measured",
        rate.packets_per_s,
        rate.by.name()
    );
    Ok(rate)
}

/// Refuses an address that others could not dial.
///
/// # Errors
/// It is not `host:port`.
pub fn check_advertise(advertise: &str) -> Result<(), Failure> {
    whist_netdoc::check_address(advertise).map_err(|_| {
        let what = format!("`advertise` is not host:port: {advertise}");
        Failure::new(Exit::Usage, what)
    })
}

/// What runs beside a node's driver and ends with it.
#[derive(Debug)]
pub struct Service<C> {
    /// Ends all of it.
    pub stop: Shutdown,
    /// Tells the role.
    pub handle: Handle<C>,
    /// What the port shows.
    pub registry: Registry,
}

impl<C: Send + 'static> Service<C> {
    /// With the commands, which are the driver's. From now on SIGTERM sends `drain`, and SIGHUP
    /// checks the file `config`, which holds a `T`.
    ///
    /// # Errors
    /// The system has no signals for us.
    pub fn start<T: DeserializeOwned + 'static>(
        config: &Path,
        drain: C,
    ) -> Result<(Self, Commands<C>), RtError> {
        let signals = Signals::install()?;
        let (handle, commands) = whist_rt::commands();
        let service = Self {
            stop: Shutdown::new(),
            handle,
            registry: Registry::new(),
        };
        let swaps = IntGauge::new(
            "whist_memory_swaps",
            "1 if the system may write this process's memory to a disk",
        )?;
        swaps.set(i64::from(swap::reaches_memory()));
        service.registry.register(Box::new(swaps))?;
        let (signal, handle, stop) = (
            signals.drain(),
            service.handle.clone(),
            service.stop.clone(),
        );
        service
            .stop
            .spawn(drain_on_signal(signal, handle, drain, stop));
        let (config, stop) = (config.to_owned(), service.stop.clone());
        service
            .stop
            .spawn(check_on_hangup::<T>(signals, config, stop));
        Ok((service, commands))
    }

    /// Shows the registry on a port. The role is told to `report` each second.
    pub fn show_metrics(&self, port: MetricsPort, report: fn() -> C) {
        let (registry, token) = (self.registry.clone(), self.stop.clone());
        self.stop.spawn(async move {
            if let Err(error) = port.serve(registry, token.clone()).await {
                token.fail(error.to_string());
            }
        });
        let (handle, stop) = (self.handle.clone(), self.stop.clone());
        self.stop.spawn(async move {
            let mut ticks = time::interval(REPORT);
            while !stop.is_triggered() {
                ticks.tick().await;
                // A full queue: the next second's report does as well.
                let _ = handle.try_send(report());
            }
        });
    }
}

async fn drain_on_signal<C>(signal: Shutdown, handle: Handle<C>, drain: C, stop: Shutdown) {
    whist_rt::task::select! {
        () = signal.triggered() => {
            let _ = handle.send(drain).await;
        }
        () = stop.triggered() => {}
    }
}

/// Nothing is taken over while running; the file is checked, so that a mistake shows before the
/// next start does.
async fn check_on_hangup<T: DeserializeOwned>(mut signals: Signals, path: PathBuf, stop: Shutdown) {
    loop {
        whist_rt::task::select! {
            () = signals.hangup() => match config::load::<T>(&path) {
                Ok(_) => info!("the configuration is in order; a restart takes it over"),
                Err(error) => warn!("the configuration is refused, the old one stays: {error}"),
            },
            () = stop.triggered() => return,
        }
    }
}

/// Tells the log what happened to keys.
pub fn log_key(event: &KeyEvent) {
    match event {
        KeyEvent::Resumed(epoch) => info!("the key of epoch {epoch} serves on with its tags"),
        KeyEvent::Entered(epoch) => info!("the key of epoch {epoch} is in service"),
        KeyEvent::Retired(epoch) => info!("the key of epoch {epoch} is erased"),
        KeyEvent::Deleted(epoch) => info!("the key of epoch {epoch} is deleted from disk"),
        KeyEvent::Lost(why) => warn!("keys in memory were lost: {why}"),
        KeyEvent::Missing(epoch) => warn!("no key for epoch {epoch}: serving from the next on"),
        KeyEvent::Fault(why) => warn!("keys: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_consensus_never_takes_the_place_of_a_newer_one_on_disk() {
        let path = std::env::temp_dir().join(format!("whist-node-{}", std::process::id()));
        let file = DirectoryFile::at(path.clone());
        // The thread of the first runs last.
        file.put(b"older".to_vec());
        file.put(b"newer".to_vec());
        file.write();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        std::fs::remove_file(&path).unwrap();
        file.write();
        assert!(!path.exists(), "nothing was left to write");
    }
}
