//! One task for each link: opens it, carries frames both ways, closes it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use whist_link::puzzle::{Challenge, Gate as Puzzles, Solution, Source};
use whist_link::{
    ClientSetup, Clients, Connection, Entry, Error, Frame, LinkId, LinkIdentity, Remote,
    ServerSetup, Target,
};
use whist_types::Sensitive;

use crate::gate::Place;
use crate::stream::{Deadlines, LinkStream, Progress, StreamError};
use crate::{Clock, LinkMetrics, RtError, Shutdown, limits, seed};

/// Evaluations of a puzzle between two looks at whether its solution is still wanted.
const EVALUATIONS_AT_ONCE: u32 = 32;

/// What links tell the driver. For each: `Up` once, `Frame`s, `Down` once; an accepted link that
/// never opens says nothing.
#[derive(Debug)]
pub(crate) enum Event {
    Up {
        link: LinkId,
        remote: Remote,
        queue: mpsc::Sender<Frame>,
    },
    Frame {
        link: LinkId,
        frame: Frame,
    },
    Down {
        link: LinkId,
    },
}

/// What all links of a driver share.
#[derive(Debug)]
pub(crate) struct Local {
    clock: Clock,
    /// How nodes dial, and how clients do.
    node: Option<ClientSetup>,
    client: ClientSetup,
    server: Option<ServerSetup>,
    puzzles: Arc<Puzzles>,
    pub(crate) metrics: LinkMetrics,
    /// Triggered when the driver ends: handshakes under way are given up.
    pub(crate) stop: Shutdown,
}

