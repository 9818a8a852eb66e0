//! What a role is to whoever carries its frames: the tokio driver of `rt`, or the simulator.

use whist_types::{Instant, LinkKey, Now};

use crate::Frame;

/// Names a link within one process. Roles number the links that they dial, shells number those
/// that they accept; the highest bit keeps the two apart. A number is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(u64);

impl LinkId {
    const ACCEPTED: u64 = 1 << 63;

    /// The `n`-th link that this role dialled.
    pub const fn dialed(n: u64) -> Self {
        Self(n & !Self::ACCEPTED)
    }

    /// The `n`-th link that the shell accepted.
    pub const fn accepted(n: u64) -> Self {
        Self(n | Self::ACCEPTED)
    }

    /// Whether the shell accepted it.
    pub const fn is_accepted(self) -> bool {
        self.0 & Self::ACCEPTED != 0
    }

    /// The number, without the bit.
    pub const fn number(self) -> u64 {
        self.0 & !Self::ACCEPTED
    }
}

/// Who is at the other end of an open link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Remote {
    /// A peer that proved this key. Whether the key is listed is the role's to check.
    Node(LinkKey),
    /// A peer that proved nothing: a client.
    Anonymous,
}

impl Remote {
    /// The proven key.
    pub const fn key(&self) -> Option<&LinkKey> {
        match self {
            Self::Node(key) => Some(key),
            Self::Anonymous => None,
        }
    }
}

/// Whom to dial and whom to expect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// The key that the server must prove.
    pub key: LinkKey,
    /// Whether to prove a key of our own: nodes do, clients authenticate themselves not at all.
    pub identify: bool,
}

/// What happens to a role. For each link: `Up` once, then `Frame` and `Full` in any number, then
/// `Down` once; a dial that fails gives `Down` without `Up`. After the role put out
/// [`Output::Close`] for a link, no input names it again.
#[derive(Clone, PartialEq, Debug)]
pub enum Input<C> {
    /// The handshake is done.
    Up {
        /// Which link.
        link: LinkId,
        /// Who is there: the dialled key, a node's proven key, or nobody known.
        remote: Remote,
    },
    /// The link is gone, for whatever reason, or the dial failed.
    Down {
        /// Which link.
        link: LinkId,
    },
    /// A well-formed frame came.
    Frame {
        /// On which link.
        link: LinkId,
        /// What came.
        frame: Frame,
    },
    /// A frame was not queued: the link's bounded queue is full, or the link is not up yet. The
    /// frame comes back, and the role counts it or keeps it.
    Full {
        /// Which link.
        link: LinkId,
        /// What was not queued.
        frame: Frame,
    },
    /// The time that `poll_timeout` named has come.
    Timeout,
    /// Something of the role's own: a command of its operator, a completed write.
    Command(C),
}

/// What a role wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output<E> {
    /// Open a link.
    Dial {
        /// Under this name, never used before.
        link: LinkId,
        /// To this peer.
        target: Target,
    },
    /// Queue a frame. To a link that the shell does not know any more, it is dropped.
    Send {
        /// On which link.
        link: LinkId,
        /// What to send.
        frame: Frame,
    },
    /// Close a link after what is queued on it. No input names it again.
    Close {
        /// Which link.
        link: LinkId,
    },
    /// Something of the role's own: a record to write, an event to show.
    Effect(E),
}

/// A program of Whist without its input and output.
///
/// After each `handle` its caller takes `poll_output` until `None`, then asks `poll_timeout`. The
/// time that it names may lie in the past: then `Input::Timeout` is due at once. Randomness is the
/// role's own generator, seeded by its constructor.
pub trait Role {
    /// What `Input::Command` carries.
    type Command;
    /// What `Output::Effect` carries.
    type Effect;

    /// Something happened at `now`. Never blocks, never panics on what a peer sent.
    fn handle(&mut self, now: Now, input: Input<Self::Command>);

    /// The next thing to do, in order. Call until `None` after each `handle`.
    fn poll_output(&mut self) -> Option<Output<Self::Effect>>;

    /// When to call `handle(now, Input::Timeout)`, if nothing happens before. Changes only in
    /// `handle`.
    fn poll_timeout(&self) -> Option<Instant>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialled_and_accepted_links_never_share_a_name() {
        assert_ne!(LinkId::dialed(7), LinkId::accepted(7));
        assert!(LinkId::accepted(7).is_accepted() && !LinkId::dialed(u64::MAX).is_accepted());
        assert_eq!(LinkId::accepted(7).number(), 7);
    }
}
