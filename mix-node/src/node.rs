//! The mix as a value: frames and times in, frames and deadlines out.

use std::collections::{BTreeMap, VecDeque};
use std::ops::DerefMut;
use std::time::Duration;

use rand_core::SeedableRng;
use whist_link::{Frame, Hello, Input, LinkId, Output, Remote, Role};
use whist_netdoc::{Accepted, Consensus, Descriptor, Follower, IdentitySecret, Kind, LinkSecret};
use whist_packet::{KeyStore, Packet, Unwrapped};
use whist_timing::{Pool, Rng, Tally};
use whist_types::{Epoch, EpochSchedule, Family, Instant, LinkKey, NodeId, Now, Secret};

use crate::directory::Directory;
use crate::keys::{EpochKeys, KeyEvent};
use crate::links::{Links, Side};
use crate::loops::{Loop, Loops, Segment, Stranger};
use crate::stats::{Counters, Drop, Stats};
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

/// What the operator tells the mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Take nothing new, send out what is held, then say [`Effect::Drained`].
    Drain,
    /// Put out the counters: [`Effect::Report`].
    Report,
}

/// What the mix wants done by its shell. None of it names a packet or a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
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
    /// The consensus of this epoch does not list this mix.
    NotListed(Epoch),
    /// Keys changed, or their store failed.
    Key(KeyEvent),
    /// Loops missing in a row: somebody may be dropping packets around this mix.
    LoopAlarm,
    /// No packet is taken any more.
    Draining,
}

struct Held {
    next: NodeId,
    packet: Packet,
}

