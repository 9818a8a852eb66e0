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

/// Two nodes' links carry keep-alives, a client's link carries none (its clock alone says when it
/// sends). A `low` client's gaps are exponential with mean 30 s: none is 10 min long in 10^8.
pub const IDLE_CLIENT: Duration = Duration::from_secs(600);

/// A record that has begun must be whole after this: 2,436 bytes at 2 kbit/s.
pub const WHOLE_FRAME: Duration = Duration::from_secs(10);

/// Frames that wait inside a connection to be taken, in each direction. Beyond it, sending is
/// refused and receiving stops; both are the caller's to bound further. 64 frames are 156 kB.
pub const FRAMES_HELD: usize = 64;

/// Largest record before a link is open. A ClientHello with its hybrid key share has about 1,500
/// bytes, the other flights less.
pub const HANDSHAKE_RECORD: usize = 4096;

/// All bytes before a link is open: twice what the longer side sends.
pub const HANDSHAKE_BYTES: usize = 8192;

// The puzzle.

/// Memory of one Argon2id evaluation, in KiB: fits the second-level cache of one core, so that a
/// server checks in under 0.1 ms (a handshake costs it twice that), and is too much for the
/// registers of a graphics card.
pub const PUZZLE_MEMORY_KIB: u32 = 256;

/// Passes over that memory: the least; more would cost the server as much as the client.
pub const PUZZLE_PASSES: u32 = 1;

/// Zero bits that a cheap hash of salt and nonce must begin with before Argon2id is evaluated at
/// all. 1,024 hashes take longer than the evaluation that they buy (0.14 ms against 0.09 ms), so
/// garbage with a valid salt costs its sender more than the server.
pub const PUZZLE_FILTER_BITS: u32 = 10;

/// Least effort asked for: 16 evaluations with their filters, about 4 ms.
pub const EFFORT_MIN: u8 = 4;

/// Most effort asked for or accepted: 65,536 evaluations, about 15 s of one core. A client spends
/// no more for a stranger's unauthenticated bytes.
pub const EFFORT_MAX: u8 = 16;

/// A salt holds for the minute in which it was made and this many after: enough for the slowest
/// client at the highest effort.
pub const SALT_MINUTES: u64 = 2;

/// Solutions that are remembered in a minute so that none is used twice. Each cost its maker work;
/// when there are more, new ones are refused until the minute is over. 65,536 take 2 MiB.
pub const SPENT_MAX: usize = 65_536;
