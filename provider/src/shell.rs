//! The provider on a machine: files, memory, sockets, signals.

use std::io::Write as _;
use std::path::Path;

use rand_core::SeedableRng as _;
use whist_link::LinkIdentity;
use whist_netdoc::{Bootstrap, IdentitySecret};
use whist_node::shell::{self, DirectoryFile, NodeKeys, Service};
use whist_node::{DiskKeyStore, KeyDisk};
use whist_rt::sealed::SealedDir;
use whist_rt::state::StateDir;
use whist_rt::tmpfs::Region;
use whist_rt::tracing::{info, warn};
use whist_rt::{
    Clock, Driver, DriverOptions, Effects, Exit, Failure, LinkMetrics, Listener, MetricsPort,
    Shutdown, config, files, logs, process,
};
use whist_timing::Rng;
use whist_types::{Now, Secret};

use crate::clerk::Clerk;
use crate::config::Config;
use crate::desk_thread::DeskThread;
use crate::key_files::DiskDayKeys;
use crate::metrics::Metrics;
use crate::store::{Fjall, FjallSync};
use crate::{Command, Effect, Note, Provider, ProviderConfig, ProviderError};

const PROGRAM: &str = "whist-provider";
const STATE_VERSION: u32 = 2;

const DAYS_FOLDER: &str = "days";
const STORE_FOLDER: &str = "store";
const PUBLIC_FILE: &str = "public.toml";

type Node = Provider<Region>;

/// The node's disks, which its loop does not touch.
struct Disks {
    keys: DiskKeyStore,
    desk: Clerk<Fjall<DiskDayKeys>>,
    sync: FjallSync,
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Node(error) => error.into(),
            ProviderError::Store(error) => Self::new(Exit::Other, error.to_string()),
        }
    }
}

/// `whist-provider init`: makes the state folder and the keys, and prints what others need to
/// begin at this provider; the same text stands in `public.toml` in the state folder.
///
/// # Errors
/// One line and an exit code.
pub fn init(path: &Path) -> Result<(), Failure> {
    let config: Config = config::load(path)?;
    shell::check_advertise(&config.advertise)?;
    let state = StateDir::create(&config.state_dir, PROGRAM, STATE_VERSION)?;
    let keys = NodeKeys::read_or_create(&state)?;
    let public = Bootstrap {
        identity: IdentitySecret::from_seed(&keys.identity).public(),
        link: LinkIdentity::from_secret(&keys.link).public(),
        address: config.advertise.clone(),
        family: config.family,
    };
    let text = toml::to_string(&public)
        .map_err(|error| Failure::new(Exit::Other, format!("cannot print: {error}")))?;
    let text = format!("# id {}\n{text}", public.id());
    files::write_atomic(&state.file(PUBLIC_FILE), text.as_bytes())?;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(Exit::Other, format!("cannot print: {error}")))
}

/// `whist-provider run`: until it is told to end.
///
/// # Errors
/// One line and an exit code.
pub fn run(path: &Path, debug_build: bool) -> Result<(), Failure> {
    process::refuse_debug_build(debug_build)?;
    let config: Config = config::load(path)?;
    logs::init(&config.log)?;
    shell::check_advertise(&config.advertise)?;
    let state = StateDir::open_current(&config.state_dir, PROGRAM, STATE_VERSION)?;
    // Ports before keys: a second instance elsewhere, or a public metrics port, ends here.
    let metrics = config.metrics.map(MetricsPort::bind).transpose()?;
    let listener = Listener::bind(config.listen)?;
    let path = path.to_owned();
    whist_rt::block_on(async move {
        let clock = Clock::start();
        let keys = NodeKeys::read(&state)?;
        let identity = LinkIdentity::from_secret(&keys.link);
        let (node, disks) = open(&config, &state, keys, clock.now())?;
        let mut options = DriverOptions::node(clock, identity, listener);
        options.accept_clients = true;
        serve(node, disks, options, metrics, &state, &path).await
    })?
}

