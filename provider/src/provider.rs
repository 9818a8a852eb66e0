//! The provider as a value: frames and times in, frames and deadlines out.

use std::collections::{BTreeMap, VecDeque};
use std::ops::DerefMut;
use std::time::Duration;

use rand_core::SeedableRng as _;
use whist_link::{Frame, Input, LinkId, Output, Remote, Role};
use whist_netdoc::{Follower, IdentitySecret, LinkSecret};
use whist_node::{Bucket, EpochKeys, KeyDone, KeyEvent, KeyJob, Peers};
use whist_packet::{KeyStore, Packet};
use whist_timing::{Pool, Rng, forget_past};
use whist_types::{Epoch, EpochSchedule, Family, Instant, LinkKey, NodeId, Now, Secret};

use crate::answers::Answers;
use crate::clerk::{DeskState, Done, Job, Outcome};
use crate::documents::Documents;
use crate::entry::Entry;
use crate::stats::{Counters, Drop, Stats};
use crate::view::View;
use crate::{ProviderError, limits};

/// What a provider is, apart from where its keys, tags and mailboxes are kept.
#[derive(Debug)]
pub struct ProviderConfig {
    /// Seed of the identity key.
    pub identity: Secret<32>,
    /// Seed of the link key.
    pub link: Secret<32>,
    /// Where others dial it: `host:port`.
    pub address: String,
    /// Its operator's family.
    pub family: Family,
    /// Packets a second that it takes, from clients and mixes in equal parts: its weight in the
    /// consensus.
    pub packets_per_s: u32,
    /// Tags that a table holds.
    pub table_tags: u64,
    /// Items, drops and mailboxes that the store takes.
    pub store_rows: u64,
}

/// What the shell tells the provider.
#[derive(Debug)]
pub enum Command {
    /// A job of [`Effect::Keys`] is done.
    Keys(KeyDone),
    /// The desk did a job of [`Effect::Desk`].
    Desk(Done),
    /// Take nothing new, send out what is held, then say [`Effect::Drained`].
    Drain,
    /// Put out the counters: [`Effect::Report`].
    Report,
}

/// What the provider wants done by its shell. None of it prints a packet, a client or a mailbox.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// For the store of the keys to come: to be done where it holds up nothing, and told by
    /// [`Command::Keys`]. There is one at a time.
    Keys(KeyJob),
    /// For the desk, in this order: the shell gives it to a [`Clerk`](crate::clerk::Clerk) that
    /// holds up nothing here, and tells [`Command::Desk`] when it is done. The provider bounds how
    /// many are under way.
    Desk(Job),
    /// The consensuses held, to be written to disk whole.
    Directory(Vec<u8>),
    /// The counters, as asked for.
    Report(Box<Stats>),
    /// Nothing is held any more; the program may end.
    Drained,
    /// Something for the log.
    Note(Note),
}

/// Events of a provider's life, for its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A consensus was taken.
    Consensus(Epoch),
    /// An authority sent a consensus that was refused.
    Refused(String),
    /// The authorities signed two consensuses of this epoch. The proof is kept, nothing newer is
    /// taken, and what was before serves until its grace ends.
    Split(Epoch),
    /// The consensus of this epoch does not list this provider.
    NotListed(Epoch),
    /// Keys changed, or their store failed.
    Key(KeyEvent),
    /// The store failed since the last such note.
    StoreFault,
    /// No packet is taken any more.
    Draining,
}

pub(crate) struct Held {
    pub(crate) next: NodeId,
    pub(crate) packet: Packet,
}

/// A provider. See [`Role`] for how to drive it; `M` is memory that outlives the process. Its disks
/// are elsewhere: the Sphinx keys of epochs to come behind [`Effect::Keys`], the mailboxes behind
/// [`Effect::Desk`].
pub struct Provider<M> {
    pub(crate) config: ProviderConfig,
    pub(crate) id: NodeId,
    pub(crate) schedule: EpochSchedule,
    pub(crate) keys: EpochKeys<M>,
    pub(crate) follower: Follower,
    /// Our neighbours, by the epoch whose key opened a packet.
    pub(crate) views: BTreeMap<Epoch, View>,
    pub(crate) peers: Peers,
    pub(crate) entry: Entry,
    /// What all clients together may send.
    pub(crate) uplinks: Bucket,
    pub(crate) pool: Pool<Held>,
    pub(crate) answers: Answers,
    /// The desk, as it last said.
    desk: DeskState,
    /// Whether the desk follows the calendar at the moment.
    pub(crate) turning: bool,
    /// Whether it deletes a slice.
    working: bool,
    pub(crate) counters: Counters,
    pub(crate) faults_told: u64,
    pub(crate) epoch: Option<Epoch>,
    /// The epoch for which the times of sessions' documents are drawn.
    pub(crate) scheduled: Option<Epoch>,
    pub(crate) streams: u32,
    pub(crate) shared: Documents,
    /// For whatever the wire can show: nothing that depends on traffic draws from it.
    pub(crate) rng: Rng,
    /// For the padding of replies.
    pub(crate) padding: Rng,
    /// Keys the times of documents.
    pub(crate) documents: Secret<32>,
    /// Until when what is held may leave.
    pub(crate) draining: Option<Instant>,
    drained: bool,
    /// When the next slice of what expired is deleted.
    chore_at: Option<Instant>,
    /// When epochs, keys, views or the calendar change next.
    pub(crate) boundary: Instant,
    timeout: Option<Instant>,
    pub(crate) outputs: VecDeque<Output<Effect>>,
}

