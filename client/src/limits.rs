//! Every limit of the client, with the reason for its number.

use std::time::Duration;

// From the specification (protocol.md and parameters.md).

/// Bytes of an item as it stands in a mailbox.
pub const ITEM_BYTES: usize = 1_536;
/// Spare addresses registered when a mailbox is made, and after each refill.
pub const SPARE_ADDRESSES: usize = 32;
/// Invitations whose drops are published ahead.
pub const INVITATIONS_AHEAD: usize = 4;
/// A request is repeated at most this often.
pub const REPEATS_MAX: u32 = 6;
/// The quantile of the round trip after which a request counts as unanswered.
pub const ROUND_TRIP_QUANTILE: f64 = 0.999;
/// A provider's clock that differs by more than this is told to the person.
pub const SKEW_MAX: Duration = Duration::from_secs(60);
/// A warning is given when fewer packets than this are expected in a mix.
pub const CROWD_PACKETS_MIN: f64 = 5.0;
/// A warning is given when fewer sessions than this share the profile.
pub const CROWD_SESSIONS_MIN: u64 = 100;
/// Numbers above `acked` that a `GET` can speak of: its maps have 512 bits.
pub const NUMBERS_AHEAD: u64 = 512;
/// Least memory of the passphrase's key derivation: 64 MiB.
pub const ARGON2_MEMORY_KIB_MIN: u32 = 64 * 1_024;

/// Documents come in a multiple of this many frames.
pub const DOC_FRAMES_MULTIPLE: usize = 16;

// Our choices.

