//! The mix on a machine: files, memory, sockets, signals.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use whist_link::LinkIdentity;
use whist_netdoc::{Follower, IdentitySecret, Network};
use whist_node::{DiskKeyStore, KeyEvent, region_bytes};
use whist_rt::prometheus::Registry;
use whist_rt::sealed::SealedDir;
use whist_rt::state::StateDir;
use whist_rt::tmpfs::Region;
use whist_rt::tracing::{info, warn};
use whist_rt::{
    Clock, Commands, Driver, DriverOptions, Effects, Exit, Failure, Handle, LinkMetrics, Listener,
    MetricsPort, RtError, Shutdown, Signals, config, files, keys, logs, process, time,
};
use whist_types::{Now, Secret};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::{Command, Effect, MixConfig, MixNode, Note};

const PROGRAM: &str = "whist-mix";
const STATE_VERSION: u32 = 1;

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

type Node = MixNode<Region, DiskKeyStore>;

/// `whist-mix init`: makes the state folder and the keys, and prints what the authorities need to
/// admit the node.
///
/// # Errors
/// One line and an exit code.
pub fn init(path: &Path) -> Result<(), Failure> {
    let config: Config = config::load(path)?;
    whist_netdoc::check_address(&config.advertise).map_err(|_| advertise_refused(&config))?;
    let state = StateDir::create(&config.state_dir, PROGRAM, STATE_VERSION)?;
    let identity = keys::read_or_create::<32>(&state.file(IDENTITY_FILE))?;
    let link = keys::read_or_create::<32>(&state.file(LINK_FILE))?;
    keys::read_or_create::<32>(&state.file(SEAL_FILE))?;
    let identity = IdentitySecret::from_seed(&identity).public();
    let link = LinkIdentity::from_secret(&link).public();
    let text = format!(
        "identity = \"{identity}\"\nlink = \"{link}\"\nid = \"{}\"\n",
        identity.node_id()
    );
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(Exit::Other, format!("cannot print: {error}")))
}

/// `whist-mix run`: until it is told to end.
///
/// # Errors
/// One line and an exit code.
pub fn run(path: &Path, debug_build: bool) -> Result<(), Failure> {
    process::refuse_debug_build(debug_build)?;
    let config: Config = config::load(path)?;
    logs::init(&config.log)?;
    whist_netdoc::check_address(&config.advertise).map_err(|_| advertise_refused(&config))?;
    let state = StateDir::open_current(&config.state_dir, PROGRAM, STATE_VERSION)?;
    // Ports before keys: a second instance elsewhere, or a public metrics port, ends here.
    let metrics = config.metrics.map(MetricsPort::bind).transpose()?;
    let listener = Listener::bind(config.listen)?;
    let path = path.to_owned();
    whist_rt::block_on(async move {
        let clock = Clock::start();
        let node = open(&config, &state, clock.now())?;
        let link = keys::read::<32>(&state.file(LINK_FILE))?;
        let options = DriverOptions::node(clock, LinkIdentity::from_secret(&link), listener);
        serve(node, options, metrics, &state, &path).await
    })?
}

fn advertise_refused(config: &Config) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("`advertise` is not host:port: {}", config.advertise),
    )
}

/// The node, from what is on disk and in memory.
fn open(config: &Config, state: &StateDir, now: Now) -> Result<Node, Failure> {
    let follower = follower(config, state)?;
    let seal = keys::read::<32>(&state.file(SEAL_FILE))?;
    let sealed = SealedDir::open(&state.file(SPHINX_FOLDER), seal)?;
    let store = DiskKeyStore::new(sealed, state.file(GENERATIONS_FILE));
    keys::create_folder(&config.tag_dir)?;
    let bytes = region_bytes(config.table_tags);
    let regions = [
        region(&config.tag_dir.join("table.0"), bytes)?,
        region(&config.tag_dir.join("table.1"), bytes)?,
    ];
    let mix = MixConfig {
        identity: keys::read(&state.file(IDENTITY_FILE))?,
        link: keys::read(&state.file(LINK_FILE))?,
        address: config.advertise.clone(),
        family: config.family,
        packets_per_s: config.packets_per_s,
        table_tags: config.table_tags,
    };
    let seed: Secret<32> = whist_rt::seed()?;
    Ok(MixNode::new(mix, follower, regions, store, &seed, now)?)
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

fn follower(config: &Config, state: &StateDir) -> Result<Follower, Failure> {
    let usage =
        |what: String| Failure::new(Exit::Usage, format!("{}: {what}", config.network.display()));
    let text = files::read(&config.network, NETWORK_BYTES_MAX)?
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| usage("no such file, or no text".to_owned()))?;
    let trusted = Network::parse(&text)
        .map_err(|refused| usage(refused.to_string()))?
        .trusted();
    let kept = state.file(DIRECTORY_FILE);
    match files::read(&kept, DIRECTORY_BYTES_MAX)? {
        None => Ok(Follower::new(trusted)),
        Some(bytes) => Follower::from_bytes(trusted, &bytes).map_err(|refused| {
            let what = format!("{}: {refused}; remove it to start anew", kept.display());
            Failure::new(Exit::Refused, what)
        }),
    }
}

