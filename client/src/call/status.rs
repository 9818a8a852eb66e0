//! How things stand, as `status` gives it.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Expected, Segment};
use crate::ids::BannerId;
use crate::indicators::Indicator;

/// Packets by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kinds {
    /// `ECHO`: cover.
    pub echo: u64,
    /// `GET`.
    pub get: u64,
    /// `PUT` of an item to a contact.
    pub put: u64,
    /// Decoys to the own mailbox.
    pub decoy: u64,
    /// Everything else of the outbox.
    pub other: u64,
}

impl Kinds {
    /// All together.
    pub fn total(&self) -> u64 {
        [self.echo, self.get, self.put, self.decoy, self.other]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct Stats {
    /// Packets that left.
    pub sent: Kinds,
    /// Packets whose reply came back: every packet is a loop.
    pub returned: Kinds,
    /// Of the `sent`, those that repeated an unanswered request.
    pub repeats: u64,
    /// Ticks by class: poll, send, decoy.
    pub ticks: [u64; 3],
    /// Ticks skipped because the machine slept.
    pub skipped: u64,
    /// Ticks at which no route could be built.
    pub without_route: u64,
    /// Texts received.
    pub texts_received: u64,
    /// Texts queued.
    pub texts_sent: u64,
    /// Items that were decoys of our own.
    pub decoys_received: u64,
    /// Items that nothing opened.
    pub unreadable: u64,
    /// Replies that did not open or did not parse.
    pub bad_replies: u64,
    /// Replies to packets of an earlier link, or to nothing.
    pub unexpected_replies: u64,
    /// `full` and `refused`.
    pub turned_down: u64,
}

/// Something that happened and that the person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Banner {
    /// Its number, for `dismiss`.
    pub banner: BannerId,
    /// Its kind.
    pub kind: Indicator,
    /// Of which contact.
    pub contact: Option<String>,
    /// When it happened last, in seconds since the Unix epoch.
    pub at_s: u64,
    /// How often.
    pub count: u64,
    /// What happened.
    pub what: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Status {
    /// Whether the vault is locked: then nothing below speaks of anybody.
    pub locked: bool,
    /// Seconds without a command after which the daemon locks it.
    pub locks_after_s: Option<u64>,
    /// Whether there is a link to the entry provider, and a consensus to send by.
    pub online: bool,
    /// Epoch of the consensus in use.
    pub epoch: Option<u64>,
    /// Hash of the consensus in use.
    pub consensus: Option<String>,
    /// Mixes and providers in it.
    pub nodes: [usize; 2],
    /// Name of the profile.
    pub profile: &'static str,
    /// Id of the entry provider, which knows our address on the Internet.
    pub entry: Option<String>,
    /// Id of the mailbox provider.
    pub mailbox_provider: Option<String>,
    /// Whether the mailbox exists.
    pub mailbox: bool,
    /// Contacts.
    pub contacts: usize,
    /// Texts that wait to be read.
    pub unread: usize,
    /// Requests in the outbox.
    pub outbox: usize,
    /// Seconds after which they will have left once, on average, if the link holds.
    pub outbox_leaves_s: u64,
    /// Invitations that can be given out at once.
    pub invitations_ready: usize,
    /// What happened that the person has not dismissed.
    pub banners: Vec<Banner>,
    /// What the person should know.
    pub warnings: Vec<String>,
    /// Share of packets of this link that did not come back.
    pub loss: Option<f64>,
    /// Whether the loss is above what chance explains.
    pub loss_alarm: bool,
    /// Where that loss points: `entry` if all routes lose, or the id of the worst node.
    pub loss_points_at: Option<String>,
    /// Loss by segment: entry, layers, other providers.
    pub segments: Vec<Segment>,
    /// The latencies to expect, where the simulator's table knows them.
    pub latency: Option<Expected>,
    /// Whether the entry provider is reached over Tor.
    pub tor: bool,
    /// When the consensus in use is void, in seconds since the Unix epoch.
    pub consensus_until_s: Option<u64>,
    /// How long ago its epoch began, in seconds.
    pub consensus_begun_s: Option<u64>,
    /// By how many seconds the own clock is ahead of the entry provider's, if it is off.
    pub clock_ahead_s: Option<i64>,
    /// Whether the person has said that it is wrong: the provider's time is counted on.
    pub clock_is_wrong: bool,
    /// Bytes a month that the profile costs, both directions, with the documents.
    pub bytes_per_month: u64,
    /// Counters since the start.
    pub stats: Stats,
}
