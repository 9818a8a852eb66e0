//! A mix and everybody around it in one struct: authorities that sign, neighbours with keys.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand_core::{Rng as _, SeedableRng};
use whist_link::{DocGet, Frame, Hello, Input, LinkId, Output, Remote, Role, Target, split};
use whist_mix::{Command, Effect, KeyJob, MixConfig, MixNode, Note, Stats, region_bytes};
use whist_netdoc::testing::{Authorities, entries};
use whist_netdoc::{Descriptor, Follower, NodeEntry, NodeRole, Parameters, SignedDescriptor};
use whist_packet::keyring::MemoryKeyStore;
use whist_packet::{
    Destination, Hop, PAYLOAD_BYTES, Packet, Route, SphinxSecret, Surb, Unwrapped, build, request,
    unwrap,
};
use whist_timing::Rng;
use whist_types::{
    ConsensusHash, Epoch, EpochSchedule, Family, Instant, Layer, LinkKey, NodeId, Now, Secret, Wall,
};

pub type Node = MixNode<Vec<u8>>;

pub const GENESIS: u64 = 1_700_000_000_000;
pub const TAGS: u64 = 20_000;
pub const LAYERS: u8 = 3;
const MIXES: u64 = 3;
const PROVIDERS: u64 = 3;

/// Parameters of the demo, with loops so rare that none comes by chance.
pub fn quiet() -> Parameters {
    Parameters {
        mix_loop_mean_ms: 3_600_000,
        ..Parameters::demo()
    }
}

/// Something that the mix sent.
#[derive(Debug)]
pub struct Sent {
    pub at: Instant,
    pub to: LinkKey,
    pub frame: Frame,
}

pub struct Rig {
    pub node: Node,
    pub keys: MemoryKeyStore,
    /// How long a job of the keys' disk takes.
    pub key_disk: Duration,
    key_jobs: VecDeque<(Instant, KeyJob)>,
    pub now: Now,
    pub rng: Rng,
    pub authorities: Authorities,
    /// Everybody but the mix under test.
    pub others: Vec<NodeEntry>,
    pub secrets: BTreeMap<NodeId, SphinxSecret>,
    pub layer: Layer,
    packets_per_s: u32,
    pub sent: Vec<Sent>,
    pub effects: Vec<Effect>,
    pub closed: Vec<LinkId>,
    pub descriptors: Vec<(LinkKey, Descriptor)>,
    pub asked: Vec<Wall>,
    /// Whether the authorities answer `DOC_GET`.
    pub serving: bool,
    bundle: Option<Vec<u8>>,
    epoch_made: Option<Epoch>,
    dialed: BTreeMap<LinkId, Target>,
    accepted: u64,
    incoming: BTreeMap<LinkKey, LinkId>,
}

pub fn config(seed: u8, packets_per_s: u32) -> MixConfig {
    MixConfig {
        identity: Secret::new([seed; 32]),
        link: Secret::new([seed.wrapping_add(1); 32]),
        address: "mix:1".to_owned(),
        family: Family::from_bytes([seed; 32]),
        packets_per_s,
        table_tags: TAGS,
    }
}

pub fn regions() -> [Vec<u8>; 2] {
    [vec![0; region_bytes(TAGS)], vec![0; region_bytes(TAGS)]]
}

impl Rig {
    /// A mix in `layer` at the start of epoch 10, before it has met anybody.
    pub fn new(layer: u8, parameters: Parameters, packets_per_s: u32) -> Self {
        let mut rng = Rng::seed_from_u64(u64::from(layer) + 100);
        let mut authorities =
            Authorities::new(1, 4, parameters.clone(), Wall::from_millis(GENESIS));
        let mut others = entries(LAYERS, MIXES, PROVIDERS);
        let mut secrets = BTreeMap::new();
        for entry in &mut others {
            let secret = SphinxSecret::generate(&mut rng);
            entry.keys = [secret.public(); 4];
            secrets.insert(entry.id, secret);
        }
        authorities.set_providers(&others);
        let schedule = parameters.schedule(GENESIS);
        let now = Now {
            instant: Instant::from_nanos(1_000_000_000),
            wall: schedule
                .start(Epoch::new(10))
                .after(Duration::from_millis(100)),
        };
        let mut keys = MemoryKeyStore::default();
        let node = Node::new(
            config(7, packets_per_s),
            Follower::new(authorities.trusted()),
            regions(),
            &mut keys,
            &Secret::new([9; 32]),
            now,
        )
        .unwrap();
        Self {
            node,
            keys,
            key_disk: Duration::ZERO,
            key_jobs: VecDeque::new(),
            now,
            rng,
            authorities,
            others,
            secrets,
            layer: Layer::new(layer),
            packets_per_s,
            sent: Vec::new(),
            effects: Vec::new(),
            closed: Vec::new(),
            descriptors: Vec::new(),
            asked: Vec::new(),
            serving: true,
            bundle: None,
            epoch_made: None,
            dialed: BTreeMap::new(),
            accepted: 0,
            incoming: BTreeMap::new(),
        }
    }

