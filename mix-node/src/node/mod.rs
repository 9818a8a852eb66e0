//! The mix as a value: frames and times in, frames and deadlines out.

mod peers;
mod traffic;
mod upkeep;

use std::collections::{BTreeMap, VecDeque};
use std::ops::DerefMut;

use rand_core::SeedableRng;
use whist_link::{Input, Output, Role};
use whist_netdoc::{Follower, IdentitySecret, LinkSecret};
use whist_node::{EpochKeys, KeyDone, KeyEvent, KeyJob, Peers};
use whist_packet::{KeyStore, Packet};
use whist_timing::{Pool, Rng, Tally, forget_past};
use whist_types::{Epoch, EpochSchedule, Family, Instant, LinkKey, NodeId, Now, Secret};

use crate::loops::{Loops, Segment};
use crate::stats::{Counters, Stats};
use crate::view::View;
use crate::{MixError, limits};

/// What a mix is, apart from where its keys and tags are kept.
#[derive(Debug)]
pub struct MixConfig {
    /// Seed of the identity key.
    pub identity: Secret<32>,
    /// Seed of the link key.
    pub link: Secret<32>,
    /// Where others dial it: `host:port`.
    pub address: String,
    /// Its operator's family.
    pub family: Family,
    /// Packets a second that it takes: its weight in the consensus.
    pub packets_per_s: u32,
    /// Tags that a table holds.
    pub table_tags: u64,
}

/// What its shell tells the mix.
#[derive(Debug)]
pub enum Command {
    /// A job of [`Effect::Keys`] is done.
    Keys(KeyDone),
    /// Take nothing new, send out what is held, then say [`Effect::Drained`].
    Drain,
    /// Put out the counters: [`Effect::Report`].
    Report,
}

/// What the mix wants done by its shell. None of it names a packet or a peer.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// For the store of the keys to come: to be done where it holds up nothing, and told by
    /// [`Command::Keys`]. There is one at a time.
    Keys(KeyJob),
    /// The consensuses held, to be written to disk whole.
    Directory(Vec<u8>),
    /// The counters, as asked for.
    Report(Box<Stats>),
    /// Nothing is held any more; the program may end.
    Drained,
    /// Something for the log.
    Note(Note),
}

/// Events of a mix's life, for its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A consensus was taken.
    Consensus(Epoch),
    /// An authority sent a consensus that was refused.
    Refused(String),
    /// The authorities signed two consensuses of this epoch. The proof is kept, nothing newer is
    /// taken, and what was before serves until its grace ends.
    Split(Epoch),
    /// The consensus of this epoch does not list this mix.
    NotListed(Epoch),
    /// Keys changed, or their store failed.
    Key(KeyEvent),
    /// Loops missing in a row: somebody may be dropping packets around this mix.
    LoopAlarm,
    /// The same on one step of their routes: of its loops, however few, none comes back.
    SegmentAlarm,
    /// No packet is taken any more.
    Draining,
}

struct Held {
    next: NodeId,
    packet: Packet,
}

/// A mix. See [`Role`] for how to drive it; `M` is memory that outlives the process. The keys of
/// epochs to come are on a disk behind [`Effect::Keys`].
pub struct MixNode<M> {
    config: MixConfig,
    id: NodeId,
    schedule: EpochSchedule,
    keys: EpochKeys<M>,
    follower: Follower,
    /// Our neighbours, by the epoch whose key opened a packet.
    views: BTreeMap<Epoch, View>,
    peers: Peers,
    pool: Pool<Held>,
    loops: Loops,
    alarms_told: u64,
    segment_alarms_told: u64,
    counters: Counters,
    /// Packets mixed in this epoch, for the load in the next descriptor.
    mixed_before: u64,
    epoch: Option<Epoch>,
    rng: Rng,
    /// Until when what is held may leave.
    draining: Option<Instant>,
    drained: bool,
    /// When epochs, keys or views change next.
    boundary: Instant,
    timeout: Option<Instant>,
    outputs: VecDeque<Output<Effect>>,
}

