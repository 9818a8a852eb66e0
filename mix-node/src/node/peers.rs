//! Links coming and going, and the frames on them.

use std::ops::DerefMut;

use whist_link::{Frame, Hello, LinkId, Output, Remote};
use whist_packet::{KeyStore, Packet};
use whist_types::Now;

use super::MixNode;
use crate::stats::Drop;

impl<M, K> MixNode<M, K>
where
    M: DerefMut<Target = [u8]>,
    K: KeyStore,
{
    pub(super) fn up(&mut self, now: Now, link: LinkId, remote: Remote) {
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

    pub(super) fn down(&mut self, now: Now, link: LinkId) {
        self.links.forget(link);
        if self.directory.dialer.peer_of(link).is_some() {
            self.directory.down(now, link, &mut self.rng);
        } else {
            self.links.dialer.down(now.instant, link, &mut self.rng);
        }
    }

    /// The peer broke the protocol. It sees nothing but the end of the link.
    pub(super) fn close(&mut self, now: Now, link: LinkId) {
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

    pub(super) fn frame(&mut self, now: Now, link: LinkId, frame: Frame) {
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
    pub(super) fn full(&mut self, frame: &Frame) {
        if matches!(frame, Frame::Packet(_)) {
            self.counters.sent = self.counters.sent.saturating_sub(1);
            self.counters.drop(Drop::QueueFull);
        }
    }
}