    /// The same, in service: one epoch later, with a consensus that lists it, links up.
    pub fn serving(layer: u8, parameters: Parameters, packets_per_s: u32) -> Self {
        let mut rig = Self::new(layer, parameters, packets_per_s);
        rig.run_until_epoch(11);
        rig.run_for(Duration::from_millis(200));
        assert_eq!(rig.node.stats().layer, Some(rig.layer));
        rig
    }

    pub fn schedule(&self) -> EpochSchedule {
        self.authorities.network().schedule
    }

    pub fn epoch(&self) -> Epoch {
        self.schedule().epoch_at(self.now.wall)
    }

    pub fn stats(&self) -> Stats {
        self.node.stats()
    }

    pub fn dropped(&self, reason: &str) -> u64 {
        self.stats().dropped.get(reason).copied().unwrap_or(0)
    }

    // Time.

    pub fn run_until_epoch(&mut self, epoch: u64) {
        let start = self.schedule().start(Epoch::new(epoch));
        self.run_for(start.since(self.now.wall));
    }

    /// Lets time pass; the mix is woken when it asks for it, the authorities work on their own.
    pub fn run_for(&mut self, length: Duration) {
        let end = self.now.instant.after(length);
        self.settle();
        loop {
            let keys = self.key_jobs.front().map(|(at, _)| *at);
            let due = [keys, self.node.poll_timeout()];
            let next = due.into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.pass(at);
            if keys == Some(at) {
                let (_, job) = self.key_jobs.pop_front().unwrap();
                let done = job.run(&mut self.keys);
                self.node
                    .handle(self.now, Input::Command(Command::Keys(done)));
            } else {
                self.node.handle(self.now, Input::Timeout);
            }
            self.settle();
        }
        self.pass(end);
    }

    fn pass(&mut self, to: Instant) {
        // Both clocks from one origin: a wall clock that drops parts of milliseconds for good lags.
        let to = to.max(self.now.instant);
        let ms = |at: Instant| at.as_nanos() / 1_000_000;
        let passed = ms(to) - ms(self.now.instant);
        self.now.wall = self.now.wall.after(Duration::from_millis(passed));
        self.now.instant = to;
        self.work();
    }

    /// The authorities: a consensus for the next epoch is there 0.4 of an epoch before it.
    fn work(&mut self) {
        let schedule = self.schedule();
        let next = self.epoch().next();
        let fix = schedule.start(next).before(schedule.length() * 2 / 5);
        if self.now.wall < fix || self.epoch_made >= Some(next) {
            return;
        }
        let Some((_, own)) = self.descriptors.iter().rev().find(|(_, d)| d.epoch == next) else {
            return;
        };
        let mut nodes = self.others.clone();
        nodes.push(NodeEntry {
            id: own.id(),
            identity: own.identity,
            link: own.link,
            keys: own.keys,
            address: own.address.clone(),
            role: NodeRole::Mix { layer: self.layer },
            weight: own.capacity,
            family: own.family,
            load: own.load,
        });
        nodes.sort_by_key(|node| node.id);
        let bundle = self.authorities.make(next, nodes).unwrap();
        self.bundle = Some(bundle.to_bytes());
        self.epoch_made = Some(next);
    }

    // Links.