/// The node and its disks, from what is there and in memory.
fn open(
    config: &Config,
    state: &StateDir,
    keys: NodeKeys,
    now: Now,
) -> Result<(Node, Disks), Failure> {
    let follower = shell::follower(&config.network, state)?;
    let schedule = follower.trusted().schedule();
    let (most, tags) = (config.packets_per_s, config.table_tags);
    let mut rng = Rng::from_seed(*whist_rt::seed()?.expose());
    let rate = shell::line_rate(most, tags, schedule, &mut rng)?;
    let mut sphinx = shell::key_store(state, keys.seal.duplicate())?;
    let days = DiskDayKeys::new(SealedDir::open(&state.file(DAYS_FOLDER), keys.seal)?);
    let nonces = Rng::from_seed(*whist_rt::seed()?.expose());
    let store =
        Fjall::open(&state.file(STORE_FOLDER), days, nonces).map_err(ProviderError::from)?;
    let sync = store.syncer();
    let desk = Clerk::new(store, config.store_rows, &mut rng).map_err(ProviderError::from)?;
    let regions = shell::regions(&config.tag_dir, config.table_tags)?;
    let provider = ProviderConfig {
        identity: keys.identity,
        link: keys.link,
        address: config.advertise.clone(),
        family: config.family,
        packets_per_s: rate.packets_per_s,
        table_tags: config.table_tags,
        store_rows: config.store_rows,
    };
    let seed: Secret<32> = whist_rt::seed()?;
    let node = Provider::new(provider, follower, regions, &mut sphinx, &seed, now)?;
    let disks = Disks {
        keys: sphinx,
        desk,
        sync,
    };
    Ok((node, disks))
}

async fn serve(
    node: Node,
    disks: Disks,
    mut options: DriverOptions,
    port: Option<MetricsPort>,
    state: &StateDir,
    config: &Path,
) -> Result<(), Failure> {
    let (service, commands) = Service::start::<Config>(config, Command::Drain)?;
    options.metrics = LinkMetrics::register(&service.registry)?;
    let metrics = Metrics::register(&service.registry)?;
    if let Some(port) = port {
        service.show_metrics(port, || Command::Report);
    }
    let (sync, syncer) = (disks.sync.clone(), disks.sync);
    let (handle, stop) = (service.handle.clone(), service.stop.clone());
    let keys = KeyDisk::new(disks.keys, handle.clone(), Command::Keys, stop.clone());
    let desk = DeskThread::start(disks.desk, move || syncer.sync(), handle, stop);
    let effects = Shell {
        metrics,
        keys,
        desk,
        directory: DirectoryFile::new(state),
        stop: service.stop.clone(),
    };
    info!("started");
    let ended = Driver::run(node, options, effects, commands, service.stop).await;
    // What was applied and not answered yet is kept all the same.
    sync.sync().map_err(ProviderError::from)?;
    ended?;
    info!("ended");
    Ok(())
}

/// Carries out the node's effects.
struct Shell {
    metrics: Metrics,
    keys: KeyDisk<DiskKeyStore, Command>,
    desk: DeskThread,
    directory: DirectoryFile,
    stop: Shutdown,
}

impl Effects<Node> for Shell {
    fn effect(&mut self, _: Now, effect: Effect) {
        match effect {
            Effect::Keys(job) => self.keys.run(job),
            Effect::Desk(job) => self.desk.give(job),
            Effect::Directory(bytes) => {
                self.directory.keep(&self.stop, bytes);
            }
            Effect::Report(stats) => self.metrics.update(&stats),
            Effect::Drained => self.stop.trigger(),
            Effect::Note(note) => log(&note),
        }
    }
}

fn log(note: &Note) {
    match note {
        Note::Consensus(epoch) => info!("consensus of epoch {epoch} taken"),
        Note::Split(epoch) => shell::log_split(*epoch),
        Note::Refused(why) => warn!("an authority sent a consensus that is refused: {why}"),
        Note::NotListed(epoch) => {
            warn!("the consensus of epoch {epoch} does not list this provider")
        }
        Note::StoreFault => warn!("the store failed: is the disk full?"),
        Note::Draining => info!("draining: no packet is taken any more"),
        Note::Key(event) => shell::log_key(event),
    }
}
