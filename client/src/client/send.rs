//! At each tick: one packet, built by what the clock drew, filled by what there is to send.

use std::time::Duration;

use rand_core::Rng as _;
use whist_link::{Frame, Output};
use whist_netdoc::{Consensus, Kind, route};
use whist_packet::request::{Request, encode_request};
use whist_packet::{Destination, Hop, Packet, Route, SurbHash, SurbSecret, build, build_surb};
use whist_types::{EpochSchedule, Instant, NodeId, Now, SurbId, Wall};

use crate::account::{family_of, pick_provider};
use crate::api::{Effect, Event, seconds_up};
use crate::call::{Kinds, MessageState};
use crate::client::Client;
use crate::emission::{Class, Law, Tick};
use crate::ids::RequestId;
use crate::limits::{CANDIDATES_MAX, FRESH_EVERY};
use crate::mailbox::decoy;
use crate::outbox::{Entry, Job};
use crate::surbs::{Outstanding, Purpose};

/// What a packet could be filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    Echo,
    Get,
    Decoy,
    Request(RequestId),
}

/// A packet that is ready, and what must be remembered of it.
struct Ready {
    packet: Packet,
    secret: SurbSecret,
    exit: NodeId,
    segments: Vec<NodeId>,
    filling: Filling,
}

/// The part of a route that the clock drew: all but the exit.
struct Drawn<'a> {
    entry: NodeId,
    tick: &'a Tick,
    mixes: Vec<NodeId>,
    reply: Vec<NodeId>,
}

impl Client {
    /// Starts, runs or stops the clock.
    pub(super) fn run_clock(&mut self, now: Now) {
        let guard = self.account.entry;
        let linked = guard.is_some() && self.entry.connected() == guard;
        let Some(consensus) = self.usable(now).filter(|_| linked) else {
            if self.emission.is_running() {
                self.off_line();
            }
            return;
        };
        let law = self.law(&consensus);
        if !self.emission.is_running() {
            self.emission.start(now.instant, &law);
            self.show(Event::Online(true));
        }
        // At most one packet for each tick: a tick too old to be sent gives none, and the next
        // one then lies ahead.
        while let Some(tick) = self.next_tick(now, &law) {
            // By the number of the tick, so that an idle and a busy client ask at one time.
            if tick.number.is_multiple_of(FRESH_EVERY) {
                self.outputs.push_back(Output::Effect(Effect::Fresh));
            }
            self.send_tick(now, &consensus, tick);
        }
    }

    #[cfg(not(any(test, feature = "control")))]
    fn next_tick(&mut self, now: Now, law: &Law) -> Option<Tick> {
        self.emission.take(now.instant, law)
    }

    #[cfg(any(test, feature = "control"))]
    fn next_tick(&mut self, now: Now, law: &Law) -> Option<Tick> {
        let waiting = self.outbox.due(now.instant).count();
        crate::control::take(&mut self.emission, self.control, now.instant, law, waiting)
    }

    fn send_tick(&mut self, now: Now, consensus: &Consensus, tick: Tick) {
        let [poll, send, decoys] = &mut self.stats.ticks;
        let count = match tick.class {
            Class::Poll => poll,
            Class::Send => send,
            Class::Decoy => decoys,
        };
        *count = count.saturating_add(1);
        self.give_up(now, consensus);
        match self.compose(now, consensus, tick) {
            Some(ready) => self.leave(now, ready),
            None => self.stats.without_route = self.stats.without_route.saturating_add(1),
        }
    }

    /// What may fill a packet of this class, in the order of preference. No class becomes
    /// another: what is left in each is cover.
    fn fillings(&self, now: Instant, consensus: &Consensus, tick: &Tick) -> Vec<Filling> {
        let mailbox = self.mailbox.as_ref();
        let exists = mailbox.is_some_and(crate::mailbox::Mailbox::is_created);
        let mut fillings = match tick.class {
            Class::Poll if exists && tick.may_poll => vec![Filling::Get],
            Class::Poll => Vec::new(),
            Class::Send => {
                let frozen = self.frozen();
                let thaws = |entry: &&Entry| {
                    let to = entry.job.address();
                    to.is_none_or(|address| !frozen.contains(address))
                };
                self.outbox
                    .due(now)
                    .filter(thaws)
                    .filter(|entry| self.can_leave(consensus, entry))
                    .take(CANDIDATES_MAX)
                    .map(|entry| Filling::Request(entry.id))
                    .collect()
            }
            Class::Decoy => vec![Filling::Decoy],
        };
        fillings.push(Filling::Echo);
        fillings
    }