impl Local {
    pub(crate) fn new(
        clock: Clock,
        identity: Option<&LinkIdentity>,
        clients: bool,
        metrics: LinkMetrics,
    ) -> Result<Self, RtError> {
        let clients = if clients {
            Clients::Allowed
        } else {
            Clients::Refused
        };
        let server = identity
            .map(|identity| ServerSetup::new(identity, clients))
            .transpose()
            .map_err(|error| RtError::Failed(error.to_string()))?;
        Ok(Self {
            clock,
            node: identity.map(|identity| ClientSetup::new(Some(identity))),
            client: ClientSetup::new(None),
            server,
            puzzles: Arc::new(Puzzles::new(seed()?)),
            metrics,
            stop: Shutdown::new(),
        })
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether there is a key to identify ourselves by.
    pub(crate) const fn identifies(&self) -> bool {
        self.node.is_some()
    }

    /// How to meet a peer from `source`: with a puzzle of `effort`, if that is given. What comes
    /// over loopback may be anybody, behind an onion service.
    pub(crate) fn entry(&self, source: IpAddr, effort: Option<u8>) -> Entry {
        let Some(effort) = effort else {
            return Entry::Free;
        };
        let source = if source.to_canonical().is_loopback() {
            Source::UNKNOWN
        } else {
            Source::of(source)
        };
        Entry::Puzzle {
            gate: Arc::clone(&self.puzzles),
            source,
            effort,
        }
    }

    fn failed(&self, error: &Error) {
        match error {
            Error::TimedOut(_) => self.metrics.timed_out.inc(),
            Error::PeerMisbehaved(_) | Error::Malformed(_) => self.metrics.misbehaved.inc(),
            Error::Bug(what) => tracing::error!("a bug in a link: {what}"),
            _ => {}
        }
    }
}

const DEADLINES: Deadlines = Deadlines {
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
    tokio::select! {
        () = local.stop.triggered() => return Ok(()),
        () = shake(&mut stream, &mut connection, local.clock) => {}
    }
    let Some(remote) = connection.remote() else {
        if connection.is_closed() && connection.error().is_none() {
            local.metrics.puzzles.inc();
            stream.finish().await;
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
        let mut connection =
            Connection::client(now, setup, target.key, solution.as_ref()).ok()?;
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

/// A link that is open.
struct Open {
    link: LinkId,
    stream: LinkStream,
    connection: Connection,
    local: Arc<Local>,
    events: mpsc::Sender<Event>,
    /// Whether both ends proved a key.
    between_nodes: bool,
    /// Frames that came and that the driver has no room for yet. Nothing is read meanwhile.
    incoming: VecDeque<Frame>,
    out: Vec<u8>,
}

impl Open {
    fn new(
        link: LinkId,
        mut stream: LinkStream,
        connection: Connection,
        local: Arc<Local>,
        events: mpsc::Sender<Event>,
        between_nodes: bool,
    ) -> Self {
        stream.open();
        Self {
            link,
            stream,
            connection,
            local,
            events,
            between_nodes,
            incoming: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// Carries the link to its end, with room for this many frames to be sent.
    async fn carry(mut self, room: usize) {
        let Some(remote) = self.connection.remote() else {
            return;
        };
        let (sender, mut queue) = mpsc::channel(room);
        let up = Event::Up {
            link: self.link,
            remote,
            queue: sender,
        };
        if self.events.send(up).await.is_ok() {
            self.local.metrics.up.inc();
            self.flow(&mut queue).await;
            self.local.metrics.up.dec();
        }
        if let Some(error) = self.connection.error() {
            self.local.failed(error);
        }
        queue.close();
        while queue.try_recv().is_ok() {
            self.local.metrics.unsent.inc();
        }
        // What came before the end still counts.
        for frame in self.incoming {
            let link = self.link;
            let _ = self.events.send(Event::Frame { link, frame }).await;
        }
        if self.connection.error().is_none() {
            self.stream.finish().await;
        }
    }

    async fn flow(&mut self, queue: &mut mpsc::Receiver<Frame>) {
        let clock = self.local.clock;
        let events = self.events.clone();
        let mut buffer = vec![0u8; 16 * 1024];
        let mut timer = pin!(tokio::time::sleep_until(tokio::time::Instant::now()));
        // A peer that says nothing after its handshake holds a socket no longer than one that
        // stalls in it: both sides of every link begin with a frame.
        let greeting = tokio::time::Instant::now().checked_add(DEADLINES.handshake);
        let mut greeted = !self.link.is_accepted();
        loop {
            self.take();
            greeted = greeted || !self.incoming.is_empty();
            self.out.clear();
            self.connection.transmit(&mut self.out);
            self.stream.queue(&self.out);
            let Some(at) = self.connection.poll_timeout() else {
                // Closed: what is queued is written by `finish`.
                return;
            };
            let mut at = clock.deadline(at);
            if let (false, Some(by)) = (greeted, greeting) {
                at = at.min(by);
            }
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            tokio::select! {
                permit = events.reserve(), if !self.incoming.is_empty() => {
                    let (Ok(permit), Some(frame)) = (permit, self.incoming.pop_front()) else {
                        self.connection.close();
                        continue;
                    };
                    permit.send(Event::Frame { link: self.link, frame });
                }
                frame = queue.recv(), if !self.stream.is_writing() => match frame {
                    Some(frame) => self.seal(frame, queue),
                    None => self.connection.close(),
                },
                moved = self.stream.progress(&mut buffer, self.incoming.is_empty()) => {
                    match moved {
                        Ok(Progress::Read(count)) => {
                            let bytes = buffer.get(..count).unwrap_or_default();
                            // All is taken: a buffer holds fewer frames than a connection.
                            let _ = self.connection.receive(clock.now(), bytes);
                        }
                        Ok(Progress::Flushed) => {}
                        Err(error) => {
                            if let StreamError::TimedOut(_) = error {
                                self.local.metrics.timed_out.inc();
                            }
                            self.connection.receive_end();
                        }
                    }
                }
                () = &mut timer => {
                    self.connection.handle_timeout(clock.now());
                    let now = tokio::time::Instant::now();
                    if !greeted && greeting.is_some_and(|by| by <= now) {
                        self.local.metrics.timed_out.inc();
                        self.connection.receive_end();
                    }
                }
            }
        }
    }

    /// Seals `frame` and those that wait behind it, for one write.
    fn seal(&mut self, frame: Frame, queue: &mut mpsc::Receiver<Frame>) {
        let now = self.local.clock.now();
        let mut next = Some(frame);
        let mut sealed = 0usize;
        while let Some(frame) = next {
            if self.connection.send(now, frame).is_err() {
                self.local.metrics.unsent.inc();
                return;
            }
            self.local.metrics.frames_out.inc();
            sealed = sealed.saturating_add(1);
            next = if sealed < limits::BATCH {
                queue.try_recv().ok()
            } else {
                None
            };
        }
    }

    /// Takes the frames that came. A node's `DUMMY` only kept the link alive; a client's link has
    /// them as cover, and the role counts them.
    fn take(&mut self) {
        while let Some(frame) = self.connection.poll_frame() {
            self.local.metrics.frames_in.inc();
            if !(self.between_nodes && matches!(frame, Frame::Dummy)) {
                self.incoming.push_back(frame);
            }
        }
    }
}
