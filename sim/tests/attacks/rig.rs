//! One real mix and one real provider; puppets play everybody else.

use std::time::Duration;

use rand_core::SeedableRng;
use whist_link::{Frame, Hello, LinkIdentity};
use whist_netdoc::{Consensus, Kind, NodeEntry};
use whist_packet::{Destination, Hop, Packet, Route, build};
use whist_rt::{time, wall};
use whist_sim::testnet::puppet::{Playing, Puppet, Stage, marked};
use whist_sim::testnet::{LIMIT, Plan, Testnet};
use whist_timing::Rng;
use whist_types::{Epoch, Layer, NodeId, Secret, SessionAddress};

use super::raw::Raw;

pub const MIX: &str = "mix-1";
pub const PROVIDER: &str = "provider-1";
/// Puppets as providers and as mixes: with the programs four providers, and three mixes a layer.
pub const FEW: [usize; 2] = [3, 8];

pub struct Rig {
    pub net: Testnet,
    pub stage: Stage,
    pub rng: Rng,
    pub mix: NodeId,
    pub provider: NodeId,
    names: Vec<(NodeId, String)>,
    _puppets: Vec<Playing>,
    marks: u64,
}

impl Rig {
    pub async fn start(seed: u64, epoch_ms: u64) -> Self {
        // The real mix's own loops would count among the packets that it and the provider receive.
        let parameters =
            format!("epoch_ms = {epoch_ms}\nkey_window_ms = 1500\nmix_loop_mean_ms = 3600000");
        Self::start_with(seed, &parameters, epoch_ms, FEW).await
    }

    /// With these parameters, tables for an epoch of at most this length, and so many puppets.
    pub async fn start_with(
        seed: u64,
        parameters: &str,
        epoch_ms: u64,
        [providers, mixes]: [usize; 2],
    ) -> Self {
        let puppet = |letter, kind| {
            move |number| {
                let name = format!("{letter}{number}");
                let puppet = Puppet::new(&name, kind).unwrap();
                (name, puppet)
            }
        };
        let cast: Vec<_> = (1..=providers)
            .map(puppet('p', Kind::Provider))
            .chain((1..=mixes).map(puppet('m', Kind::Mix)))
            .collect();
        let guests: Vec<_> = cast.iter().map(|(_, puppet)| puppet.guest()).collect();
        let plan = Plan {
            mixes: 1,
            providers: 1,
            parameters: parameters.to_owned(),
            packets_per_s: 12_000,
            table_tags: 12 * (epoch_ms + 4_000),
            ..Plan::default()
        };
        let net = Testnet::start(&plan, &guests).await.unwrap();
        let stage = Stage::default();
        let mix = net.identity(MIX).unwrap().node_id();
        let provider = net.identity(PROVIDER).unwrap().node_id();
        let trusted = net.trusted().unwrap().trusted();
        let names = cast
            .iter()
            .map(|(name, puppet)| (puppet.id(), name.clone()));
        let names = names.collect();
        let play = |(_, puppet): (String, Puppet)| puppet.play(trusted.clone(), mix, &stage);
        let puppets = cast.into_iter().map(play).collect();
        let rig = Self {
            net,
            stage,
            rng: Rng::seed_from_u64(seed),
            mix,
            provider,
            names,
            _puppets: puppets,
            marks: 0,
        };
        rig.net.ready().await.unwrap();
        let nodes = providers + mixes + 2;
        let all = |listed: &Consensus| (listed.nodes().len() == nodes).then_some(());
        let listing = rig.stage.until("everybody in a consensus", |seen| {
            all(seen.consensuses.values().next_back()?)
        });
        listing.await.unwrap();
        rig
    }

    pub fn epoch(&self) -> Epoch {
        self.net.schedule().epoch_at(wall())
    }

    pub fn consensus(&self) -> std::sync::Arc<Consensus> {
        self.stage.seen().ruling(self.epoch()).unwrap()
    }

    fn entry(&self, id: &NodeId) -> NodeEntry {
        self.consensus().node(id).unwrap().clone()
    }

    /// Who stands in a layer: 0 to 2 the mixes, 3 the providers.
    pub fn layer(&self, index: u8) -> Vec<NodeId> {
        let consensus = self.consensus();
        let nodes = match index {
            0..=2 => consensus.mixes(Layer::new(index)),
            _ => consensus.providers(),
        };
        nodes.iter().map(|node| node.id).collect()
    }

    /// Where a node stands, counted in the same way.
    pub fn place(&self, id: &NodeId) -> u8 {
        let role = self.entry(id).role;
        role.layer().map_or(3, |layer| layer.index())
    }

    /// Puppets of a layer.
    pub fn puppets(&self, index: u8) -> Vec<NodeId> {
        let mut nodes = self.layer(index);
        nodes.retain(|id| *id != self.mix && *id != self.provider);
        nodes
    }