    /// Whether a request could leave at all: its provider is listed as one, and what it speaks of
    /// is still there. Whoever is written to names a provider of their choice; a request for one
    /// that does not exist waits, and keeps nothing else from leaving.
    pub(super) fn can_leave(&self, consensus: &Consensus, entry: &Entry) -> bool {
        let listed = consensus
            .node(&entry.exit)
            .is_some_and(|node| node.role.kind() == Kind::Provider);
        listed
            && match &entry.job {
                Job::Put { .. } | Job::Notice { .. } | Job::Doc { .. } => true,
                Job::Create | Job::Add { .. } | Job::Revoke { .. } => self.mailbox.is_some(),
                Job::Publish { invitation } => self.people.invitations.contains_key(invitation),
                Job::Fetch { pending } => self.people.pending.contains_key(pending),
            }
    }

    fn compose(&mut self, now: Now, consensus: &Consensus, mut tick: Tick) -> Option<Ready> {
        let entry = self.account.entry?;
        let drawn = Drawn {
            entry,
            mixes: route::mixes(consensus, &mut tick.forward).ok()?,
            reply: route::reply(consensus, &entry, &mut tick.reply).ok()?,
            tick: &tick,
        };
        self.fillings(now.instant, consensus, &tick)
            .into_iter()
            .find_map(|filling| self.fill(now, consensus, &drawn, filling))
    }

    fn fill(
        &mut self,
        now: Now,
        consensus: &Consensus,
        drawn: &Drawn<'_>,
        filling: Filling,
    ) -> Option<Ready> {
        let exit = self.exit_of(consensus, &drawn.entry, filling)?;
        let mean = consensus.parameters().delay_mean();
        let mut nodes = vec![drawn.entry];
        nodes.extend(&drawn.mixes);
        nodes.push(exit);
        let layers = drawn.mixes.len();
        let forward = hops(consensus, &nodes, &drawn.tick.delays, now.wall, mean)?;
        let forward = Route::request(forward, layers).ok()?;
        let there = mean.saturating_mul(u32::try_from(drawn.tick.delays.len()).ok()?);
        let hold = consensus.parameters().request_hold();
        let turned = now.wall.after(there.saturating_add(hold));
        let back = hops(
            consensus,
            &drawn.reply,
            &drawn.tick.reply_delays,
            turned,
            mean,
        )?;
        let back = Route::reply(back, layers).ok()?;
        let to = Destination {
            session: self.entry.session(),
            surb: self.fresh_surb_id(),
        };
        let (surb, secret) = build_surb(&back, &to, &mut self.rng).ok()?;
        let request = self.request(now, consensus, filling, &surb.hash())?;
        let payload = encode_request(&request, &surb, &mut self.rng);
        let packet = build(&forward, &Destination::REQUEST, &payload, &mut self.rng).ok()?;
        nodes.extend(&drawn.reply);
        Some(Ready {
            packet,
            secret,
            exit,
            segments: nodes,
            filling,
        })
    }

    fn exit_of(
        &mut self,
        consensus: &Consensus,
        entry: &NodeId,
        filling: Filling,
    ) -> Option<NodeId> {
        match filling {
            Filling::Echo => {
                let avoid: Vec<_> = family_of(consensus, entry).into_iter().collect();
                pick_provider(consensus, &mut self.rng, &avoid, 0).ok()
            }
            Filling::Get | Filling::Decoy => Some(self.mailbox.as_ref()?.provider()),
            Filling::Request(id) => Some(self.outbox.entry(id)?.exit),
        }
    }

    fn fresh_surb_id(&mut self) -> SurbId {
        let mut id = [0; 16];
        while id == [0; 16] {
            self.rng.fill_bytes(&mut id);
        }
        SurbId::from_bytes(id)
    }

    fn request(
        &mut self,
        now: Now,
        consensus: &Consensus,
        filling: Filling,
        surb: &SurbHash,
    ) -> Option<Request> {
        let epoch = consensus.schedule().epoch_at(now.wall);
        match filling {
            Filling::Echo => Some(Request::Echo),
            Filling::Get => {
                let lease = seconds_up(self.repeat_law().round_trip);
                let lease = u32::try_from(lease).unwrap_or(u32::MAX);
                let mailbox = self.mailbox.as_ref()?;
                Some(mailbox.get(epoch, &self.numbers.report(), lease, surb))
            }
            Filling::Decoy => {
                let address = self.mailbox.as_ref()?.any_address(&mut self.rng)?;
                let item = decoy(self.account.decoy_key(), &mut self.rng);
                Some(Request::Put { address, item })
            }
            Filling::Request(id) => {
                let job = self.outbox.entry(id)?.job.clone();
                self.job_request(epoch, &job, surb)
            }
        }
    }

