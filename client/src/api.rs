//! What the client is told and what it tells: commands, effects, events, answers.

use std::time::Duration;

use serde::Serialize;

use crate::ids::MessageId;
use crate::rows::Batch;
use crate::rpc::{Call, RpcError};

/// Names a batch that was put out to be made durable; they grow by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What goes into the client beside frames and time.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The batch of this ticket, and every earlier one, is durable.
    Committed {
        /// Which.
        ticket: Ticket,
    },
    /// A person asks for something; the answer comes as [`Event::Answer`] under the same tag.
    Ask {
        /// Chosen by the caller.
        tag: u64,
        /// What.
        call: Call,
    },
    /// Whoever asked does not listen any more: nothing is kept for it that it waits for. The call
    /// is still answered, with an error, so that the caller need not remember the tag.
    Gone {
        /// The call's tag.
        tag: u64,
    },
    /// The answer to this call could not be handed over. Texts in it wait to be read again.
    Unheard {
        /// The call's tag.
        tag: u64,
    },
}

/// What comes out of the client beside frames.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Make this batch durable, all of it, after all earlier ones; then say `Committed`.
    Commit {
        /// Its name.
        ticket: Ticket,
        /// What changes.
        batch: Batch,
    },
    /// Something to show.
    Event(Event),
}

/// How far a text has come.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    borsh::BorshSerialize,
    borsh::BorshDeserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    /// In the outbox.
    Queued,
    /// Every piece left at least once.
    Sent,
    /// The contact's provider has every piece on its disk.
    Stored,
    /// Six repeats of a piece stayed without an answer; it may have arrived or not.
    Failed,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The answer to a call.
    Answer {
        /// The call's tag.
        tag: u64,
        /// What came of it; boxed since statuses are large.
        answer: Box<Result<Answer, RpcError>>,
    },
    /// A text came, whole, in its order, for the first time; it is durable.
    Received {
        /// The contact's name.
        contact: String,
        /// The text.
        text: String,
    },
    /// A contact is there: texts can be sent to it.
    Added {
        /// Its name.
        contact: String,
    },
    /// An invitation of somebody else's could not be opened.
    AddFailed {
        /// The name that the contact would have had.
        contact: String,
        /// One clear line.
        reason: String,
    },
    /// A sent text has come further.
    State {
        /// Which.
        message: MessageId,
        /// Where it is.
        state: MessageState,
    },
    /// One invitation was used twice: compare safety numbers with this contact.
    Unsafe {
        /// Its name.
        contact: String,
    },
    /// The link to the entry provider came up or fell.
    Online(bool),
    /// A newer consensus was taken.
    Consensus {
        /// Its epoch.
        epoch: u64,
    },
    /// The provider's clock differs by this much from ours, in seconds, ours being ahead if above
    /// zero.
    Skew {
        /// Seconds.
        seconds: i64,
    },
    /// No usable consensus: nothing is sent until there is one.
    Stale,
    /// The authorities signed two documents for one epoch; the proof is kept.
    Equivocation,
}

/// What a call gives.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To `invite`.
    Invitation {
        /// The text to hand over.
        invitation: String,
    },
    /// To `add`.
    Adding {
        /// The contact's name.
        contact: String,
        /// Whether it is there already; else it comes by itself.
        added: bool,
        /// Seconds that the request waits, so that it does not stand out.
        waits_s: u64,
    },
    /// To `send`.
    Message {
        /// The text's number.
        message: MessageId,
        /// How far it has come.
        state: MessageState,
    },
    /// To `receive`.
    Texts {
        /// Oldest first.
        texts: Vec<Text>,
    },
    /// To `contacts`.
    Contacts {
        /// By name.
        contacts: Vec<ContactInfo>,
    },
    /// To `status`.
    Status(Box<Status>),
}

/// A text that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// From whom.
    pub contact: String,
    /// What.
    pub text: String,
    /// When it was received, in seconds since the Unix epoch.
    pub received_s: u64,
}

/// A contact as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContactInfo {
    /// Its name.
    pub name: String,
    /// Its key's fingerprint, to compare.
    pub fingerprint: String,
    /// Whether its invitation was used twice.
    #[serde(rename = "unsafe")]
    pub not_safe: bool,
    /// Texts from it that wait to be read.
    pub unread: usize,
    /// Whether its mailbox is hosted in the family of the own entry provider.
    pub shares_entry_family: bool,
}

/// Packets by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
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

/// How things stand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
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
    /// Invitations that can be given out at once.
    pub invitations_ready: usize,
    /// What the person should know.
    pub warnings: Vec<String>,
    /// Share of packets of this link that did not come back.
    pub loss: Option<f64>,
    /// Whether the loss is above what chance explains.
    pub loss_alarm: bool,
    /// Bytes a month that the profile costs, both directions.
    pub bytes_per_month: u64,
    /// Counters since the start.
    pub stats: Stats,
}

/// A length of time as whole seconds, rounded up.
pub(crate) fn seconds_up(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(more)
}
