//! What a kill may not undo, shown on the real programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::{Rng as _, SeedableRng};
use whist_netdoc::NodeRole;
use whist_packet::{Destination, Hop, Packet, Route, build};
use whist_rt::{time, wall};
use whist_sim::testnet::puppet::{Playing, Puppet, Seen, Stage, marked};
use whist_sim::testnet::{Kind, LIMIT, Person, Plan, Testnet};
use whist_timing::{Rng, exponential};
use whist_types::{Epoch, Layer, NodeId, Wall};

const MIX: &str = "mix-1";
const REPLAYED: &str = "whist_mix_dropped_total{reason=\"replayed\"}";
const REFUSED: &str = "whist_mix_dropped_total{reason=\"bad_mac\"}";
/// Of a run that names no other number by `WHIST_KILLS`.
const RANDOM_KILLS: usize = 20;
/// One change of epochs for as many random kills; around each, two more.
const KILLS_A_BOUNDARY: usize = 10;
/// Loops of the mix that came back to it through the puppets, for each kill on average.
const LOOPS_A_KILL: usize = 3;
/// The load before each random kill, and the delays in it.
const LOAD_GAP: Duration = Duration::from_millis(6);
const DELAY_MEAN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_millis(400);
/// What is held this long leaves after everything that was replayed before it.
const LAST_DELAY: Duration = Duration::from_millis(500);
/// Long enough for a restart and a replay under the old key.
const PARAMETERS: &str = "epoch_ms = 12000\nkey_window_ms = 3000";

struct Sent {
    epoch: Epoch,
    mark: u64,
}

fn random_kills() -> usize {
    let asked = std::env::var("WHIST_KILLS").ok();
    asked.map_or(RANDOM_KILLS, |count| {
        count.parse().expect("a number of kills")
    })
}

/// One real mix among puppets that play all its neighbours.
struct Rig {
    net: Testnet,
    stage: Stage,
    puppets: Vec<Playing>,
    mix: NodeId,
    sent: Vec<Sent>,
    rng: Rng,
}

impl Rig {
    async fn start(seed: u64) -> Self {
        let cast: Vec<_> = ["p1", "p2", "p3"]
            .map(|name| Puppet::new(name, whist_netdoc::Kind::Provider).unwrap())
            .into_iter()
            .chain(["m1", "m2"].map(|n| Puppet::new(n, whist_netdoc::Kind::Mix).unwrap()))
            .collect();
        let guests: Vec<_> = cast.iter().map(Puppet::guest).collect();
        let plan = Plan {
            mixes: 1,
            providers: 0,
            parameters: PARAMETERS.to_owned(),
            packets_per_s: 8_000,
            table_tags: 160_000,
            ..Plan::default()
        };
        let net = Testnet::start(&plan, &guests).await.unwrap();
        let stage = Stage::default();
        let mix = net.identity(MIX).unwrap().node_id();
        let trusted = net.trusted().unwrap().trusted();
        let puppets = cast
            .into_iter()
            .map(|puppet| puppet.play(trusted.clone(), mix, &stage))
            .collect();
        let rig = Self {
            net,
            stage,
            puppets,
            mix,
            sent: Vec::new(),
            rng: Rng::seed_from_u64(seed),
        };
        rig.net.ready().await.unwrap();
        rig
    }

    fn epoch(&self) -> Epoch {
        self.net.schedule().epoch_at(wall())
    }

