//! Every limit that mixes and providers share, with the reason for its number.

use std::time::Duration;

// From the specification (protocol.md §5, parameters.md).

/// Lists of Sphinx keys go this far ahead: a key is made this many epochs before its own.
pub const KEYS_AHEAD: u64 = 4;

// Our choices.

/// Tables are marked this often (`Keyring::checkpoint` asks for each minute). Only a copy older
/// than the last mark is refused when it is put in a table's place; one made since is taken, and
/// lacks at most the tags of this time.
pub const CHECKPOINT: Duration = Duration::from_secs(60);

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

/// Frames that wait for an authority without a link: none, a descriptor is made anew for each link.
pub const AUTHORITY_QUEUE: usize = 0;

/// Parts of a consensus bundle: `netdoc` takes 6 MiB, and a length stands before it.
pub const BUNDLE_PARTS_MAX: u16 = 2_622;

/// A link's bucket holds what its rate gives in this time, or [`BURST_MIN`] if that is more.
pub const BURST: Duration = Duration::from_secs(1);

/// Smallest bucket: a Poisson stream of a few packets a second must pass a small share whole.
pub const BURST_MIN: f64 = 64.0;

/// A consensus is asked for again after this share of an epoch, from another authority.
pub const FETCH_RETRY_SHARE: u32 = 40;

/// No fetch is repeated sooner, however short epochs are.
pub const FETCH_RETRY_MIN: Duration = Duration::from_millis(250);

/// Nor later: a node that starts without a consensus must not sleep through an epoch.
pub const FETCH_RETRY_MAX: Duration = Duration::from_secs(60);

/// The role looks at the wall clock at least this often, so that a jump is noticed.
pub const WAKE_MAX: Duration = Duration::from_secs(30);
