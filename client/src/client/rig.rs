//! A rig for tests: clients, a clock, and behind them a network of one thread that unwraps real
//! packets with all keys and answers requests like a provider that may be made to misbehave.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a rig for tests"
)]

mod provider;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rand_core::{Rng as _, SeedableRng as _};
use whist_link::{Frame, Hello, Input, LinkId, Output, Remote, Reply, Role, split};
use whist_netdoc::{Follower, NodeEntry, Parameters, testing};
use whist_packet::request::{encode_reply, parse_request};
use whist_packet::{Packet, SphinxSecret, Unwrapped, unwrap};
use whist_timing::Rng;
use whist_types::{
    ConsensusHash, DropId, Epoch, Instant, MailboxAddress, MailboxKey, NodeId, Now, Secret,
    SessionAddress, Wall,
};

use crate::api::{Command, Effect, Event};
use crate::call::{Answer, Call};
use crate::client::Client;
use crate::rows::{Batch, Rows};
use crate::rpc::RpcError;

const GENESIS_S: u64 = 1_800_000_000;
const COMMIT: Duration = Duration::from_millis(3);
/// Tags of calls that a test awaits at once.
const ASKED_TAGS: u64 = 50_000;
const WIRE: Duration = Duration::from_millis(1);

/// One packet as the network saw it: time, hops and delays up to the last mix, and the reply's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) forward: Vec<(NodeId, Duration)>,
    pub(super) reply: Vec<(NodeId, Duration)>,
}

pub(super) struct Side {
    pub(super) client: Option<Client>,
    pub(super) disk: Rows,
    pending: BTreeMap<u64, Batch>,
    link: Option<LinkId>,
    peer: Option<whist_types::LinkKey>,
    session: SessionAddress,
    pub(super) events: Vec<Event>,
    pub(super) seen: Vec<Seen>,
    pub(super) commands: Vec<(Instant, &'static str, NodeId)>,
    pub(super) dials: Vec<whist_types::LinkKey>,
    /// Words that no batch should hold, and how many did: all that is ever given to the disk, as
    /// the vault's key opens it.
    pub(super) watch: Vec<&'static str>,
    pub(super) hits: usize,
    /// How far the own clock is ahead.
    pub(super) ahead: Duration,
    life: u64,
    /// Batches that were put out, and those that became durable.
    pub(super) commits: [u64; 2],
    /// How often it asked for fresh randomness.
    pub(super) refreshed: u64,
}

enum Due {
    Committed {
        side: usize,
        life: u64,
        ticket: crate::api::Ticket,
    },
    Fresh {
        side: usize,
        life: u64,
    },
    Stretched {
        side: usize,
        life: u64,
        tag: u64,
        secret: Option<std::sync::Arc<Secret<32>>>,
    },
    Request {
        side: usize,
        exit: NodeId,
        payload: Box<[u8; 2_048]>,
    },
    Reply {
        side: usize,
        reply: Box<Reply>,
    },
    Frame {
        side: usize,
        frame: Box<Frame>,
    },
    Up {
        side: usize,
        link: LinkId,
        life: u64,
    },
}

type Kept = (MailboxAddress, Box<[u8; 1_536]>, Instant);
type Drop = (Box<[u8; 1_554]>, Option<[u8; 32]>);

#[derive(Default)]
struct MailboxAt {
    items: BTreeMap<u64, Kept>,
    next: u64,
}

/// How the network behaves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weather {
    /// Share of packets lost, either way, in 256ths.
    pub(super) loss: u8,
    /// Items are handed out again and again, and `PUT`s are stored as often as they come.
    pub(super) doubles: bool,
    /// Commits never become durable.
    pub(super) dead_disk: bool,
    /// Items of higher numbers are handed out first.
    pub(super) reversed: bool,
    /// Drops are given to everybody.
    pub(super) open_drops: bool,
    /// No `PUT` is answered.
    pub(super) silent: bool,
    /// A node that loses all packets of clients.
    pub(super) hole: Option<NodeId>,
}

