//! Runs the authority on sockets and files.

use std::path::PathBuf;
use std::sync::Arc;

use whist_link::LinkIdentity;
use whist_netdoc::{AuthoritySecret, Network};
use whist_rt::state::StateDir;
use whist_rt::sync::mpsc;
use whist_rt::{
    Clock, Commands, Driver, DriverOptions, Exit, Failure, Handle, LinkMetrics, Listener,
    MetricsPort, Shutdown, Signals, commands, files, keys, logs, prometheus, seed, tracing,
};
use whist_types::Now;

use crate::cli::{AUTHORITY_KEY, LINK_KEY, PROGRAM, STATE_VERSION};
use crate::config::{Config, admitted};
use crate::metrics::Metrics;
use crate::{Authority, Command, Effect, Error, Event, Record, Saved, Setup};

/// A record on disk is refused above this: 8 bundles of the largest size.
const RECORD_BYTES_MAX: u64 = 64 << 20;
/// Records that wait to be written: two an epoch are made. If the disk is slower than that for
/// this long, the program ends rather than forget what it signed.
const WRITES_WAITING: usize = 64;

/// Runs until it is told to end.
pub(crate) fn run(config: Config) -> Result<(), Failure> {
    logs::init(&config.log)?;
    let state = StateDir::open_current(&config.state_dir, PROGRAM, STATE_VERSION)?;
    let network = network(&config)?;
    let secret = AuthoritySecret::from_seed(&keys::read(&state.file(AUTHORITY_KEY))?);
    let identity = LinkIdentity::from_secret(&keys::read(&state.file(LINK_KEY))?);
    let setup = Setup {
        trusted: network.trusted(),
        secret,
        parameters: config.parameters()?,
        admitted: admitted(&config.admit)?,
    };
    let read = |record: Record| files::read(&state.file(&record.file_name()), RECORD_BYTES_MAX);
    let saved = Saved {
        signed: read(Record::Signed)?,
        chain: read(Record::Chain)?,
    };
    let authority = Authority::new(setup, &saved, &seed()?).map_err(|error| match error {
        // The parameters were checked before: what is refused is a record.
        Error::Refused(why) => {
            let folder = state.path().display();
            Failure::new(
                Exit::Refused,
                format!("{folder}: a record does not check out: {why}"),
            )
        }
        other => Failure::new(Exit::Usage, other.to_string()),
    })?;
    let own = network.authorities.get(usize::from(authority.index()));
    if own.is_none_or(|own| own.link != identity.public()) {
        let text = "network.toml lists another link key for this authority";
        return Err(Failure::new(Exit::Usage, text));
    }
    whist_rt::block_on(serve(config, state, authority, identity))?
}

fn network(config: &Config) -> Result<Network, Failure> {
    let path = config.network.display();
    let wrong = |text: String| Failure::new(Exit::Usage, format!("{path}: {text}"));
    let text = std::fs::read_to_string(&config.network).map_err(|e| wrong(e.to_string()))?;
    Network::parse(&text).map_err(|error| wrong(error.to_string()))
}

async fn serve(
    config: Config,
    state: StateDir,
    authority: Authority,
    identity: LinkIdentity,
) -> Result<(), Failure> {
    let mut signals = Signals::install()?;
    let shutdown = signals.drain();
    let registry = prometheus::Registry::new();
    let metrics = Metrics::register(&registry)?;
    let mut options = DriverOptions::node(Clock::start(), identity, Listener::bind(config.listen)?);
    options.metrics = LinkMetrics::register(&registry)?;
    if let Some(address) = config.metrics {
        let port = MetricsPort::bind(address)?;
        let (token, registry) = (shutdown.clone(), registry.clone());
        shutdown.spawn(async move {
            if let Err(error) = port.serve(registry, token.clone()).await {
                token.fail(error.to_string());
            }
        });
    }
    let (handle, inbox): (Handle<Command>, Commands<Command>) = commands();
    let (writes, queue) = mpsc::channel(WRITES_WAITING);
    let state = Arc::new(state);
    {
        let (state, handle, token) = (state.clone(), handle.clone(), shutdown.clone());
        shutdown.spawn_blocking(move || write_records(&state, queue, &handle, &token));
    }
    {
        let (path, handle) = (config.admit.clone(), handle.clone());
        shutdown.spawn(async move {
            loop {
                signals.hangup().await;
                read_again(path.clone(), &handle).await;
            }
        });
    }
    let token = shutdown.clone();
    let effects = move |_: Now, effect: Effect| match effect {
        Effect::Event(event) => {
            metrics.count(&event);
            log(&event);
        }
        Effect::Save {
            ticket,
            record,
            bytes,
        } => {
            if writes.try_send((ticket, record, bytes)).is_err() {
                token.fail("the disk does not keep up with the records of this authority");
            }
        }
    };
    tracing::info!(index = authority.index(), "running");
    Driver::run(authority, options, effects, inbox, shutdown).await?;
    Ok(())
}

/// Writes records in their order; a failed write ends the program: nothing may leave that is not
/// on disk.
fn write_records(
    state: &StateDir,
    mut queue: mpsc::Receiver<(u64, Record, Vec<u8>)>,
    handle: &Handle<Command>,
    shutdown: &Shutdown,
) {
    while let Some((ticket, record, bytes)) = queue.blocking_recv() {
        if let Err(error) = files::write_atomic(&state.file(&record.file_name()), &bytes) {
            return shutdown.fail(error.to_string());
        }
        // The role has ended: what is left in the queue is written all the same.
        let _ = handle.blocking_send(Command::Saved { ticket });
    }
}

/// SIGHUP: a file that does not parse changes nothing.
async fn read_again(path: PathBuf, handle: &Handle<Command>) {
    match admitted(&path) {
        Ok(admitted) => {
            tracing::info!(nodes = admitted.len(), "read the admitted nodes again");
            let _ = handle.send(Command::Admit(admitted)).await;
        }
        Err(error) => tracing::warn!(%error, "the admitted nodes stay as they were"),
    }
}

fn log(event: &Event) {
    match event {
        Event::Described { epoch } => tracing::debug!(%epoch, "took a descriptor"),
        Event::LoopAlarm { mix, report } => {
            tracing::warn!(%mix, "a mix tells of loops missing in a row");
            for step in &report.segments {
                let (sent, lost) = (step.sent, step.lost);
                tracing::warn!(%mix, from = %step.from, to = %step.to, sent, lost, "lost loops");
            }
        }
        Event::Ignored(why) => tracing::debug!(why = why.name(), "ignored"),
        Event::Signed { epoch, nodes, .. } => tracing::info!(%epoch, nodes, "signed"),
        Event::Consensus { epoch, nodes, hash } => {
            tracing::info!(%epoch, nodes, %hash, "consensus");
        }
        Event::TooFewNodes { epoch, descriptors } => {
            tracing::warn!(%epoch, descriptors, "too few nodes for a network: not signed");
        }
        Event::NoConsensus { epoch, signatures } => {
            tracing::warn!(%epoch, signatures, "the epoch started without a consensus");
        }
        Event::Equivocation { authority, epoch } => {
            tracing::error!(authority, %epoch, "an authority signed two documents; kept");
        }
        Event::Split { epoch } => {
            tracing::error!(%epoch, "two documents have the quorum; taking nothing more");
        }
        Event::ClockOff { authority, seconds } => {
            tracing::warn!(
                authority,
                seconds,
                "our clock and another authority's differ"
            );
        }
    }
}
