//! What the daemon tells without being asked, on connections that subscribed.

use schemars::JsonSchema;
use serde::Serialize;

use super::MessageState;
use crate::api::Event;
use crate::ids::{AskerId, BannerId, MessageId};

/// A notification. None holds a text: texts are handed out by `receive`, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "method", content = "params")]
pub enum Notice {
    /// A text came and waits to be read.
    #[serde(rename = "event.received")]
    Received {
        /// From whom.
        contact: String,
    },
    /// A sent text has come further.
    #[serde(rename = "event.state")]
    State {
        /// Which.
        message: MessageId,
        /// How far.
        state: MessageState,
    },
    /// A contact is there: texts can be sent to it.
    #[serde(rename = "event.added")]
    Added {
        /// Its name.
        contact: String,
    },
    /// Somebody wrote to the own address and waits to be accepted.
    #[serde(rename = "event.asked")]
    Asked {
        /// Under this number.
        request: AskerId,
    },
    /// An invitation of somebody else's could not be opened.
    #[serde(rename = "event.add-failed")]
    AddFailed {
        /// The name that the contact would have had.
        contact: String,
        /// One clear line.
        reason: String,
    },
    /// One invitation was used twice: compare safety numbers with this contact.
    #[serde(rename = "event.unsafe")]
    Unsafe {
        /// Its name.
        contact: String,
    },
    /// A contact changed or deleted a text of its own.
    #[serde(rename = "event.revised")]
    Revised {
        /// Whose.
        contact: String,
        /// Which.
        message: MessageId,
    },
    /// A contact changed the timer of texts that disappear.
    #[serde(rename = "event.timer")]
    Timer {
        /// Which.
        contact: String,
        /// Seconds, or 0: they stay.
        timer_s: u32,
    },
    /// A contact's key is another one: nothing is sent to it.
    #[serde(rename = "event.key-changed")]
    KeyChanged {
        /// Its name.
        contact: String,
    },
    /// There is a new banner in the status.
    #[serde(rename = "event.banner")]
    Banner {
        /// Its number.
        banner: BannerId,
    },
    /// The link to the entry provider came up or fell.
    #[serde(rename = "event.online")]
    Online {
        /// Whether it is up.
        online: bool,
    },
    /// A newer consensus was taken.
    #[serde(rename = "event.consensus")]
    Consensus {
        /// Its epoch.
        epoch: u64,
    },
    /// The provider's clock differs from ours.
    #[serde(rename = "event.clock")]
    Clock {
        /// By so many seconds, ours being ahead if above zero.
        seconds: i64,
    },
    /// No usable consensus: nothing is sent until there is one.
    #[serde(rename = "event.stale")]
    Stale {},
    /// The authorities signed two documents for one epoch; the proof is kept.
    #[serde(rename = "event.equivocation")]
    Equivocation {},
    /// The vault was locked: what this connection had not read before, it never reads.
    #[serde(rename = "event.locked")]
    Locked {},
    /// The vault was unlocked.
    #[serde(rename = "event.unlocked")]
    Unlocked {},
    /// This connection did not read fast enough: what came since is missing, and the subscription
    /// has ended. Ask how things stand and subscribe again.
    #[serde(rename = "event.gap")]
    Gap {},
}

impl Notice {
    /// What is told of an event; nothing of an answer, which goes to who asked.
    pub fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Answer { .. } => return None,
            Event::Received { contact, .. } => Self::Received {
                contact: contact.clone(),
            },
            Event::Added { contact } => Self::Added {
                contact: contact.clone(),
            },
            Event::Asked { request } => Self::Asked { request: *request },
            Event::AddFailed { contact, reason } => Self::AddFailed {
                contact: contact.clone(),
                reason: reason.clone(),
            },
            Event::State { message, state } => Self::State {
                message: *message,
                state: *state,
            },
            Event::Revised { contact, message } => Self::Revised {
                contact: contact.clone(),
                message: *message,
            },
            Event::Timer { contact, timer_s } => Self::Timer {
                contact: contact.clone(),
                timer_s: *timer_s,
            },
            Event::KeyChanged { contact } => Self::KeyChanged {
                contact: contact.clone(),
            },
            Event::Banner { banner } => Self::Banner { banner: *banner },
            Event::Unsafe { contact } => Self::Unsafe {
                contact: contact.clone(),
            },
            Event::Online(online) => Self::Online { online: *online },
            Event::Consensus { epoch } => Self::Consensus { epoch: *epoch },
            Event::Skew { seconds } => Self::Clock { seconds: *seconds },
            Event::Stale => Self::Stale {},
            Event::Equivocation => Self::Equivocation {},
        })
    }
}
