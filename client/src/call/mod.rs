//! What can be asked of the daemon, and what comes back: the one list that socket, command line and
//! client share.

mod answer;
mod hidden;
mod net;
mod notice;
pub mod schema;
mod status;

pub use answer::{
    Answer, AskerInfo, ContactDetails, ContactInfo, Invite, MessageState, Outgoing, Shared, Text,
    Until,
};
pub use hidden::Hidden;
pub use net::{Check, Expected, NodeInfo, Segment};
pub use notice::Notice;
pub use status::{Banner, Kinds, Stats, Status};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contacts::{KeyChange, Receipts};
use crate::conversation::History;
use crate::ids::{AskerId, BannerId, MessageId};

/// The names of all methods, and of what each gives: a variant of [`Answer`].
pub const METHODS: [(&str, &str); 45] = [
    ("invite", "Invitation"),
    ("invites", "Invites"),
    ("add", "Adding"),
    ("send", "Message"),
    ("receive", "Texts"),
    ("history", "Texts"),
    ("history.keep", "Done"),
    ("search", "Texts"),
    ("message.status", "Message"),
    ("message.wait", "Message"),
    ("message.cancel", "Done"),
    ("message.delete", "Done"),
    ("message.edit", "Done"),
    ("outbox", "Outbox"),
    ("verify", "Safety"),
    ("contact.show", "Contact"),
    ("contact.rename", "Done"),
    ("contact.set", "Done"),
    ("contact.block", "Done"),
    ("contact.unblock", "Done"),
    ("contact.remove", "Done"),
    ("contact.accept-key", "Done"),
    ("contact.refuse-key", "Done"),
    ("session.reset", "Done"),
    ("identity.show", "Identity"),
    ("identity.rotate", "Identity"),
    ("dismiss", "Done"),
    ("contacts", "Contacts"),
    ("status", "Status"),
    ("address.create", "Address"),
    ("address.show", "Address"),
    ("address.rotate", "Address"),
    ("address.delete", "Done"),
    ("address.add", "Adding"),
    ("requests", "Requests"),
    ("accept", "Done"),
    ("reject", "Done"),
    ("net.status", "Status"),
    ("net.nodes", "Nodes"),
    ("net.check", "Checks"),
    ("subscribe", "Done"),
    ("stop", "Done"),
    ("lock", "Done"),
    ("unlock", "Done"),
    ("check", "Done"),
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
    /// List the invitations of one's own that nobody has used yet.
    #[serde(rename = "invites")]
    Invites {},
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
        /// The number of the text that it answers.
        #[serde(default)]
        reply_to: Option<MessageId>,
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
    /// Texts that were sent and read, newest last.
    #[serde(rename = "history")]
    History {
        /// With whom only.
        #[serde(default)]
        contact: Option<String>,
        /// Only texts with lower numbers than this one.
        #[serde(default)]
        before: Option<MessageId>,
        /// At most so many.
        #[serde(default)]
        limit: Option<u64>,
    },
    /// Say how long texts are kept; contacts are told. `none` writes no text and no name down.
    #[serde(rename = "history.keep")]
    HistoryKeep {
        /// How long.
        keep: History,
    },
    /// Texts that hold these words, newest last.
    #[serde(rename = "search")]
    Search {
        /// What they hold, whatever the case.
        words: String,
        /// With whom only.
        #[serde(default)]
        contact: Option<String>,
    },
    /// How far a text has come.
    #[serde(rename = "message.status")]
    MessageStatus {
        /// Its number.
        message: MessageId,
    },
    /// Wait until a text has come so far, or will come no further.
    #[serde(rename = "message.wait")]
    MessageWait {
        /// Its number.
        message: MessageId,
        /// How far.
        until: Until,
        /// Wait this long.
        wait_s: u64,
    },
    /// Take a text back before a packet of it has left.
    #[serde(rename = "message.cancel")]
    MessageCancel {
        /// Its number.
        message: MessageId,
    },
    /// Delete a text here, and with `everybody` at the contact too, as far as its program obeys.
    #[serde(rename = "message.delete")]
    MessageDelete {
        /// Its number.
        message: MessageId,
        /// At the contact too; only for one's own texts.
        #[serde(default)]
        everybody: bool,
    },
    /// Send another version of a text of one's own.
    #[serde(rename = "message.edit")]
    MessageEdit {
        /// Its number.
        message: MessageId,
        /// What it says now.
        text: String,
    },
    /// List the texts that are not stored yet.
    #[serde(rename = "outbox")]
    Outbox {},
    /// Show the safety number of a contact, or say that it was compared.
    #[serde(rename = "verify")]
    Verify {
        /// Which.
        contact: String,
        /// The number as the contact has it: if it is the same, the contact is verified.
        #[serde(default)]
        number: Option<String>,
        /// Not verified after all.
        #[serde(default)]
        undo: bool,
    },
    /// Show everything of a contact.
    #[serde(rename = "contact.show")]
    ContactShow {
        /// Which.
        contact: String,
    },
    /// Call a contact by another name.
    #[serde(rename = "contact.rename")]
    ContactRename {
        /// Which.
        contact: String,
        /// The new name.
        name: String,
    },
    /// Change what holds for a contact; what is left out stays.
    #[serde(rename = "contact.set")]
    ContactSet {
        /// Which.
        contact: String,
        /// Which receipts it gets.
        #[serde(default)]
        receipts: Option<Receipts>,
        /// Seconds after which texts of both disappear, 0 for never.
        #[serde(default)]
        timer_s: Option<u32>,
        /// Days for which its texts are kept here, whatever the history's; 0 for the history's.
        #[serde(default)]
        retention_days: Option<u16>,
        /// What happens when its key changes.
        #[serde(default)]
        key_change: Option<KeyChange>,
        /// A passphrase that the contact has too, to be mixed into the keys once it has said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shared_secret: Option<Hidden>,
        /// Take back one that is not in use, and demand none.
        #[serde(default)]
        no_shared_secret: bool,
    },
    /// Drop what a contact sends. It is not told.
    #[serde(rename = "contact.block")]
    ContactBlock {
        /// Which.
        contact: String,
    },
    /// Drop it no longer.
    #[serde(rename = "contact.unblock")]
    ContactUnblock {
        /// Which.
        contact: String,
    },
    /// Delete a contact and all that is kept of it.
    #[serde(rename = "contact.remove")]
    ContactRemove {
        /// Which.
        contact: String,
    },
    /// Accept a contact's changed key: the one with which the safety number is this.
    #[serde(rename = "contact.accept-key")]
    ContactAcceptKey {
        /// Which.
        contact: String,
        /// The number as it was compared with the contact.
        number: String,
    },
    /// Turn a contact's changed key down: the old one goes on.
    #[serde(rename = "contact.refuse-key")]
    ContactRefuseKey {
        /// Which.
        contact: String,
    },
    /// Ask a contact for a new session.
    #[serde(rename = "session.reset")]
    SessionReset {
        /// Which.
        contact: String,
    },
    /// Show one's own fingerprint.
    #[serde(rename = "identity.show")]
    IdentityShow {},
    /// Take a new identity; every contact has to accept it.
    #[serde(rename = "identity.rotate")]
    IdentityRotate {},
    /// Say that a banner was seen.
    #[serde(rename = "dismiss")]
    Dismiss {
        /// Its number.
        banner: BannerId,
    },
    /// List the contacts.
    #[serde(rename = "contacts")]
    Contacts {},
    /// How things stand.
    #[serde(rename = "status")]
    Status {},
    /// Make an address, which any number of people may have.
    #[serde(rename = "address.create")]
    AddressCreate {},
    /// Show it.
    #[serde(rename = "address.show")]
    AddressShow {},
    /// Make another one; who has the old one reaches nobody any more.
    #[serde(rename = "address.rotate")]
    AddressRotate {},
    /// Delete it.
    #[serde(rename = "address.delete")]
    AddressDelete {},
    /// Ask through somebody's address. Nothing more can be said before it has accepted.
    #[serde(rename = "address.add")]
    AddressAdd {
        /// What the contact will be called.
        name: String,
        /// The text.
        address: String,
        /// What is said with it, at most 140 bytes.
        #[serde(default)]
        note: String,
    },
    /// List those who wrote to the own address and wait to be accepted.
    #[serde(rename = "requests")]
    Requests {},
    /// Make one of them a contact, and tell it.
    #[serde(rename = "accept")]
    Accept {
        /// Which.
        request: AskerId,
        /// What the contact will be called.
        name: String,
    },
    /// Turn one of them down. It is not told.
    #[serde(rename = "reject")]
    Reject {
        /// Which.
        request: AskerId,
    },
    /// How the network does, in the form of `status`.
    #[serde(rename = "net.status")]
    NetStatus {},
    /// List the nodes of the consensus, with what is lost on the way through each.
    #[serde(rename = "net.nodes")]
    NetNodes {},
    /// Whether all is as it should be, with what to do.
    #[serde(rename = "net.check")]
    NetCheck {
        /// Say that the own clock is wrong: the provider's time is counted on until the daemon
        /// ends, or until the own clock is right.
        #[serde(default)]
        clock_is_wrong: bool,
    },
    /// Get a notification on this connection for each event from now on.
    #[serde(rename = "subscribe")]
    Subscribe {},
    /// End the daemon.
    #[serde(rename = "stop")]
    Stop {},
    /// Forget everything of the person until the vault is unlocked; packets go on.
    #[serde(rename = "lock")]
    Lock {},
    /// Open the vault.
    #[serde(rename = "unlock")]
    Unlock {
        /// The passphrase.
        passphrase: Hidden,
        /// The 32 bytes of the key file in hexadecimal, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Hidden>,
    },
    /// Whether a secret opens the vault: asked before its slots are changed. What is locked stays
    /// locked.
    #[serde(rename = "check")]
    Check {
        /// The passphrase.
        passphrase: Hidden,
        /// The 32 bytes of the key file in hexadecimal, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Hidden>,
    },
}
