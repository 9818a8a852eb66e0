//! Opens links: dials with a handshake and, if it is asked for, a puzzle; meets who was accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use whist_link::puzzle::{Challenge, Solution};
use whist_link::{Connection, Entry, LinkId, Remote, Target};
use whist_types::Sensitive;

use super::carry::Open;
use super::gate::Place;
use super::stream::{Deadlines, LinkStream, Progress};
use super::{Event, Local};
use crate::{Clock, RtError, limits, seed};

/// Evaluations of a puzzle between two looks at whether its solution is still wanted.
const EVALUATIONS_AT_ONCE: u32 = 32;

pub(super) const DEADLINES: Deadlines = Deadlines {
    handshake: whist_link::limits::HANDSHAKE,
    write: limits::WRITE,
    // The connection itself is stricter where it knows more.
    idle: whist_link::limits::IDLE_CLIENT,
};

/// Opens a link to `target` and carries it until either side ends it.
pub(crate) async fn dial(
    link: LinkId,
    target: Target,
    local: Arc<Local>,
    events: mpsc::Sender<Event>,
) -> Result<(), RtError> {
    let identify = target.identify;
    let opened = tokio::select! {
        () = local.stop.triggered() => None,
        opened = open(target, &local) => opened,
    };
    match opened {
        Some((stream, connection)) => {
            let open = Open::new(link, stream, connection, local, events.clone(), identify);
            open.carry(limits::QUEUE_NODE).await;
        }
        None => local.metrics.handshake_failed.inc(),
    }
    // A driver that has ended does not want to know.
    let _ = events.send(Event::Down { link }).await;
    Ok(())
}

/// Meets a peer whose socket was accepted.
pub(crate) async fn accepted(
    link: LinkId,
    tcp: TcpStream,
    mut place: Place,
    entry: Entry,
    local: Arc<Local>,
    events: mpsc::Sender<Event>,
) -> Result<(), RtError> {
    let Some(server) = &local.server else {
        return Err(RtError::NoIdentity);
    };
    let mut stream = LinkStream::accepted(tcp, DEADLINES);
    let Ok(mut connection) = Connection::server(local.clock.now(), server, entry) else {
        return Err(RtError::Failed("the TLS library refuses us".to_owned()));
    };
    let lost = place.lost();
    tokio::select! {
        () = local.stop.triggered() => return Ok(()),
        () = lost.notified() => {
            local.metrics.handshake_failed.inc();
            return Ok(());
        }
        () = shake(&mut stream, &mut connection, local.clock) => {}
    }
    let Some(remote) = connection.remote() else {
        if connection.is_closed() && connection.error().is_none() {
            local.metrics.puzzles.inc();
            tokio::select! {
                () = lost.notified() => {}
                () = stream.finish() => {}
            }
        } else {
            local.metrics.handshake_failed.inc();
        }
        return Ok(());
    };
    let anonymous = remote == Remote::Anonymous;
    if !place.open(anonymous) {
        local.metrics.refused.inc();
        return Ok(());
    }
    let room = if anonymous {
        limits::QUEUE_CLIENT
    } else {
        limits::QUEUE_NODE
    };
    let open = Open::new(link, stream, connection, local, events.clone(), !anonymous);
    open.carry(room).await;
    let _ = events.send(Event::Down { link }).await;
    drop(place);
    Ok(())
}

/// Dials, and once more with a solution if a puzzle is asked for.
async fn open(target: Target, local: &Local) -> Option<(LinkStream, Connection)> {
    let setup = if target.identify {
        local.node.as_ref()?
    } else {
        &local.client
    };
    let address = Sensitive::new(target.address);
    let mut solution: Option<Solution> = None;
    loop {
        let mut stream = LinkStream::dial(&address, DEADLINES).await.ok()?;
        let now = local.clock.now();
        let mut connection = Connection::client(now, setup, target.key, solution.as_ref()).ok()?;
        shake(&mut stream, &mut connection, local.clock).await;
        if connection.is_open() {
            return Some((stream, connection));
        }
        let challenge = connection.challenge()?.to_bytes();
        if solution.is_some() {
            // It was not taken. The role's dialer comes back later.
            return None;
        }
        drop((stream, connection));
        solution = Some(solve(challenge).await?);
    }
}

/// Runs a handshake until the connection is open or closed. Bytes that are still to be written
/// then stay queued.
async fn shake(stream: &mut LinkStream, connection: &mut Connection, clock: Clock) {
    let mut buffer = [0u8; 4096];
    let mut out = Vec::new();
    loop {
        out.clear();
        connection.transmit(&mut out);
        stream.queue(&out);
        if connection.is_open() || connection.is_closed() {
            return;
        }
        match stream.progress(&mut buffer, true).await {
            Ok(Progress::Read(count)) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                // An error closes the connection, which is looked at above.
                let _ = connection.receive(clock.now(), bytes);
            }
            Ok(Progress::Flushed) => {}
            Err(_) => connection.receive_end(),
        }
    }
}

/// Solves a puzzle on a thread for blocking work; gives up when the dial is dropped.
async fn solve(challenge: [u8; Challenge::BYTES]) -> Option<Solution> {
    struct Wanted(Arc<AtomicBool>);
    impl Drop for Wanted {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let still = Arc::clone(&wanted.0);
    let mut rng = StdRng::from_seed(*seed().ok()?.expose());
    let solved = tokio::task::spawn_blocking(move || {
        let challenge = Challenge::from_bytes(&challenge).ok()?;
        while still.load(Ordering::Relaxed) {
            if let Some(solution) = challenge.solve(EVALUATIONS_AT_ONCE, &mut rng) {
                return Some(solution);
            }
        }
        None
    })
    .await;
    drop(wanted);
    solved.ok().flatten()
}
