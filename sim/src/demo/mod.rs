//! `whist-sim demo`: a whole network in one process, on real loopback sockets, with the production
//! code; two people meet and talk over it, and the experiment tells what happened.

mod options;
mod person;
mod report;
mod stage;
mod talk;

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use whist_netdoc::Parameters;
use whist_rt::{Clock, Exit, Failure, Signals, process, time};
use whist_types::Instant;

use crate::network::Blueprint;

pub use self::options::Options;
pub use self::report::{ClientCounts, LayerCounts, Loops, Message, Report};

use self::person::Person;
use self::stage::Stage;

/// Mixes of a route, and with it the layers of the demo.
const LAYERS: u8 = 3;
const AUTHORITIES: u8 = 4;
const PROVIDERS: u8 = 4;
/// The profile of both people; the demo gives all three the same rate.
const PROFILE: u8 = 1;
/// Genesis lies so far back that the authorities fix their first list 2.5 s from now.
const HEAD_START: Duration = Duration::from_millis(3_500);
/// How often the nodes are asked for their counters.
const SAMPLE: Duration = Duration::from_millis(200);
/// A network that is not up by then will not be.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Runs the demo to its end, or with `--keep` until it is interrupted.
///
/// # Errors
/// One line and an exit code; also if a message was lost, doubled, disordered or altered.
pub fn run(options: &Options) -> Result<(), Failure> {
    whist_rt::block_on(play(options))?
}

async fn play(options: &Options) -> Result<(), Failure> {
    let clock = Clock::start();
    let start = clock.now().instant;
    let (stage, parameters) = open(options, clock).await?;
    until_ready(&stage).await?;
    say(start, clock, "the consensus is signed, the network is up");
    let mut alice = Person::start(&stage, "alice", PROFILE)?;
    let mut bob = Person::start(&stage, "bob", PROFILE)?;
    let talk = async {
        talk::meet(&mut alice, &mut bob, |line| say(start, clock, line)).await?;
        let say = |at, line: &str| say_at(start, at, line);
        talk::converse(&mut alice, &mut bob, options.messages, say).await
    };
    let spoken = whist_rt::task::select! {
        spoken = talk => spoken?,
        never = sample(&stage) => match never {},
        () = stage.stop.triggered() => return Err(stage.ended()),
    };
    let mut report = Report {
        exact: spoken.exact,
        messages: spoken.messages,
        frame_sizes: stage.recorder.frame_sizes(),
        memory_mib: process::resident_bytes().unwrap_or(0) / (1 << 20),
        seed: stage.seed(),
        ..Report::default()
    };
    for person in [alice, bob] {
        report.clients.push(count(person).await?);
    }
    settle(&stage, &parameters, &mut report);
    println!("\n{}", report.to_table());
    if options.keep {
        keep(&stage).await?;
    }
    stage.end().await?;
    verdict(&report, options.json)
}

/// Plans the network and starts everybody but the clients.
async fn open(options: &Options, clock: Clock) -> Result<(Stage, Parameters), Failure> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => u64::from_be_bytes(*whist_rt::seed()?.expose().first_chunk().unwrap_or(&[0; 8])),
    };
    let parameters = parameters(options)?;
    let mixes = options.mixes_per_layer.saturating_mul(LAYERS);
    let cast = format!("{AUTHORITIES} authorities, {mixes} mixes, {PROVIDERS} providers");
    say(clock.now().instant, clock, &cast);
    let blueprint = Blueprint {
        seed,
        authorities: AUTHORITIES,
        mixes,
        providers: PROVIDERS,
        parameters: parameters.clone(),
        genesis: clock.now().wall.before(HEAD_START),
    };
    Ok((Stage::start(blueprint, clock).await?, parameters))
}

/// The line for scripts, and the exit code.
fn verdict(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        let line = report.to_json();
        println!(
            "{}",
            line.map_err(|error| Failure::new(Exit::Other, error.to_string()))?
        );
    }
    if report.exact {
        return Ok(());
    }
    let (delivered, sent) = (report.delivered(), report.messages.len());
    let how = "not each once, in order, unaltered";
    let what = format!("{delivered} of {sent} messages arrived, {how}");
    Err(Failure::new(Exit::Other, what))
}

fn parameters(options: &Options) -> Result<Parameters, Failure> {
    let mut parameters = Parameters::demo().with_delay_mean_ms(options.mean_delay_ms);
    let mean = 1_000_u32.checked_div(options.rate).unwrap_or(1_000);
    parameters.profile_mean_ms = [mean; 3];
    parameters
        .check()
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    Ok(parameters)
}

