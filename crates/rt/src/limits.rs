//! Every limit of this crate, with the reason for its number. Those of the link protocol itself
//! (handshake, keep-alive, idle) are [`whist_link::limits`].

use std::time::Duration;

/// Frames queued for a node before [`whist_link::Input::Full`]: the documents of a network of a
/// thousand nodes (about 200 frames) fit twice, and it is 1.2 MB.
pub const QUEUE_NODE: usize = 512;

/// Frames queued for a client. Its downlink has a clock and a queue of the role's own; this one
/// only covers the moment of a write.
pub const QUEUE_CLIENT: usize = 64;

/// Events of all links that wait for the role. Full: links stop reading, and TCP slows the peers.
pub const EVENTS: usize = 1024;

/// Commands that wait for the role. Full: [`crate::Handle::send`] waits.
pub const COMMANDS: usize = 1024;

/// Frames written by one system call at most: 16 records are 39 kB.
pub const BATCH: usize = 16;

/// A batch of frames must be written within this, or the peer is too slow: 4 kB/s.
pub const WRITE: Duration = Duration::from_secs(10);

/// Bytes that the peer's machine does not acknowledge for this long end the link: the machine is
/// gone, or the network between. Shorter than a person's patience, longer than a change of cells.
pub const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A link that we closed waits this long for the peer to close its side.
pub const LINGER: Duration = Duration::from_secs(1);

/// Sockets accepted at most: below the 1,024 × 4 descriptors that systemd gives by default.
pub const SOCKETS: usize = 3500;

/// Of which clients have at most this many, so that they never keep nodes out.
pub const CLIENTS: usize = 3000;

/// Sockets by source address (a /64 of IPv6) at most. Loopback is exempt: it is this machine's
/// own, and an onion service's clients all come from there.
pub const SOCKETS_OF_SOURCE: usize = 64;

/// Handshakes under way at most; for one more, whoever has most loses its oldest.
pub const HANDSHAKES: usize = 512;

/// Handshakes under way above which a client is asked for a puzzle first.
pub const HANDSHAKES_WITHOUT_PUZZLE: usize = 64;

/// Handshakes a second that are affordable without a puzzle: a fifth of a core at 1 ms each.
pub const HANDSHAKES_A_SECOND: u32 = 200;

/// The accept loop's rest when the machine has no descriptors left.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);

/// At the end, links have this long to send what is queued and say good-bye.
pub const DRAIN: Duration = Duration::from_secs(3);

/// Requests to the metrics port served at once.
pub const METRICS_AT_ONCE: usize = 8;

/// A request to the metrics port must be whole and answered within this.
pub const METRICS_DEADLINE: Duration = Duration::from_secs(5);

/// Longest request head of the metrics port.
pub const METRICS_REQUEST_BYTES: usize = 4096;
