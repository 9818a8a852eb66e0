//! What a call gives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::net::{Check, NodeInfo};
use super::status::Status;
use crate::contacts::{KeyChange, Receipts};
use crate::conversation::History;
use crate::ids::{AskerId, MessageId};
use crate::texts::Safety;

/// What a call gives. [`super::METHODS`] names the variant of each method by its title.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Answer {
    /// To `invite`.
    #[schemars(title = "Invitation")]
    Invitation {
        /// The text to hand over.
        invitation: String,
    },
    /// To `invites`.
    #[schemars(title = "Invites")]
    Invites {
        /// Oldest first.
        invites: Vec<Invite>,
    },
    /// To `add`.
    #[schemars(title = "Adding")]
    Adding {
        /// The contact's name.
        contact: String,
        /// Whether it is there already; else it comes by itself.
        added: bool,
        /// Seconds that the request waits, so that it does not stand out.
        waits_s: u64,
    },
    /// To `send`.
    #[schemars(title = "Message")]
    Message {
        /// The text's number.
        message: MessageId,
        /// How far it has come.
        state: MessageState,
    },
    /// To `receive`.
    #[schemars(title = "Texts")]
    Texts {
        /// Oldest first.
        texts: Vec<Text>,
    },
    /// To `outbox`.
    #[schemars(title = "Outbox")]
    Outbox {
        /// Oldest first.
        outgoing: Vec<Outgoing>,
    },
    /// To `verify`.
    #[schemars(title = "Safety")]
    Safety {
        /// The contact's name.
        contact: String,
        /// 60 digits in groups of five, the same for both.
        number: String,
        /// The digits as a QR code of block characters, for a terminal.
        qr: Option<String>,
        /// How sure one is of the contact's key.
        safety: Safety,
    },
    /// To `contact.show`.
    #[schemars(title = "Contact")]
    Contact(Box<ContactDetails>),
    /// To `identity.show` and `identity.rotate`.
    #[schemars(title = "Identity")]
    Identity {
        /// The fingerprint of one's own key.
        fingerprint: String,
    },
    /// To `contacts`.
    #[schemars(title = "Contacts")]
    Contacts {
        /// By name.
        contacts: Vec<ContactInfo>,
    },
    /// To `status`.
    #[schemars(title = "Status")]
    Status(Box<Status>),
    /// To `address.create`, `address.show` and `address.rotate`.
    #[schemars(title = "Address")]
    Address {
        /// The text to publish, or to hand to several people.
        address: String,
    },
    /// To `requests`.
    #[schemars(title = "Requests")]
    Requests {
        /// Oldest first.
        requests: Vec<AskerInfo>,
    },
    /// To `net.nodes`.
    #[schemars(title = "Nodes")]
    Nodes {
        /// Providers first, then mixes by layer.
        nodes: Vec<NodeInfo>,
    },
    /// To `net.check`.
    #[schemars(title = "Checks")]
    Checks {
        /// In the order in which they are to be mended.
        checks: Vec<Check>,
    },
    /// To what only does something.
    #[schemars(title = "Done")]
    Done {},
}

/// An invitation of one's own that nobody has used yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Invite {
    /// What whoever uses it will be called, if it was given out.
    pub given_to: Option<String>,
    /// Whether a provider holds what it points to.
    pub published: bool,
    /// When it was made, in seconds since the Unix epoch.
    pub made_s: u64,
    /// When it is void.
    pub until_s: u64,
}

/// Somebody who wrote to the own address and waits to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AskerInfo {
    /// Its number, for `accept` and `reject`.
    pub request: AskerId,
    /// The fingerprint of the key that it has, to compare.
    pub fingerprint: String,
    /// What it says. Anybody can say anything.
    pub note: String,
    /// When it came, in seconds since the Unix epoch.
    pub at_s: u64,
}

/// How far a text is to come.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// On the disk of the contact's provider.
    Stored,
    /// To the contact, as its program says where it gives receipts.
    Delivered,
}

