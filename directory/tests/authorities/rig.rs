//! Four authorities, their links and a clock in one value.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use whist_directory::{Authority, Command, Effect, Event, Ignored, Record, Saved, Setup};
use whist_link::{Frame, Hello, Input, LinkId, Output, Remote, Role, split};
use whist_netdoc::testing::Authorities;
use whist_netdoc::{
    AuthoritySecret, Consensus, Descriptor, IdentitySecret, Kind, LinkSecret, LoopReport,
    Parameters, Proposal, SignedHeader,
};
use whist_types::{ConsensusHash, Epoch, Family, Instant, LinkKey, Now, Secret, SphinxKey, Wall};

pub(crate) const LENGTH: u64 = 10_000;
pub(crate) const GENESIS: u64 = 1_000_000;

pub(crate) fn wall(epoch: u64, permille: u64) -> Wall {
    Wall::from_millis(GENESIS + epoch * LENGTH + permille * LENGTH / 1_000)
}

/// A node's keys, all of its number.
pub(crate) struct Node {
    pub(crate) identity: IdentitySecret,
    pub(crate) link: LinkSecret,
    pub(crate) kind: Kind,
    pub(crate) number: u8,
}

impl Node {
    pub(crate) fn new(number: u8, kind: Kind) -> Self {
        Self {
            identity: IdentitySecret::from_seed(&Secret::new([number; 32])),
            link: LinkSecret::from_seed(&Secret::new([number ^ 0x80; 32])),
            kind,
            number,
        }
    }

    pub(crate) fn descriptor(&self, epoch: u64, load: u32) -> Vec<u8> {
        let descriptor = Descriptor {
            epoch: Epoch::new(epoch),
            identity: self.identity.public(),
            link: self.link.public(),
            // Bit 255 of a key is clear.
            keys: [SphinxKey::from_bytes([self.number & 0x7f; 32]); 4],
            address: format!("node-{}:9000", self.number),
            kind: self.kind,
            family: Family::from_bytes([self.number; 32]),
            capacity: 100,
            load,
            loops: LoopReport::default(),
        };
        let signed = descriptor.sign(&self.identity, &self.link);
        signed.as_bytes().to_vec()
    }
}

/// One end of a link: of which party, under which name.
pub(crate) type End = (usize, LinkId);