/// A vault that asks for more than 4 GiB was not made by us.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 4 * 1_024 * 1_024;
/// Passes that a slow guesser would need at most; keeps a forged header from hanging the start.
pub const ARGON2_PASSES_MAX: u32 = 64;
/// Lanes: one, so that the cost is the same on every machine.
pub const ARGON2_LANES: u32 = 1;
/// Memory of a shared secret's key derivation: what the smaller machine of the two has, since
/// both have to come to the same.
pub const SHARED_SECRET_MEMORY_KIB: u32 = 64 * 1_024;
/// Passes over it: RFC 9106's second choice, for 64 MiB, with one lane as everywhere here.
pub const SHARED_SECRET_PASSES: u32 = 3;
/// Seconds after which a command waits for that no longer: the slowest machine needs a few.
pub const STRETCH_WAIT_S: u64 = 120;
/// A tick that is later than this (the machine slept) is skipped: two packets of a fast profile
/// are closer than that, so no burst can be seen.
pub const TICK_LATE_MAX: Duration = Duration::from_millis(250);
/// Ticks after which the operating system is asked for fresh randomness: minutes of each profile.
pub const FRESH_EVERY: u64 = 64;
/// Requests that may wait: at one a second more than a day's worth of patience.
pub const OUTBOX_MAX: usize = 16_384;
/// Outstanding reply blocks: a day of the fastest profile's 99.9 % round trips is far below.
pub const SURBS_MAX: usize = 8_192;
/// A reply block is forgotten after this many round-trip quantiles: later replies are repeats.
pub const SURB_LIFE_QUANTILES: u32 = 8;
/// Slots of the downlink within which 99.9 % of replies leave: a queue at half its capacity with
/// fixed slots passes that quantile below eight.
pub const DOWNLINK_SLOTS: u32 = 8;
/// Allowance for the links of a round trip, three quarters of a second for eight of them.
pub const LINKS_ALLOWANCE: Duration = Duration::from_millis(750);
/// Contacts of one client.
pub const CONTACTS_MAX: usize = 4_096;
/// Longest name of a contact in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest text in bytes; it goes in fragments.
pub const TEXT_BYTES_MAX: usize = 64 * 1_024;
/// Words of one contact that wait for an earlier one. At a fifth of packets lost one text in 600 is
/// lost four times and comes minutes late, and with an hour of disorder any may come behind 10,000
/// written after it; those must not be refused, since their author was told that they are stored.
/// With 512 they were, so it is the window alone that is wide: what stands in it is bounded by
/// [`BYTES_AHEAD_MAX`], pieces of nothing included, and words that are named as given up are bits,
/// 257 blocks of 16 bytes at most. A contact that sends numbers far ahead costs no more than
/// 8 MiB + 4 kB in memory, and on the disk, where a row is padded to twice its length at most, no
/// more than 17 MiB. (512 words of 50 pieces each, as numbers and pieces were kept before, came to
/// 29 MB in either place and to 4 kB.)
pub const TEXTS_AHEAD_MAX: u64 = 16_384;
/// What those words cost a contact at most, while they wait: two days of an address's quota.
pub const BYTES_AHEAD_MAX: usize = 8 * 1_024 * 1_024;
/// What each piece counts beside its bytes: its places in two maps, its buffer, and its row with
/// name, head, nonce and key, which is no shorter than that on the disk either.
pub const PIECE_AHEAD_BYTES: usize = 256;
/// Longest timer of texts that disappear: a year.
pub const TIMER_S_MAX: u32 = 365 * 24 * 3_600;
/// Items kept of an address whose first item has not come.
pub const EARLY_ITEMS_MAX: usize = 64;
/// Texts that wait to be read; beyond that the oldest goes to the history unread, and its author is
/// told nothing more of it.
pub const INBOX_MAX: usize = 16_384;
/// Sent texts whose state is kept: more than can be on their way.
pub const MESSAGES_MAX: usize = 2 * OUTBOX_MAX;
/// Texts that are kept, in memory and in the vault, in any mode of the history; beyond it the
/// oldest that were read go.
pub const HISTORY_TEXTS_MAX: usize = 65_536;
/// Bytes of their contents, for the same.
pub const HISTORY_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Those who wrote to the own address and wait to be accepted; beyond it nobody can ask.
pub const ASKERS_MAX: usize = 64;
/// First items that were turned down and are known again: as many as that, four times.
pub const TURNED_DOWN_MAX: usize = 256;
/// Bytes that can be said with a request: what is left of a first item.
pub const NOTE_BYTES_MAX: usize = 140;
/// Banners that wait to be dismissed.
pub const BANNERS_MAX: usize = 256;
/// Texts that one `history` or `search` hands out.
pub const HISTORY_PAGE_MAX: usize = 1_000;
/// Bytes of texts that are searched at one input: milliseconds, which the send clock has.
pub const SEARCH_BYTES_MAX: usize = 1024 * 1024;
/// Commands that may wait for an answer (`invite`, `receive --wait`).
pub const WAITERS_MAX: usize = 256;
/// Invitations prepared and given out that are kept.
pub const INVITATIONS_MAX: usize = 256;
/// Spare addresses at which more are registered.
pub const SPARE_LOW: usize = 8;
/// Prepared invitations at which more are published.
pub const INVITATIONS_LOW: usize = 1;
/// Chunks of a document blob that a provider may send: the largest bundle, padded to 16 frames.
pub const DOCUMENT_PARTS_MAX: u16 = 2_640;
const _: () = assert!(whist_netdoc::BUNDLE_BYTES_MAX < 2_624 * whist_link::PART_BYTES);
/// One line of the socket: a text of the greatest size, escaped.
pub const RPC_LINE_BYTES_MAX: usize = 512 * 1_024;
/// A hook that runs longer than this is ended.
pub const HOOK_MAX: Duration = Duration::from_secs(60);
/// How long `stop` waits for the daemon's end: links have ten seconds to say good-bye.
pub const STOP_MAX: Duration = Duration::from_secs(120);
/// How long a daemon is waited for to check a secret: one run of Argon2id, on a slow machine.
pub const CHECK_MAX: Duration = Duration::from_secs(30);
/// How often it is looked how long nobody has given a command: a machine that slept is noticed so
/// soon after.
pub const IDLE_LOOK: Duration = Duration::from_secs(10);
/// Time without a command after which the vault is locked, unless the configuration says otherwise:
/// a machine that was left over night is locked in the morning, one that is used is not.
pub const LOCK_AFTER: Duration = Duration::from_secs(12 * 3_600);
/// Connections to the socket at once.
pub const RPC_CONNECTIONS_MAX: usize = 32;
/// Calls of one connection that run side by side.
pub const RPC_CALLS_MAX: usize = 8;
/// Lines that wait to be written to one connection: an answer for each call, and some more.
pub const RPC_LINES_MAX: usize = 16;
/// Notifications that wait for one connection; beyond it the connection has missed some.
pub const RPC_NOTICES_MAX: usize = 256;
/// A connection that takes nothing for this long is closed: a person's program that stands still
/// for a minute asks again.
pub const RPC_WRITE_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(NUMBERS_AHEAD == 64 * 8);
const _: () = assert!(SPARE_LOW < SPARE_ADDRESSES && INVITATIONS_LOW < INVITATIONS_AHEAD);
/// A bootstrap provider that brought no document for this long is left for another one.
pub const BOOTSTRAP_PATIENCE: Duration = Duration::from_secs(30);
/// Packets whose fate the loss figures remember.
pub const LOSS_WINDOW: usize = 2_000;
/// Packets through a node before its loss is held against others': below it the law of a share is
/// not near enough to the normal one.
pub const JUDGED_PACKETS_MIN: u64 = 30;
/// Standard deviations above the loss of all at which a node stands out: where all lose alike, one
/// of four hundred nodes does so once in eighty times.
pub const LOSS_DEVIATIONS: f64 = 4.0;
/// Packets that are under way at most: ten minutes of the fastest profile.
pub const LOSS_PENDING_MAX: usize = 2_400;
/// Requests that a send tick tries before it sends cover instead, not counting those whose
/// provider is not listed.
pub const CANDIDATES_MAX: usize = 8;
/// Texts that one `receive` hands out.
pub const RECEIVE_MAX: usize = 256;
/// Answers with texts that can still turn out to be unheard: one for each call under way, and
/// one for each line that waits to be written.
pub const HANDED_MAX: usize = RPC_CONNECTIONS_MAX * (RPC_CALLS_MAX + RPC_LINES_MAX);
/// Longest wait that a command may ask for.
pub const WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Chunks of a header with signatures: 26 kB in pieces of 1,900 B.
pub const HEADER_CHUNKS_MAX: u32 = 16;
/// An invitation that was not used dies with its drop after this (protocol.md §3).
pub const INVITATION_LIFE: Duration = Duration::from_secs(14 * 24 * 3_600);
/// Whoever gave an invitation that was opened, and has said nothing for this long, may not know
/// that it was: most people look once a day.
pub const ANSWER_AWAITED: Duration = Duration::from_secs(24 * 3_600);
/// Batches that wait for the disk: minutes of the fastest profile. Beyond it the disk is broken.
pub const VAULT_QUEUE: usize = 4_096;
/// Batches that become durable in one transaction: a second's worth of a text of the greatest size,
/// and little enough that a crash in between loses no more than that was not acknowledged.
pub const VAULT_GROUP_MAX: usize = 256;
