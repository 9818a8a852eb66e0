//! The network of the demo: every role on a driver of its own, behind a recording proxy, with its
//! real stores, in one process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::SeedableRng as _;
use tempfile::TempDir;
use whist_directory::{Authority, Saved};
use whist_mix::{DiskKeyStore, KeyDisk, MixNode};
use whist_netdoc::{Follower, Network};
use whist_provider::Provider;
use whist_provider::clerk::Clerk;
use whist_provider::desk_thread::DeskThread;
use whist_provider::key_files::DiskDayKeys;
use whist_provider::store::Fjall;
use whist_rt::raw::TcpListener;
use whist_rt::sealed::SealedDir;
use whist_rt::task::JoinHandle;
use whist_rt::tmpfs::Region;
use whist_rt::{
    Clock, Commands, Driver, DriverOptions, Effects, Exit, Failure, Handle, Listener, RtError,
    Shutdown, commands, files, keys, task,
};
use whist_timing::Rng;

use crate::network::{Blueprint, TABLE_TAGS, Who};
use crate::testnet::proxy::{Proxy, Recorder};

/// What the nodes last reported.
#[derive(Default)]
pub(super) struct Board {
    pub(super) mixes: BTreeMap<u8, whist_mix::Stats>,
    pub(super) providers: BTreeMap<u8, whist_provider::Stats>,
    /// For each mix: sum and number of the pool sizes seen.
    pub(super) held: BTreeMap<u8, (u64, u64)>,
}

/// The running network.
pub(super) struct Stage {
    pub(super) clock: Clock,
    pub(super) network: Network,
    pub(super) recorder: Recorder,
    pub(super) board: Arc<Mutex<Board>>,
    pub(super) stop: Shutdown,
    pub(super) folder: TempDir,
    memory: TempDir,
    blueprint: Blueprint,
    proxies: Vec<Proxy>,
    mixes: Vec<Handle<whist_mix::Command>>,
    providers: Vec<Handle<whist_provider::Command>>,
    running: Vec<JoinHandle<Result<(), RtError>>>,
}

fn broken(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Other, format!("{what}: {error}"))
}

impl Stage {
    /// Starts everybody but the clients.
    pub(super) async fn start(blueprint: Blueprint, clock: Clock) -> Result<Self, Failure> {
        let temp = |folder: &Path| {
            let made = tempfile::Builder::new()
                .prefix("whist-demo-")
                .tempdir_in(folder);
            made.map_err(|error| broken("cannot make a folder", error))
        };
        let (folder, memory) = (temp(&std::env::temp_dir())?, temp(Path::new("/dev/shm"))?);
        let recorder = Recorder::new(clock);
        let mut doors = Vec::new();
        for who in blueprint.listeners().collect::<Vec<_>>() {
            let (door, address) = Proxy::bind()
                .await
                .map_err(|error| broken("cannot listen", error))?;
            doors.push((who, door, address.to_string()));
        }
        let addresses: BTreeMap<_, _> = doors.iter().map(|(w, _, a)| (*w, a.clone())).collect();
        let address = |who| addresses.get(&who).cloned().unwrap_or_default();
        let mut stage = Self {
            clock,
            network: blueprint.network(address),
            recorder,
            board: Arc::default(),
            stop: Shutdown::new(),
            folder,
            memory,
            blueprint,
            proxies: Vec::new(),
            mixes: Vec::new(),
            providers: Vec::new(),
            running: Vec::new(),
        };
        stage
            .network
            .check()
            .map_err(|error| broken("network", error))?;
        let text = stage.network.to_toml();
        files::write_atomic(&stage.network_file(), text.as_bytes())?;
        for (who, door, address) in doors {
            stage.enter(who, door, address)?;
        }
        Ok(stage)
    }

    pub(super) fn network_file(&self) -> std::path::PathBuf {
        self.folder.path().join("network.toml")
    }