pub(super) struct Rig {
    pub(super) now: Now,
    pub(super) weather: Weather,
    /// Whether the routes of replies are looked at, which is a third of a packet's work.
    pub(super) replies_seen: bool,
    /// A provider that cannot be reached.
    pub(super) dead: Option<whist_types::LinkKey>,
    pub(super) sides: Vec<Side>,
    pub(super) nodes: Vec<NodeEntry>,
    secrets: HashMap<NodeId, SphinxSecret>,
    authorities: testing::Authorities,
    directory: Follower,
    due: BTreeMap<(Instant, u64), Due>,
    numbered: u64,
    mailboxes: HashMap<MailboxKey, MailboxAt>,
    addresses: HashMap<MailboxAddress, MailboxKey>,
    drops: HashMap<DropId, Drop>,
    /// Every item that was put, by its nonce.
    nonces: HashMap<[u8; 12], [u8; 32]>,
    /// Another document of the same epoch, which replies name instead of the true one.
    fork: Option<(ConsensusHash, Vec<u8>)>,
    rng: Rng,
}

pub(super) fn parameters() -> Parameters {
    Parameters {
        epoch_ms: 3_600_000,
        key_window_ms: 120_000,
        // A third of the demo's: what tests wait for are mostly times and not numbers of packets.
        profile_mean_ms: [300; 3],
        ..Parameters::demo()
    }
}

fn find(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|w| w == word.as_bytes())
}

impl Rig {
    pub(super) fn new(parameters: Parameters) -> Self {
        let mut rng = Rng::from_seed([42; 32]);
        let genesis = Wall::from_secs(GENESIS_S);
        let mut authorities = testing::Authorities::new(5, 4, parameters, genesis);
        let mut secrets = HashMap::new();
        let mut nodes = testing::entries(3, 3, 6);
        for node in &mut nodes {
            let secret = SphinxSecret::generate(&mut rng);
            node.keys = [secret.public(); 4];
            secrets.insert(node.id, secret);
        }
        authorities.set_providers(&nodes);
        let directory = Follower::new(authorities.trusted());
        let mut rig = Self {
            now: Now {
                instant: Instant::ZERO,
                wall: Wall::from_secs(GENESIS_S + 60),
            },
            weather: Weather::default(),
            replies_seen: false,
            dead: None,
            sides: Vec::new(),
            nodes,
            secrets,
            authorities,
            directory,
            due: BTreeMap::new(),
            numbered: 0,
            mailboxes: HashMap::new(),
            addresses: HashMap::new(),
            drops: HashMap::new(),
            nonces: HashMap::new(),
            fork: None,
            rng,
        };
        rig.publish(Epoch::new(0));
        rig
    }

    /// Makes the consensus of an epoch; links that come up later bring it.
    pub(super) fn publish(&mut self, epoch: Epoch) {
        let bundle = self.authorities.make(epoch, self.nodes.clone()).unwrap();
        let bytes = bundle.to_bytes();
        self.directory.offer(self.now.wall, &bytes).unwrap();
    }

    pub(super) fn add_client(&mut self, seed: u8) -> usize {
        let mut rng = Rng::from_seed([seed; 32]);
        let network = self.authorities.network();
        let disk = crate::first_rows(network, 1, self.now.wall, &mut rng);
        self.sides.push(Side {
            client: None,
            disk,
            pending: BTreeMap::new(),
            link: None,
            peer: None,
            session: SessionAddress::from_bytes([0; 32]),
            events: Vec::new(),
            seen: Vec::new(),
            commands: Vec::new(),
            dials: Vec::new(),
            watch: Vec::new(),
            hits: 0,
            ahead: Duration::ZERO,
            life: 0,
            commits: [0, 0],
            refreshed: 0,
        });
        let side = self.sides.len() - 1;
        self.start(side, seed);
        side
    }

    /// Starts a client from what its disk holds, after a kill if it was running.
    pub(super) fn start(&mut self, side: usize, seed: u8) {
        let mut now = self.now;
        now.wall = now.wall.after(self.sides[side].ahead);
        let it = &mut self.sides[side];
        it.life += 1;
        it.pending.clear();
        it.link = None;
        it.session = SessionAddress::from_bytes([0; 32]);
        it.client = Some(Client::new(now, &Secret::new([seed; 32]), &it.disk).unwrap());
        self.handle(side, Input::Timeout);
    }

    fn at(&mut self, wait: Duration, due: Due) {
        self.numbered += 1;
        let at = self.now.instant.after(wait);
        self.due.insert((at, self.numbered), due);
    }

    pub(super) fn ask(&mut self, side: usize, tag: u64, call: Call) {
        self.handle(side, Input::Command(Command::Ask { tag, call }));
    }

