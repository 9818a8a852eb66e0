//! One of the two people: a client on its driver, with its vault, and what its screen shows.

use rand_core::SeedableRng as _;
use whist::call::Call;
use whist::rows::Batch;
use whist::rpc::RpcError;
use whist::vault::{Cost, Credential, Vault};
use whist::{Answer, Client, Command, Effect, Event, Stats, Ticket, first_rows};
use whist_rt::sync::mpsc;
use whist_rt::task::JoinHandle;
use whist_rt::{
    Clock, Driver, DriverOptions, Exit, Failure, Handle, RtError, Shutdown, commands, keys, task,
};
use whist_timing::Rng;
use whist_types::Instant;

use super::stage::Stage;

/// Events that may wait to be shown; the demo reads them all the time.
const EVENTS_MAX: usize = 4_096;
/// Batches that may wait for the vault.
const BATCHES_MAX: usize = 1_024;

pub(super) struct Person {
    pub(super) name: &'static str,
    events: mpsc::Receiver<(Instant, Event)>,
    handle: Handle<Command>,
    clock: Clock,
    asked: u64,
    running: JoinHandle<Result<Client, RtError>>,
    stop: Shutdown,
}

impl Person {
    /// Makes a vault and starts the client over it.
    pub(super) fn start(stage: &Stage, name: &'static str, profile: u8) -> Result<Self, Failure> {
        let rng = || Ok::<_, RtError>(Rng::from_seed(*whist_rt::seed()?.expose()));
        let now = stage.clock.now();
        let rows = first_rows(&stage.network, profile, now.wall, &mut rng()?);
        let client = Client::new(now, &whist_rt::seed()?, &rows)
            .map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
        let home = stage.folder.path().join(name);
        keys::create_folder(&home)?;
        let by = Credential::from(b"the demo's passphrase".as_slice());
        let mut vault = Vault::create(&home, &by, Cost::LEAST, rng()?)?;
        let mut batch = Batch::new();
        for (table, key, value) in rows.all() {
            batch.put(table, key.to_vec(), value.to_vec());
        }
        vault.apply(&batch)?;

        let (handle, queue) = commands::<Command>();
        let (shown, events) = mpsc::channel(EVENTS_MAX);
        let (batches, keep) = mpsc::channel(BATCHES_MAX);
        let stop = Shutdown::new();
        let (keeper, failing) = (handle.clone(), stop.clone());
        stop.spawn_blocking(move || keep_batches(vault, keep, &keeper, &failing));
        let (clock, fresh, failing) = (stage.clock, handle.clone(), stop.clone());
        let effects = move |_, effect| {
            let kept = match effect {
                Effect::Commit { ticket, batch } => batches.try_send((ticket, batch)).is_ok(),
                Effect::Fresh => match whist_rt::seed() {
                    Ok(seed) => fresh.try_send(Command::Fresh { seed: seed.into() }).is_ok(),
                    Err(_) => false,
                },
                // Nobody in the demo sets a shared secret.
                Effect::Stretch { tag, .. } => {
                    let secret = None;
                    fresh.try_send(Command::Stretched { tag, secret }).is_ok()
                }
                Effect::Event(event) => shown.try_send((clock.now().instant, event)).is_ok(),
            };
            if !kept {
                failing.fail("a queue of the demo is full");
            }
        };
        let options = DriverOptions::new(stage.clock);
        let run = Driver::run(client, options, effects, queue, stop.clone());
        let running = task::spawn(run);
        Ok(Self {
            name,
            events,
            handle,
            clock,
            asked: 0,
            running,
            stop,
        })
    }

    /// Asks the client for something; the answer comes as an event under the tag returned.
    pub(super) async fn ask(&mut self, call: Call) -> u64 {
        self.asked = self.asked.saturating_add(1);
        let tag = self.asked;
        let _ = self.handle.send(Command::Ask { tag, call }).await;
        tag
    }

    /// The demo's clock, now.
    pub(super) fn now(&self) -> Instant {
        self.clock.now().instant
    }

    /// The next thing that the screen shows.
    pub(super) async fn next(&mut self) -> Result<(Instant, Event), Failure> {
        let gone = || Failure::new(Exit::Other, format!("{}'s client ended", self.name));
        self.events.recv().await.ok_or_else(gone)
    }

    /// Asks, and waits for the answer, passing over everything else.
    pub(super) async fn call(&mut self, call: Call) -> Result<Answer, Failure> {
        let wanted = self.ask(call).await;
        loop {
            if let (_, Event::Answer { tag, answer }) = self.next().await?
                && tag == wanted
            {
                return answer.map_err(|RpcError { message, .. }| {
                    Failure::new(Exit::Other, format!("{}: {message}", self.name))
                });
            }
        }
    }

    /// Ends the client and gives its counters.
    pub(super) async fn end(self) -> Result<Stats, Failure> {
        self.stop.trigger();
        let ended = self.running.await;
        let client = ended.map_err(|error| Failure::new(Exit::Other, error.to_string()))??;
        Ok(client.stats())
    }
}

fn keep_batches(
    mut vault: Vault,
    mut queue: mpsc::Receiver<(Ticket, Batch)>,
    client: &Handle<Command>,
    stop: &Shutdown,
) {
    while let Some((ticket, batch)) = queue.blocking_recv() {
        if let Err(error) = vault.apply(&batch) {
            stop.fail(error.to_string());
            return;
        }
        // The client may have ended meanwhile.
        let _ = client.blocking_send(Command::Committed { ticket });
    }
}
