//! What a call gives.

use schemars::JsonSchema;
use serde::Serialize;

use super::status::Status;
use crate::ids::MessageId;

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
    /// To `contacts`.
    #[schemars(title = "Contacts")]
    Contacts {
        /// By name.
        contacts: Vec<ContactInfo>,
    },
    /// To `status`.
    #[schemars(title = "Status")]
    Status(Box<Status>),
    /// To what only does something.
    #[schemars(title = "Done")]
    Done {},
}

/// A text that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Text {
    /// From whom.
    pub contact: String,
    /// What.
    pub text: String,
    /// When it was received, in seconds since the Unix epoch.
    pub received_s: u64,
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
    /// Six repeats of a piece stayed without an answer; it may have arrived or not.
    Failed,
}
