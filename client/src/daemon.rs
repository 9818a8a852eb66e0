//! The client on a machine: the vault's thread, the entry link, the control socket.

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand_core::SeedableRng as _;
use serde_json::Value;
use whist_netdoc::Network;
use whist_rt::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use whist_rt::state::StateDir;
use whist_rt::sync::{Semaphore, mpsc, oneshot};
use whist_rt::tracing::info;
use whist_rt::unix::{OwnedReadHalf, UnixListener, UnixStream};
use whist_rt::{
    Clock, Driver, DriverOptions, Exit, Failure, Handle, Shutdown, Signals, commands, files, keys,
    logs, process, task, time,
};
use whist_timing::Rng;

use crate::api::{Answer, Command, Effect, Event, Ticket};
use crate::client::Client;
use crate::limits::{RPC_CONNECTIONS_MAX, RPC_LINE_BYTES_MAX, VAULT_QUEUE};
use crate::rows::Batch;
use crate::rpc::{self, Call, RpcError};
use crate::vault::{Cost, Vault, VaultError};
use crate::{account::first_rows, passphrase};

const PROGRAM: &str = "whist";
const STATE_VERSION: u32 = 1;
const VAULT_FILE: &str = "vault.redb";
const NETWORK_BYTES_MAX: u64 = 1 << 20;
/// How long no connection is taken after one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// What opening the vault should cost on the machine that made it.
const UNLOCK: Duration = Duration::from_millis(500);

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let exit = match error {
            VaultError::Locked => Exit::Locked,
            VaultError::Cost | VaultError::NotAVault => Exit::Usage,
            VaultError::Tampered | VaultError::Exists | VaultError::Disk(_) => Exit::Other,
        };
        Self::new(exit, error.to_string())
    }
}

/// The control socket of a home.
pub fn socket_path(home: &Path) -> PathBuf {
    home.join("daemon.sock")
}

/// `whist init`: makes the home folder and the vault, with network and profile in it. Connects
/// nowhere: the daemon picks guard, mailbox and drops when it has the first consensus.
///
/// # Errors
/// One line and an exit code.
pub fn init(
    home: &Path,
    network: &Path,
    profile: u8,
    passphrase: &passphrase::Source,
) -> Result<(), Failure> {
    let usage = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", network.display()));
    let text = files::read(network, NETWORK_BYTES_MAX)?
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| usage("no such file, or no text".to_owned()))?;
    let network = Network::parse(&text).map_err(|error| usage(error.to_string()))?;
    if home.join(VAULT_FILE).exists() {
        return Err(VaultError::Exists.into());
    }
    let passphrase = passphrase.read(true)?;
    let state = StateDir::create(home, PROGRAM, STATE_VERSION)?;
    let mut rng = Rng::from_seed(*whist_rt::seed()?.expose());
    let rows = first_rows(&network, profile, whist_rt::wall(), &mut rng);
    let path = state.file(VAULT_FILE);
    let mut vault = Vault::create(&path, &passphrase, calibrated()?, rng)?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, owner_only)
        .map_err(|error| Failure::new(Exit::Other, format!("{}: {error}", path.display())))?;
    let mut batch = Batch::new();
    for (table, key, value) in rows.all() {
        batch.put(table, key.to_vec(), value.to_vec());
    }
    Ok(vault.apply(&batch)?)
}

