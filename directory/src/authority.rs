//! The authority: takes descriptors, fixes the list, signs, exchanges signatures, serves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::{Rng as _, SeedableRng};
use whist_link::{Backoff, Dialer, DocGet, Frame, Hello, Input, LinkId, Output, Role, Target};
use whist_netdoc::{AuthoritySecret, Follower, Parameters, TrustedAuthorities};
use whist_timing::Rng;
use whist_types::{Epoch, IdentityKey, Instant, Now, Secret, Wall};

use crate::links::{Peer, authority_links, expired, make_room, next_expiry};
use crate::pool::Pool;
use crate::round::{Round, Signatures};
use crate::{Command, Effect, Error, Event, Ignored, Record, limits};

/// What an authority is made of.
#[derive(Debug)]
pub struct Setup {
    /// The network's authorities, this one among them.
    pub trusted: TrustedAuthorities,
    /// Its signing keys.
    pub secret: AuthoritySecret,
    /// What it puts into every consensus. All authorities need the same.
    pub parameters: Parameters,
    /// Identity keys of the nodes that it lists.
    pub admitted: BTreeSet<IdentityKey>,
}

/// Records of an earlier run, as [`Effect::Save`] wrote them.
#[derive(Debug, Default)]
pub struct Saved {
    /// [`Record::Signed`].
    pub signed: Option<Vec<u8>>,
    /// [`Record::Chain`].
    pub chain: Option<Vec<u8>>,
}

/// A directory authority without its input and output; see [`Role`] for when to call what.
#[derive(Debug)]
pub struct Authority {
    pub(crate) index: u8,
    pub(crate) trusted: TrustedAuthorities,
    secret: AuthoritySecret,
    pub(crate) parameters: Parameters,
    pub(crate) admitted: BTreeSet<IdentityKey>,
    pub(crate) follower: Follower,
    pub(crate) pool: Pool,
    pub(crate) round: Option<Round>,
    pub(crate) signatures: Signatures,
    /// The last epoch for which the list was looked at, signed or too short. Not what was signed,
    /// which is `round`: a clock that is ahead looks at epochs that are far away.
    fixed: Epoch,
    /// The last epoch whose start was seen.
    current: Option<Epoch>,
    repair_at: Instant,
    pub(crate) peers: BTreeMap<LinkId, Peer>,
    dialer: Dialer<u8>,
    rng: Rng,
    tickets: u64,
    pub(crate) now: Now,
    started: bool,
    output: VecDeque<Output<Effect>>,
}

impl Authority {
    /// An authority with what an earlier run left on disk.
    pub fn new(setup: Setup, saved: &Saved, seed: &Secret<32>) -> Result<Self, Error> {
        setup.parameters.check()?;
        let schedule = setup.trusted.schedule();
        if setup.parameters.schedule(schedule.genesis_ms) != *schedule {
            return Err(Error::OtherSchedule);
        }
        let index = own_index(&setup.trusted, &setup.secret).ok_or(Error::NotListed)?;
        let restore = |bytes| Round::restore(bytes, &setup.trusted, index);
        let round = saved.signed.as_deref().map(restore).transpose()?;
        let follower = match &saved.chain {
            Some(bytes) => Follower::from_bytes(setup.trusted.clone(), bytes)?,
            None => Follower::new(setup.trusted.clone()),
        };
        let mut dialer = Dialer::new(Backoff::default(), 0);
        dialer.want(targets(&setup.trusted, index));
        Ok(Self {
            index,
            secret: setup.secret,
            parameters: setup.parameters,
            admitted: setup.admitted,
            follower,
            pool: Pool::default(),
            fixed: signed_epoch(round.as_ref()),
            round,
            signatures: Signatures::default(),
            current: None,
            repair_at: Instant::ZERO,
            peers: BTreeMap::new(),
            dialer,
            rng: Rng::from_seed(*seed.expose()),
            tickets: 0,
            now: Now::default(),
            started: false,
            output: VecDeque::new(),
            trusted: setup.trusted,
        })
    }

    /// What it holds of the chain.
    pub const fn follower(&self) -> &Follower {
        &self.follower
    }

    /// Its place in the network's list.
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// Links that are up.
    pub fn links(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.output.push_back(Output::Effect(Effect::Event(event)));
    }

    pub(crate) fn send(&mut self, link: LinkId, frame: Frame) {
        self.output.push_back(Output::Send { link, frame });
    }

    pub(crate) fn save(&mut self, record: Record, bytes: Vec<u8>) -> u64 {
        self.tickets = self.tickets.saturating_add(1);
        let ticket = self.tickets;
        self.output.push_back(Output::Effect(Effect::Save {
            ticket,
            record,
            bytes,
        }));
        ticket
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.trusted.schedule().epoch_at(self.now.wall)
    }

