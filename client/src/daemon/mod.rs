//! The client on a machine: the vault's thread, the entry link, the control socket.

mod desk;
mod gate;
mod hook;
mod init;
mod keeper;
mod socket;
mod talk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand_core::SeedableRng as _;
use whist_rt::state::StateDir;
use whist_rt::sync::{mpsc, oneshot};
use whist_rt::tracing::{info, warn};
use whist_rt::{
    Clock, Driver, DriverOptions, Exit, Failure, Signals, commands, files, keys, logs, process,
    swap, task,
};
use whist_timing::Rng;

pub use init::{Made, init};

use crate::api::{Command, Effect};
use crate::client::Client;
use crate::limits::VAULT_QUEUE;
use crate::vault::{Credential, Vault, VaultError};
use desk::{Board, Desk};
use gate::Gate;
use keeper::{Task, keep};
use socket::{accept, bind};

const PROGRAM: &str = "whist";
const STATE_VERSION: u32 = 2;

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let exit = match error {
            VaultError::Locked => Exit::Locked,
            VaultError::Cost
            | VaultError::NotAVault
            | VaultError::Unfinished
            | VaultError::Taken => Exit::Usage,
            VaultError::Tampered
            | VaultError::Exists
            | VaultError::Finished
            | VaultError::InUse
            | VaultError::Full
            | VaultError::Broken
            | VaultError::File(_)
            | VaultError::Disk(_) => Exit::Other,
        };
        Self::new(exit, error.to_string())
    }
}

/// The control socket of a home.
pub fn socket_path(home: &Path) -> PathBuf {
    home.join("daemon.sock")
}

/// Whether a vault is there.
pub fn has_vault(home: &Path) -> bool {
    !Vault::is_vacant(home)
}

/// What a daemon runs with.
#[derive(Debug)]
pub struct Run {
    /// The folder of the vault.
    pub home: PathBuf,
    /// Where it listens.
    pub socket: PathBuf,
    /// What is logged.
    pub log: String,
    /// A shell command that is run when texts came.
    pub hook: Option<String>,
    /// Time without a command after which the vault is locked.
    pub lock_after: Option<Duration>,
    /// Whether a build with debug assertions may run.
    pub debug_build: bool,
}

/// `whist daemon`: until it is told to end. `credential` opens the vault, `ready` is called when it
/// listens.
///
/// # Errors
/// One line and an exit code.
pub fn run(
    run: &Run,
    credential: impl FnOnce() -> Result<Credential, Failure>,
    ready: impl FnOnce(),
) -> Result<(), Failure> {
    process::refuse_debug_build(run.debug_build)?;
    logs::init(&run.log)?;
    let swaps = !process::lock_memory() && swap::reaches_memory();
    if swaps {
        warn!("keys and texts in memory may be written to swap");
    }
    let state = StateDir::open_current(&run.home, PROGRAM, STATE_VERSION)?;
    if Vault::is_unfinished(&run.home) {
        return Err(VaultError::Unfinished.into());
    }
    // Before the passphrase is asked for: nothing is typed for a vault that others could exchange.
    for file in Vault::files(&run.home) {
        keys::check_file(&file)?;
    }
    if let Some(folder) = run.socket.parent() {
        keys::check_folder(folder)?;
    }
    let by = credential()?;
    let rng = Rng::from_seed(*whist_rt::seed()?.expose());
    let vault = Vault::open(&run.home, &by, rng)?;
    drop(by);
    let rows = vault.load()?;
    whist_rt::block_on(async move {
        let clock = Clock::start();
        let client = Client::new(clock.now(), &whist_rt::seed()?, &rows)
            .map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
        drop(rows);
        serve(client, vault, clock, (run, swaps), state, ready).await
    })?
}

async fn serve(
    client: Client,
    vault: Vault,
    clock: Clock,
    (run, swaps): (&Run, bool),
    state: StateDir,
    ready: impl FnOnce(),
) -> Result<(), Failure> {
    let shutdown = Signals::install()?.drain();
    let (handle, queue) = commands();
    let (tasks, vault_queue) = mpsc::channel(VAULT_QUEUE);
    task::spawn_blocking({
        let (handle, shutdown) = (handle.clone(), shutdown.clone());
        move || keep(vault, vault_queue, &handle, &shutdown)
    });
    let (listener, uid) = bind(&run.socket)?;
    let board = Board::default();
    if let Some(command) = run.hook.clone() {
        shutdown.spawn(hook::run(command, board.hook.clone(), shutdown.clone()));
    }
    let fresh = handle.clone();
    let (home, own) = (run.home.clone(), shutdown.clone());
    let gate = Gate::new(home, handle.clone(), tasks.clone(), own);
    let mut desk = Desk::new(handle, board.clone(), uid, gate, run.lock_after);
    desk.swaps = swaps;
    if let Some(idle) = run.lock_after {
        shutdown.spawn(desk.clone().lock_when_idle(idle));
    }
    shutdown.spawn(accept(listener, desk));
    info!("the daemon is ready");
    ready();
    let (failing, batches) = (shutdown.clone(), tasks.clone());
    let effects = move |_now, effect: Effect| match effect {
        // A full queue is a disk that stands still: nothing durable, nothing sent. Waiting here
        // would stop the clock, so the program ends instead.
        Effect::Commit { ticket, batch } => {
            if batches.try_send(Task::Commit(ticket, batch)).is_err() {
                failing.fail("the vault does not keep up");
            }
        }
        Effect::Fresh => match whist_rt::seed() {
            // With a full queue it is asked for again soon.
            Ok(seed) => drop(fresh.try_send(Command::Fresh { seed: seed.into() })),
            Err(error) => failing.fail(error.to_string()),
        },
        // Beside the clock, which it would hold up; one at a time, the client sees to it.
        Effect::Stretch {
            tag,
            passphrase,
            salt,
        } => {
            let client = fresh.clone();
            failing.spawn_blocking(move || {
                let secret = crate::stretch(&passphrase, &salt).map(Arc::new);
                let _ = client.blocking_send(Command::Stretched { tag, secret });
            });
        }
        Effect::Event(event) => board.show(event),
    };
    let options = DriverOptions::new(clock);
    let ended = Driver::run(client, options, effects, queue, shutdown).await;
    let _ = files::remove(&run.socket);
    // The last batches become durable before the lock on the folder goes.
    let (done, last) = oneshot::channel();
    if tasks.send(Task::End(done)).await.is_ok() {
        let _ = last.await;
    }
    drop(state);
    ended.map(drop).map_err(Failure::from)
}