/// The cost at which this machine takes half a second, and 64 MiB at least.
fn calibrated() -> Result<Cost, Failure> {
    let start = Duration::from_millis(whist_rt::wall().as_millis());
    Cost::LEAST.derive(b"calibration", &[0; 32])?;
    let end = Duration::from_millis(whist_rt::wall().as_millis());
    let one = end.saturating_sub(start).as_millis().max(1);
    let passes = UNLOCK
        .as_millis()
        .checked_div(one)
        .unwrap_or(1)
        .clamp(1, 16);
    Ok(Cost {
        passes: u32::try_from(passes).unwrap_or(1),
        ..Cost::LEAST
    })
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Answer, RpcError>>>>>;

/// What every connection of the socket shares.
#[derive(Clone)]
struct Desk {
    client: Handle<Command>,
    waiting: Waiting,
    last: Arc<Mutex<u64>>,
    /// The user that owns the socket: nobody else is answered.
    uid: u32,
    shutdown: Shutdown,
}

/// `whist daemon`: until it is told to end.
///
/// # Errors
/// One line and an exit code.
pub fn run(
    home: &Path,
    passphrase: &passphrase::Source,
    log: &str,
    debug_build: bool,
) -> Result<(), Failure> {
    process::refuse_debug_build(debug_build)?;
    logs::init(log)?;
    let state = StateDir::open_current(home, PROGRAM, STATE_VERSION)?;
    // Before the passphrase is asked for: nothing is typed for a vault that others could exchange.
    keys::check_file(&state.file(VAULT_FILE))?;
    let passphrase = passphrase.read(false)?;
    let rng = Rng::from_seed(*whist_rt::seed()?.expose());
    let vault = Vault::open(&state.file(VAULT_FILE), &passphrase, rng)?;
    drop(passphrase);
    let rows = vault.load()?;
    let socket = socket_path(home);
    whist_rt::block_on(async move {
        let clock = Clock::start();
        let client = Client::new(clock.now(), &whist_rt::seed()?, &rows)
            .map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
        drop(rows);
        serve(client, vault, clock, &socket, state).await
    })?
}

async fn serve(
    client: Client,
    vault: Vault,
    clock: Clock,
    socket: &Path,
    state: StateDir,
) -> Result<(), Failure> {
    let shutdown = Signals::install()?.drain();
    let (handle, queue) = commands();
    let (batches, vault_queue) = mpsc::channel(VAULT_QUEUE);
    let keeper = task::spawn_blocking({
        let (handle, shutdown) = (handle.clone(), shutdown.clone());
        move || keep(vault, vault_queue, &handle, &shutdown)
    });
    let (listener, uid) = bind(socket)?;
    let desk = Desk {
        client: handle,
        uid,
        waiting: Waiting::default(),
        last: Arc::default(),
        shutdown: shutdown.clone(),
    };
    shutdown.spawn(accept(listener, desk.clone()));
    info!("the daemon is ready");
    let waiting = desk.waiting.clone();
    let failing = shutdown.clone();
    let effects = move |_now, effect: Effect| match effect {
        // A full queue is a disk that stands still: nothing durable, nothing sent. Waiting here
        // would stop the clock, so the program ends instead.
        Effect::Commit { ticket, batch } => {
            if batches.try_send((ticket, batch)).is_err() {
                failing.fail("the vault does not keep up");
            }
        }
        Effect::Event(event) => happened(&waiting, event),
    };
    let options = DriverOptions::new(clock);
    let ended = Driver::run(client, options, effects, queue, shutdown).await;
    let _ = files::remove(socket);
    // The last batches become durable before the lock on the folder goes.
    let _ = keeper.await;
    drop(state);
    ended.map(drop).map_err(Failure::from)
}

/// The vault's thread: batches in their order, each durable before it is reported.
fn keep(
    mut vault: Vault,
    mut queue: mpsc::Receiver<(Ticket, Batch)>,
    client: &Handle<Command>,
    shutdown: &Shutdown,
) {
    while let Some((ticket, batch)) = queue.blocking_recv() {
        if let Err(error) = vault.apply(&batch) {
            shutdown.fail(error.to_string());
            return;
        }
        // The client may have ended meanwhile; what it put out is still written.
        let _ = client.blocking_send(Command::Committed { ticket });
    }
}

/// Shows what happened: answers to who asked, the rest as log lines that name nobody.
fn happened(waiting: &Waiting, event: Event) {
    match event {
        Event::Answer { tag, answer } => {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(asker) = waiting.remove(&tag) {
                let _ = asker.send(*answer);
            }
        }
        Event::Online(true) => info!("on line"),
        Event::Online(false) => info!("off line"),
        Event::Consensus { epoch } => info!(epoch, "a newer consensus"),
        Event::Skew { seconds } => info!(seconds, "the clock differs from the provider's"),
        Event::Stale => info!("the consensus is too old: nothing is sent"),
        Event::Equivocation => info!("the authorities signed two documents for one epoch"),
        // Nothing of a message, a contact or an invitation in any log.
        Event::Received { .. }
        | Event::Added { .. }
        | Event::AddFailed { .. }
        | Event::State { .. }
        | Event::Unsafe { .. } => {}
    }
}

/// Binds the socket for its owner alone. A socket that a kill left behind is replaced: the lock on
/// the folder shows that nobody serves it.
fn bind(path: &Path) -> Result<(UnixListener, u32), Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Other,
            format!("cannot bind {}: {error}", path.display()),
        )
    };
    files::remove(path)?;
    let listener = UnixListener::bind(path).map_err(|error| failure(&error))?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, owner_only).map_err(|error| failure(&error))?;
    let uid = std::fs::symlink_metadata(path)
        .map_err(|error| failure(&error))?
        .uid();
    Ok((listener, uid))
}