/// Authorities 0–3 as parties 0–3; whoever the test plays is a party above.
pub(crate) struct Rig {
    pub(crate) keys: Authorities,
    pub(crate) nodes: Vec<Node>,
    pub(crate) running: Vec<Option<Authority>>,
    pub(crate) disks: Vec<BTreeMap<Record, Vec<u8>>>,
    /// Writes that are not durable yet, where the test holds them back.
    pub(crate) pending: Vec<VecDeque<(u64, Record, Vec<u8>)>>,
    pub(crate) hold_disk: BTreeSet<usize>,
    pub(crate) links: BTreeMap<End, End>,
    pub(crate) accepted: u64,
    pub(crate) inputs: VecDeque<(usize, Input<Command>)>,
    pub(crate) events: Vec<(usize, Event)>,
    /// What parties above 3 got.
    pub(crate) received: BTreeMap<End, Vec<Frame>>,
    /// Pairs of authorities that cannot reach each other.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) now: Now,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let parameters = Parameters::demo();
        let keys = Authorities::new(5, 4, parameters, Wall::from_millis(GENESIS));
        let kind = |n: u8| if n < 6 { Kind::Mix } else { Kind::Provider };
        let mut rig = Self {
            keys,
            nodes: (0..9).map(|n| Node::new(n + 1, kind(n))).collect(),
            running: (0..4).map(|_| None).collect(),
            disks: vec![BTreeMap::new(); 4],
            pending: vec![VecDeque::new(); 4],
            hold_disk: BTreeSet::new(),
            links: BTreeMap::new(),
            accepted: 0,
            inputs: VecDeque::new(),
            events: Vec::new(),
            received: BTreeMap::new(),
            cut: BTreeSet::new(),
            now: Now {
                instant: Instant::from_nanos(1),
                wall: wall(0, 100),
            },
        };
        for i in 0..4 {
            rig.start(i);
        }
        // Until all links are up.
        rig.run_to(wall(0, 200));
        rig
    }

    pub(crate) fn secret(&self, i: usize) -> AuthoritySecret {
        // The same derivation as the rig's keys: an authority is handed its own.
        let mut hasher = blake3::Hasher::new_derive_key("whist 2026 testing authority");
        hasher.update(&5u64.to_be_bytes());
        hasher.update(&(i as u64).to_be_bytes());
        AuthoritySecret::from_seed(&Secret::new(*hasher.finalize().as_bytes()))
    }

    pub(crate) fn start(&mut self, i: usize) {
        let setup = Setup {
            trusted: self.keys.trusted(),
            secret: self.secret(i),
            parameters: self.keys.parameters().clone(),
            admitted: self.nodes.iter().map(|n| n.identity.public()).collect(),
        };
        let saved = Saved {
            signed: self.disks[i].get(&Record::Signed).cloned(),
            chain: self.disks[i].get(&Record::Chain).cloned(),
        };
        let authority = Authority::new(setup, &saved, &Secret::new([i as u8; 32])).unwrap();
        assert_eq!(usize::from(authority.index()), i);
        self.running[i] = Some(authority);
        self.inputs.push_back((i, Input::Timeout));
        self.settle();
    }

    /// Ends an authority; writes that were not durable are lost.
    pub(crate) fn kill(&mut self, i: usize) {
        self.running[i] = None;
        self.pending[i].clear();
        let ends: Vec<End> = self
            .links
            .keys()
            .filter(|end| end.0 == i)
            .copied()
            .collect();
        for end in ends {
            self.cut_link(end);
        }
        self.settle();
    }

    pub(crate) fn cut_link(&mut self, end: End) {
        if let Some(other) = self.links.remove(&end) {
            self.links.remove(&other);
            self.inputs
                .push_back((other.0, Input::Down { link: other.1 }));
        }
    }

    pub(crate) fn settle(&mut self) {
        for i in 0..4 {
            self.drain(i);
        }
        while let Some((party, input)) = self.inputs.pop_front() {
            if let Some(Some(authority)) = self.running.get_mut(party) {
                authority.handle(self.now, input);
                self.drain(party);
            } else if let Input::Frame { link, frame } = input {
                self.received.entry((party, link)).or_default().push(frame);
            }
        }
    }

    pub(crate) fn drain(&mut self, i: usize) {
        while let Some(output) = self.running[i].as_mut().and_then(Role::poll_output) {
            match output {
                Output::Dial { link, target } => self.dial(i, link, &target.key),
                Output::Send { link, frame } => {
                    if let Some((to, link)) = self.links.get(&(i, link)).copied() {
                        // Through its bytes, as on a wire.
                        let frame = Frame::decode(&frame.encode()).unwrap();
                        self.inputs.push_back((to, Input::Frame { link, frame }));
                    }
                }
                Output::Close { link } => self.cut_link((i, link)),
                Output::Effect(Effect::Event(event)) => self.events.push((i, event)),
                Output::Effect(Effect::Save {
                    ticket,
                    record,
                    bytes,
                }) => {
                    self.pending[i].push_back((ticket, record, bytes));
                    if !self.hold_disk.contains(&i) {
                        self.sync(i);
                    }
                }
            }
        }
    }

    pub(crate) fn sync(&mut self, i: usize) {
        while let Some((ticket, record, bytes)) = self.pending[i].pop_front() {
            self.disks[i].insert(record, bytes);
            self.inputs
                .push_back((i, Input::Command(Command::Saved { ticket })));
        }
    }

    pub(crate) fn dial(&mut self, from: usize, link: LinkId, key: &LinkKey) {
        let to = usize::from(self.keys.trusted().index_of_link(key).unwrap());
        let pair = (from.min(to), from.max(to));
        if self.running[to].is_none() || self.cut.contains(&pair) {
            self.inputs.push_back((from, Input::Down { link }));
            return;
        }
        let own = self.keys.trusted().authorities()[from].link;
        self.connect((from, link), to, own);
        let remote = Remote::Node(*key);
        self.inputs.push_back((from, Input::Up { link, remote }));
    }

    /// Accepts a link at `to` from a party that proved `key`.
    pub(crate) fn connect(&mut self, from: End, to: usize, key: LinkKey) {
        self.accepted += 1;
        let link = LinkId::accepted(self.accepted);
        self.links.insert(from, (to, link));
        self.links.insert((to, link), from);
        let remote = Remote::Node(key);
        self.inputs.push_back((to, Input::Up { link, remote }));
    }

    /// The test plays a peer with this key at authority `to`; it greets at once.
    pub(crate) fn play(&mut self, party: usize, to: usize, key: LinkKey) -> End {
        let end = (party, LinkId::dialed(self.accepted));
        self.connect(end, to, key);
        let hello = Frame::Hello(Hello::Node {
            version: Hello::VERSION,
            consensus: ConsensusHash::from_bytes([0; 32]),
            time: self.now.wall,
        });
        self.say(end, [hello]);
        end
    }

    pub(crate) fn say(&mut self, from: End, frames: impl IntoIterator<Item = Frame>) {
        self.settle();
        if let Some((to, link)) = self.links.get(&from).copied() {
            for frame in frames {
                self.inputs.push_back((to, Input::Frame { link, frame }));
            }
        }
        self.settle();
    }

    pub(crate) fn upload(&mut self, node: usize, to: usize, descriptor: &[u8]) -> End {
        let key = self.nodes[node].link.public();
        let end = self.play(10 + node, to, key);
        let frame = |part| Frame::Descriptor(Box::new(part));
        self.say(end, split(1, descriptor).into_iter().map(frame));
        end
    }

    /// All nodes upload for `epoch`, each to one authority that runs.
    pub(crate) fn describe(&mut self, epoch: u64) {
        let up: Vec<usize> = (0..4).filter(|i| self.running[*i].is_some()).collect();
        for node in 0..self.nodes.len() {
            let descriptor = self.nodes[node].descriptor(epoch, 0);
            let end = self.upload(node, up[node % up.len()], &descriptor);
            self.cut_link(end);
        }
        self.settle();
    }

    /// Runs every deadline up to `until`.
    pub(crate) fn run_to(&mut self, until: Wall) {
        loop {
            let due = (0..4)
                .filter_map(|i| Some((self.running[i].as_ref()?.poll_timeout()?, i)))
                .min();
            let end = self.now.instant_of(until);
            let Some((at, i)) = due.filter(|(at, _)| *at <= end) else {
                self.set(end);
                return;
            };
            // A deadline in the past means at once; time goes on all the same.
            let at = at.max(self.now.instant.after(Duration::from_millis(1)));
            self.set(at);
            self.inputs.push_back((i, Input::Timeout));
            self.settle();
        }
    }

    pub(crate) fn set(&mut self, instant: Instant) {
        let step = instant.since(self.now.instant);
        self.now.wall = self.now.wall.after(step);
        self.now.instant = instant;
    }

    pub(crate) fn newest(&self, i: usize) -> Option<&Consensus> {
        let follower = self.running[i].as_ref()?.follower();
        follower.newest().map(|newest| &**newest)
    }

    pub(crate) fn epochs(&self) -> Vec<Option<u64>> {
        (0..4)
            .map(|i| self.newest(i).map(|c| c.epoch().number()))
            .collect()
    }

    pub(crate) fn signed(&self, i: usize) -> Vec<ConsensusHash> {
        let hash = |(who, event): &(usize, Event)| match event {
            Event::Signed { hash, .. } if *who == i => Some(*hash),
            _ => None,
        };
        self.events.iter().filter_map(hash).collect()
    }

    pub(crate) fn ignored(&self, i: usize) -> Vec<Ignored> {
        let why = |(who, event): &(usize, Event)| match event {
            Event::Ignored(why) if *who == i => Some(*why),
            _ => None,
        };
        self.events.iter().filter_map(why).collect()
    }

    /// Header with a signature of `author` over a document that it made up.
    pub(crate) fn forged(&self, author: u8, epoch: u64, weight: u32) -> Vec<u8> {
        let mut nodes = whist_netdoc::testing::entries(3, 1, 3);
        nodes[0].weight = weight;
        let proposal = self.keys.propose(Epoch::new(epoch), nodes).unwrap();
        self.lone(&proposal, author)
    }

    pub(crate) fn lone(&self, proposal: &Proposal, author: u8) -> Vec<u8> {
        let signatures = self.keys.sign(proposal, &[author]);
        SignedHeader::new(proposal.header().clone(), signatures).to_bytes()
    }

    /// Plays authority `author` towards authority `to`.
    pub(crate) fn play_authority(&mut self, author: usize, to: usize) -> End {
        let key = self.keys.trusted().authorities()[author].link;
        self.play(30 + author, to, key)
    }

    pub(crate) fn send_signature(&mut self, end: End, signature: &[u8]) {
        let frame = |part| Frame::Signature(Box::new(part));
        self.say(end, split(7, signature).into_iter().map(frame));
    }
}
