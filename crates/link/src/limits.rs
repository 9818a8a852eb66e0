//! Every limit of a link, with the reason for its number.

use std::time::Duration;

// From the specification (protocol.md §2).

/// A handshake that takes longer is abandoned: a slow peer must not hold a socket.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

// Our choices.

/// A node that has sent nothing for this long sends a `DUMMY`: it is under the shortest idle
/// time-outs of home routers (60 s), with room for one that is lost to a full queue.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A link on which nothing came for this long is dead: three keep-alives were due.
pub const IDLE: Duration = Duration::from_secs(65);

/// First ceiling of the wait before a link is dialled again.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);

/// Largest wait before a link is dialled again: a thawed network is healthy within 15 s
/// (attacks.md row 25), so the wait and a handshake must fit into that.
pub const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// A link that lived this long resets the backoff; one that fell sooner counts as a failed dial,
/// so that a peer that accepts and closes is not dialled in a loop.
pub const STABLE: Duration = Duration::from_secs(10);
