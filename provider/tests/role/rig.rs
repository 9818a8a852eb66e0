//! One provider, and everybody around it in one struct.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use chacha20::ChaCha20Rng;
use ed25519_dalek::{Signer, SigningKey};
use rand_core::{Rng, SeedableRng};
use whist_link::{Assembler, Frame, Hello, Input, LinkId, Output, Remote, Role, split};
use whist_netdoc::testing::{Authorities, entries};
use whist_netdoc::{Consensus, Follower, NodeEntry, NodeRole, Parameters, SignedDescriptor};
use whist_packet::keyring::MemoryKeyStore;
use whist_packet::request::{Reply, Request, encode_request, parse_reply, signing_bytes};
use whist_packet::{
    Destination, Hop, Packet, Route, SphinxSecret, Surb, SurbSecret, Unwrapped, build, build_surb,
    unwrap,
};
use whist_provider::clerk::{Clerk, Done, Job};
use whist_provider::store::{Memory, SyncPoint};
use whist_provider::ticket::Ticket;
use whist_provider::{Command, Effect, KeyJob, Provider, ProviderConfig, Stats, region_bytes};
use whist_types::{
    ConsensusHash, Epoch, Family, Instant, Layer, LinkKey, MailboxKey, NodeId, Now, Secret,
    SessionAddress, SurbId, Wall,
};

pub type Node = Provider<Vec<u8>>;

const TAGS: u64 = 500_000;
const FIRST: Epoch = Epoch::new(500_000);

fn config() -> ProviderConfig {
    ProviderConfig {
        identity: Secret::new([1; 32]),
        link: Secret::new([2; 32]),
        address: "provider:1".to_owned(),
        family: Family::from_bytes([3; 32]),
        packets_per_s: 100,
        table_tags: TAGS,
        store_rows: 1_000,
    }
}

/// A desk over what the disk has.
fn clerk(disk: &Memory) -> Clerk<Memory> {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    Clerk::new(disk.clone(), config().store_rows, &mut rng).unwrap()
}

/// A frame that left, and when.
pub type Sent = (Instant, LinkId, Frame);

pub struct Rig {
    pub node: Node,
    /// The desk, which works beside the node.
    clerk: Clerk<Memory>,
    keys: MemoryKeyStore,
    /// How long a job of the keys' disk takes.
    pub key_disk: Duration,
    key_jobs: VecDeque<(Instant, KeyJob)>,
    pub disk: Memory,
    pub now: Now,
    pub rng: ChaCha20Rng,
    pub consensus: std::sync::Arc<Consensus>,
    /// How long a sync takes.
    pub sync: Duration,
    pub sent: Vec<Sent>,
    pub closed: Vec<LinkId>,
    pub drained: bool,
    authorities: Authorities,
    others: Vec<NodeEntry>,
    secrets: HashMap<NodeId, SphinxSecret>,
    dialed: BTreeMap<LinkKey, LinkId>,
    descriptor: Option<Vec<u8>>,
    assembler: Assembler,
    syncs: Vec<(Instant, Ticket, SyncPoint)>,
    /// Jobs that are done, and when.
    done: VecDeque<(Instant, Done)>,
    /// When the desk is done with what it has.
    desk_free: Instant,
    /// A control: the desk works in the node's loop, and its disk's time is the node's.
    pub in_loop: bool,
    links: u64,
}

impl Rig {
    /// A provider that the consensus of the current epoch lists, ten seconds into the epoch.
    pub fn new() -> Self {
        Self::with(Parameters::default())
    }

