//! A puppet's role: a node that keeps up with the network and sends what it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand_core::SeedableRng;
use whist_link::{
    Assembler, Backoff, Dialer, DocGet, Frame, Hello, Input, LinkId, Output, Role, Target, split,
};
use whist_netdoc::{
    Accepted, Descriptor, Follower, IdentitySecret, KEY_EPOCHS, Kind, LinkSecret, LoopReport,
    NodeRole, TrustedAuthorities,
};
use whist_packet::{Packet, SphinxSecret};
use whist_timing::Rng;
use whist_types::{Epoch, Family, Instant, Layer, NodeId, Now, Secret};

use super::relay::{Found, open};
use super::stage::Note;

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
/// A puppet's keys; its Sphinx keys of all epochs follow from one.
pub(super) struct Keys {
    pub(super) identity: Secret<32>,
    pub(super) link: Secret<32>,
    pub(super) sphinx: Secret<32>,
}

/// What a puppet is told to do.
pub(super) enum Command {
    /// To hand these to the program under test.
    Send(Vec<Packet>),
    /// To hand in again what the tape holds already.
    Again(Vec<Packet>),
    /// To open a packet that another puppet passed on.
    Open(Packet),
}

/// A packet for the program under test, and whether the tape is to take it down.
struct Waiting {
    packet: Packet,
    recorded: bool,
}

/// The role.
pub(super) struct Act {
    me: NodeId,
    kind: Kind,
    keys: Keys,
    family: Family,
    address: String,
    rng: Rng,
    target: NodeId,
    authorities: Dialer<u8>,
    incoming: BTreeMap<LinkId, Assembler>,
    follower: Follower,
    described: Option<(Epoch, Vec<u8>)>,
    ask_at: Instant,
    neighbour: Dialer<NodeId>,
    outbox: VecDeque<Waiting>,
    burst_at: Instant,
    outputs: VecDeque<Output<Note>>,
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

impl Act {
    pub(super) fn new(
        keys: Keys,
        kind: Kind,
        family: Family,
        address: String,
        trusted: TrustedAuthorities,
        target: NodeId,
    ) -> Self {
        Self {
            me: IdentitySecret::from_seed(&keys.identity).public().node_id(),
            kind,
            family,
            address,
            rng: Rng::from_seed(*keys.sphinx.expose()),
            keys,
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
        }
    }

    fn sphinx(&self, epoch: Epoch) -> SphinxSecret {
        let bytes = [
            &self.keys.sphinx.expose()[..],
            &epoch.number().to_be_bytes(),
        ]
        .concat();
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
                let packet = Packet::from_bytes(bytes);
                self.note(Note::Came(packet.clone()));
                self.packet(now, &packet);
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

    /// Opens a packet under the keys that are accepted now, and passes on what is for others.
    fn packet(&mut self, now: Now, packet: &Packet) {
        let (likelier, other) = self.follower.trusted().schedule().accepted(now.wall);
        for epoch in [Some(likelier), other].into_iter().flatten() {
            let (secret, held) = (self.sphinx(epoch), self.follower.hash());
            match open(packet, &secret, &held, &mut self.rng) {
                Found::Nothing => {}
                Found::Mark(mark) => return self.note(Note::Arrived(Some(mark))),
                Found::Pass(next, packet) => {
                    self.note(Note::Arrived(None));
                    if next == self.target {
                        self.take(vec![packet], true);
                    } else {
                        self.note(Note::Passed(next, packet));
                    }
                    return;
                }
            }
        }
        self.note(Note::Arrived(None));
    }

    fn take(&mut self, packets: Vec<Packet>, recorded: bool) {
        let waiting = packets.into_iter();
        self.outbox
            .extend(waiting.map(|packet| Waiting { packet, recorded }));
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
            IdentitySecret::from_seed(&self.keys.identity),
            LinkSecret::from_seed(&self.keys.link),
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
            loops: LoopReport::default(),
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
            let Some(Waiting { packet, recorded }) = self.outbox.pop_front() else {
                return;
            };
            if recorded {
                self.note(Note::Handed(now.wall, packet.clone()));
            }
            let frame = Frame::Packet(packet.into_bytes());
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
                if let Frame::Packet(bytes) = frame {
                    let packet = Packet::from_bytes(bytes);
                    let recorded = false; // it was when it was handed over first
                    self.outbox.push_front(Waiting { packet, recorded });
                }
                self.burst_at = now.instant.after(BURST_GAP);
            }
            Input::Timeout => {}
            Input::Command(Command::Send(packets)) => self.take(packets, true),
            Input::Command(Command::Again(packets)) => self.take(packets, false),
            Input::Command(Command::Open(packet)) => self.packet(now, &packet),
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
