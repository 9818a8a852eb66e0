//! What the client is told and what it tells: commands, effects, events.

use std::sync::Arc;
use std::time::Duration;

use whist_types::Secret;
use zeroize::Zeroizing;

use crate::call::{Answer, Call, Hidden, MessageState};
use crate::ids::{AskerId, BannerId, MessageId};
use crate::rows::{Batch, Rows};
use crate::rpc::RpcError;

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
    /// Randomness of the operating system, as [`Effect::Fresh`] asks for.
    Fresh {
        /// It.
        seed: Arc<Secret<32>>,
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
    /// The person leaves: everything of theirs is dropped, and the clock goes on.
    Lock,
    /// A person comes: these are their rows.
    Unlock {
        /// What the vault holds.
        rows: Rows,
    },
    /// What [`Effect::Stretch`] came to.
    Stretched {
        /// The call's tag.
        tag: u64,
        /// The secret, or nothing without the memory for it.
        secret: Option<Arc<Secret<32>>>,
    },
    /// The answer to this call was handed over: texts in it are kept for nobody any more.
    Heard {
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
    /// Give fresh randomness by [`Command::Fresh`]: who has once read the client's memory shall not
    /// know what it draws for ever.
    Fresh,
    /// Compute [`crate::stretch`], beside everything else, and say [`Command::Stretched`].
    Stretch {
        /// The call's tag.
        tag: u64,
        /// What a person typed.
        passphrase: Hidden,
        /// The session's salt.
        salt: [u8; 32],
    },
    /// Something to show.
    Event(Event),
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
        text: Zeroizing<String>,
    },
    /// A contact changed or deleted a text of its own.
    Revised {
        /// The contact's name.
        contact: String,
        /// The text's number.
        message: MessageId,
    },
    /// A contact's key is another one; nothing is sent to it.
    KeyChanged {
        /// The contact's name.
        contact: String,
    },
    /// There is a new banner in the status.
    Banner {
        /// Its number.
        banner: BannerId,
    },
    /// A contact changed the timer of texts that disappear.
    Timer {
        /// The contact's name.
        contact: String,
        /// Seconds, or 0: they stay.
        timer_s: u32,
    },
    /// A contact is there: texts can be sent to it.
    Added {
        /// Its name.
        contact: String,
    },
    /// Somebody wrote to the own address and waits to be accepted.
    Asked {
        /// Under this number.
        request: AskerId,
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

/// A length of time as whole seconds, rounded up.
pub(crate) fn seconds_up(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(more)
}