    /// `permille` of an epoch before `epoch` starts.
    pub(crate) fn before(&self, epoch: Epoch, permille: u64) -> Wall {
        let schedule = self.trusted.schedule();
        let early = schedule.epoch_ms.saturating_mul(permille) / 1_000;
        schedule.start(epoch).before(Duration::from_millis(early))
    }

    fn tick(&mut self) {
        let current = self.epoch();
        if self.current != Some(current) {
            self.enter(current);
        }
        let upcoming = current.next();
        if self.fixed > upcoming {
            // The clock was ahead and is not any more. What was looked at meanwhile does not count;
            // what was signed does, since no epoch is signed twice.
            self.fixed = signed_epoch(self.round.as_ref());
        }
        if self.fixed < upcoming && self.now.wall >= self.before(upcoming, limits::FIX_PERMILLE) {
            self.fixed = upcoming;
            self.sign(upcoming);
        }
        self.repair(upcoming);
        self.expire();
        self.flush_dialer();
        self.flush_backlogs();
    }

    /// An epoch began.
    fn enter(&mut self, current: Epoch) {
        let missed = self.follower.newest().is_none_or(|n| n.epoch() < current);
        // Not at the very start, when no consensus could be there yet.
        if self.current.is_some() && missed {
            let signatures = self.round.as_ref().map_or(0, |round| {
                self.signatures.count(&round.header).saturating_add(1)
            });
            self.event(Event::NoConsensus {
                epoch: current,
                signatures,
            });
        }
        self.current = Some(current);
        // What was heard is forgotten when a consensus says that its time is over: the clock alone
        // may be wrong, and nobody sends it a second time. Without consensuses the oldest goes.
        let newest = self.follower.newest().map(|newest| newest.epoch());
        let over = newest.map_or(Epoch::default(), |newest| newest.min(current));
        self.pool.forget(over);
        self.signatures.forget(over);
    }

    /// Fixes the list for `epoch` and signs it. The signature leaves when it is on disk.
    fn sign(&mut self, epoch: Epoch) {
        if self.follower.evidence().is_some() {
            return;
        }
        let Some(proposal) = self.propose(epoch) else {
            let descriptors = self.pool.of(epoch).count();
            self.event(Event::TooFewNodes { epoch, descriptors });
            return;
        };
        let own = proposal.sign(self.index, &self.secret);
        let bundle = proposal.bundle(vec![own.clone()], whist_netdoc::Extension::None);
        let header = proposal.header().clone();
        let ticket = self.save(Record::Signed, bundle.to_bytes());
        self.event(Event::Signed {
            epoch,
            nodes: proposal.entries().len(),
            hash: header.hash(),
        });
        self.round = Some(Round::new(header, bundle, own, ticket));
    }

    /// Asks another authority for the consensus that should be there by now.
    fn repair(&mut self, upcoming: Epoch) {
        let newest = self.follower.newest().map(|newest| newest.epoch());
        let due = if self.now.wall >= self.before(upcoming, limits::REPAIR_PERMILLE) {
            upcoming
        } else {
            upcoming.previous()
        };
        let length = self.trusted.schedule().length();
        let wait = length
            .checked_div(limits::REPAIR_SHARE)
            .unwrap_or(length)
            .clamp(limits::REPAIR_MIN, limits::REPAIR_MAX);
        if newest >= Some(due) || self.now.instant < self.repair_at {
            return;
        }
        self.repair_at = self.now.instant.after(wait);
        let links = authority_links(&self.peers);
        let count = u64::try_from(links.len()).unwrap_or(0);
        // Spreads load, hides nothing.
        let Some(drawn) = self.rng.next_u64().checked_rem(count) else {
            return;
        };
        if let Some(link) = usize::try_from(drawn).ok().and_then(|at| links.get(at)) {
            self.ask(*link);
        }
    }