    /// Puppets before the mix, and ids of those after it.
    fn neighbours(&self) -> (Vec<usize>, Vec<NodeId>) {
        let consensus = self.stage.seen().ruling(self.epoch()).unwrap();
        let layer = consensus.node(&self.mix).unwrap().role.layer().unwrap();
        let of = |index: Option<u8>| match index.filter(|i| *i < consensus.parameters().layers) {
            Some(index) => consensus.mixes(Layer::new(index)),
            None => consensus.providers(),
        };
        let ids = |nodes: &[whist_netdoc::NodeEntry]| nodes.iter().map(|n| n.id).collect();
        let before: Vec<NodeId> = ids(of(layer.index().checked_sub(1)));
        let after = ids(of(layer.index().checked_add(1)));
        let of_id = |id: &NodeId| self.puppets.iter().position(|p| p.id() == *id).unwrap();
        assert!(matches!(
            consensus.node(&self.mix).unwrap().role,
            NodeRole::Mix { .. }
        ));
        (before.iter().map(of_id).collect(), after)
    }

    /// A packet that has never been sent, through the mix to a node after it.
    fn fresh(&mut self, epoch: Epoch, delay: Duration) -> Packet {
        let (_, after) = self.neighbours();
        let next = after[self.rng.next_u64() as usize % after.len()];
        let consensus = self.stage.seen().ruling(epoch).unwrap();
        let hop = |node, delay| Hop {
            node,
            key: consensus.key(&node, epoch).unwrap(),
            delay,
        };
        let hops = vec![hop(self.mix, delay), hop(next, Duration::ZERO)];
        let route = Route::exactly(hops, 2).unwrap();
        let mark = self.sent.len() as u64;
        let rng = &mut self.rng;
        let packet = build(&route, &Destination::REQUEST, &marked(mark), rng).unwrap();
        self.sent.push(Sent { epoch, mark });
        packet
    }

    /// `count` fresh packets, one by one at the events of a Poisson clock.
    async fn load(&mut self, count: u64) {
        let (before, _) = self.neighbours();
        for _ in 0..count {
            let gap = exponential(LOAD_GAP, &mut self.rng);
            time::sleep(gap).await;
            let delay = exponential(DELAY_MEAN, &mut self.rng).min(DELAY_MAX);
            let packet = self.fresh(self.epoch(), delay);
            let from = before[self.rng.next_u64() as usize % before.len()];
            self.puppets[from].send(vec![packet]).await.unwrap();
        }
    }

    async fn kill(&mut self) {
        self.net.program(MIX).unwrap().kill().await.unwrap();
        let fallen = |seen: &Seen| seen.linked.is_empty().then_some(());
        self.stage.until("links that fall", fallen).await.unwrap();
    }

    async fn restart(&mut self) {
        self.net.restart(MIX).await.unwrap();
        let before: Vec<_> = self.neighbours().0;
        let ids: Vec<_> = before.iter().map(|i| self.puppets[*i].id()).collect();
        let all = |seen: &Seen| ids.iter().all(|id| seen.linked.contains(id)).then_some(());
        self.stage.until("links that come back", all).await.unwrap();
    }

    /// Hands in again, byte for byte, everything that the puppets ever handed to the mix and that
    /// a key of these epochs may open: what the test made, and the mix's own loops on their way
    /// back. Only who stands before it now gets a link, so these hand in what others had, too.
    async fn replay(&self, epochs: &[Epoch]) -> usize {
        let schedule = *self.net.schedule();
        let ranges = epochs
            .iter()
            .map(|e| schedule.key_from(*e)..schedule.key_until(*e));
        let ranges: Vec<_> = ranges.collect();
        let old: Vec<_> = {
            let seen = self.stage.seen();
            let taped = seen.tape.iter();
            let taped = taped.filter(|taped| ranges.iter().any(|range| range.contains(&taped.at)));
            taped.map(|taped| taped.packet.clone()).collect()
        };
        let (before, _) = self.neighbours();
        let share = old.len().div_ceil(before.len()).max(1);
        for (from, packets) in before.iter().zip(old.chunks(share)) {
            self.puppets[*from].replay(packets.to_vec()).await.unwrap();
        }
        old.len()
    }

    /// Nothing left the mix twice: no packet of the test's and no loop of its own.
    fn nothing_left_twice(&self) {
        let seen = self.stage.seen();
        assert_eq!((seen.doubled(), seen.twice), (0, 0));
    }