    /// A packet through `first` that a puppet `last` can open, and its number.
    pub fn packet(&mut self, first: NodeId, last: NodeId, delay: Duration) -> (u64, Packet) {
        let (consensus, epoch) = (self.consensus(), self.epoch());
        let hop = |node, delay| Hop {
            node,
            key: consensus.key(&node, epoch).unwrap(),
            delay,
        };
        let hops = vec![hop(first, delay), hop(last, Duration::ZERO)];
        let route = Route::exactly(hops, 2).unwrap();
        self.marks += 1;
        let (rng, payload) = (&mut self.rng, marked(self.marks));
        let packet = build(&route, &Destination::REQUEST, &payload, rng).unwrap();
        (self.marks, packet)
    }

    /// A packet that ends where it is sent.
    pub fn ending(&mut self, at: NodeId) -> Packet {
        let (consensus, epoch) = (self.consensus(), self.epoch());
        let hop = Hop {
            node: at,
            key: consensus.key(&at, epoch).unwrap(),
            delay: Duration::ZERO,
        };
        let route = Route::exactly(vec![hop], 1).unwrap();
        let payload = marked(u64::MAX);
        build(&route, &Destination::REQUEST, &payload, &mut self.rng).unwrap()
    }

    fn program_of(&self, at: &NodeId) -> &'static str {
        if *at == self.mix { MIX } else { PROVIDER }
    }

    /// A link to a program with a puppet's key, greeted.
    pub async fn link_of(&mut self, from: &NodeId, to: NodeId) -> Raw {
        let (_, name) = self.names.iter().find(|(id, _)| id == from).unwrap();
        // As `sim::testnet::puppet` makes it.
        let key = blake3::derive_key("whist 2026 puppet link v1", name.as_bytes());
        let identity = LinkIdentity::from_secret(&Secret::new(key));
        let mut raw = self.dial(to, Some(&identity)).await.expect("a link");
        let hello = Frame::Hello(Hello::Node {
            version: Hello::VERSION,
            consensus: self.consensus().hash(),
            time: wall(),
        });
        assert!(raw.send(hello).await);
        raw
    }

    /// A link to a program, if it takes it.
    pub async fn dial(&mut self, to: NodeId, identity: Option<&LinkIdentity>) -> Option<Raw> {
        let address = self.net.listens(self.program_of(&to)).unwrap();
        let expected = self.entry(&to).link;
        Raw::open(address, expected, identity, &mut self.rng).await
    }

    /// A client's session at the provider.
    pub async fn session(&mut self, number: u8) -> Raw {
        let mut raw = self.dial(self.provider, None).await.expect("a link");
        let hello = Frame::Hello(Hello::Client {
            version: Hello::VERSION,
            consensus: self.consensus().hash(),
            session: SessionAddress::from_bytes([number; 32]),
            profile: 1,
        });
        assert!(raw.send(hello).await);
        raw
    }

    pub async fn arrives(&self, mark: u64) {
        let arrived = |seen: &whist_sim::testnet::puppet::Seen| {
            seen.arrivals.contains_key(&mark).then_some(())
        };
        let what = format!("packet {mark}");
        self.stage.until(&what, arrived).await.unwrap();
    }

    /// A packet goes through.
    pub async fn serves(&mut self, to: NodeId) {
        let (before, after) = self.around(&to);
        let mut link = if to == self.mix {
            self.link_of(&before[0], to).await
        } else {
            self.session(77).await
        };
        let (mark, packet) = self.packet(to, after[0], Duration::ZERO);
        assert!(link.send(Frame::Packet(packet.into_bytes())).await);
        self.arrives(mark).await;
    }

    /// Puppets that stand in the layer before a program, and after it.
    pub fn around(&self, to: &NodeId) -> (Vec<NodeId>, Vec<NodeId>) {
        let place = self.place(to);
        (self.puppets((place + 3) % 4), self.puppets((place + 1) % 4))
    }

    /// Waits for an epoch of which at least this much is left.
    pub async fn epoch_with(&self, left: Duration) {
        let end = self.net.schedule().start(self.epoch().next());
        if end.since(wall()) < left {
            while wall() < end {
                time::sleep(end.since(wall())).await;
            }
            let next = self.epoch();
            let ruled = |seen: &whist_sim::testnet::puppet::Seen| {
                seen.consensuses.contains_key(&next).then_some(())
            };
            let ruled = self.stage.until("the next consensus", ruled);
            time::timeout(LIMIT, ruled).await.unwrap().unwrap();
        }
    }

    pub async fn metric(&self, at: &NodeId, name: &str) -> f64 {
        let program = self.program_of(at);
        let metrics = self.net.metrics(program).await.unwrap();
        metrics
            .value(&format!("{}_{name}", prefix(program)))
            .unwrap_or(0.0)
    }

    pub async fn reaches(&self, at: &NodeId, name: &str, value: f64) {
        let program = self.program_of(at);
        let name = format!("{}_{name}", prefix(program));
        self.net.reaches(program, &name, value).await.unwrap();
    }
}

fn prefix(program: &str) -> &'static str {
    if program == MIX {
        "whist_mix"
    } else {
        "whist_provider"
    }
}