    fn job_request(
        &mut self,
        epoch: whist_types::Epoch,
        job: &Job,
        surb: &SurbHash,
    ) -> Option<Request> {
        // Admission is open for now: the proof's bytes mean nothing and look like one.
        let mut proof = [0; 64];
        self.rng.fill_bytes(&mut proof);
        let mailbox = self.mailbox.as_ref();
        match job {
            Job::Put { address, item, .. } | Job::Notice { address, item } => Some(Request::Put {
                address: *address,
                item: item.item().clone().into_bytes(),
            }),
            Job::Create => Some(mailbox?.create(epoch, proof, surb)),
            Job::Add { salts } => Some(mailbox?.add(epoch, salts, surb)),
            Job::Revoke { addresses } => Some(mailbox?.revoke(epoch, addresses, surb)),
            Job::Publish { invitation } => {
                let invitation = self.people.invitations.get(invitation)?;
                Some(Request::Publish {
                    drop: invitation.key().drop_id(),
                    proof,
                    blob: Box::<[u8]>::from(invitation.blob.as_slice())
                        .try_into()
                        .ok()?,
                })
            }
            Job::Fetch { pending } => {
                let pending = self.people.pending.get(pending)?;
                Some(Request::Fetch {
                    drop: pending.key().drop_id(),
                    token_hash: *blake3::hash(&pending.token).as_bytes(),
                })
            }
            Job::Doc { hash, chunk } => Some(Request::Doc {
                hash: *hash,
                chunk: *chunk,
            }),
        }
    }

    fn leave(&mut self, now: Now, ready: Ready) {
        let purpose = match ready.filling {
            Filling::Echo => Purpose::Echo,
            Filling::Get => Purpose::Poll,
            Filling::Decoy => Purpose::Decoy,
            Filling::Request(id) => Purpose::Request {
                id,
                put: self
                    .outbox
                    .entry(id)
                    .is_some_and(|e| matches!(e.job, Job::Put { .. } | Job::Notice { .. })),
            },
        };
        count(&mut self.stats.sent, purpose);
        let law = self.repeat_law();
        self.losses.set_timeout(law.round_trip);
        let id = ready.secret.id();
        self.losses.sent(now.instant, id, ready.segments);
        self.surbs.expire(now.instant, law.round_trip);
        let outstanding = Outstanding {
            secret: ready.secret,
            purpose,
            exit: ready.exit,
        };
        self.surbs.insert(now.instant, outstanding);
        let frame = Frame::Packet(ready.packet.into_bytes());
        self.entry.send(frame);
        if let Filling::Request(id) = ready.filling {
            self.outbox.sent(now.instant, id, &law, &mut self.rng);
            self.after_sending(id);
            // The count of repeats may become durable after the packet left: a crash between the
            // two costs one repeat more, and delaying the packet would break the clock.
            self.save_request(now, id);
        }
    }

    fn after_sending(&mut self, id: RequestId) {
        let Some(entry) = self.outbox.entry(id) else {
            return;
        };
        if entry.sends > 1 {
            self.stats.repeats = self.stats.repeats.saturating_add(1);
            return;
        }
        let Job::Put {
            message: Some(message),
            ..
        } = entry.job
        else {
            return;
        };
        let mut left = false;
        let row = self.change_message(message, |row| {
            row.unsent = row.unsent.saturating_sub(1);
            left = row.unsent == 0 && row.state == MessageState::Queued;
            if left {
                row.state = MessageState::Sent;
            }
        });
        if let Some(row) = row.filter(|_| left) {
            self.show_state(message, &row);
        }
    }
}

/// Adds one to the counter of a packet's kind.
pub(super) fn count(kinds: &mut Kinds, purpose: Purpose) {
    let counter = match purpose {
        Purpose::Echo => &mut kinds.echo,
        Purpose::Poll => &mut kinds.get,
        Purpose::Decoy => &mut kinds.decoy,
        Purpose::Request { put: true, .. } => &mut kinds.put,
        Purpose::Request { put: false, .. } => &mut kinds.other,
    };
    *counter = counter.saturating_add(1);
}

/// Hops with the keys of the epochs in which the packet is expected there: the time now plus the
/// means of the delays before. The last hop has no delay.
fn hops(
    consensus: &Consensus,
    nodes: &[NodeId],
    delays: &[Duration],
    start: Wall,
    mean: Duration,
) -> Option<Vec<Hop>> {
    let schedule: &EpochSchedule = consensus.schedule();
    let mut expected = start;
    let padded = delays.iter().copied().chain([Duration::ZERO]);
    let mut hops = Vec::with_capacity(nodes.len());
    for (node, delay) in nodes.iter().zip(padded) {
        let key = consensus.key(node, schedule.epoch_at(expected))?;
        hops.push(Hop {
            node: *node,
            key,
            delay,
        });
        expected = expected.after(mean);
    }
    Some(hops)
}
