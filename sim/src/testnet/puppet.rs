//! Nodes that a test plays itself, with keys that it made and that the authorities admitted. They
//! speak the real protocol to the programs: they upload descriptors, follow the consensus, hold
//! links, and hand in exactly the packets that the test gives them, as often as it wants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand_core::SeedableRng;
use whist_link::{
    Assembler, Backoff, Dialer, DocGet, Frame, Hello, Input, LinkId, LinkIdentity, Output, Role,
    Target, split,
};
use whist_netdoc::{
    Accepted, Bootstrap, Consensus, Descriptor, Follower, IdentitySecret, KEY_EPOCHS, Kind,
    LinkSecret, NodeRole, TrustedAuthorities,
};
use whist_packet::{Packet, SphinxSecret, Unwrapped, unwrap};
use whist_rt::sync::Notify;
use whist_rt::task::{self, JoinHandle};
use whist_rt::{Clock, Commands, Driver, DriverOptions, Handle, Listener, RtError, Shutdown};
use whist_timing::Rng;
use whist_types::{Epoch, Instant, Layer, NodeId, Now, Secret};

use super::{Fault, Guest, LIMIT, Testnet, within};

/// A part of a bundle: networks in tests are small.
const BUNDLE_PARTS_MAX: u16 = 256;
/// A missing consensus is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Packets that leave at once, and the pause after them: 6,400 a second, below any queue.
const BURST: usize = 64;
const BURST_GAP: Duration = Duration::from_millis(10);
/// Puppets come back at once when the program that they wait for does.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(40),
    max: Duration::from_millis(120),
    stable: Duration::from_secs(1),
};
const AUTHORITIES_LANE: u16 = 1;
/// Marks the payload of a test's packet; its number follows.
const MARK: [u8; 8] = *b"testmark";

/// What the puppets of one test have seen together.
#[derive(Default)]
pub struct Seen {
    /// Every consensus that came, by its epoch.
    pub consensuses: BTreeMap<Epoch, Arc<Consensus>>,
    /// How often each marked packet arrived.
    pub arrivals: BTreeMap<u64, u32>,
    /// Packets that arrived and bear no mark: loops of the programs.
    pub strangers: u64,
    /// Puppets whose link to the program under test is up.
    pub linked: BTreeSet<NodeId>,
}

impl Seen {
    /// The consensus by which packets under the keys of `epoch` are made.
    pub fn ruling(&self, epoch: Epoch) -> Option<Arc<Consensus>> {
        let (_, ruling) = self.consensuses.range(..=epoch).next_back()?;
        Some(Arc::clone(ruling))
    }

    /// Packets that arrived more than once.
    pub fn doubled(&self) -> usize {
        self.arrivals.values().filter(|count| **count > 1).count()
    }
}

/// Where the puppets of one test play.
#[derive(Clone, Default)]
pub struct Stage {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
}

impl Stage {
    /// What was seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `probe` finds what it looks for.
    ///
    /// # Errors
    /// If it does not come; `what` says what.
    pub async fn until<T>(
        &self,
        what: &str,
        mut probe: impl FnMut(&Seen) -> Option<T>,
    ) -> Result<T, Fault> {
        let looking = async {
            loop {
                let changed = self.changed.notified();
                let found = probe(&self.seen());
                match found {
                    Some(found) => return found,
                    None => changed.await,
                }
            }
        };
        within(LIMIT, what, looking).await
    }

    fn note(&self, puppet: NodeId, note: Note) {
        let mut seen = self.seen();
        match note {
            Note::Consensus(consensus) => {
                seen.consensuses.insert(consensus.epoch(), consensus);
            }
            Note::Linked(true) => {
                seen.linked.insert(puppet);
            }
            Note::Linked(false) => {
                seen.linked.remove(&puppet);
            }
            Note::Arrived(Some(mark)) => {
                let count = seen.arrivals.entry(mark).or_default();
                *count = count.saturating_add(1);
            }
            Note::Arrived(None) => seen.strangers = seen.strangers.saturating_add(1),
        }
        drop(seen);
        self.changed.notify_waiters();
    }
}

/// The payload of the test's packet of this number.
pub fn marked(mark: u64) -> [u8; whist_packet::PAYLOAD_BYTES] {
    let mut payload = [0; whist_packet::PAYLOAD_BYTES];
    for (place, byte) in payload
        .iter_mut()
        .zip(MARK.into_iter().chain(mark.to_be_bytes()))
    {
        *place = byte;
    }
    payload
}

