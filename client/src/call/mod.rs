//! What can be asked of the daemon, and what comes back: the one list that socket, command line and
//! client share.

mod answer;
mod notice;
pub mod schema;
mod status;

pub use answer::{Answer, ContactInfo, MessageState, Text};
pub use notice::Notice;
pub use status::{Kinds, Stats, Status};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The names of all methods, and of what each gives: a variant of [`Answer`].
pub const METHODS: [(&str, &str); 8] = [
    ("invite", "Invitation"),
    ("add", "Adding"),
    ("send", "Message"),
    ("receive", "Texts"),
    ("contacts", "Contacts"),
    ("status", "Status"),
    ("subscribe", "Done"),
    ("stop", "Done"),
];

/// What can be asked. A method's name is the words of the command, joined by a dot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum Call {
    /// Take a prepared invitation.
    #[serde(rename = "invite")]
    Invite {
        /// What the contact will be called.
        name: String,
        /// Wait this long for one that is published.
        #[serde(default)]
        wait_s: u64,
    },
    /// Open an invitation.
    #[serde(rename = "add")]
    Add {
        /// What the contact will be called.
        name: String,
        /// The text.
        invitation: String,
        /// Skip the wait of rare commands.
        #[serde(default)]
        now: bool,
        /// Wait this long until it is opened.
        #[serde(default)]
        wait_s: u64,
    },
    /// Queue a text.
    #[serde(rename = "send")]
    Send {
        /// To whom.
        contact: String,
        /// What.
        text: String,
        /// Wait this long until it is stored.
        #[serde(default)]
        wait_s: u64,
    },
    /// Take the texts that wait to be read.
    #[serde(rename = "receive")]
    Receive {
        /// From whom only.
        #[serde(default)]
        contact: Option<String>,
        /// Wait this long for one.
        #[serde(default)]
        wait_s: u64,
    },
    /// List the contacts.
    #[serde(rename = "contacts")]
    Contacts {},
    /// How things stand.
    #[serde(rename = "status")]
    Status {},
    /// Get a notification on this connection for each event from now on.
    #[serde(rename = "subscribe")]
    Subscribe {},
    /// End the daemon.
    #[serde(rename = "stop")]
    Stop {},
}
