//! Links coming and going, and the frames on them.

use std::ops::DerefMut;

use whist_link::{Frame, LinkId, Output, Remote};
use whist_node::Control;
use whist_packet::Packet;
use whist_types::Now;

use super::MixNode;
use crate::stats::Drop;

impl<M> MixNode<M>
where
    M: DerefMut<Target = [u8]>,
{
    pub(super) fn up(&mut self, now: Now, link: LinkId, remote: Remote) {
        let hello = whist_node::hello(&self.follower, now);
        if !link.is_accepted() {
            self.peers.dialed(now, link, hello);
            return;
        }
        let accepted = match remote {
            Remote::Node(key) if self.draining.is_none() => {
                self.peers.links.accept(now.instant, link, key)
            }
            _ => false,
        };
        self.outputs.push_back(if accepted {
            Output::Send { link, frame: hello }
        } else {
            Output::Close { link }
        });
    }

    pub(super) fn frame(&mut self, now: Now, link: LinkId, frame: Frame) {
        if let Frame::Packet(bytes) = frame {
            self.counters.received += 1;
            if let Err(reason) = self.packet(now, link, Packet::from_bytes(bytes)) {
                self.counters.drop(reason);
            }
            return;
        }
        match self.peers.control(link, frame) {
            Control::Taken => {}
            Control::Bundle(bundle) => self.offer(now, &bundle),
            Control::Unlawful => self.peers.close(now, link, &mut self.rng),
        }
    }

    /// A frame came back: its link's queue is full.
    pub(super) fn full(&mut self, frame: &Frame) {
        if matches!(frame, Frame::Packet(_)) {
            self.counters.sent = self.counters.sent.saturating_sub(1);
            self.counters.drop(Drop::QueueFull);
        }
    }
}