fn mark_of(payload: &[u8]) -> Option<u64> {
    let rest = payload.strip_prefix(&MARK)?;
    rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// A node that the test will play: it has keys and an address, and no network yet.
pub struct Puppet {
    kind: Kind,
    name: String,
    identity: Secret<32>,
    link: Secret<32>,
    sphinx: Secret<32>,
    address: SocketAddr,
    listener: Listener,
}

impl Puppet {
    /// A mix or provider of this name; its keys follow from the name.
    ///
    /// # Errors
    /// If no port is free.
    pub fn new(name: &str, kind: Kind) -> Result<Self, Fault> {
        let key = |label| Secret::new(blake3::derive_key(label, name.as_bytes()));
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .map_err(|error| Fault::new(error.to_string()))?;
        Ok(Self {
            kind,
            name: name.to_owned(),
            identity: key("whist 2026 puppet identity v1"),
            link: key("whist 2026 puppet link v1"),
            sphinx: key("whist 2026 puppet sphinx v1"),
            address: listener.local_addr(),
            listener,
        })
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        IdentitySecret::from_seed(&self.identity).public().node_id()
    }

    /// As which it is admitted.
    pub fn guest(&self) -> Guest {
        let identity = IdentitySecret::from_seed(&self.identity).public();
        let bootstrap = (self.kind == Kind::Provider).then(|| Bootstrap {
            identity,
            link: LinkSecret::from_seed(&self.link).public(),
            address: self.address.to_string(),
            family: Testnet::family(&self.name),
        });
        Guest {
            identity,
            bootstrap,
        }
    }

    /// Begins to play: with the network, beside the program `target`, which it dials if it stands
    /// in the layer before it.
    pub fn play(self, trusted: TrustedAuthorities, target: NodeId, stage: &Stage) -> Playing {
        let id = self.id();
        let identity = LinkIdentity::from_secret(&self.link);
        let options = DriverOptions::node(Clock::start(), identity, self.listener);
        let act = Act {
            me: id,
            kind: self.kind,
            family: Testnet::family(&self.name),
            address: self.address.to_string(),
            rng: Rng::from_seed(*self.sphinx.expose()),
            identity: self.identity,
            link: self.link,
            sphinx: self.sphinx,
            target,
            authorities: authorities(&trusted),
            incoming: BTreeMap::new(),
            follower: Follower::new(trusted),
            described: None,
            ask_at: Instant::ZERO,
            neighbour: Dialer::new(BACKOFF, 0),
            outbox: VecDeque::new(),
            burst_at: Instant::ZERO,
            outputs: VecDeque::new(),
        };
        let (handle, commands): (Handle<Command>, Commands<Command>) = whist_rt::commands();
        let (stop, stage) = (Shutdown::new(), stage.clone());
        let effects = move |_: Now, note: Note| stage.note(id, note);
        let task = task::spawn(Driver::run(act, options, effects, commands, stop.clone()));
        Playing {
            id,
            handle,
            stop,
            task,
        }
    }
}

fn authorities(trusted: &TrustedAuthorities) -> Dialer<u8> {
    let mut dialer = Dialer::new(Backoff::default(), 0).in_lane(AUTHORITIES_LANE);
    let targets = trusted.authorities().iter().map(|authority| Target {
        address: authority.address.clone(),
        key: authority.link,
        identify: true,
    });
    dialer.want((0..).zip(targets));
    dialer
}

/// A puppet on stage; it leaves when this is dropped.
pub struct Playing {
    id: NodeId,
    handle: Handle<Command>,
    stop: Shutdown,
    task: JoinHandle<Result<Act, RtError>>,
}

impl Playing {
    /// Its id.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Hands these packets to the program under test, in this order, as soon as there is a link.
    ///
    /// # Errors
    /// If the puppet has ended.
    pub async fn send(&self, packets: Vec<Packet>) -> Result<(), Fault> {
        let sent = self.handle.send(Command(packets)).await;
        sent.map_err(|_| Fault::new("a puppet has ended"))
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.stop.trigger();
        self.task.abort();
    }
}

/// Packets for the program under test.
struct Command(Vec<Packet>);

enum Note {
    Consensus(Arc<Consensus>),
    Linked(bool),
    Arrived(Option<u64>),
}

/// The role.
struct Act {
    me: NodeId,
    kind: Kind,
    identity: Secret<32>,
    link: Secret<32>,
    sphinx: Secret<32>,
    family: whist_types::Family,
    address: String,
    rng: Rng,
    target: NodeId,
    authorities: Dialer<u8>,
    incoming: BTreeMap<LinkId, Assembler>,
    follower: Follower,
    described: Option<(Epoch, Vec<u8>)>,
    ask_at: Instant,
    neighbour: Dialer<NodeId>,
    outbox: VecDeque<Frame>,
    burst_at: Instant,
    outputs: VecDeque<Output<Note>>,
}

impl Act {
    fn sphinx(&self, epoch: Epoch) -> SphinxSecret {
        let bytes = [&self.sphinx.expose()[..], &epoch.number().to_be_bytes()].concat();
        let key = blake3::derive_key("whist 2026 puppet epoch v1", &bytes);
        SphinxSecret::from_secret(&Secret::new(key))
    }

    fn note(&mut self, note: Note) {
        self.outputs.push_back(Output::Effect(note));
    }

    fn hello(&self, now: Now) -> Frame {
        Frame::Hello(Hello::Node {
            version: Hello::VERSION,
            consensus: self.follower.hash(),
            time: now.wall,
        })
    }

    fn up(&mut self, now: Now, link: LinkId) {
        let hello = self.hello(now);
        if link.is_accepted() {
            self.outputs.push_back(Output::Send { link, frame: hello });
        } else if let Some(&authority) = self.authorities.up(now.instant, link, hello.clone()) {
            self.incoming.insert(link, Assembler::new(BUNDLE_PARTS_MAX));
            self.upload(authority);
        } else if self.neighbour.up(now.instant, link, hello).is_some() {
            self.note(Note::Linked(true));
        }
    }

    fn down(&mut self, now: Now, link: LinkId) {
        self.incoming.remove(&link);
        self.authorities.down(now.instant, link, &mut self.rng);
        if self
            .neighbour
            .down(now.instant, link, &mut self.rng)
            .is_some()
        {
            self.note(Note::Linked(false));
        }
    }

    fn frame(&mut self, now: Now, link: LinkId, frame: Frame) {
        match frame {
            Frame::Packet(bytes) => {
                let mark = self.open(now, &Packet::from_bytes(bytes));
                self.note(Note::Arrived(mark));
            }
            Frame::DocChunk(part) => {
                let assembler = self.incoming.get_mut(&link);
                if let Some(Ok(Some(bundle))) = assembler.map(|whole| whole.push(*part)) {
                    self.offer(now, &bundle);
                }
            }
            _ => {}
        }
    }

    /// The mark of a packet that ends here under a key that is accepted now.
    fn open(&self, now: Now, packet: &Packet) -> Option<u64> {
        let (likelier, other) = self.follower.trusted().schedule().accepted(now.wall);
        [Some(likelier), other]
            .into_iter()
            .flatten()
            .find_map(|epoch| {
                let opened = unwrap(packet.clone(), &self.sphinx(epoch), Duration::MAX).ok()?;
                match opened.content {
                    Unwrapped::Final { payload, .. } => mark_of(&*payload.request().ok()?),
                    Unwrapped::Forward { .. } => None,
                }
            })
    }

    fn offer(&mut self, now: Now, bundle: &[u8]) {
        let Ok(Accepted::New(epoch)) = self.follower.offer(now.wall, bundle) else {
            return;
        };
        let Some(consensus) = self.follower.at(epoch).cloned() else {
            return;
        };
        let own = consensus.node(&self.me).map(|node| node.role);
        let next = match own {
            Some(NodeRole::Provider) => Some(0),
            Some(NodeRole::Mix { layer }) => layer.index().checked_add(1),
            None => None,
        };
        let after = next.map_or(&[][..], |layer| {
            if layer < consensus.parameters().layers {
                consensus.mixes(Layer::new(layer))
            } else {
                consensus.providers()
            }
        });
        if let Some(target) = after.iter().find(|node| node.id == self.target) {
            let dialled = Target {
                address: target.address.clone(),
                key: target.link,
                identify: true,
            };
            self.neighbour.add(self.target, dialled);
        }
        self.note(Note::Consensus(consensus));
    }

    /// Once an epoch: a descriptor for the next one, to all authorities.
    fn describe(&mut self, now: Now) {
        let epoch = self.follower.trusted().schedule().epoch_at(now.wall).next();
        if self
            .described
            .as_ref()
            .is_some_and(|(held, _)| *held == epoch)
        {
            return;
        }
        let (identity, link) = (
            IdentitySecret::from_seed(&self.identity),
            LinkSecret::from_seed(&self.link),
        );
        let mut ahead = 0..;
        let keys =
            [(); KEY_EPOCHS].map(|()| self.sphinx(epoch.plus(ahead.next().unwrap_or(0))).public());
        let descriptor = Descriptor {
            epoch,
            identity: identity.public(),
            link: link.public(),
            keys,
            address: self.address.clone(),
            kind: self.kind,
            family: self.family,
            capacity: 1_000,
            load: 0,
        };
        let signed = descriptor.sign(&identity, &link);
        self.described = Some((epoch, signed.as_bytes().to_vec()));
        let connected: Vec<u8> = self.authorities.connected().map(|(who, _)| *who).collect();
        for authority in connected {
            self.upload(authority);
        }
    }

    fn upload(&mut self, authority: u8) {
        if let Some((epoch, descriptor)) = &self.described {
            let stream = u32::try_from(epoch.number()).unwrap_or(0);
            for part in split(stream, descriptor) {
                let frame = Frame::Descriptor(Box::new(part));
                let _ = self.authorities.send(&authority, frame);
            }
        }
    }

    /// Asks the authorities in turn while the consensus that should be there is not.
    fn fetch(&mut self, now: Now) {
        if now.instant < self.ask_at {
            return;
        }
        self.ask_at = now.instant.after(ASK_AGAIN);
        let schedule = self.follower.trusted().schedule();
        let ahead = schedule.length().mul_f64(0.3);
        let wanted = schedule.epoch_at(now.wall.after(ahead));
        if self
            .follower
            .newest()
            .is_some_and(|newest| newest.epoch() >= wanted)
        {
            return;
        }
        let connected: Vec<u8> = self.authorities.connected().map(|(who, _)| *who).collect();
        let turn = usize::try_from(now.instant.as_nanos()).unwrap_or(0);
        let place = turn.checked_rem(connected.len()).unwrap_or(0);
        if let Some(authority) = connected.get(place) {
            let get = DocGet {
                epoch: 0,
                leaves_from: self.follower.leaves_from(),
            };
            let _ = self.authorities.send(authority, Frame::DocGet(get));
        }
    }

    fn flush(&mut self, now: Now) {
        if now.instant < self.burst_at || self.neighbour.link_of(&self.target).is_none() {
            return;
        }
        for _ in 0..BURST {
            let Some(frame) = self.outbox.pop_front() else {
                return;
            };
            let _ = self.neighbour.send(&self.target, frame);
        }
        self.burst_at = now.instant.after(BURST_GAP);
    }

    fn collect(&mut self, now: Instant) {
        while let Some(output) = self.authorities.poll_output(now) {
            self.outputs.push_back(output);
        }
        while let Some(output) = self.neighbour.poll_output(now) {
            self.outputs.push_back(output);
        }
    }
}

impl Role for Act {
    type Command = Command;
    type Effect = Note;

    fn handle(&mut self, now: Now, input: Input<Command>) {
        self.describe(now);
        self.fetch(now);
        match input {
            Input::Up { link, .. } => self.up(now, link),
            Input::Down { link } => self.down(now, link),
            Input::Frame { link, frame } => self.frame(now, link, frame),
            Input::Full { frame, .. } => {
                self.outbox.push_front(frame);
                self.burst_at = now.instant.after(BURST_GAP);
            }
            Input::Timeout => {}
            Input::Command(Command(packets)) => {
                let frames = packets.into_iter().map(|p| Frame::Packet(p.into_bytes()));
                self.outbox.extend(frames);
            }
        }
        self.flush(now);
        self.collect(now.instant);
    }

    fn poll_output(&mut self) -> Option<Output<Note>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let waits = !self.outbox.is_empty() && self.neighbour.link_of(&self.target).is_some();
        let burst = waits.then_some(self.burst_at);
        let dials = [
            self.authorities.poll_timeout(),
            self.neighbour.poll_timeout(),
        ];
        [burst, Some(self.ask_at)]
            .into_iter()
            .chain(dials)
            .flatten()
            .min()
    }
}