/// Progress, with the seconds since the start.
fn say(start: Instant, clock: Clock, line: &str) {
    say_at(start, clock.now().instant, line);
}

fn say_at(start: Instant, at: Instant, line: &str) {
    println!("{:6.2} s  {line}", at.since(start).as_secs_f64());
}

async fn until_ready(stage: &Stage) -> Result<(), Failure> {
    let ready = async {
        let mut ticks = time::interval(SAMPLE);
        while !stage.is_ready() {
            ticks.tick().await;
            stage.ask_reports();
        }
    };
    whist_rt::task::select! {
        ended = time::timeout(READY_LIMIT, ready) => ended.map_err(|_| {
            Failure::new(Exit::TimedOut, "the network did not come up within a minute")
        }),
        () = stage.stop.triggered() => Err(stage.ended()),
    }
}

/// Asks the nodes for their counters for as long as it is polled.
async fn sample(stage: &Stage) -> std::convert::Infallible {
    let mut ticks = time::interval(SAMPLE);
    loop {
        ticks.tick().await;
        stage.ask_reports();
    }
}

async fn count(person: Person) -> Result<ClientCounts, Failure> {
    let name = person.name;
    let stats = person.end().await?;
    let kinds = [
        ("echo", stats.sent.echo),
        ("get", stats.sent.get),
        ("put", stats.sent.put),
        ("decoy", stats.sent.decoy),
        ("other", stats.sent.other),
    ];
    let sent = kinds
        .into_iter()
        .map(|(kind, count)| (kind.to_owned(), count))
        .collect();
    Ok(ClientCounts {
        name,
        sent,
        returned: stats.returned.total(),
    })
}

/// Adds what the nodes counted.
fn settle(stage: &Stage, parameters: &Parameters, report: &mut Report) {
    let board = stage.board.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = stage.up_for().as_secs_f64().max(1.0);
    let delay_s = parameters.delay_mean().as_secs_f64();
    let mut layers = BTreeMap::<u8, (LayerCounts, u32, u64)>::new();
    for (index, stats) in &board.mixes {
        let Some(layer) = stats.layer else { continue };
        let (counts, mixes, received) = layers.entry(layer.index()).or_default();
        counts.mixed = counts.mixed.saturating_add(stats.mixed);
        *mixes = mixes.saturating_add(1);
        *received = received.saturating_add(stats.mixed);
        if let Some((sum, samples)) = board.held.get(index) {
            counts.held_mean += ratio(*sum, *samples);
        }
        report.loops.sent = report.loops.sent.saturating_add(stats.loops_sent);
        report.loops.returned = report.loops.returned.saturating_add(stats.loops_returned);
    }
    for (mut counts, mixes, received) in layers.into_values() {
        let mixes = f64::from(mixes.max(1));
        counts.held_mean /= mixes;
        counts.held_law = ratio(received, 1) / mixes / seconds * delay_s;
        report.layers.push(counts);
    }
    let dropped = board.mixes.values().map(|stats| &stats.dropped);
    let dropped = dropped.chain(board.providers.values().map(|stats| &stats.dropped));
    for (reason, count) in dropped.flatten() {
        let sum = report.dropped.entry((*reason).to_owned()).or_default();
        *sum = sum.saturating_add(*count);
    }
}

fn ratio(sum: u64, count: u64) -> f64 {
    let float = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    if count == 0 {
        0.0
    } else {
        float(sum) / float(count)
    }
}

async fn keep(stage: &Stage) -> Result<(), Failure> {
    let network = stage.network_file().display().to_string();
    println!("The network stays up. Join it from another terminal:\n");
    println!("  echo 'a passphrase of mine' > /tmp/carol.pass");
    println!("  chmod 600 /tmp/carol.pass");
    println!("  WHIST='cargo run --release -q -p whist -- --home /tmp/carol'");
    println!("  $WHIST init --network {network} --passphrase-file /tmp/carol.pass");
    println!("  $WHIST daemon --passphrase-file /tmp/carol.pass &");
    println!("  $WHIST status\n  $WHIST invite --name dave\n\nCtrl-C ends it.");
    let signals = Signals::install()?;
    whist_rt::task::select! {
        () = async { signals.drain().triggered().await } => Ok(()),
        () = stage.stop.triggered() => Ok(stage.stop.outcome()?),
    }
}
