//! The mix on a machine: files, memory, sockets, signals.

use std::io::Write as _;
use std::path::Path;

use rand_core::SeedableRng as _;
use whist_link::LinkIdentity;
use whist_netdoc::IdentitySecret;
use whist_node::shell::{self, DirectoryFile, NodeKeys, Service};
use whist_node::{DiskKeyStore, KeyDisk};
use whist_rt::state::StateDir;
use whist_rt::tmpfs::Region;
use whist_rt::tracing::{info, warn};
use whist_rt::{
    Clock, Driver, DriverOptions, Effects, Exit, Failure, LinkMetrics, Listener, MetricsPort,
    Shutdown, config, logs, process,
};
use whist_timing::Rng;
use whist_types::{Now, Secret};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::{Command, Effect, MixConfig, MixNode, Note};

const PROGRAM: &str = "whist-mix";
const STATE_VERSION: u32 = 1;

type Node = MixNode<Region>;

/// `whist-mix init`: makes the state folder and the keys, and prints what the authorities need to
/// admit the node.
///
/// # Errors
/// One line and an exit code.
pub fn init(path: &Path) -> Result<(), Failure> {
    let config: Config = config::load(path)?;
    shell::check_advertise(&config.advertise)?;
    let state = StateDir::create(&config.state_dir, PROGRAM, STATE_VERSION)?;
    let keys = NodeKeys::read_or_create(&state)?;
    let identity = IdentitySecret::from_seed(&keys.identity).public();
    let link = LinkIdentity::from_secret(&keys.link).public();
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
        let (node, store) = open(&config, &state, keys, clock.now())?;
        let options = DriverOptions::node(clock, identity, listener);
        serve(node, store, options, metrics, &state, &path).await
    })?
}

/// The node, from what is on disk and in memory, and the store of its keys to come.
fn open(
    config: &Config,
    state: &StateDir,
    keys: NodeKeys,
    now: Now,
) -> Result<(Node, DiskKeyStore), Failure> {
    let follower = shell::follower(&config.network, state)?;
    let schedule = follower.trusted().schedule();
    let (most, tags) = (config.packets_per_s, config.table_tags);
    let mut rng = Rng::from_seed(*whist_rt::seed()?.expose());
    let rate = shell::line_rate(most, tags, schedule, &mut rng)?;
    let mut store = shell::key_store(state, keys.seal)?;
    let regions = shell::regions(&config.tag_dir, config.table_tags)?;
    let mix = MixConfig {
        identity: keys.identity,
        link: keys.link,
        address: config.advertise.clone(),
        family: config.family,
        packets_per_s: rate.packets_per_s,
        table_tags: config.table_tags,
    };
    let seed: Secret<32> = whist_rt::seed()?;
    let node = MixNode::new(mix, follower, regions, &mut store, &seed, now)?;
    Ok((node, store))
}

async fn serve(
    node: Node,
    store: DiskKeyStore,
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
    let (handle, stop) = (service.handle.clone(), service.stop.clone());
    let effects = Shell {
        metrics,
        keys: KeyDisk::new(store, handle, Command::Keys, stop),
        directory: DirectoryFile::new(state),
        stop: service.stop.clone(),
    };
    info!("started");
    Driver::run(node, options, effects, commands, service.stop).await?;
    info!("ended");
    Ok(())
}

/// Carries out the node's effects.
struct Shell {
    metrics: Metrics,
    keys: KeyDisk<DiskKeyStore, Command>,
    directory: DirectoryFile,
    stop: Shutdown,
}

impl Effects<Node> for Shell {
    fn effect(&mut self, _: Now, effect: Effect) {
        match effect {
            Effect::Keys(job) => self.keys.run(job),
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
        Note::NotListed(epoch) => warn!("the consensus of epoch {epoch} does not list this mix"),
        Note::LoopAlarm => warn!("loops are missing in a row: packets may be dropped on purpose"),
        Note::SegmentAlarm => warn!(
            "loops are missing in a row on one step of their routes: somebody drops packets, or a \
             neighbour is down"
        ),
        Note::Draining => info!("draining: no packet is taken any more"),
        Note::Key(event) => shell::log_key(event),
    }
}
