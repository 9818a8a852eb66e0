//! Every limit of the provider, with the reason for its number. What it shares with mixes
//! stands in [`whist_node::limits`].

use std::time::Duration;

// From the specification (protocol.md sections 2 and 3).

/// Packets that a session may send at once, above its rate.
pub const UPLINK_BURST: u32 = 20;
/// The uplink takes this many times the rate of the session's profile.
pub const UPLINK_RATES: u32 = 2;
/// Documents are padded to a multiple of this many frames.
pub const DOC_FRAMES_MULTIPLE: usize = 16;
/// A drop that was opened gives its blob to the same token for this long.
pub const DROP_BOUND_HOURS: u32 = 24;
/// Numbers above `acked` that the maps of a `GET` cover.
pub const WINDOW: u64 = 512;

// Our choices.

/// Sessions at once. Each costs under 200 kB when its reply queue is full; idle ones 1 kB.
pub const SESSIONS_MAX: usize = 20_000;
/// Links that are up but have not said `HELLO`.
pub const STRANGERS_MAX: usize = 4_000;
/// A link that has not said `HELLO` for this long is closed.
pub const HELLO_WAIT: Duration = Duration::from_secs(10);
/// Replies that wait for a session's slots. It has more slots than packets, so that a queue of
/// this length means that somebody released a hoard.
pub const REPLIES_QUEUED_MAX: usize = 64;
/// Packets held for their delay at the entry: 2.5 kB each, 160 MB in all.
pub const POOL_MAX: usize = 65_536;
/// Answers held for their offset: about 2.4 kB each, 160 MB in all.
pub const ANSWERS_MAX: usize = 65_536;
/// Requests that wait for the desk or for their commit, 2 kB each; beyond, `full` is said. A disk
/// that takes 15 ms for each works them off in the minute that an answer may wait.
pub const DESK_JOBS_MAX: usize = 4_096;
/// What is on its way to the desk's thread: those, one job of the calendar of each kind, and the
/// end of a sync.
pub const DESK_QUEUE: usize = DESK_JOBS_MAX + 3;
/// An answer that is not durable after this many offsets is dropped: the disk hangs.
pub const ANSWER_OFFSETS_MAX: u32 = 1_200;
/// `DOC` chunks of a consensus header with its signatures: 26 kB at most.
pub const DOC_CHUNKS_MAX: usize = 64;
/// A drain waits this long beyond the longest delay, for answers that wait for the disk.
pub const DRAIN_HOLD: Duration = Duration::from_secs(2);

/// Addresses of a mailbox: its book of 32 kB is written once a day.
pub const ADDRESSES_MAX: usize = 1_024;
/// Items that one `GET` deletes; the rest goes with the next one.
pub const DELETES_PER_GET: usize = 1_024;
/// Rows in one batch of deletes.
pub const DELETES_PER_BATCH: usize = 4_096;
/// Expired rows that are deleted in one go, between two looks at the clocks: some milliseconds.
pub const CHORE_ROWS: usize = 512;
/// The pause after it: a million rows are gone in a minute, and half of the time is for others.
pub const CHORE_GAP: Duration = Duration::from_millis(20);
/// The pause after one that the disk failed.
pub const CHORE_RETRY: Duration = Duration::from_secs(30);
/// Rows that are damaged and passed over by one `GET`.
pub const DAMAGED_PER_GET: usize = 8;
/// A lease is never longer than this.
pub const LEASE_MAX: Duration = Duration::from_secs(3_600);
/// An item beyond the window cannot be named by the maps: its owner cannot say that it has it.
/// Its lease is longer by this factor, so that it is not handed out again and again.
pub const LEASE_BEYOND_WINDOW: u32 = 16;
/// Mailboxes whose index is in memory.
pub const SHELVES_MAX: usize = 50_000;
/// Items whose index is in memory: about 200 B each, 400 MB in all.
pub const ENTRIES_MAX: usize = 2_000_000;
/// Their number is looked at once in as many uses of mailboxes.
pub const ENTRIES_LOOK: u64 = 256;
/// Buckets of the quota table, live address or not: 8 B each, 2 MB.
pub const QUOTA_BUCKETS: usize = 1 << 18;
/// Items, drops and mailboxes that the store takes, unless its TOML says otherwise: 2 kB each.
pub const STORE_ROWS: u64 = 10_000_000;

/// Threads of the store.
pub const STORE_WORKERS: usize = 2;
/// Cache of the store.
pub const STORE_CACHE_BYTES: u64 = 64 << 20;
/// Journal of the store.
pub const STORE_JOURNAL_BYTES: u64 = 512 << 20;
/// What a day's rows take in memory before they go to a file. The journal holds them until then,
/// so that its space comes back soon.
pub const STORE_MEMTABLE_BYTES: u64 = 16 << 20;
/// What stays free on the store's disk, twice its journal: deletes and the clean-up of old rows
/// need room too, and the engine takes no more writes after one that failed.
pub const STORE_KEEP_FREE_BYTES: u64 = 2 * STORE_JOURNAL_BYTES;