    fn enter(&mut self, who: Who, door: TcpListener, address: String) -> Result<(), Failure> {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into())?;
        let proxy = Proxy::start(
            door,
            listener.local_addr(),
            &who.to_string(),
            self.recorder.clone(),
        )
        .map_err(|error| broken("cannot listen", error))?;
        self.proxies.push(proxy);
        let mut options = DriverOptions::node(self.clock, self.blueprint.link(who), listener);
        options.accept_clients = matches!(who, Who::Provider(_));
        match who {
            Who::Authority(i) => self.authority(i, options),
            Who::Mix(i) => self.mix(i, address, options),
            Who::Provider(i) => self.provider(i, address, options),
            Who::Client(_) => Ok(()),
        }
    }

    fn run<R, E>(
        &mut self,
        role: R,
        options: DriverOptions,
        effects: E,
        queue: Commands<R::Command>,
    ) where
        R: whist_link::Role + Send + 'static,
        R::Command: Send,
        R::Effect: Send,
        E: Effects<R> + Send + 'static,
    {
        let stop = self.stop.clone();
        let run = Driver::run(role, options, effects, queue, stop.clone());
        self.running.push(task::spawn(async move {
            // One that ends ends all: never half alive.
            let ended = run.await.map(drop);
            if let Err(error) = &ended {
                stop.fail(error.to_string());
            }
            ended
        }));
    }

    fn authority(&mut self, index: u8, options: DriverOptions) -> Result<(), Failure> {
        use whist_directory::{Command, Effect};
        let who = Who::Authority(index);
        let setup = self.blueprint.authority(index, &self.network);
        let seed = whist_rt::seed()?;
        let role = Authority::new(setup, &Saved::default(), &seed)
            .map_err(|error| broken("authority", error))?;
        let folder = self.folder.path().join(who.to_string());
        keys::create_folder(&folder)?;
        let (handle, queue) = commands::<Command>();
        let stop = self.stop.clone();
        let effects = move |_, effect| {
            if let Effect::Save {
                ticket,
                record,
                bytes,
            } = effect
            {
                let (path, handle) = (folder.join(record.file_name()), handle.clone());
                let failing = stop.clone();
                stop.spawn_blocking(move || match files::write_atomic(&path, &bytes) {
                    Ok(()) => drop(handle.blocking_send(Command::Saved { ticket })),
                    Err(error) => failing.fail(error.to_string()),
                });
            }
        };
        self.run(role, options, effects, queue);
        Ok(())
    }

    fn regions(&self, who: Who, bytes: usize) -> Result<[Region; 2], RtError> {
        let path = |i: u8| self.memory.path().join(format!("{who}.{i}"));
        Ok([
            Region::open(&path(0), bytes)?,
            Region::open(&path(1), bytes)?,
        ])
    }

    fn mix(&mut self, index: u8, address: String, options: DriverOptions) -> Result<(), Failure> {
        use whist_mix::{Command, Effect};
        let who = Who::Mix(index);
        let folder = self.folder.path().join(who.to_string());
        keys::create_folder(&folder)?;
        let sealed = SealedDir::open(&folder.join("sphinx"), self.blueprint.secret(who, "seal"))?;
        let mut store = DiskKeyStore::new(sealed, folder.join("generations"));
        let follower = Follower::new(self.network.trusted());
        let regions = self.regions(who, whist_mix::region_bytes(TABLE_TAGS))?;
        let config = self.blueprint.mix(index, address);
        let now = self.clock.now();
        let role = MixNode::new(
            config,
            follower,
            regions,
            &mut store,
            &whist_rt::seed()?,
            now,
        )
        .map_err(|error| broken("mix", error))?;
        let (handle, queue) = commands::<Command>();
        self.mixes.push(handle.clone());
        let keys = KeyDisk::new(store, handle, Command::Keys, self.stop.clone());
        let board = Arc::clone(&self.board);
        let effects = move |_, effect| match effect {
            Effect::Keys(job) => keys.run(job),
            Effect::Report(stats) => {
                let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
                if stats.layer.is_some() {
                    let (sum, samples) = board.held.entry(index).or_default();
                    (*sum, *samples) = (sum.saturating_add(stats.held), samples.saturating_add(1));
                }
                board.mixes.insert(index, *stats);
            }
            Effect::Directory(_) | Effect::Drained | Effect::Note(_) => {}
        };
        self.run(role, options, effects, queue);
        Ok(())
    }

    fn provider(
        &mut self,
        index: u8,
        address: String,
        options: DriverOptions,
    ) -> Result<(), Failure> {
        use whist_provider::{Command, Effect};
        let who = Who::Provider(index);
        let folder = self.folder.path().join(who.to_string());
        keys::create_folder(&folder)?;
        let seal = || self.blueprint.secret(who, "seal");
        let sealed = SealedDir::open(&folder.join("sphinx"), seal())?;
        let mut sphinx = DiskKeyStore::new(sealed, folder.join("generations"));
        let days = DiskDayKeys::new(SealedDir::open(&folder.join("days"), seal())?);
        let nonces = Rng::from_seed(*whist_rt::seed()?.expose());
        let store = Fjall::open(&folder.join("store"), days, nonces)
            .map_err(|error| broken("store", error))?
            // Twenty texts fit on any disk.
            .keeping_free(0);
        let syncer = store.syncer();
        let follower = Follower::new(self.network.trusted());
        let regions = self.regions(who, whist_provider::region_bytes(TABLE_TAGS))?;
        let config = self.blueprint.provider(index, address);
        let store_rows = config.store_rows;
        let (seed, now) = (whist_rt::seed()?, self.clock.now());
        let role = Provider::new(config, follower, regions, &mut sphinx, &seed, now)
            .map_err(|error| broken("provider", error))?;
        let (handle, queue) = commands::<Command>();
        self.providers.push(handle.clone());
        let keys = KeyDisk::new(sphinx, handle.clone(), Command::Keys, self.stop.clone());
        let mut rng = Rng::from_seed(*whist_rt::seed()?.expose());
        let desk = Clerk::new(store, store_rows, &mut rng).map_err(|e| broken("store", e))?;
        let desk = DeskThread::start(desk, move || syncer.sync(), handle, self.stop.clone());
        let board = Arc::clone(&self.board);
        let effects = move |_, effect| match effect {
            Effect::Keys(job) => keys.run(job),
            Effect::Desk(job) => desk.give(job),
            Effect::Report(stats) => {
                let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
                board.providers.insert(index, *stats);
            }
            Effect::Directory(_) | Effect::Drained | Effect::Note(_) => {}
        };
        self.run(role, options, effects, queue);
        Ok(())
    }

    /// Why the network ended before its time.
    pub(super) fn ended(&self) -> Failure {
        let why = self.stop.outcome().err().map(Failure::from);
        why.unwrap_or_else(|| Failure::new(Exit::Other, "a role ended"))
    }

    pub(super) const fn seed(&self) -> u64 {
        self.blueprint.seed
    }

    /// How long the network has been up.
    pub(super) fn up_for(&self) -> std::time::Duration {
        let schedule = &self.network.schedule;
        self.clock
            .now()
            .wall
            .since(schedule.start(whist_types::Epoch::new(1)))
    }

    /// Asks all nodes for their counters; the answers reach the board.
    pub(super) fn ask_reports(&self) {
        for mix in &self.mixes {
            let _ = mix.try_send(whist_mix::Command::Report);
        }
        for provider in &self.providers {
            let _ = provider.try_send(whist_provider::Command::Report);
        }
    }

    /// Whether every provider has a consensus that lists it and links to all of the first layer.
    pub(super) fn is_ready(&self) -> bool {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = board
            .providers
            .values()
            .filter(|stats| stats.listed && stats.links_in > 0);
        let mixing = board.mixes.values().filter(|stats| stats.layer.is_some());
        listed.count() == usize::from(self.blueprint.providers)
            && mixing.count() == usize::from(self.blueprint.mixes)
    }

    /// Ends everybody and waits for it.
    pub(super) async fn end(self) -> Result<(), Failure> {
        self.stop.trigger();
        for role in self.running {
            role.await
                .map_err(|error| broken("a role ended badly", error))??;
        }
        drop(self.proxies);
        Ok(())
    }
}