impl<M> Provider<M>
where
    M: DerefMut<Target = [u8]>,
{
    /// A provider of the network that `follower` follows, over two regions for keys and tags and
    /// the store of the keys to come, which is brought up to date here and belongs to the shell
    /// afterwards. Regions that hold keys in service are taken up again.
    ///
    /// # Errors
    /// [`ProviderError`]: memory, table size or a store do not do.
    pub fn new(
        config: ProviderConfig,
        follower: Follower,
        regions: [M; 2],
        keys: &mut impl KeyStore,
        seed: &Secret<32>,
        now: Now,
    ) -> Result<Self, ProviderError> {
        let schedule = *follower.trusted().schedule();
        let derive = |label| blake3::derive_key(label, seed.expose());
        let mut rng = Rng::from_seed(derive("whist 2026 provider rng v1"));
        let identity = IdentitySecret::from_seed(&config.identity);
        let (rate, tags) = (config.packets_per_s, config.table_tags);
        let promised = (rate, tags);
        let keys = EpochKeys::new(regions, keys, schedule, promised, now.wall, &mut rng)?;
        forget_past(&mut rng);
        let peers = Peers::new(follower.trusted());
        Ok(Self {
            id: identity.public().node_id(),
            schedule,
            keys,
            follower,
            views: BTreeMap::new(),
            peers,
            entry: Entry::default(),
            uplinks: Bucket::new(f64::from(config.packets_per_s) / 2.0, now.instant),
            pool: Pool::with_capacity(limits::POOL_MAX),
            answers: Answers::default(),
            desk: DeskState::default(),
            turning: false,
            working: false,
            counters: Counters::default(),
            faults_told: 0,
            epoch: None,
            scheduled: None,
            streams: 0,
            shared: Documents::default(),
            rng,
            padding: Rng::from_seed(derive("whist 2026 provider padding v1")),
            documents: Secret::new(derive("whist 2026 provider documents v1")),
            draining: None,
            drained: false,
            chore_at: None,
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

    /// What is left in memory when the provider is killed.
    pub fn into_regions(self) -> Vec<M> {
        self.keys.into_regions()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Stats {
            consensus: self.follower.newest().map(|newest| newest.epoch()),
            split: self.follower.evidence().is_some(),
            listed: self.current_view().is_some(),
            line_rate: self.config.packets_per_s,
            keys: self.keys.in_service(),
            received: self.counters.received,
            forwarded: self.counters.forwarded,
            answered: self.counters.answered,
            delivered: self.counters.delivered,
            held_packets: count(self.pool.len()),
            held_answers: count(self.answers.len()),
            held_replies: count(self.entry.queued()),
            sessions: self.entry.sessions(),
            stored: self.desk.rows,
            store_faults: self.desk.faults,
            store_damaged: self.desk.damaged,
            documents: self.counters.documents,
            links_out: count(self.peers.links.count_out()),
            links_in: count(self.peers.links.count_in()),
            dropped: self.counters.dropped(),
        }
    }

    pub(crate) fn current_view(&self) -> Option<&View> {
        self.views.get(&self.epoch?)
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.effect(Effect::Note(note));
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.outputs.push_back(Output::Effect(effect));
    }

    /// The longest delay under any key that is accepted.
    pub(crate) fn delay_cap(&self, now: Now) -> Duration {
        let (likelier, other) = self.schedule.accepted(now.wall);
        [Some(likelier), other]
            .into_iter()
            .filter_map(|epoch| self.views.get(&epoch?))
            .map(View::delay_cap)
            .max()
            .unwrap_or(Duration::ZERO)
    }

    fn up(&mut self, now: Now, link: LinkId, remote: Remote) {
        let hello = whist_node::hello(&self.follower, now);
        if !link.is_accepted() {
            self.peers.dialed(now, link, hello);
            return;
        }
        let accepted = self.draining.is_none()
            && match remote {
                Remote::Node(key) => self.peers.links.accept(now.instant, link, key),
                Remote::Anonymous => self.entry.accept(now.instant, link),
            };
        self.outputs.push_back(if accepted {
            Output::Send { link, frame: hello }
        } else {
            Output::Close { link }
        });
    }

    fn down(&mut self, now: Now, link: LinkId) {
        let lost = self.entry.forget(link);
        self.counters.drop_many(Drop::SessionEnded, lost);
        self.peers.down(now, link, &mut self.rng);
    }

    /// The peer broke the protocol. It sees nothing but the end of the link.
    pub(crate) fn close(&mut self, now: Now, link: LinkId) {
        if self.entry.knows(link) {
            let lost = self.entry.forget(link);
            self.counters.drop_many(Drop::SessionEnded, lost);
            self.outputs.push_back(Output::Close { link });
        } else {
            self.peers.close(now, link, &mut self.rng);
        }
    }

    /// A frame came back: its link's queue is full.
    fn full(&mut self, link: LinkId, frame: &Frame) {
        match frame {
            Frame::Packet(_) => {
                // Answers and forwarded packets look alike by now; the sum is what balances.
                let sent = match self.counters.forwarded {
                    0 => &mut self.counters.answered,
                    _ => &mut self.counters.forwarded,
                };
                *sent = sent.saturating_sub(1);
                self.counters.drop(Drop::QueueFull);
            }
            Frame::Reply(_) => {
                self.counters.delivered = self.counters.delivered.saturating_sub(1);
                self.counters.drop(Drop::QueueFull);
            }
            Frame::DocChunk(_) => {
                let known = self.entry.with(link, |session| session.document_lost());
                let _ = known;
            }
            _ => {}
        }
    }

    fn command(&mut self, now: Now, command: Command) {
        match command {
            Command::Keys(done) => {
                self.keys.done(done, now.wall, &mut self.rng);
                self.tend_keys(now);
            }
            Command::Desk(done) => self.desk_done(now, done),
            Command::Drain => {
                if self.draining.is_none() {
                    let hold = limits::DRAIN_HOLD;
                    self.draining = Some(now.instant.after(self.delay_cap(now)).after(hold));
                    self.note(Note::Draining);
                }
            }
            Command::Report => {
                let stats = Box::new(self.stats());
                self.effect(Effect::Report(stats));
            }
        }
    }

    fn desk_done(&mut self, now: Now, done: Done) {
        self.desk = done.state;
        match done.outcome {
            Outcome::Answer { number, body } => self.answers.fill(number, body),
            Outcome::Turned => {
                self.turning = false;
                self.plan_chore(now, limits::CHORE_GAP);
            }
            Outcome::Worked(ok) => {
                self.working = false;
                let gap = match ok {
                    true => limits::CHORE_GAP,
                    false => limits::CHORE_RETRY,
                };
                self.plan_chore(now, gap);
            }
        }
    }

    fn finish_drain(&mut self, now: Now) {
        let Some(until) = self.draining.filter(|_| !self.drained) else {
            return;
        };
        let empty = self.pool.is_empty() && self.answers.len() == 0 && self.entry.queued() == 0;
        if !empty && now.instant < until {
            return;
        }
        let left = self.pool.clear() + self.answers.clear() + self.entry.clear_replies();
        self.counters.drop_many(Drop::Draining, left);
        self.drained = true;
        // Frames first: the shell may end at the effect.
        self.collect(now);
        self.effect(Effect::Drained);
    }

    // What time brings.

    fn run_due(&mut self, now: Now) {
        let jumped = self.epoch != Some(self.schedule.epoch_at(now.wall));
        if jumped || now.instant >= self.boundary {
            self.refresh(now);
        }
        self.release(now);
        self.answer_due(now);
        self.run_sessions(now);
        if self.chore_at.is_some_and(|at| at <= now.instant) {
            self.chore_at = None;
            self.working = true;
            self.effect(Effect::Desk(Job::Work));
        }
        for link in self.entry.expire(now.instant) {
            self.outputs.push_back(Output::Close { link });
        }
        self.peers.tend(now, &self.follower, &mut self.rng);
        self.finish_drain(now);
    }

    /// Deletes what expired by and by: requests come between.
    fn plan_chore(&mut self, now: Now, gap: Duration) {
        if !self.working {
            let next = now.instant.after(gap);
            self.chore_at = self.desk.has_chores.then_some(next);
        }
    }

    fn collect(&mut self, now: Now) {
        if self.desk.faults > self.faults_told {
            self.faults_told = self.desk.faults;
            self.note(Note::StoreFault);
        }
        while let Some(output) = self.peers.poll_output(now.instant) {
            self.outputs.push_back(output);
        }
    }

    fn plan(&mut self) {
        let deadlines = [
            self.pool.next_deadline(),
            self.answers.next_deadline(),
            self.entry.next_deadline(),
            self.peers.next_deadline(),
            Some(self.boundary),
            self.chore_at,
            self.draining.filter(|_| !self.drained),
        ];
        self.timeout = deadlines.into_iter().flatten().min();
    }
}

impl<M> Role for Provider<M>
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
            Input::Down { link } => self.down(now, link),
            Input::Frame { link, frame } => self.frame(now, link, frame),
            Input::Full { link, frame } => self.full(link, &frame),
            Input::Timeout => {}
            Input::Command(command) => {
                self.command(now, command);
                self.finish_drain(now);
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

impl<M> std::fmt::Debug for Provider<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
