//! Every limit of the mix, with the reason for its number. What it shares with providers
//! stands in [`whist_node::limits`].

use std::time::Duration;

pub use whist_node::limits::{UNLISTED_LIFE, UNLISTED_LINKS_MAX};

/// Loops that the loss figures are taken over: 200 s of loops at 5 a second.
pub const LOOP_WINDOW: usize = 1_000;

/// Loops over a segment from which on a report names it: fewer say nothing.
pub const REPORT_LOOPS_MIN: u64 = 16;

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

/// Packets in the pool for each packet a second of line rate and second of mean delay. A pool is
/// Poisson with that mean; ten times it is beyond any chance and still bounded.
pub const POOL_MEANS: f64 = 10.0;

/// Smallest pool.
pub const POOL_MIN: usize = 1_024;