    /// Asks and gives the answer, which comes when the vault holds what it speaks of.
    pub(super) fn asked(&mut self, side: usize, call: Call) -> Result<Answer, RpcError> {
        let seen = u64::try_from(self.sides[side].events.len()).unwrap();
        let tag = ASKED_TAGS.saturating_add(seen);
        self.ask(side, tag, call);
        self.run(Duration::from_millis(10));
        self.answer(side, tag).unwrap()
    }

    /// The answer to a call, if it came.
    pub(super) fn answer(&self, side: usize, tag: u64) -> Option<Result<Answer, RpcError>> {
        self.sides[side]
            .events
            .iter()
            .find_map(|event| match event {
                Event::Answer { tag: t, answer } if *t == tag => Some((**answer).clone()),
                _ => None,
            })
    }

    pub(super) fn texts(&self, side: usize) -> Vec<(String, String)> {
        let texts = self.sides[side].events.iter();
        texts
            .filter_map(|event| match event {
                Event::Received { contact, text } => Some((contact.clone(), text.to_string())),
                _ => None,
            })
            .collect()
    }

    pub(super) fn handle(&mut self, side: usize, input: Input<Command>) {
        let mut now = self.now;
        now.wall = now.wall.after(self.sides[side].ahead);
        let Some(client) = self.sides[side].client.as_mut() else {
            return;
        };
        client.handle(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = client.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            self.output(side, output);
        }
    }

    fn output(&mut self, side: usize, output: Output<Effect>) {
        let life = self.sides[side].life;
        match output {
            Output::Dial { link, target } => {
                assert!(!target.identify);
                self.sides[side].dials.push(target.key);
                self.sides[side].peer = Some(target.key);
                self.at(WIRE, Due::Up { side, link, life });
            }
            Output::Close { link } => {
                if self.sides[side].link == Some(link) {
                    self.sides[side].link = None;
                }
            }
            Output::Send { link, frame } => {
                assert_eq!(self.sides[side].link, Some(link));
                self.frame(side, frame);
            }
            Output::Effect(Effect::Commit { ticket, batch }) => {
                let it = &mut self.sides[side];
                let holds = |bytes: &[u8]| it.watch.iter().any(|word| find(bytes, word));
                let held = batch
                    .changes()
                    .filter(|(_, key, value)| holds(key) || value.is_some_and(holds))
                    .count();
                it.hits += held;
                it.pending.insert(ticket.number(), batch);
                it.commits[0] += 1;
                if !self.weather.dead_disk {
                    self.at(COMMIT, Due::Committed { side, life, ticket });
                }
            }
            Output::Effect(Effect::Fresh) => {
                self.sides[side].refreshed += 1;
                self.at(Duration::ZERO, Due::Fresh { side, life });
            }
            Output::Effect(Effect::Stretch {
                tag,
                passphrase,
                salt,
            }) => {
                // As much of a key as a test needs, at no cost.
                let words = [passphrase.expose().as_bytes(), &salt].concat();
                let secret = Secret::new(blake3::derive_key("whist 2026 rig stretch v1", &words));
                let secret = Some(secret.into());
                self.at(
                    COMMIT,
                    Due::Stretched {
                        side,
                        life,
                        tag,
                        secret,
                    },
                );
            }
            Output::Effect(Effect::Event(event)) => self.sides[side].events.push(event),
        }
    }

    fn frame(&mut self, side: usize, frame: Frame) {
        match frame {
            Frame::Hello(Hello::Client {
                session, consensus, ..
            }) => {
                self.sides[side].session = session;
                let hello = Hello::Node {
                    version: Hello::VERSION,
                    consensus: self.directory.hash(),
                    time: self.now.wall,
                };
                let hello = Box::new(Frame::Hello(hello));
                self.at(WIRE, Due::Frame { side, frame: hello });
                let bundle = self
                    .directory
                    .bundle_for(&consensus, self.now.wall)
                    .unwrap();
                for (i, part) in (0_u32..).zip(split(1, &bundle)) {
                    let frame = Box::new(Frame::DocChunk(Box::new(part)));
                    self.at(WIRE * (2 + i), Due::Frame { side, frame });
                }
            }
            Frame::Packet(bytes) => self.packet(side, Packet::from_bytes(bytes)),
            other => panic!("a client sent {other:?}"),
        }
    }

    fn lost(&mut self) -> bool {
        self.rng.next_u32() % 256 < u32::from(self.weather.loss)
    }