async fn serve(
    node: Node,
    mut options: DriverOptions,
    port: Option<MetricsPort>,
    state: &StateDir,
    config: &Path,
) -> Result<(), Failure> {
    let signals = Signals::install()?;
    let stop = Shutdown::new();
    let (handle, commands): (Handle<Command>, Commands<Command>) = whist_rt::commands();
    let registry = Registry::new();
    options.metrics = LinkMetrics::register(&registry)?;
    let metrics = Metrics::register(&registry)?;
    if let Some(port) = port {
        let (token, failed) = (stop.clone(), stop.clone());
        stop.spawn(async move {
            if let Err(error) = port.serve(registry, token).await {
                failed.fail(error.to_string());
            }
        });
        stop.spawn(report(handle.clone(), stop.clone()));
    }
    stop.spawn(drain_on_signal(
        signals.drain(),
        handle.clone(),
        stop.clone(),
    ));
    stop.spawn(check_on_hangup(signals, config.to_owned(), stop.clone()));
    let effects = Shell {
        metrics,
        directory: state.file(DIRECTORY_FILE),
        stop: stop.clone(),
    };
    info!("started");
    Driver::run(node, options, effects, commands, stop).await?;
    info!("ended");
    Ok(())
}

async fn report(handle: Handle<Command>, stop: Shutdown) {
    let mut ticks = time::interval(REPORT);
    while !stop.is_triggered() {
        ticks.tick().await;
        // A full queue: the next second's report does as well.
        let _ = handle.try_send(Command::Report);
    }
}

async fn drain_on_signal(signal: Shutdown, handle: Handle<Command>, stop: Shutdown) {
    whist_rt::task::select! {
        () = signal.triggered() => {
            let _ = handle.send(Command::Drain).await;
        }
        () = stop.triggered() => {}
    }
}

/// Nothing is taken over while running; the file is checked, so that a mistake shows before the
/// next start does.
async fn check_on_hangup(mut signals: Signals, path: std::path::PathBuf, stop: Shutdown) {
    loop {
        whist_rt::task::select! {
            () = signals.hangup() => match config::load::<Config>(&path) {
                Ok(_) => info!("the configuration is in order; a restart takes it over"),
                Err(error) => warn!("the configuration is refused, the old one stays: {error}"),
            },
            () = stop.triggered() => return,
        }
    }
}

/// Carries out the node's effects.
struct Shell {
    metrics: Metrics,
    directory: std::path::PathBuf,
    stop: Shutdown,
}

impl Effects<Node> for Shell {
    fn effect(&mut self, _: Now, effect: Effect) {
        match effect {
            Effect::Directory(bytes) => {
                let path = self.directory.clone();
                self.stop.spawn_blocking(move || {
                    // Kept for the next start; without it the consensus is fetched again.
                    if let Err(error) = files::write_atomic(&path, &bytes) {
                        warn!("the consensus was not kept: {error}");
                    }
                });
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
        Note::Refused(why) => warn!("an authority sent a consensus that is refused: {why}"),
        Note::NotListed(epoch) => warn!("the consensus of epoch {epoch} does not list this mix"),
        Note::LoopAlarm => warn!("loops are missing in a row: packets may be dropped on purpose"),
        Note::Draining => info!("draining: no packet is taken any more"),
        Note::Key(event) => log_key(event),
    }
}

fn log_key(event: &KeyEvent) {
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