async fn accept(listener: UnixListener, desk: Desk) {
    // More than this many at once wait in the socket's own backlog.
    let places = Arc::new(Semaphore::new(RPC_CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = task::select! {
            accepted = listener.accept() => accepted,
            () = desk.shutdown.triggered() => return,
        };
        // Without descriptors every attempt fails at once: a pause keeps that from a busy loop.
        let Ok((stream, _)) = stream else {
            task::select! {
                () = time::sleep(ACCEPT_PAUSE) => continue,
                () = desk.shutdown.triggered() => return,
            }
        };
        // Other users get silence, root too.
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == desk.uid) {
            continue;
        }
        let desk = desk.clone();
        task::spawn(async move {
            let _ = talk(stream, desk).await;
            drop(place);
        });
    }
}

async fn talk(stream: UnixStream, desk: Desk) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let limit = u64::try_from(RPC_LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let got = (&mut lines)
            .take(limit)
            .read_until(b'\n', &mut line)
            .await?;
        if got == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let (tag, mut answer) = answer(&line, &desk, &mut lines).await;
        answer.push('\n');
        if let Err(error) = write.write_all(answer.as_bytes()).await {
            if let Some(tag) = tag {
                let _ = desk.client.send(Command::Unheard { tag }).await;
            }
            return Err(error);
        }
        // The rest of a line that is too long cannot be told from a new one.
        if !whole {
            return Ok(());
        }
    }
}

/// The answer to a line, and the tag of the call if the client was asked.
async fn answer(line: &[u8], desk: &Desk, rest: &mut Lines) -> (Option<u64>, String) {
    let request = match rpc::parse(line) {
        Ok(request) => request,
        Err((id, error)) => return (None, rpc::response(&id, Err(error))),
    };
    if request.call == (Call::Stop {}) {
        desk.shutdown.trigger();
        return (None, rpc::response(&request.id, Ok(Value::Null)));
    }
    let tag = {
        let mut last = desk.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = last.saturating_add(1);
        *last
    };
    let result = ask(desk, tag, request.call, rest).await;
    let result = result.and_then(|answer| {
        serde_json::to_value(&answer).map_err(|error| RpcError::new(1, error.to_string()))
    });
    (Some(tag), rpc::response(&request.id, result))
}

type Lines = BufReader<OwnedReadHalf>;

/// Ends when the other side has closed. With a further request on its way nothing is known of
/// that: then a failing write tells.
async fn closed(rest: &mut Lines) {
    match rest.fill_buf().await {
        Ok([]) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}

async fn ask(desk: &Desk, tag: u64, call: Call, rest: &mut Lines) -> Result<Answer, RpcError> {
    let gone = || RpcError::new(4, "the daemon is ending");
    let (sender, mut receiver) = oneshot::channel();
    desk.waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(tag, sender);
    let asked = desk.client.send(Command::Ask { tag, call }).await;
    asked.map_err(|_| gone())?;
    task::select! {
        biased;
        answer = &mut receiver => return answer.unwrap_or_else(|_| Err(gone())),
        () = desk.shutdown.triggered() => return Err(gone()),
        () = closed(rest) => {}
    }
    // Nothing that comes later may be taken for it. The answer is still waited for: it may have
    // been made already, and then the failing write tells that nobody got it; and who closed only
    // its own direction is there to read it.
    let told = desk.client.send(Command::Gone { tag }).await;
    told.map_err(|_| gone())?;
    task::select! {
        biased;
        answer = &mut receiver => answer.unwrap_or_else(|_| Err(gone())),
        () = desk.shutdown.triggered() => Err(gone()),
    }
}