    /// Asks for the newest consensus.
    pub(crate) fn ask(&mut self, link: LinkId) {
        let leaves_from = self.follower.leaves_from();
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.asked = true;
            let epoch = 0;
            self.send(link, Frame::DocGet(DocGet { epoch, leaves_from }));
        }
    }

    fn hello(&self) -> Frame {
        Frame::Hello(Hello::Node {
            version: Hello::VERSION,
            consensus: self.follower.hash(),
            time: self.now.wall,
        })
    }

    fn up(&mut self, link: LinkId, remote: whist_link::Remote) {
        let hello = self.hello();
        let Some(key) = remote.key().copied() else {
            return self.refuse(link, Ignored::Unwanted);
        };
        let authority = self.trusted.index_of_link(&key);
        let mut peer = Peer::new(self.now.instant, key, authority);
        peer.known = self.is_admitted(&peer);
        let Some(closed) = make_room(&self.peers, &peer) else {
            return self.refuse(link, Ignored::Unwanted);
        };
        if link.is_accepted() {
            self.send(link, hello);
        } else if self.dialer.up(self.now.instant, link, hello).is_none() {
            return self.refuse(link, Ignored::Unwanted);
        }
        // `HELLO` is the first frame, before anything else goes out on this link.
        self.flush_dialer();
        for older in closed {
            if self.peers.contains_key(&older) {
                self.close(older);
            }
        }
        self.peers.insert(link, peer);
        if authority.is_some() {
            self.bring_up_to_date(link);
        }
    }

    fn down(&mut self, link: LinkId) {
        self.peers.remove(&link);
        self.dialer.down(self.now.instant, link, &mut self.rng);
    }

    /// Counts why something is ignored and closes the link where it is the peer's fault.
    pub(crate) fn refuse(&mut self, link: LinkId, why: Ignored) {
        self.event(Event::Ignored(why));
        if why.closes() {
            self.close(link);
        }
    }

    fn close(&mut self, link: LinkId) {
        self.peers.remove(&link);
        let dialled = self.dialer.close(self.now.instant, link, &mut self.rng);
        if dialled.is_none() {
            self.output.push_back(Output::Close { link });
        }
        self.flush_dialer();
    }

    /// Closes links of peers that did not say who they are in time. Whom a consensus or the
    /// operator made known meanwhile may stay.
    fn expire(&mut self) {
        for link in expired(&self.peers, self.now.instant) {
            let known = self.peers.get(&link).is_some_and(|p| self.is_admitted(p));
            match self.peers.get_mut(&link) {
                Some(peer) if known => peer.known = true,
                _ => self.refuse(link, Ignored::Unwanted),
            }
        }
    }

    fn flush_backlogs(&mut self) {
        for (link, peer) in &mut self.peers {
            for frame in peer.burst(self.now.instant) {
                let link = *link;
                self.output.push_back(Output::Send { link, frame });
            }
        }
    }

    fn flush_dialer(&mut self) {
        while let Some(output) = self.dialer.poll_output(self.now.instant) {
            self.output.push_back(output);
        }
    }
}

fn signed_epoch(round: Option<&Round>) -> Epoch {
    round.map_or(Epoch::default(), |round| round.header.epoch)
}

fn own_index(trusted: &TrustedAuthorities, secret: &AuthoritySecret) -> Option<u8> {
    let (ed25519, ml_dsa) = (secret.ed25519(), secret.ml_dsa());
    let own = trusted
        .authorities()
        .iter()
        .position(|a| a.ed25519 == ed25519 && a.ml_dsa == ml_dsa)?;
    u8::try_from(own).ok()
}

/// Each pair of authorities keeps one link: the one that stands first in the list dials.
fn targets(trusted: &TrustedAuthorities, index: u8) -> Vec<(u8, Target)> {
    (0u8..)
        .zip(trusted.authorities())
        .filter(|(other, _)| *other > index)
        .map(|(other, authority)| {
            let target = Target {
                address: authority.address.clone(),
                key: authority.link,
                identify: true,
            };
            (other, target)
        })
        .collect()
}

impl Role for Authority {
    type Command = Command;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input<Command>) {
        self.now = now;
        self.started = true;
        match input {
            Input::Up { link, remote } => self.up(link, remote),
            Input::Down { link } => self.down(link),
            Input::Frame { link, frame } => {
                if let Err(why) = self.frame(link, frame) {
                    self.refuse(link, why);
                }
            }
            // A blob with a hole is malformed to its reader: both sides begin again.
            Input::Full { link, .. } => self.close(link),
            Input::Timeout => {}
            Input::Command(Command::Saved { ticket }) => self.saved(ticket),
            Input::Command(Command::Admit(admitted)) => self.admitted = admitted,
        }
        self.tick();
    }

    fn poll_output(&mut self) -> Option<Output<Effect>> {
        self.output.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if !self.started {
            return Some(Instant::ZERO);
        }
        let upcoming = self.epoch().next();
        let walls = [
            self.before(upcoming, limits::FIX_PERMILLE),
            self.before(upcoming, limits::REPAIR_PERMILLE),
            self.trusted.schedule().start(upcoming),
        ];
        let next_wall = walls
            .into_iter()
            .filter(|wall| *wall > self.now.wall)
            .map(|wall| self.now.instant_of(wall));
        let repair = Some(self.repair_at).filter(|at| *at > self.now.instant);
        let bursts = self.peers.values().filter_map(Peer::burst_at);
        let tick = self.now.instant.after(limits::TICK_MAX);
        next_wall
            .chain(repair)
            .chain(bursts)
            .chain(next_expiry(&self.peers))
            .chain(self.dialer.poll_timeout())
            .chain([tick])
            .min()
    }
}