    /// Fresh packets pass from every neighbour; each leaves after everything that came before it.
    async fn fresh_ones_pass(&mut self, epoch: Epoch) {
        let passing = async {
            let mut waiting = self.neighbours().0;
            while !waiting.is_empty() {
                let mut marks = Vec::new();
                for from in &waiting {
                    let packet = self.fresh(epoch, LAST_DELAY);
                    marks.push(self.sent.last().unwrap().mark);
                    self.puppets[*from].send(vec![packet]).await.unwrap();
                }
                let all = self.stage.until("fresh packets", |seen| {
                    let arrived = |mark| seen.arrivals.contains_key(mark);
                    marks.iter().all(arrived).then_some(())
                });
                // The mix's own link to the next layer may not be back yet.
                let _ = time::timeout(3 * LAST_DELAY, all).await;
                let seen = self.stage.seen();
                let mut marks = marks.iter();
                waiting.retain(|_| !seen.arrivals.contains_key(marks.next().unwrap()));
            }
        };
        let passed = time::timeout(LIMIT, passing).await;
        passed.expect("fresh packets pass after a restart");
    }

    fn accepted(&self) -> Vec<Epoch> {
        let (likelier, other) = self.net.schedule().accepted(wall());
        [Some(likelier), other].into_iter().flatten().collect()
    }

    /// After a kill: up again, everything replayed, nothing forwarded twice, and each packet that
    /// had been forwarded known again.
    async fn come_back(&mut self) {
        let forwarded = self.stage.seen().arrivals.clone();
        self.restart().await;
        let epochs = self.accepted();
        self.replay(&epochs).await;
        let replayed = self.sent.len();
        self.fresh_ones_pass(self.epoch()).await;
        let still = self.accepted();
        let known = self.sent[..replayed].iter().filter(|sent| {
            let accepted = epochs.contains(&sent.epoch) && still.contains(&sent.epoch);
            accepted && forwarded.contains_key(&sent.mark)
        });
        let known = known.count() as f64;
        self.nothing_left_twice();
        self.net.reaches(MIX, REPLAYED, known).await.unwrap();
    }

    /// Two kills around the start of an epoch, neither followed by a packet under its key before
    /// the next.
    async fn boundary(&mut self) {
        let next = self.epoch().next();
        let entered = format!("the key of epoch {next} ");
        self.net.program(MIX).unwrap().line(&entered).await.unwrap();
        self.kill().await;
        self.come_back().await;
        let resumed = format!("the key of epoch {next} serves on");
        self.net.program(MIX).unwrap().line(&resumed).await.unwrap();
        until_wall(self.net.schedule().start(next)).await;
        self.kill().await;
        self.come_back().await;
        self.net.program(MIX).unwrap().line(&resumed).await.unwrap();
    }

    /// The middle of an epoch: one key is accepted, and for some seconds more.
    async fn mid_epoch(&self) -> Epoch {
        let schedule = *self.net.schedule();
        let enough = schedule.length() / 3;
        let mut epoch = self.epoch();
        if wall() >= schedule.key_from(epoch.next()).before(enough) {
            epoch = epoch.next();
        }
        until_wall(schedule.key_until(epoch.previous())).await;
        epoch
    }
}

async fn until_wall(at: Wall) {
    while wall() < at {
        time::sleep(at.since(wall())).await;
    }
}

