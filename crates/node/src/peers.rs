//! All links of a node with other nodes: its neighbours and the authorities.

use rand_core::CryptoRng;
use whist_link::{Frame, Hello, LinkId, Output};
use whist_netdoc::{Follower, TrustedAuthorities};
use whist_packet::Packet;
use whist_types::{Instant, NodeId, Now};

use crate::directory::Directory;
use crate::links::Links;

/// Links with neighbours and with authorities, each with its dialer.
#[derive(Debug)]
pub struct Peers {
    /// With neighbours.
    pub links: Links,
    /// With authorities.
    pub directory: Directory,
}

/// What came of a frame that is no packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Nothing more is to be done.
    Taken,
    /// With it the bundle of a consensus is whole.
    Bundle(Vec<u8>),
    /// The peer broke the protocol: the link is to be closed.
    Unlawful,
}

impl Peers {
    /// Dials every authority; neighbours come with a consensus.
    pub fn new(trusted: &TrustedAuthorities) -> Self {
        Self {
            links: Links::new(),
            directory: Directory::new(trusted),
        }
    }

    /// A link that was dialled is up.
    pub fn dialed(&mut self, now: Now, link: LinkId, hello: Frame) {
        if self.directory.dialer.peer_of(link).is_some() {
            self.directory.up(now, link, hello);
        } else {
            self.links.dialer.up(now.instant, link, hello);
        }
    }

    /// A link is gone.
    pub fn down(&mut self, now: Now, link: LinkId, rng: &mut impl CryptoRng) {
        self.links.forget(link);
        if self.directory.dialer.peer_of(link).is_some() {
            self.directory.down(now, link, rng);
        } else {
            self.links.dialer.down(now.instant, link, rng);
        }
    }

    /// The peer broke the protocol. It sees nothing but the end of the link.
    pub fn close(&mut self, now: Now, link: LinkId, rng: &mut impl CryptoRng) {
        if link.is_accepted() {
            self.links.close(link);
        } else if self.directory.dialer.peer_of(link).is_some() {
            self.links.forget(link);
            self.directory.close(now, link, rng);
        } else {
            self.links.forget(link);
            self.links.dialer.close(now.instant, link, rng);
        }
    }

    /// Takes a frame of a node that is no packet.
    pub fn control(&mut self, link: LinkId, frame: Frame) -> Control {
        let lawful = match frame {
            Frame::Hello(Hello::Node { version, .. }) => {
                version == Hello::VERSION && self.links.greet(link)
            }
            Frame::Dummy => self.links.is_greeted(link),
            Frame::DocChunk(part) => match self.directory.part(link, *part) {
                Ok(Some(bundle)) => return Control::Bundle(bundle),
                Ok(None) => self.directory.dialer.peer_of(link).is_some(),
                Err(_) => false,
            },
            _ => false,
        };
        if lawful {
            Control::Taken
        } else {
            Control::Unlawful
        }
    }

    /// Queues a packet for a neighbour; `false` if there is no link to it.
    pub fn send(&mut self, next: &NodeId, packet: Packet) -> bool {
        let frame = Frame::Packet(packet.into_bytes());
        self.links.dialer.send(next, frame).is_ok()
    }

    /// What time brings: links that nobody lists end, and a consensus that is missing is asked for.
    pub fn tend(&mut self, now: Now, follower: &Follower, rng: &mut impl CryptoRng) {
        self.links.expire(now.instant);
        self.directory.fetch(now, follower, rng);
    }

    /// The next thing to do on a link.
    pub fn poll_output<E>(&mut self, now: Instant) -> Option<Output<E>> {
        if let Some(output) = self.links.dialer.poll_output(now) {
            if let Output::Close { link } = &output {
                self.links.forget(*link);
            }
            return Some(output);
        }
        if let Some(link) = self.links.poll_closed() {
            return Some(Output::Close { link });
        }
        self.directory.dialer.poll_output(now)
    }

    /// When [`tend`](Self::tend) or [`poll_output`](Self::poll_output) has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.links.next_deadline(),
            self.links.dialer.poll_timeout(),
            self.directory.dialer.poll_timeout(),
            Some(self.directory.fetch_at()),
        ];
        deadlines.into_iter().flatten().min()
    }
}

/// What a node says first on each link.
pub fn hello(follower: &Follower, now: Now) -> Frame {
    Frame::Hello(Hello::Node {
        version: Hello::VERSION,
        consensus: follower.named(now.wall),
        time: now.wall,
    })
}