    pub fn with(parameters: Parameters) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let authorities = Authorities::new(7, 4, parameters, Wall::from_millis(0));
        let start = authorities.trusted().schedule().start(FIRST);
        let now = Now {
            instant: Instant::from_nanos(0),
            wall: start.after(Duration::from_secs(600)),
        };
        let disk = Memory::new();
        let regions = [(); 2].map(|()| vec![0; region_bytes(TAGS)]);
        let follower = Follower::new(authorities.trusted());
        let mut keys = MemoryKeyStore::default();
        let node = Provider::new(
            config(),
            follower,
            regions,
            &mut keys,
            &Secret::new([9; 32]),
            now,
        )
        .unwrap();
        let mut secrets = HashMap::new();
        let mut others = entries(3, 2, 1);
        for node in &mut others {
            let secret = SphinxSecret::generate(&mut rng);
            node.keys = [secret.public(); 4];
            secrets.insert(node.id, secret);
        }
        let mut rig = Self {
            consensus: {
                let mut others = Authorities::new(8, 4, Parameters::default(), Wall::default());
                others.consensus(FIRST, entries(3, 2, 1)).unwrap()
            },
            node,
            clerk: clerk(&disk),
            keys,
            key_disk: Duration::ZERO,
            key_jobs: VecDeque::new(),
            disk,
            now,
            rng,
            sync: Duration::from_millis(3),
            sent: Vec::new(),
            closed: Vec::new(),
            drained: false,
            authorities,
            others,
            secrets,
            dialed: BTreeMap::new(),
            descriptor: None,
            assembler: Assembler::new(4),
            syncs: Vec::new(),
            done: VecDeque::new(),
            desk_free: Instant::ZERO,
            in_loop: false,
            links: 0,
        };
        rig.wait(Duration::from_secs(1));
        rig.next_epoch();
        rig
    }

    /// The authorities make the next consensus, the provider fetches it, its epoch begins.
    pub fn next_epoch(&mut self) {
        let descriptor = SignedDescriptor::parse(&self.descriptor.take().unwrap())
            .unwrap()
            .verify()
            .unwrap();
        let schedule = *self.authorities.trusted().schedule();
        let epoch = schedule.epoch_at(self.now.wall).next();
        assert_eq!(descriptor.epoch, epoch);
        assert_eq!(descriptor.id(), self.node.id());
        let mut nodes = self.others.clone();
        nodes.push(NodeEntry {
            id: descriptor.id(),
            identity: descriptor.identity,
            link: descriptor.link,
            keys: descriptor.keys,
            address: descriptor.address,
            role: NodeRole::Provider,
            weight: descriptor.capacity,
            family: descriptor.family,
            load: descriptor.load,
        });
        nodes.sort_by_key(|node| node.id);
        let bundle = self.authorities.make(epoch, nodes).unwrap().to_bytes();
        self.consensus = std::sync::Arc::new(
            whist_netdoc::Bundle::parse(&bundle)
                .unwrap()
                .verify(&self.authorities.trusted(), schedule.start(epoch))
                .unwrap(),
        );
        let fetch = schedule.start(epoch).before(schedule.length() / 10);
        self.wait(fetch.since(self.now.wall));
        let authority = self.authorities.link(0).unwrap().public();
        let link = self.dialed[&authority];
        for part in split(1, &bundle) {
            self.input(Input::Frame {
                link,
                frame: Frame::DocChunk(Box::new(part)),
            });
        }
        let begun = schedule.start(epoch).after(Duration::from_secs(10));
        self.wait(begun.since(self.now.wall));
        assert!(self.node.stats().listed);
    }

    /// The provider is killed, and starts again over what disk and memory have.
    pub fn kill(mut self) -> Self {
        let regions = self.node.into_regions();
        self.disk.crash();
        let [a, b] = <[Vec<u8>; 2]>::try_from(regions).unwrap();
        let mut follower = Follower::new(self.authorities.trusted());
        let bundle = self.consensus.bundle().to_bytes();
        follower.offer(self.now.wall, &bundle).unwrap();
        let node = Provider::new(
            config(),
            follower,
            [a, b],
            &mut self.keys,
            &Secret::new([10; 32]),
            self.now,
        )
        .unwrap();
        let mut rig = Self {
            node,
            clerk: clerk(&self.disk),
            sent: Vec::new(),
            dialed: BTreeMap::new(),
            syncs: Vec::new(),
            done: VecDeque::new(),
            key_jobs: VecDeque::new(),
            ..self
        };
        rig.wait(Duration::from_secs(1));
        rig
    }

    pub fn stats(&self) -> Stats {
        let stats = self.node.stats();
        assert!(stats.balances(), "{stats:?}");
        stats
    }

    pub fn dropped(&self, reason: &str) -> u64 {
        self.stats().dropped.get(reason).copied().unwrap_or(0)
    }

    // Time and frames.

    pub fn wait(&mut self, duration: Duration) {
        let end = self.now.instant.after(duration);
        loop {
            let synced = self.syncs.first().map(|(at, ..)| *at);
            let done = self.done.front().map(|(at, _)| *at);
            let keys = self.key_jobs.front().map(|(at, _)| *at);
            let due = [self.node.poll_timeout(), synced, done, keys];
            let next = due.into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.pass(at);
            if synced == Some(at) {
                let (_, ticket, point) = self.syncs.remove(0);
                self.disk.end_sync(point);
                self.clerk.synced(ticket, true);
                self.tend_desk();
            } else if keys == Some(at) {
                let (_, job) = self.key_jobs.pop_front().unwrap();
                let done = job.run(&mut self.keys);
                self.input(Input::Command(Command::Keys(done)));
            } else if done == Some(at) {
                let (_, done) = self.done.pop_front().unwrap();
                self.input(Input::Command(Command::Desk(done)));
            } else {
                self.input(Input::Timeout);
            }
        }
        self.pass(end);
    }

    fn pass(&mut self, to: Instant) {
        let passed = to.since(self.now.instant);
        self.now.instant = self.now.instant.after(passed);
        // Whole milliseconds of the wall, without drift.
        self.now.wall = Wall::from_millis(
            first_wall_ms(&self.authorities) + self.now.instant.as_nanos() / 1_000_000,
        );
    }

    pub fn input(&mut self, input: Input<Command>) {
        self.node.handle(self.now, input);
        let mut owed = Vec::new();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Dial { link, target } => {
                    self.dialed.insert(target.key, link);
                    owed.push((link, target.key));
                }
                Output::Send { link, frame } => {
                    let late = self.drained && matches!(frame, Frame::Packet(_));
                    assert!(!late, "the shell may have ended at the effect");
                    self.note(link, frame);
                }
                Output::Close { link } => self.closed.push(link),
                Output::Effect(Effect::Keys(job)) => {
                    let at = self.now.instant.after(self.key_disk);
                    self.key_jobs.push_back((at, job));
                    assert_eq!(self.key_jobs.len(), 1, "one at a time");
                }
                Output::Effect(Effect::Desk(job)) => self.desk_job(job),
                Output::Effect(Effect::Drained) => self.drained = true,
                Output::Effect(_) => {}
            }
        }
        for (link, key) in owed {
            let remote = Remote::Node(key);
            self.input(Input::Up { link, remote });
            self.hello_of_node(link);
        }
    }

    /// The desk works on a thread of its own: what its disk takes is not the node's time.
    fn desk_job(&mut self, job: Job) {
        self.clerk.handle(job);
        self.tend_desk();
    }

    fn tend_desk(&mut self) {
        let begins = self.desk_free.max(self.now.instant);
        self.desk_free = begins.after(self.disk.take_spent());
        if self.in_loop {
            self.pass(self.desk_free);
        }
        while let Some(done) = self.clerk.poll_done() {
            self.done.push_back((self.desk_free, done));
        }
        if let Some(ticket) = self.clerk.poll_sync() {
            let at = self.desk_free.after(self.sync);
            self.syncs.push((at, ticket, self.disk.begin_sync()));
        }
    }

    fn note(&mut self, link: LinkId, frame: Frame) {
        if let Frame::Descriptor(part) = frame {
            if let Some(descriptor) = self.assembler.push(*part).unwrap() {
                self.descriptor = Some(descriptor);
            }
            return;
        }
        self.sent.push((self.now.instant, link, frame));
    }

    pub fn frame(&mut self, link: LinkId, frame: Frame) {
        self.input(Input::Frame { link, frame });
    }

    fn hello_of_node(&mut self, link: LinkId) {
        let hello = Hello::Node {
            version: Hello::VERSION,
            consensus: ConsensusHash::from_bytes([0; 32]),
            time: self.now.wall,
        };
        self.frame(link, Frame::Hello(hello));
    }

    fn accept(&mut self, remote: Remote) -> LinkId {
        self.links += 1;
        let link = LinkId::accepted(self.links);
        self.input(Input::Up { link, remote });
        link
    }

    /// A client's link, up.
    pub fn client_link(&mut self) -> LinkId {
        self.accept(Remote::Anonymous)
    }

    /// A client's session.
    pub fn client(&mut self, address: u8, profile: u8) -> LinkId {
        let link = self.client_link();
        self.hello_of_client(link, address, profile);
        link
    }

    pub fn hello_of_client(&mut self, link: LinkId, address: u8, profile: u8) {
        let hello = Hello::Client {
            version: Hello::VERSION,
            consensus: ConsensusHash::from_bytes([0; 32]),
            session: SessionAddress::from_bytes([address; 32]),
            profile,
        };
        self.frame(link, Frame::Hello(hello));
    }

    /// A link on which a mix of this layer sends to us.
    pub fn mix_link(&mut self, layer: u8) -> LinkId {
        let key = self.mix(layer).link;
        let link = self.accept(Remote::Node(key));
        self.hello_of_node(link);
        link
    }

    // Packets.

    pub fn mix(&self, layer: u8) -> NodeEntry {
        self.consensus.mixes(Layer::new(layer))[0].clone()
    }

    pub fn other_provider(&self) -> NodeId {
        let others = self.consensus.providers().iter();
        others
            .map(|n| n.id)
            .find(|id| *id != self.node.id())
            .unwrap()
    }

    fn hops(&self, nodes: &[NodeId], delay: Duration) -> Vec<Hop> {
        let epoch = self.consensus.schedule().epoch_at(self.now.wall);
        let hop = |node: &NodeId| Hop {
            node: *node,
            key: self.consensus.key(node, epoch).unwrap(),
            delay,
        };
        nodes.iter().map(hop).collect()
    }

    /// A packet as its first hop of `nodes` gets it.
    pub fn packet(
        &mut self,
        nodes: &[NodeId],
        delay: Duration,
        to: &Destination,
        payload: &[u8; 2048],
    ) -> Packet {
        let route = Route::exactly(self.hops(nodes, delay), nodes.len()).unwrap();
        build(&route, to, payload, &mut self.rng).unwrap()
    }

    /// A packet of a client, through us and the layers to the other provider.
    pub fn through_us(&mut self, delay: Duration) -> Frame {
        let [a, b, c] = [0, 1, 2].map(|layer| self.mix(layer).id);
        let nodes = [self.node.id(), a, b, c, self.other_provider()];
        let packet = self.packet(&nodes, delay, &Destination::REQUEST, &[0; 2048]);
        Frame::Packet(packet.into_bytes())
    }

    /// A packet that ends at us, as the last layer hands it over.
    pub fn ending_here(&mut self, to: &Destination, payload: &[u8; 2048]) -> Frame {
        let me = self.node.id();
        let packet = self.packet(&[me], Duration::ZERO, to, payload);
        Frame::Packet(packet.into_bytes())
    }

    /// A SURB through the layers, ending at `last`.
    pub fn surb(&mut self, last: NodeId, session: u8) -> (Surb, SurbSecret, Destination) {
        let [a, b, c] = [0, 1, 2].map(|layer| self.mix(layer).id);
        let hops = self.hops(&[a, b, c, last], Duration::from_millis(1));
        let route = Route::reply(hops, 3).unwrap();
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let to = Destination {
            session: SessionAddress::from_bytes([session; 32]),
            surb: SurbId::from_bytes(id),
        };
        let (surb, secret) = build_surb(&route, &to, &mut self.rng).unwrap();
        (surb, secret, to)
    }

    /// Sends a request as the last layer does; what opens its reply.
    pub fn request(
        &mut self,
        link: LinkId,
        make: impl FnOnce(&Surb, NodeId) -> Request,
    ) -> SurbSecret {
        let last = self.other_provider();
        let (surb, secret, _) = self.surb(last, 7);
        let request = make(&surb, self.node.id());
        let payload = encode_request(&request, &surb, &mut self.rng);
        let frame = self.ending_here(&Destination::REQUEST, &payload);
        self.frame(link, frame);
        secret
    }

    /// The packets that left for the first layer since last asked, with their times.
    pub fn take_left(&mut self) -> Vec<(Instant, Packet)> {
        let first = self.dialed[&self.mix(0).link];
        let mut packets = Vec::new();
        self.sent.retain(|(at, link, frame)| match frame {
            Frame::Packet(bytes) if *link == first => {
                packets.push((*at, Packet::from_bytes(bytes.clone())));
                false
            }
            _ => true,
        });
        packets
    }

    /// Unwraps a packet of the first layer hop by hop, and opens the reply in it.
    pub fn open_reply(&self, packet: Packet, secret: &SurbSecret) -> Reply {
        let mut packet = packet;
        let mut node = self.mix(0).id;
        loop {
            let cap = Duration::from_secs(3_600);
            match unwrap(packet, &self.secrets[&node], cap).unwrap().content {
                Unwrapped::Forward {
                    next, packet: p, ..
                } => {
                    node = next;
                    packet = p;
                }
                Unwrapped::Final { payload, .. } => {
                    assert_eq!(node, self.other_provider());
                    return parse_reply(&secret.open(payload.sealed()).unwrap()).unwrap();
                }
            }
        }
    }

    /// Unwraps a packet up to us: what the last layer hands over.
    pub fn mixed_to_us(&self, packet: Packet) -> Frame {
        let mut packet = packet;
        let mut node = self.mix(0).id;
        while node != self.node.id() {
            let cap = Duration::from_secs(3_600);
            let opened = unwrap(packet, &self.secrets[&node], cap).unwrap();
            let Unwrapped::Forward {
                next, packet: p, ..
            } = opened.content
            else {
                panic!("it ends at {node}");
            };
            node = next;
            packet = p;
        }
        Frame::Packet(packet.into_bytes())
    }

    /// What a mix of this layer finds in a packet.
    pub fn open_at_mix(&self, layer: u8, packet: Packet) -> Unwrapped {
        let secret = &self.secrets[&self.mix(layer).id];
        unwrap(packet, secret, Duration::from_secs(3_600))
            .unwrap()
            .content
    }

    /// A SURB over any nodes.
    pub fn surb_over(&mut self, nodes: &[NodeId]) -> Surb {
        let hops = self.hops(nodes, Duration::ZERO);
        let route = Route::exactly(hops, nodes.len()).unwrap();
        let to = Destination {
            session: SessionAddress::from_bytes([1; 32]),
            surb: SurbId::from_bytes([1; 16]),
        };
        build_surb(&route, &to, &mut self.rng).unwrap().0
    }

    pub fn trusted(&self) -> whist_netdoc::TrustedAuthorities {
        self.authorities.trusted()
    }

    /// The link to one of the authorities.
    pub fn authority(&self) -> LinkId {
        self.dialed[&self.authorities.link(0).unwrap().public()]
    }

    /// What was sent to a link since last asked.
    pub fn sent_to(&mut self, link: LinkId) -> Vec<(Instant, Frame)> {
        let (mine, rest) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, to, _)| *to == link);
        self.sent = rest;
        mine.into_iter().map(|(at, _, frame)| (at, frame)).collect()
    }

    pub fn epoch(&self) -> Epoch {
        self.consensus.schedule().epoch_at(self.now.wall)
    }
}

fn first_wall_ms(authorities: &Authorities) -> u64 {
    let start = authorities.trusted().schedule().start(FIRST);
    start.as_millis() + 600_000
}

/// The owner of a mailbox.
pub struct Owner(SigningKey);

impl Owner {
    pub fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub fn mailbox(&self) -> MailboxKey {
        MailboxKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs a request for this SURB and provider.
    pub fn sign(&self, mut request: Request, surb: &Surb, provider: &NodeId) -> Request {
        let bytes = signing_bytes(&request, &surb.hash(), provider);
        let signature = self.0.sign(&bytes).to_bytes();
        match &mut request {
            Request::Get(get) => get.signature = signature,
            Request::Create(create) => create.signature = signature,
            Request::Add(add) => add.signature = signature,
            Request::Revoke(revoke) => revoke.signature = signature,
            _ => {}
        }
        request
    }
}