#[test]
fn a_mix_killed_at_any_moment_forwards_nothing_twice() {
    let test = async {
        let mut rig = Rig::start(20).await;
        let kills = random_kills();
        let wanted = kills.div_ceil(KILLS_A_BOUNDARY);
        let (mut random, mut boundaries) = (0, 0);
        while random < kills || boundaries < wanted {
            let next = rig.net.schedule().key_from(rig.epoch().next());
            if boundaries < wanted && next.since(wall()) < Duration::from_secs(2) {
                rig.boundary().await;
                boundaries += 1;
            } else if random < kills {
                let count = 5 + rig.rng.next_u64() % 60;
                rig.load(count).await;
                rig.kill().await;
                rig.come_back().await;
                random += 1;
            } else {
                until_wall(next.before(Duration::from_secs(2))).await;
            }
        }
        let (sent, arrived) = (rig.sent.len(), rig.stage.seen().arrivals.len());
        assert!(
            sent > 25 * kills,
            "{sent} packets: too few to show anything"
        );
        let loops = rig.stage.seen().tape.len() - sent;
        assert!(
            loops > LOOPS_A_KILL * kills,
            "{loops} loops: too few to show anything"
        );
        assert!(arrived * 2 > sent, "{arrived} of {sent} arrived: too few");

        forgets_with_its_memory(&mut rig).await;
    };
    whist_rt::block_on(test).unwrap();
}

/// Its tmpfs wiped: the key that served is gone for good, and the next epoch's serves.
async fn forgets_with_its_memory(rig: &mut Rig) {
    let old = rig.mid_epoch().await;
    rig.load(50).await;
    rig.kill().await;
    std::fs::remove_dir_all(rig.net.tag_dir(MIX).unwrap()).unwrap();
    rig.restart().await;
    let before: BTreeMap<u64, u32> = rig.stage.seen().arrivals.clone();
    let recorded = rig.sent.len();
    let missing = format!("no key for epoch {old}");
    rig.net.program(MIX).unwrap().line(&missing).await.unwrap();

    rig.load(20).await;
    rig.replay(&[old.previous(), old]).await;
    let entered = format!("the key of epoch {} is in service", old.next());
    rig.net.program(MIX).unwrap().line(&entered).await.unwrap();
    rig.load(20).await;
    rig.replay(&[old.previous(), old]).await;
    let unborn = rig.sent.len();
    rig.fresh_ones_pass(old.next()).await;
    let arrivals = rig.stage.seen().arrivals.clone();
    for (mark, count) in arrivals.iter().filter(|(mark, _)| **mark < unborn as u64) {
        assert_eq!(
            before.get(mark),
            Some(count),
            "{mark} of {recorded} under a lost key"
        );
    }
    rig.nothing_left_twice();
    rig.net.reaches(MIX, REFUSED, 100.0).await.unwrap();
}

#[test]
fn an_item_that_was_stored_is_there_after_its_provider_was_killed() {
    let test = async {
        let plan = Plan {
            mixes: 3,
            ..Plan::default()
        };
        let mut net = Testnet::start(&plan, &[]).await.unwrap();
        net.ready().await.unwrap();
        let mut alice = Person::init(&net, "alice").await.unwrap();
        let mut bob = Person::init(&net, "bob").await.unwrap();
        alice.start().await.unwrap();
        bob.start().await.unwrap();
        let invitation = alice.invite("bob").await.unwrap();
        bob.add("alice", &invitation).await.unwrap();
        let status = alice.ask(&["status"]).await.unwrap();
        let host = status["mailbox_provider"].as_str().unwrap().to_owned();
        let of_id = |name: &String| net.identity(name).unwrap().node_id().to_string() == host;
        let host = net.names(Kind::Provider).into_iter().find(of_id).unwrap();

        alice.stop().await.unwrap();
        for text in ["first", "second", "third"] {
            bob.send("alice", text).await.unwrap();
        }
        // Nothing is between `stored` and the kill but this line.
        net.program(&host).unwrap().kill().await.unwrap();
        net.restart(&host).await.unwrap();
        alice.start().await.unwrap();
        let mut came = Vec::new();
        while came.len() < 3 {
            came.extend(alice.receive().await.unwrap());
        }
        let expected = ["first", "second", "third"].map(|text| ("bob".to_owned(), text.to_owned()));
        assert_eq!(came, expected);
    };
    whist_rt::block_on(test).unwrap();
}