/// A text that came, or in the history one that was sent. What it says is erased when it is
/// dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Text {
    /// Its number.
    pub message: MessageId,
    /// From whom, or to whom.
    pub contact: String,
    /// What.
    pub text: String,
    /// When it was received or written, in seconds since the Unix epoch.
    pub received_s: u64,
    /// Whether it is one's own.
    pub own: bool,
    /// The number of the text that it answers, while that is kept.
    pub reply_to: Option<MessageId>,
    /// Whether this is another version than the first.
    pub edited: bool,
    /// Whether its author deleted it for everybody.
    pub deleted: bool,
    /// Seconds after which it disappears, 0 for never.
    pub timer_s: u32,
    /// How sure one was of the contact's key when it came.
    pub safety: Safety,
    /// How far one's own has come.
    pub state: Option<MessageState>,
}

impl Drop for Text {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl ZeroizeOnDrop for Text {}

/// A text that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Outgoing {
    /// Its number.
    pub message: MessageId,
    /// To whom.
    pub contact: String,
    /// How far it has come.
    pub state: MessageState,
    /// Packets of it that did not leave yet.
    pub unsent: u16,
    /// Packets of it without an answer.
    pub unanswered: u16,
}

/// Everything of a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ContactDetails {
    /// What a list shows of it.
    #[serde(flatten)]
    pub info: ContactInfo,
    /// The safety number, in groups of five digits.
    pub number: String,
    /// The safety number with the changed key that waits to be accepted.
    pub new_number: Option<String>,
    /// What happens when its key changes.
    pub key_change: KeyChange,
    /// Which receipts it gets.
    pub receipts: Receipts,
    /// Seconds after which texts of both disappear, 0 for never.
    pub timer_s: u32,
    /// Days for which its texts are kept here, if not the history's.
    pub retention_days: Option<u16>,
    /// How long it says that it keeps our texts. Nobody can check that.
    pub keeps: History,
    /// The id of its mailbox's provider.
    pub provider: String,
    /// How far a passphrase that both know has come.
    pub shared_secret: Shared,
    /// Since when one is in the keys, in seconds since the Unix epoch.
    pub shared_secret_since_s: Option<u64>,
}

/// How far a passphrase that both know has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shared {
    /// None is set.
    None,
    /// The session is a new one: nothing is sent before both have set it again.
    Missing,
    /// The contact has not said whether it has the same; it protects nothing yet.
    Waiting,
    /// Both have the same, and it comes into use with the next items.
    Agreed,
    /// The contact has another one: nothing is sent.
    Differs,
    /// It is in the keys.
    InUse,
}

/// A contact as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ContactInfo {
    /// Its name.
    pub name: String,
    /// Its key's fingerprint, to compare.
    pub fingerprint: String,
    /// Whether its invitation was used twice.
    #[serde(rename = "unsafe")]
    pub not_safe: bool,
    /// How sure one is of its key.
    pub safety: Safety,
    /// Whether what it sends is dropped.
    pub blocked: bool,
    /// When its invitation was opened, in seconds since the Unix epoch, if nothing has come from it
    /// since: the invitation may have been used by somebody else, or be void.
    pub silent_since_s: Option<u64>,
    /// Texts from it that wait to be read.
    pub unread: usize,
    /// Whether its mailbox is hosted in the family of the own entry provider.
    pub shares_entry_family: bool,
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
    JsonSchema,
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
    /// It has come, says the contact's program.
    Delivered,
    /// It was read, says the contact's program.
    Read,
    /// Six repeats of a piece stayed without an answer; it may have arrived or not.
    Failed,
    /// Its time was over before it came.
    Expired,
}

impl MessageState {
    /// This state or the other, whichever is further: what came late changes nothing, and only what
    /// the contact says ends a doubt.
    pub(crate) fn at_least(self, other: Self) -> Self {
        let rank = |state| match state {
            Self::Queued => 0,
            Self::Sent => 1,
            Self::Stored => 2,
            Self::Expired => 3,
            Self::Failed => 4,
            Self::Delivered => 5,
            Self::Read => 6,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}
