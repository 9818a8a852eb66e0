//! A packet's way through the mix, own loops, and the drain at the end.

use std::ops::DerefMut;
use std::time::Duration;

use whist_link::LinkId;
use whist_node::epochs;
use whist_packet::{Packet, Unwrapped};
use whist_types::{NodeId, Now};

use super::{Effect, Held, MixNode, Note};
use crate::loops::{Loop, Stranger};
use crate::stats::Drop;

impl<M> MixNode<M>
where
    M: DerefMut<Target = [u8]>,
{
    pub(super) fn packet(&mut self, now: Now, link: LinkId, packet: Packet) -> Result<(), Drop> {
        let Some(sender) = self.peers.links.sender(link) else {
            self.peers.close(now, link, &mut self.rng);
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
        let (epoch, unwrapped) = self
            .keys
            .open(packet, now.wall, self.delay_cap(now))
            .map_err(Drop::Packet)?;
        let view = self.views.get(&epoch).ok_or(Drop::WrongLayer)?;
        if !view.neighbours.previous.contains_key(&sender) {
            return Err(Drop::WrongLayer);
        }
        match unwrapped {
            Unwrapped::Forward {
                next,
                delay,
                packet,
            } => {
                if !view.neighbours.next.contains_key(&next) {
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
    pub(super) fn delay_cap(&self, now: Now) -> Duration {
        let (likelier, other) = self.schedule.accepted(now.wall);
        [Some(likelier), other]
            .into_iter()
            .filter_map(|epoch| self.views.get(&epoch?))
            .map(|view| view.delay_cap)
            .max()
            .unwrap_or(Duration::ZERO)
    }

    pub(super) fn send(&mut self, next: &NodeId, packet: Packet) -> bool {
        let sent = self.peers.send(next, packet);
        if sent {
            self.counters.sent += 1;
        } else {
            self.counters.drop(Drop::NoLink);
        }
        sent
    }

    pub(super) fn release(&mut self, now: Now) {
        while let Some(Held { next, packet }) = self.pool.pop_due(now.instant) {
            if self.send(&next, packet) {
                self.counters.mixed += 1;
            }
        }
    }

    pub(super) fn send_loops(&mut self, now: Now) {
        self.loops.advance(now.instant);
        while self.draining.is_none() && self.loops.tick(now.instant, &mut self.rng) {
            let epoch = self.schedule.epoch_at(now.wall);
            let made = epochs::ruling(&self.follower, now.wall, epoch)
                .and_then(|consensus| Loop::make(&consensus, &self.id, now, &mut self.rng));
            let Some(made) = made else {
                self.counters.loops_unmade += 1;
                self.loops.unmade(now.instant, &mut self.rng);
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
        if self.loops.segment_alarms() > self.segment_alarms_told {
            self.segment_alarms_told = self.loops.segment_alarms();
            self.note(Note::SegmentAlarm);
        }
    }

    pub(super) fn drain(&mut self, now: Now) {
        if self.draining.is_none() {
            self.draining = Some(now.instant.after(self.delay_cap(now)));
            self.note(Note::Draining);
        }
    }

    pub(super) fn finish_drain(&mut self, now: Now) {
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
        // Frames first: the shell may end at the effect.
        self.collect(now);
        self.effect(Effect::Drained);
    }
}
