//! Every limit of the mix, with the reason for its number.

use std::time::Duration;

/// Links accepted at once from peers that no consensus of ours lists yet. They may have fetched
/// theirs a moment earlier; anybody else can make a key too, so they are few.
pub const UNLISTED_LINKS_MAX: usize = 64;

/// How long such a link may stay: two fetches of a consensus that failed and one that did not.
pub const UNLISTED_LIFE: Duration = Duration::from_secs(30);

/// Accepted links for each node that may send to us. One is in use, one may be a stale half of a
/// broken connection, two more may come while both sides reconnect.
pub const LINKS_PER_PEER_MAX: usize = 4;

/// Frames that wait for a next hop without a link: none. A burst after a reconnection would tell an
/// observer which packets waited together; clients repeat what is lost.
pub const DIAL_QUEUE: usize = 0;

/// Loops that the loss figures are taken over: 200 s of loops at 5 a second.
pub const LOOP_WINDOW: usize = 1_000;

/// Loops under way: at 20 a second and a time-out of 50 s.
pub const LOOPS_PENDING_MAX: usize = 1_000;

/// A loop that is not back at this quantile of its round trip's law is missing: natural loss by
/// lateness is then 0.01 %, a tenth of the smallest loss whose false alarms are stated.
pub const LOOP_QUANTILE: f64 = 0.9999;

/// The fixed part of a loop's round trip: up to seven links of ordinary distance, and the queues.
pub const LOOP_LINKS: Duration = Duration::from_secs(2);

/// Loops are sent from the first moment and counted from this time on: after a restart neighbours
/// dial again within their first waits, and a loop that meets a link still down is no attack.
pub const LOOP_SETTLE: Duration = Duration::from_secs(5);

/// A loop clock that slept longer than this many means is resumed instead of caught up.
pub const LOOP_LAG_MEANS: u32 = 10;

/// The role looks at the wall clock at least this often, so that a jump is noticed.
pub const WAKE_MAX: Duration = Duration::from_secs(30);

/// Packets in the pool for each packet a second of line rate and second of mean delay. A pool is
/// Poisson with that mean; ten times it is beyond any chance and still bounded.
pub const POOL_MEANS: f64 = 10.0;

/// Smallest pool.
pub const POOL_MIN: usize = 1_024;
