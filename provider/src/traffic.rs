//! Frames: what comes from clients and mixes, and what leaves for them.

use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;

use whist_link::{Frame, Hello, LinkId, Reply};
use whist_node::Control;
use whist_packet::request::encode_reply;
use whist_packet::{Destination, DropReason, FinalPayload, Packet, Unwrapped};
use whist_types::{NodeId, Now};

use crate::answers::Due;
use crate::clerk::Job;
use crate::desk::Moment;
use crate::entry::Undelivered;
use crate::exit::{Asked, Exit};
use crate::provider::{Effect, Held, Provider};
use crate::session::{Session, Unqueued};
use crate::stats::Drop;

impl<M> Provider<M>
where
    M: DerefMut<Target = [u8]>,
{
    pub(crate) fn frame(&mut self, now: Now, link: LinkId, frame: Frame) {
        if let Frame::Packet(bytes) = frame {
            self.counters.received += 1;
            let packet = Packet::from_bytes(bytes);
            let taken = if self.entry.knows(link) {
                self.packet_of_client(now, link, packet)
            } else {
                self.packet_of_mix(now, link, packet)
            };
            if let Err(reason) = taken {
                self.counters.drop(reason);
            }
            return;
        }
        let lawful = if self.entry.knows(link) {
            self.control_of_client(now, link, &frame)
        } else {
            self.control_of_node(now, link, frame)
        };
        if !lawful {
            self.close(now, link);
        }
    }

    fn control_of_client(&mut self, now: Now, link: LinkId, frame: &Frame) -> bool {
        match frame {
            Frame::Hello(Hello::Client {
                version,
                consensus,
                session,
                profile,
            }) => {
                // Without a consensus nobody knows what the profiles are: the client comes back.
                let Some(pace) = self.current_view().map(|view| view.pace(*profile)) else {
                    return false;
                };
                let greeting = Session::new(now.instant, *session, *profile, *consensus, pace);
                if *version != Hello::VERSION || !self.entry.greet(link, greeting) {
                    return false;
                }
                self.queue_document(now, link);
                self.schedule_document(now, link);
                true
            }
            // Documents come on their own schedule, asked for or not.
            Frame::DocGet(_) | Frame::Dummy => self.entry.with(link, |_| ()).is_some(),
            _ => false,
        }
    }

    fn control_of_node(&mut self, now: Now, link: LinkId, frame: Frame) -> bool {
        match self.peers.control(link, frame) {
            Control::Taken => true,
            Control::Bundle(bundle) => {
                self.offer(now, &bundle);
                true
            }
            Control::Unlawful => false,
        }
    }

    // Packets.

    fn packet_of_client(&mut self, now: Now, link: LinkId, packet: Packet) -> Result<(), Drop> {
        if self.draining.is_some() {
            return Err(Drop::Draining);
        }
        let allowed = self.entry.with(link, |s| s.accept_packet(now.instant));
        match allowed {
            Some(true) if self.uplinks.take(now.instant) => {}
            Some(_) => return Err(Drop::RateLimited),
            None => {
                // A packet before `HELLO`.
                self.close(now, link);
                return Err(Drop::WrongDirection);
            }
        }
        let (epoch, unwrapped) = self.open(now, packet)?;
        let Unwrapped::Forward {
            next,
            delay,
            packet,
        } = unwrapped
        else {
            return Err(Drop::NotFromMix);
        };
        let view = self.views.get(&epoch).ok_or(Drop::UnknownNextHop)?;
        if !view.neighbours.next.contains_key(&next) {
            return Err(Drop::UnknownNextHop);
        }
        self.pool
            .insert(now.instant.after(delay), Held { next, packet })
            .map_err(|_| Drop::PoolFull)
    }

    fn packet_of_mix(&mut self, now: Now, link: LinkId, packet: Packet) -> Result<(), Drop> {
        let Some(sender) = self.peers.links.sender(link) else {
            self.close(now, link);
            return Err(Drop::WrongDirection);
        };
        if self.draining.is_some() {
            return Err(Drop::Draining);
        }
        // Before the key exchange work: a link that is over its share costs a comparison.
        match self.peers.links.take_token(now.instant, &sender) {
            Some(true) => {}
            Some(false) => return Err(Drop::RateLimited),
            None => return Err(Drop::WrongLayer),
        }
        let (epoch, unwrapped) = self.open(now, packet)?;
        let view = self.views.get(&epoch).ok_or(Drop::WrongLayer)?;
        if !view.neighbours.previous.contains_key(&sender) {
            return Err(Drop::WrongLayer);
        }
        match unwrapped {
            Unwrapped::Forward { .. } => Err(Drop::NotFromClient),
            Unwrapped::Final { to, payload } if to == Destination::REQUEST => {
                self.request(now, payload)
            }
            Unwrapped::Final { to, payload } => self.reply(&to, payload),
        }
    }

    fn open(&mut self, now: Now, packet: Packet) -> Result<(whist_types::Epoch, Unwrapped), Drop> {
        let cap = self.delay_cap(now);
        self.keys.open(packet, now.wall, cap).map_err(Drop::Packet)
    }

    fn request(&mut self, now: Now, payload: FinalPayload) -> Result<(), Drop> {
        if !self.answers.has_room() {
            return Err(Drop::AnswersFull);
        }
        let hold = self.current_view().map(|v| v.parameters.request_hold());
        let hold = hold.ok_or(Drop::UnknownFirstHop)?;
        let payload = payload.request().map_err(Drop::Packet)?;
        let exit = Exit {
            provider: self.id,
            epoch: self.schedule.epoch_at(now.wall),
            follower: Some(&self.follower),
        };
        let (surb, asked) = exit.read(&payload).map_err(Drop::Packet)?;
        let request = match asked {
            Asked::Desk(request) => request,
            Asked::Answer(body) => {
                self.answers.hold(now.instant, hold, surb, body);
                return Ok(());
            }
            Asked::Document(body) => {
                self.counters.documents += 1;
                self.answers.hold(now.instant, hold, surb, body);
                return Ok(());
            }
        };
        if let Some(number) = self.answers.owe(now.instant, hold, surb) {
            let at = Moment {
                instant: now.instant,
                wall: now.wall,
            };
            self.effect(Effect::Desk(Job::Serve {
                number,
                at,
                request,
            }));
        }
        Ok(())
    }

    fn reply(&mut self, to: &Destination, payload: FinalPayload) -> Result<(), Drop> {
        let reply = Reply {
            session: to.session,
            surb: to.surb,
            payload: *payload.into_sealed(),
        };
        self.entry.deliver(reply).map_err(|why| match why {
            Undelivered::Unknown => Drop::UnknownSession,
            Undelivered::Unqueued(Unqueued::Unearned) => Drop::Unearned,
            Undelivered::Unqueued(Unqueued::Full) => Drop::SessionFull,
        })
    }

    // What leaves.

    pub(crate) fn release(&mut self, now: Now) {
        while let Some(Held { next, packet }) = self.pool.pop_due(now.instant) {
            if self.send(&next, packet) {
                self.counters.forwarded += 1;
            }
        }
    }

    pub(crate) fn answer_due(&mut self, now: Now) {
        while let Some(due) = self.answers.take_due(now.instant) {
            let Due::Ready(surb, body) = due else {
                self.counters.drop(Drop::NotDurable);
                continue;
            };
            let first = surb.first_hop();
            if !self
                .views
                .values()
                .any(|v| v.neighbours.next.contains_key(&first))
            {
                self.counters.drop(Drop::UnknownFirstHop);
                continue;
            }
            let payload = encode_reply(&self.follower.named(now.wall), &body, &mut self.padding);
            match surb.reply(&payload) {
                Ok((first, packet)) => {
                    if self.send(&first, packet) {
                        self.counters.answered += 1;
                    }
                }
                Err(_) => self.counters.drop(Drop::Packet(DropReason::BadSurb)),
            }
        }
    }

    fn send(&mut self, next: &NodeId, packet: Packet) -> bool {
        let sent = self.peers.send(next, packet);
        if !sent {
            self.counters.drop(Drop::NoLink);
        }
        sent
    }

    pub(crate) fn run_sessions(&mut self, now: Now) {
        for link in self.entry.documents_due(now.instant) {
            self.queue_document(now, link);
        }
        while let Some((link, frame)) = self.entry.take_frame(now.instant) {
            if matches!(frame, Frame::Reply(_)) {
                self.counters.delivered += 1;
            }
            self.outputs
                .push_back(whist_link::Output::Send { link, frame });
        }
    }

    /// Queues the consensus in use for a session, with a proof that it extends the one held there.
    fn queue_document(&mut self, now: Now, link: LinkId) {
        self.streams = self.streams.wrapping_add(1);
        let stream = self.streams;
        let follower = &self.follower;
        let Some(served) = follower.served(now.wall) else {
            return;
        };
        let hash = served.hash();
        let shared = &mut self.shared;
        self.entry.with(link, |session| {
            let bundle = follower.bundle_for(session.held(), now.wall);
            let parts = bundle.map_or_else(|| Arc::from([]), |bundle| shared.parts(&bundle));
            session.queue_document(now.instant, stream, parts);
            session.holds(hash);
        });
    }

    /// Draws the time of a session's document in this epoch, from session and epoch alone, so that
    /// no traffic moves it. One whose time has passed already comes in the next epoch; after
    /// `HELLO` there was one.
    pub(crate) fn schedule_document(&mut self, now: Now, link: LinkId) {
        let epoch = self.schedule.epoch_at(now.wall);
        let (key, schedule) = (&self.documents, &self.schedule);
        self.entry.with(link, |session| {
            let mut hasher = blake3::Hasher::new_keyed(key.expose());
            hasher.update(session.address.as_bytes());
            hasher.update(&epoch.number().to_be_bytes());
            let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
            let drawn = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            // Of an hour in milliseconds, the bias is below 2^-42.
            let offset = drawn.checked_rem(schedule.epoch_ms).unwrap_or(0);
            let at = schedule.start(epoch).after(Duration::from_millis(offset));
            if at > now.wall {
                session.schedule_document(now.instant_of(at));
            }
        });
    }
}