impl<M> MixNode<M>
where
    M: DerefMut<Target = [u8]>,
{
    /// A mix of the network that `follower` follows, over two regions for keys and tags and the
    /// store of the keys to come, which is brought up to date here and belongs to the shell
    /// afterwards. Regions that hold keys in service are taken up again.
    ///
    /// # Errors
    /// [`MixError`]: memory, table size or store do not do.
    pub fn new(
        config: MixConfig,
        follower: Follower,
        regions: [M; 2],
        store: &mut impl KeyStore,
        seed: &Secret<32>,
        now: Now,
    ) -> Result<Self, MixError> {
        let schedule = *follower.trusted().schedule();
        let mut rng = Rng::from_seed(blake3::derive_key("whist 2026 mix rng v1", seed.expose()));
        let identity = IdentitySecret::from_seed(&config.identity);
        let (rate, tags) = (config.packets_per_s, config.table_tags);
        let promised = (rate, tags);
        let keys = EpochKeys::new(regions, store, schedule, promised, now.wall, &mut rng)?;
        forget_past(&mut rng);
        let peers = Peers::new(follower.trusted());
        Ok(Self {
            id: identity.public().node_id(),
            schedule,
            keys,
            follower,
            views: BTreeMap::new(),
            peers,
            pool: Pool::with_capacity(limits::POOL_MIN),
            loops: Loops::new(),
            alarms_told: 0,
            segment_alarms_told: 0,
            counters: Counters::default(),
            mixed_before: 0,
            epoch: None,
            rng,
            draining: None,
            drained: false,
            boundary: Instant::ZERO,
            timeout: Some(Instant::ZERO),
            outputs: VecDeque::new(),
            config,
        })
    }

    /// This node's id.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The key of its links.
    pub fn link_key(&self) -> LinkKey {
        LinkSecret::from_seed(&self.config.link).public()
    }

    /// What outlives the process: the regions with keys and tags.
    pub fn into_regions(self) -> Vec<M> {
        self.keys.into_regions()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let overall = self.loops.overall();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Stats {
            layer: self.current_view().map(|view| view.layer),
            consensus: self.follower.newest().map(|newest| newest.epoch()),
            split: self.follower.evidence().is_some(),
            line_rate: self.config.packets_per_s,
            keys: self.keys.in_service(),
            received: self.counters.received,
            sent: self.counters.sent,
            mixed: self.counters.mixed,
            held: count(self.pool.len()),
            loops_sent: self.counters.loops_sent,
            loops_unmade: self.counters.loops_unmade,
            loops_returned: self.counters.loops_returned,
            loop_loss: overall.loss(),
            loop_alarms: self.loops.alarms(),
            loop_segment_alarms: count(self.loops.alarmed_segments()),
            loop_reports: self.counters.loop_reports,
            loop_alarm: overall.alarm,
            links_out: count(self.peers.links.count_out()),
            links_in: count(self.peers.links.count_in()),
            dropped: self.counters.dropped(),
        }
    }

    /// Losses of the last loops by segment of their routes.
    pub fn loop_segments(&self) -> impl Iterator<Item = (&Segment, Tally)> {
        self.loops.segments()
    }

    fn current_view(&self) -> Option<&View> {
        self.views.get(&self.epoch?)
    }

    fn note(&mut self, note: Note) {
        self.effect(Effect::Note(note));
    }

    fn effect(&mut self, effect: Effect) {
        self.outputs.push_back(Output::Effect(effect));
    }

    fn run_due(&mut self, now: Now) {
        let jumped = self.epoch != Some(self.schedule.epoch_at(now.wall));
        if jumped || now.instant >= self.boundary {
            self.refresh(now);
        }
        self.release(now);
        self.send_loops(now);
        self.peers.tend(now, &self.follower, &mut self.rng);
        self.finish_drain(now);
    }

    fn collect(&mut self, now: Now) {
        while let Some(output) = self.peers.poll_output(now.instant) {
            self.outputs.push_back(output);
        }
    }

    fn plan(&mut self) {
        let deadlines = [
            self.pool.next_deadline(),
            self.loops
                .next_deadline()
                .filter(|_| self.draining.is_none()),
            self.peers.next_deadline(),
            Some(self.boundary),
            self.draining.filter(|_| !self.drained),
        ];
        self.timeout = deadlines.into_iter().flatten().min();
    }
}

impl<M> Role for MixNode<M>
where
    M: DerefMut<Target = [u8]>,
{
    type Command = Command;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input<Command>) {
        // Keys, views and deadlines first: a packet that comes with an epoch's first moment finds
        // the new key.
        self.run_due(now);
        match input {
            Input::Up { link, remote } => self.up(now, link, remote),
            Input::Down { link } => self.peers.down(now, link, &mut self.rng),
            Input::Frame { link, frame } => self.frame(now, link, frame),
            Input::Full { frame, .. } => self.full(&frame),
            Input::Timeout => {}
            Input::Command(Command::Keys(done)) => {
                self.keys.done(done, now.wall, &mut self.rng);
                self.tend_keys(now);
            }
            Input::Command(Command::Drain) => {
                self.drain(now);
                self.finish_drain(now);
            }
            Input::Command(Command::Report) => {
                let stats = Box::new(self.stats());
                self.effect(Effect::Report(stats));
            }
        }
        self.collect(now);
        self.plan();
    }

    fn poll_output(&mut self) -> Option<Output<Effect>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }
}

impl<M> std::fmt::Debug for MixNode<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MixNode")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