    /// Carries a packet through all its hops.
    fn walk(
        &self,
        first: NodeId,
        mut packet: Packet,
    ) -> (Vec<(NodeId, Duration)>, NodeId, Unwrapped) {
        let (mut node, mut hops) = (first, Vec::new());
        loop {
            let cap = Duration::from_secs(3_600);
            match unwrap(packet, &self.secrets[&node], cap).unwrap().content {
                Unwrapped::Forward {
                    next,
                    delay,
                    packet: rest,
                } => {
                    hops.push((node, delay));
                    (node, packet) = (next, rest);
                }
                last @ Unwrapped::Final { .. } => return (hops, node, last),
            }
        }
    }

    fn packet(&mut self, side: usize, packet: Packet) {
        let peer = self.sides[side].peer;
        let entry = self.nodes.iter().find(|n| Some(n.link) == peer).unwrap().id;
        let (forward, exit, last) = self.walk(entry, packet);
        let Unwrapped::Final { to, payload } = last else {
            unreachable!()
        };
        assert!(to.is_request());
        let wait = forward.iter().map(|(_, delay)| *delay).sum();
        let seen = self.sides[side].seen.len();
        self.sides[side].seen.push(Seen {
            at: self.now.instant,
            forward,
            reply: Vec::new(),
        });
        let payload = payload.request().unwrap();
        let command = parse_request(&payload).unwrap().1.unwrap().command();
        let now = self.now.instant;
        let name: &'static str = match command {
            whist_packet::request::Command::Echo => "echo",
            whist_packet::request::Command::Put => "put",
            whist_packet::request::Command::Get => "get",
            whist_packet::request::Command::Create => "create",
            whist_packet::request::Command::Publish => "publish",
            whist_packet::request::Command::Fetch => "fetch",
            _ => "other",
        };
        self.sides[side].commands.push((now, name, exit));
        let hole = self.weather.hole;
        if self.replies_seen || hole.is_some() {
            // Now, so that losses do not hide it.
            let (surb, _) = parse_request(&payload).unwrap();
            let (first, reply) = surb.reply(&[0; 2_048]).unwrap();
            self.sides[side].seen[seen].reply = self.walk(first, reply).0;
        }
        let Seen { forward, reply, .. } = &self.sides[side].seen[seen];
        let swallowed = forward
            .iter()
            .chain(reply)
            .any(|(node, _)| Some(*node) == hole);
        if !self.lost() && !swallowed {
            self.at(
                wait,
                Due::Request {
                    side,
                    exit,
                    payload,
                },
            );
        }
    }

    fn request(&mut self, side: usize, exit: NodeId, payload: &[u8; 2_048]) {
        let (surb, request) = parse_request(payload).unwrap();
        let hash = surb.hash();
        let Some(body) = self.serve(exit, &hash, request.unwrap()) else {
            return;
        };
        let hash = self.fork.as_ref().map_or(self.directory.hash(), |f| f.0);
        let reply = encode_reply(&hash, &body, &mut self.rng);
        let (first, packet) = surb.reply(&reply).unwrap();
        let (hops, _, last) = self.walk(first, packet);
        let Unwrapped::Final { to, payload } = last else {
            unreachable!()
        };
        if self.lost() || to.session != self.sides[side].session {
            return;
        }
        let wait = hops.iter().map(|(_, delay)| *delay).sum();
        let reply = Box::new(Reply {
            session: to.session,
            surb: to.surb,
            payload: *payload.sealed(),
        });
        self.at(wait, Due::Reply { side, reply });
    }

    /// Runs for this long.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now.instant.after(time);
        self.run_until(end, |_| false);
    }

    /// Runs until something is true; panics if it does not become so in ten minutes.
    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = self.now.instant.after(Duration::from_secs(600));
        self.run_until(end, &done);
        let sides = self.sides.iter().filter_map(|s| s.client.as_ref());
        let all: Vec<_> = sides.map(|c| c.status(self.now)).collect();
        assert!(done(self), "{what} did not happen: {all:#?}");
    }

    pub(super) fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let timers = self.sides.iter().enumerate().filter_map(|(side, it)| {
                let at = it.client.as_ref()?.poll_timeout()?;
                Some((at.max(self.now.instant), side))
            });
            let timer = timers.min();
            let event = self.due.keys().next().copied();
            let next = match (timer, event) {
                (Some((at, _)), Some((due, _))) => at.min(due),
                (Some((at, _)), None) => at,
                (None, Some((due, _))) => due,
                (None, None) => end,
            };
            if next >= end {
                self.pass(end);
                return;
            }
            self.pass(next);
            match event {
                Some(key) if key.0 <= next => {
                    let due = self.due.remove(&key).unwrap();
                    self.happen(due);
                }
                _ => self.handle(timer.unwrap().1, Input::Timeout),
            }
        }
    }

    fn pass(&mut self, to: Instant) {
        self.now = Now {
            instant: to,
            wall: Wall::from_millis((GENESIS_S + 60) * 1_000 + to.as_nanos() / 1_000_000),
        };
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Committed { side, life, ticket } => {
                let it = &mut self.sides[side];
                if it.life != life {
                    return;
                }
                let batch = it.pending.remove(&ticket.number()).unwrap();
                it.disk.apply(&batch);
                it.commits[1] += 1;
                self.handle(side, Input::Command(Command::Committed { ticket }));
            }
            Due::Fresh { side, life } => {
                if self.sides[side].life == life {
                    let time = self.now.instant.as_nanos().to_be_bytes();
                    let seed = Secret::new(blake3::derive_key("whist 2026 rig fresh v1", &time));
                    let seed = seed.into();
                    self.handle(side, Input::Command(Command::Fresh { seed }));
                }
            }
            Due::Stretched {
                side,
                life,
                tag,
                secret,
            } => {
                if self.sides[side].life == life {
                    self.handle(side, Input::Command(Command::Stretched { tag, secret }));
                }
            }
            Due::Request {
                side,
                exit,
                payload,
            } => self.request(side, exit, &payload),
            Due::Reply { side, reply } => {
                if let Some(link) = self.sides[side].link
                    && self.sides[side].session == reply.session
                {
                    let frame = Frame::Reply(reply);
                    self.handle(side, Input::Frame { link, frame });
                }
            }
            Due::Frame { side, frame } => {
                if let Some(link) = self.sides[side].link {
                    self.handle(
                        side,
                        Input::Frame {
                            link,
                            frame: *frame,
                        },
                    );
                }
            }
            Due::Up { side, link, life } => {
                let it = &mut self.sides[side];
                if it.life == life && it.peer == self.dead {
                    self.handle(side, Input::Down { link });
                } else if it.life == life {
                    it.link = Some(link);
                    let remote = Remote::Node(it.peer.unwrap());
                    self.handle(side, Input::Up { link, remote });
                }
            }
        }
    }

    /// The link of a client falls.
    pub(super) fn cut(&mut self, side: usize) {
        if let Some(link) = self.sides[side].link.take() {
            self.handle(side, Input::Down { link });
        }
    }

    /// Two clients that know each other as "bob" (of the first) and "alice" (of the second).
    pub(super) fn pair(parameters: Parameters) -> (Self, usize, usize) {
        let mut rig = Self::new(parameters);
        let (alice, bob) = (rig.add_client(1), rig.add_client(2));
        rig.introduce(alice, bob);
        (rig, alice, bob)
    }

    pub(super) fn introduce(&mut self, alice: usize, bob: usize) {
        let invite = Call::Invite {
            name: "bob".into(),
            wait_s: 300,
        };
        self.ask(alice, 1_000, invite);
        self.until("the invitation", |rig| rig.answer(alice, 1_000).is_some());
        let Some(Ok(Answer::Invitation { invitation })) = self.answer(alice, 1_000) else {
            panic!("{:?}", self.answer(alice, 1_000));
        };
        let (name, now, wait_s) = ("alice".into(), false, 0);
        self.ask(
            bob,
            1_000,
            Call::Add {
                name,
                invitation,
                now,
                wait_s,
            },
        );
        let added = |rig: &Self, side: usize| {
            let mut events = rig.sides[side].events.iter();
            events.any(|e| matches!(e, Event::Added { .. }))
        };
        self.until("both contacts", |rig| added(rig, alice) && added(rig, bob));
    }

    pub(super) fn send(&mut self, side: usize, contact: &str, text: &str) {
        let (contact, text, wait_s) = (contact.into(), text.into(), 0);
        self.ask(
            side,
            0,
            Call::Send {
                contact,
                text,
                reply_to: None,
                wait_s,
            },
        );
    }
}