/// A mix. See [`Role`] for how to drive it; `M` is memory that outlives the process, `K` keeps the
/// keys of epochs to come.
pub struct MixNode<M, K> {
    config: MixConfig,
    id: NodeId,
    schedule: EpochSchedule,
    keys: EpochKeys<M, K>,
    follower: Follower,
    /// Our neighbours, by the epoch whose key opened a packet.
    views: BTreeMap<Epoch, View>,
    links: Links,
    directory: Directory,
    pool: Pool<Held>,
    loops: Loops,
    alarms_told: u64,
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

impl<M, K> MixNode<M, K>
where
    M: DerefMut<Target = [u8]>,
    K: KeyStore,
{
    /// A mix of the network that `follower` follows, over two regions for keys and tags and a store
    /// for the keys to come. Regions that hold keys in service are taken up again.
    ///
    /// # Errors
    /// [`MixError`]: memory, table size or store do not do.
    pub fn new(
        config: MixConfig,
        follower: Follower,
        regions: [M; 2],
        store: K,
        seed: &Secret<32>,
        now: Now,
    ) -> Result<Self, MixError> {
        let schedule = *follower.trusted().schedule();
        check_table(&config, &schedule)?;
        let mut rng = Rng::from_seed(blake3::derive_key("whist 2026 mix rng v1", seed.expose()));
        let identity = IdentitySecret::from_seed(&config.identity);
        let keys = EpochKeys::new(regions, store, schedule, config.table_tags, now, &mut rng)?;
        let directory = Directory::new(follower.trusted());
        Ok(Self {
            id: identity.public().node_id(),
            schedule,
            keys,
            follower,
            views: BTreeMap::new(),
            links: Links::new(),
            directory,
            pool: Pool::with_capacity(limits::POOL_MIN),
            loops: Loops::new(),
            alarms_told: 0,
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

    /// What outlives the process: the regions with keys and tags, and the store.
    pub fn into_parts(self) -> (Vec<M>, K) {
        self.keys.into_parts()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let overall = self.loops.overall();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Stats {
            layer: self.current_view().map(|view| view.layer),
            consensus: self.follower.newest().map(|newest| newest.epoch()),
            keys: self.keys.in_service(),
            received: self.counters.received,
            sent: self.counters.sent,
            mixed: self.counters.mixed,
            held: count(self.pool.len()),
            loops_sent: self.counters.loops_sent,
            loops_returned: self.counters.loops_returned,
            loop_loss: overall.loss(),
            loop_alarms: self.loops.alarms(),
            loop_alarm: overall.alarm,
            links_out: count(self.links.count_out()),
            links_in: count(self.links.count_in()),
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

    fn hello(&self, now: Now) -> Frame {
        Frame::Hello(Hello::Node {
            version: Hello::VERSION,
            consensus: self.follower.hash(),
            time: now.wall,
        })
    }

    fn note(&mut self, note: Note) {
        self.effect(Effect::Note(note));
    }

    fn effect(&mut self, effect: Effect) {
        self.outputs.push_back(Output::Effect(effect));
    }

    // Links.

    fn up(&mut self, now: Now, link: LinkId, remote: Remote) {
        let hello = self.hello(now);
        if link.is_accepted() {
            let accepted = match remote {
                Remote::Node(key) if self.draining.is_none() => {
                    self.links.accept(now.instant, link, key)
                }
                _ => false,
            };
            self.outputs.push_back(if accepted {
                Output::Send { link, frame: hello }
            } else {
                Output::Close { link }
            });
        } else if self.directory.dialer.peer_of(link).is_some() {
            self.directory.up(now, link, hello);
        } else {
            self.links.dialer.up(now.instant, link, hello);
        }
    }

    fn down(&mut self, now: Now, link: LinkId) {
        self.links.forget(link);
        if self.directory.dialer.peer_of(link).is_some() {
            self.directory.down(now, link, &mut self.rng);
        } else {
            self.links.dialer.down(now.instant, link, &mut self.rng);
        }
    }

    /// The peer broke the protocol. It sees nothing but the end of the link.
    fn close(&mut self, now: Now, link: LinkId) {
        if link.is_accepted() {
            self.links.close(link);
        } else if self.directory.dialer.peer_of(link).is_some() {
            self.links.forget(link);
            self.directory.close(now, link, &mut self.rng);
        } else {
            self.links.forget(link);
            self.links.dialer.close(now.instant, link, &mut self.rng);
        }
    }

    fn frame(&mut self, now: Now, link: LinkId, frame: Frame) {
        if let Frame::Packet(bytes) = frame {
            self.counters.received += 1;
            if let Err(reason) = self.packet(now, link, Packet::from_bytes(bytes)) {
                self.counters.drop(reason);
            }
            return;
        }
        let lawful = match frame {
            Frame::Hello(Hello::Node { version, .. }) => {
                version == Hello::VERSION && self.links.greet(link)
            }
            Frame::Dummy => self.links.is_greeted(link),
            Frame::DocChunk(part) => match self.directory.part(link, *part) {
                Ok(Some(bundle)) => {
                    self.offer(now, &bundle);
                    true
                }
                Ok(None) => self.directory.dialer.peer_of(link).is_some(),
                Err(_) => false,
            },
            _ => false,
        };
        if !lawful {
            self.close(now, link);
        }
    }

    /// A frame came back: its link's queue is full.
    fn full(&mut self, frame: &Frame) {
        if matches!(frame, Frame::Packet(_)) {
            self.counters.sent = self.counters.sent.saturating_sub(1);
            self.counters.drop(Drop::QueueFull);
        }
    }

    // Packets.

    fn packet(&mut self, now: Now, link: LinkId, packet: Packet) -> Result<(), Drop> {
        if self.links.side(link) != Some(Side::Incoming) || !self.links.is_greeted(link) {
            self.close(now, link);
            return Err(Drop::WrongDirection);
        }
        if self.draining.is_some() {
            return Err(Drop::Draining);
        }
        let sender = self.links.key_of(link).ok_or(Drop::WrongLayer)?;
        // Before the key exchange work: a link that is over its share costs a comparison.
        match self.links.take_token(now.instant, &sender) {
            Some(true) => {}
            Some(false) => return Err(Drop::RateLimited),
            None => return Err(Drop::WrongLayer),
        }
        let (epoch, unwrapped) = self
            .keys
            .open(packet, now.wall, self.delay_cap(now))
            .map_err(Drop::Packet)?;
        let view = self.views.get(&epoch).ok_or(Drop::WrongLayer)?;
        if !view.previous.contains_key(&sender) {
            return Err(Drop::WrongLayer);
        }
        match unwrapped {
            Unwrapped::Forward {
                next,
                delay,
                packet,
            } => {
                if !view.next.contains_key(&next) {
                    return Err(Drop::UnknownNextHop);
                }
                self.pool
                    .insert(now.instant.after(delay), Held { next, packet })
                    .map_err(|_| Drop::PoolFull)
            }
            Unwrapped::Final { to, payload } => {
                match self.loops.returned(now.instant, &to, &payload) {
                    Ok(()) => {
                        self.counters.loops_returned += 1;
                        Ok(())
                    }
                    Err(Stranger::Unknown) => Err(Drop::UnknownFinal),
                    Err(Stranger::Altered(reason)) => Err(Drop::Packet(reason)),
                }
            }
        }
    }

    /// The longest delay under any key that is accepted.
    fn delay_cap(&self, now: Now) -> Duration {
        let (likelier, other) = self.schedule.accepted(now.wall);
        [Some(likelier), other]
            .into_iter()
            .filter_map(|epoch| self.views.get(&epoch?))
            .map(|view| view.delay_cap)
            .max()
            .unwrap_or(Duration::ZERO)
    }

    fn send(&mut self, next: &NodeId, packet: Packet) -> bool {
        let frame = Frame::Packet(packet.into_bytes());
        let sent = self.links.dialer.send(next, frame).is_ok();
        if sent {
            self.counters.sent += 1;
        } else {
            self.counters.drop(Drop::NoLink);
        }
        sent
    }

    fn release(&mut self, now: Now) {
        while let Some(Held { next, packet }) = self.pool.pop_due(now.instant) {
            if self.send(&next, packet) {
                self.counters.mixed += 1;
            }
        }
    }

    // Loops.

    fn send_loops(&mut self, now: Now) {
        self.loops.advance(now.instant);
        while self.draining.is_none() && self.loops.tick(now.instant, &mut self.rng) {
            let Some(consensus) = self.ruling(now, self.schedule.epoch_at(now.wall)) else {
                continue;
            };
            let Some(made) = Loop::make(&consensus, &self.id, now, &mut self.rng) else {
                continue;
            };
            self.counters.loops_sent += 1;
            self.loops.sent(now.instant, &made);
            let (first, packet, id, secret) = made.into_parts();
            self.loops.keep(now.instant, id, secret);
            self.send(&first, packet);
        }
        if self.loops.alarms() > self.alarms_told {
            self.alarms_told = self.loops.alarms();
            self.note(Note::LoopAlarm);
        }
    }

    // Epochs and documents.

    /// The consensus that rules packets under the keys of `epoch`, if it is still valid.
    fn ruling(&self, now: Now, epoch: Epoch) -> Option<std::sync::Arc<Consensus>> {
        let ruling = self.follower.ruling(epoch)?;
        (now.wall < ruling.valid_until()).then(|| ruling.clone())
    }

    fn offer(&mut self, now: Now, bundle: &[u8]) {
        match self.follower.offer(now.wall, bundle) {
            Ok(Accepted::New(epoch)) => {
                let state = self.follower.to_bytes();
                self.effect(Effect::Directory(state));
                self.note(Note::Consensus(epoch));
                let listed = self.follower.at(epoch).and_then(|c| View::of(c, &self.id));
                if listed.is_none() {
                    self.note(Note::NotListed(epoch));
                }
                self.refresh(now);
            }
            Ok(Accepted::Known) => {}
            Err(refused) => self.note(Note::Refused(refused.to_string())),
        }
    }

    /// Brings keys, views and neighbours up to date with the time and the consensuses held.
    fn refresh(&mut self, now: Now) {
        let current = self.schedule.epoch_at(now.wall);
        for event in self.keys.refresh(now.wall, &mut self.rng) {
            self.note(Note::Key(event));
        }
        let (likelier, other) = self.schedule.accepted(now.wall);
        let epochs = [Some(likelier), other, Some(current.next())];
        self.views = epochs
            .into_iter()
            .flatten()
            .filter_map(|epoch| {
                let view = View::of(&*self.ruling(now, epoch)?, &self.id)?;
                Some((epoch, view))
            })
            .collect();
        self.epoch = Some(current);
        let mut previous: BTreeMap<LinkKey, f64> = BTreeMap::new();
        let mut next = BTreeMap::new();
        // The newest last: where two consensuses name a node, it wins.
        for view in self.views.values() {
            for (key, share) in &view.previous {
                let rate = share * f64::from(self.config.packets_per_s);
                let most = previous.entry(*key).or_insert(rate);
                *most = most.max(rate);
            }
            next.extend(view.next.iter().map(|(id, target)| (*id, target.clone())));
        }
        self.links.set(now.instant, previous, next);
        let view = self.views.get(&current);
        self.loops.set(now, view, &mut self.rng);
        if let Some(view) = view {
            self.pool
                .set_capacity(pool_max(self.config.packets_per_s, view.delay_mean));
        }
        self.describe(current);
        self.boundary = self.next_boundary(now, current);
    }

    fn next_boundary(&self, now: Now, current: Epoch) -> Instant {
        let times = [
            self.schedule.key_until(current.previous()),
            self.schedule.key_from(current.next()),
            self.schedule.start(current.next()),
        ];
        let next = times.into_iter().filter(|time| *time > now.wall).min();
        let wake = now.instant.after(limits::WAKE_MAX);
        next.map_or(wake, |time| now.instant_of(time).min(wake))
    }

    /// Once an epoch: a descriptor for the next one, to all authorities.
    fn describe(&mut self, current: Epoch) {
        let epoch = current.next();
        if self.directory.described() == Some(epoch) || self.draining.is_some() {
            return;
        }
        let Some(keys) = self.keys.public_from(epoch) else {
            return;
        };
        let mixed = self.counters.mixed.saturating_sub(self.mixed_before);
        self.mixed_before = self.counters.mixed;
        let identity = IdentitySecret::from_seed(&self.config.identity);
        let link = LinkSecret::from_seed(&self.config.link);
        let descriptor = Descriptor {
            epoch,
            identity: identity.public(),
            link: link.public(),
            keys,
            address: self.config.address.clone(),
            kind: Kind::Mix,
            family: self.config.family,
            capacity: self.config.packets_per_s,
            load: self.expected_pool(mixed),
        };
        let signed = descriptor.sign(&identity, &link);
        self.directory.publish(epoch, signed.as_bytes().to_vec());
    }

    /// Packets expected in the pool (Little's law over the last epoch), rounded down to a power of
    /// two: enough for a warning, too little to count traffic by.
    fn expected_pool(&self, mixed: u64) -> u32 {
        let mean = self
            .current_view()
            .map_or(Duration::ZERO, |view| view.delay_mean);
        let seconds = self.schedule.length().as_secs_f64().max(f64::MIN_POSITIVE);
        let mixed = f64::from(u32::try_from(mixed).unwrap_or(u32::MAX));
        let expected = mixed / seconds * mean.as_secs_f64();
        let mut rounded = 0_u32;
        while f64::from(rounded.max(1)) * 2.0 <= expected && rounded < 1 << 30 {
            rounded = rounded.max(1) * 2;
        }
        if rounded == 0 && expected >= 1.0 {
            1
        } else {
            rounded
        }
    }

    // The end.

    fn drain(&mut self, now: Now) {
        if self.draining.is_none() {
            self.draining = Some(now.instant.after(self.delay_cap(now)));
            self.note(Note::Draining);
        }
    }

    fn finish_drain(&mut self, now: Now) {
        let Some(until) = self.draining else {
            return;
        };
        if self.drained || (!self.pool.is_empty() && now.instant < until) {
            return;
        }
        for _ in 0..self.pool.clear() {
            self.counters.drop(Drop::Draining);
        }
        self.drained = true;
        self.effect(Effect::Drained);
    }

    // What time brings.

    fn run_due(&mut self, now: Now) {
        let jumped = self.epoch != Some(self.schedule.epoch_at(now.wall));
        if jumped || now.instant >= self.boundary {
            self.refresh(now);
        }
        self.release(now);
        self.send_loops(now);
        self.links.expire(now.instant);
        let newest = self.follower.newest().map(|newest| newest.epoch());
        let leaves = self.follower.leaves_from();
        self.directory
            .fetch(now, &self.schedule, newest, leaves, &mut self.rng);
        self.finish_drain(now);
    }

    fn collect(&mut self, now: Now) {
        while let Some(output) = self.links.dialer.poll_output(now.instant) {
            if let Output::Close { link } = &output {
                self.links.forget(*link);
            }
            self.outputs.push_back(output);
        }
        while let Some(link) = self.links.poll_closed() {
            self.outputs.push_back(Output::Close { link });
        }
        while let Some(output) = self.directory.dialer.poll_output(now.instant) {
            self.outputs.push_back(output);
        }
    }

    fn plan(&mut self) {
        let deadlines = [
            self.pool.next_deadline(),
            self.loops
                .next_deadline()
                .filter(|_| self.draining.is_none()),
            self.links.next_deadline(),
            self.links.dialer.poll_timeout(),
            self.directory.dialer.poll_timeout(),
            Some(self.directory.fetch_at()),
            Some(self.boundary),
            self.draining.filter(|_| !self.drained),
        ];
        self.timeout = deadlines.into_iter().flatten().min();
    }
}

impl<M, K> Role for MixNode<M, K>
where
    M: DerefMut<Target = [u8]>,
    K: KeyStore,
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
            Input::Full { frame, .. } => self.full(&frame),
            Input::Timeout => {}
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

impl<M, K> std::fmt::Debug for MixNode<M, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MixNode")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn pool_max(packets_per_s: u32, mean: Duration) -> usize {
    let expected = f64::from(packets_per_s) * mean.as_secs_f64() * limits::POOL_MEANS;
    let whole = Duration::try_from_secs_f64(expected).map_or(u64::MAX, |d| d.as_secs());
    usize::try_from(whole)
        .unwrap_or(usize::MAX)
        .max(limits::POOL_MIN)
}

/// The table must hold the tags of a key's whole life at the rate that the descriptor promises.
fn check_table(config: &MixConfig, schedule: &EpochSchedule) -> Result<(), MixError> {
    let life_ms = schedule
        .epoch_ms
        .saturating_add(schedule.key_window_ms.saturating_mul(2));
    let needed = u64::from(config.packets_per_s)
        .saturating_mul(life_ms)
        .div_ceil(1_000);
    if needed > config.table_tags {
        return Err(MixError::TableTooSmall {
            rate: config.packets_per_s,
            life_s: life_ms.div_ceil(1_000),
            needed,
            have: config.table_tags,
        });
    }
    Ok(())
}