    pub fn settle(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Dial { link, target } => {
                    self.dialed.insert(link, target.clone());
                    let remote = Remote::Node(target.key);
                    self.node.handle(self.now, Input::Up { link, remote });
                    let frame = self.hello();
                    self.node.handle(self.now, Input::Frame { link, frame });
                }
                Output::Send { link, frame } => self.delivered(link, frame),
                Output::Close { link } => {
                    self.dialed.remove(&link);
                    self.incoming.retain(|_, other| *other != link);
                    self.closed.push(link);
                }
                Output::Effect(Effect::Keys(job)) => self.key_job(job),
                Output::Effect(effect) => self.effects.push(effect),
            }
        }
    }

    /// A disk that takes no time is done at once; another is, when its time has passed.
    fn key_job(&mut self, job: KeyJob) {
        if self.key_disk.is_zero() {
            let done = job.run(&mut self.keys);
            self.node
                .handle(self.now, Input::Command(Command::Keys(done)));
            return;
        }
        let at = self.now.instant.after(self.key_disk);
        self.key_jobs.push_back((at, job));
        assert_eq!(self.key_jobs.len(), 1, "one at a time");
    }

    fn delivered(&mut self, link: LinkId, frame: Frame) {
        let Some(target) = self.dialed.get(&link).cloned() else {
            return;
        };
        match frame {
            Frame::Descriptor(part) => {
                let bytes = whist_link::Assembler::new(4).push(*part).unwrap().unwrap();
                let descriptor = SignedDescriptor::parse(&bytes).unwrap().verify().unwrap();
                self.descriptors.push((target.key, descriptor));
            }
            Frame::DocGet(DocGet { epoch, .. }) => {
                assert_eq!(epoch, 0);
                self.asked.push(self.now.wall);
                let bundle = self.bundle.clone().filter(|_| self.serving);
                for part in bundle.iter().flat_map(|bundle| split(1, bundle)) {
                    let frame = Frame::DocChunk(Box::new(part));
                    self.node.handle(self.now, Input::Frame { link, frame });
                }
            }
            frame => self.sent.push(Sent {
                at: self.now.instant,
                to: target.key,
                frame,
            }),
        }
    }

    pub fn hello(&self) -> Frame {
        Frame::Hello(Hello::Node {
            version: Hello::VERSION,
            consensus: ConsensusHash::from_bytes([0; 32]),
            time: self.now.wall,
        })
    }

    pub fn input(&mut self, input: Input<Command>) {
        self.node.handle(self.now, input);
        self.settle();
    }

    /// A peer with this key dials the mix; without its `HELLO`.
    pub fn dial(&mut self, key: LinkKey) -> LinkId {
        self.accepted += 1;
        let link = LinkId::accepted(self.accepted);
        let remote = Remote::Node(key);
        self.input(Input::Up { link, remote });
        link
    }

    /// The link of a node that dialled the mix and said `HELLO`.
    pub fn link_from(&mut self, key: LinkKey) -> LinkId {
        if let Some(link) = self.incoming.get(&key) {
            return *link;
        }
        let link = self.dial(key);
        let frame = self.hello();
        self.input(Input::Frame { link, frame });
        self.incoming.insert(key, link);
        link
    }

    pub fn send_from(&mut self, key: LinkKey, packet: &Packet) {
        let link = self.link_from(key);
        let frame = Frame::Packet(packet.clone().into_bytes());
        self.input(Input::Frame { link, frame });
    }

    /// The link on which the mix sends to `key`.
    pub fn link_to(&self, key: LinkKey) -> Option<LinkId> {
        let found = self.dialed.iter().find(|(_, target)| target.key == key);
        found.map(|(link, _)| *link)
    }

    pub fn break_links_to(&mut self, key: LinkKey) {
        if let Some(link) = self.link_to(key) {
            self.dialed.remove(&link);
            self.input(Input::Down { link });
        }
    }

    /// The process dies; regions and store stay. Links are gone.
    pub fn restart(&mut self, wipe: bool) {
        let trusted = self.authorities.trusted();
        let fresh = self.fresh_node();
        let follower = self
            .effects
            .iter()
            .rev()
            .find_map(|effect| match effect {
                Effect::Directory(bytes) => Follower::from_bytes(trusted.clone(), bytes).ok(),
                _ => None,
            })
            .unwrap_or_else(|| Follower::new(trusted.clone()));
        let kept = std::mem::replace(&mut self.node, fresh).into_regions();
        self.key_jobs.clear();
        let memory = if wipe {
            regions()
        } else {
            kept.try_into().unwrap()
        };
        let seed = Secret::new([10; 32]);
        self.node = Node::new(
            config(7, self.packets_per_s),
            follower,
            memory,
            &mut self.keys,
            &seed,
            self.now,
        )
        .unwrap();
        self.dialed.clear();
        self.incoming.clear();
        self.node.handle(self.now, Input::Timeout);
        self.settle();
    }

    fn fresh_node(&self) -> Node {
        Node::new(
            config(7, self.packets_per_s),
            Follower::new(self.authorities.trusted()),
            regions(),
            &mut MemoryKeyStore::default(),
            &Secret::new([9; 32]),
            self.now,
        )
        .unwrap()
    }

    // Neighbours and packets.

    pub fn mixes(&self, layer: u8) -> Vec<NodeEntry> {
        let role = NodeRole::Mix {
            layer: Layer::new(layer),
        };
        let of = |node: &&NodeEntry| node.role == role;
        self.others.iter().filter(of).cloned().collect()
    }

    pub fn providers(&self) -> Vec<NodeEntry> {
        let of = |node: &&NodeEntry| node.role == NodeRole::Provider;
        self.others.iter().filter(of).cloned().collect()
    }

    /// The mix's own key of `epoch`, as it published it.
    pub fn own_hop(&self, epoch: Epoch, delay: Duration) -> Hop {
        let key = self
            .descriptors
            .iter()
            .find_map(|(_, d)| {
                let ahead = epoch.number().checked_sub(d.epoch.number())?;
                d.keys.get(usize::try_from(ahead).ok()?).copied()
            })
            .unwrap();
        Hop {
            node: self.node.id(),
            key,
            delay,
        }
    }

    pub fn hop(&self, node: &NodeEntry) -> Hop {
        Hop {
            node: node.id,
            key: self.secrets[&node.id].public(),
            delay: Duration::ZERO,
        }
    }

    /// A packet through the mix to `next`, under its key of `epoch`.
    pub fn packet(&mut self, epoch: Epoch, next: &NodeEntry, delay: Duration) -> Packet {
        let provider = self.providers()[0].clone();
        let mut hops = vec![self.own_hop(epoch, delay), self.hop(next)];
        if provider.id != next.id {
            hops.push(self.hop(&provider));
        }
        let count = hops.len();
        let route = Route::exactly(hops, count).unwrap();
        let mut payload = [0; PAYLOAD_BYTES];
        self.rng.fill_bytes(&mut payload);
        build(&route, &Destination::REQUEST, &payload, &mut self.rng).unwrap()
    }

    /// A packet under the key of the current epoch from the first node of the previous layer.
    pub fn packet_now(&mut self, next: &NodeEntry, delay_ms: u64) -> Packet {
        let epoch = self.epoch();
        self.packet(epoch, next, Duration::from_millis(delay_ms))
    }

    /// Packets sent so far: when, to whom.
    pub fn packets_sent(&self) -> Vec<(Instant, LinkKey, Packet)> {
        let packet = |sent: &Sent| match &sent.frame {
            Frame::Packet(bytes) => Some((sent.at, sent.to, Packet::from_bytes(bytes.clone()))),
            _ => None,
        };
        self.sent.iter().filter_map(packet).collect()
    }

    pub fn notes(&self) -> Vec<Note> {
        let note = |effect: &Effect| match effect {
            Effect::Note(note) => Some(note.clone()),
            _ => None,
        };
        self.effects.iter().filter_map(note).collect()
    }

    fn by_link(&self, key: LinkKey) -> NodeEntry {
        self.others.iter().find(|n| n.link == key).unwrap().clone()
    }

    /// Takes a packet that the mix sent as far as it goes through everybody else: the nodes it
    /// passed, all delays, the packet when it comes back to the mix, and who hands it over.
    pub fn carry(&mut self, first: LinkKey, packet: Packet) -> Option<Carried> {
        let cap = Duration::from_secs(60);
        let mut at = self.by_link(first);
        let mut packet = packet;
        let mut carried = Carried {
            path: vec![at.id],
            delay: Duration::ZERO,
            back: None,
        };
        loop {
            let next = match unwrap(packet, &self.secrets[&at.id], cap).ok()?.content {
                Unwrapped::Forward {
                    next,
                    delay,
                    packet: inner,
                } => {
                    carried.delay += delay;
                    packet = inner;
                    next
                }
                Unwrapped::Final { to, payload } => {
                    assert!(to.is_request());
                    let payload = payload.request().ok()?;
                    let (surb, asked) = request::parse_request(&payload).ok()?;
                    assert_eq!(asked.unwrap(), request::Request::Echo);
                    let (next, reply) = self.answer(surb);
                    packet = reply;
                    next
                }
            };
            if next == self.node.id() {
                carried.back = Some((at.link, packet));
                return Some(carried);
            }
            carried.path.push(next);
            at = self.others.iter().find(|n| n.id == next)?.clone();
        }
    }

    fn answer(&mut self, surb: Surb) -> (NodeId, Packet) {
        let hash = ConsensusHash::from_bytes([0; 32]);
        let reply = request::encode_reply(&hash, &request::ReplyBody::Ok, &mut self.rng);
        surb.reply(&reply).unwrap()
    }
}

/// A loop that went around.
pub struct Carried {
    pub path: Vec<NodeId>,
    pub delay: Duration,
    pub back: Option<(LinkKey, Packet)>,
}
