//! Texts, out and in.

use clap::Subcommand;
use whist_rt::{Exit, Failure};

use super::{Context, readers, streams};
use crate::call::{Call, Until};
use crate::conversation::History;
use crate::ids::MessageId;

#[derive(Debug, Subcommand)]
pub(super) enum Texts {
    /// Queue a text to a contact.
    #[command(after_help = "Examples:
  whist send alice - --wait stored --timeout 60
  whist send alice --reply-to 12 'yes'")]
    Send {
        /// To whom.
        contact: String,
        /// What; `-` reads it from stdin, where no other process sees it.
        text: String,
        /// The number of the text that it answers.
        #[arg(long, value_name = "N", value_parser = readers::message)]
        reply_to: Option<MessageId>,
        /// Wait until it has come so far: `stored` is the word of the contact's provider,
        /// `delivered` that of the contact's program.
        #[arg(long, value_enum, value_name = "STATE")]
        wait: Option<Until>,
        /// So many seconds at most.
        #[arg(long, default_value_t = 120, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Print the texts that came, each once.
    #[command(after_help = "Example: whist receive --from alice --wait --timeout 60")]
    Receive {
        /// From this contact only.
        #[arg(long, value_name = "NAME")]
        from: Option<String>,
        /// Wait for one.
        #[arg(long)]
        wait: bool,
        /// So many seconds at most.
        #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Print texts that were sent and read, newest last, or say how long they are kept.
    #[command(after_help = "Examples:
  whist history alice --limit 20
  whist history --keep 7d")]
    History {
        /// With this contact only.
        contact: Option<String>,
        /// Only texts with lower numbers than this one.
        #[arg(long, value_name = "N", value_parser = readers::message)]
        before: Option<MessageId>,
        /// So many at most.
        #[arg(long, default_value_t = 50, value_name = "COUNT")]
        limit: u64,
        /// Keep texts so long from now on, such as 30d, or forever, or none: then no text and no
        /// name is written down; contacts are told.
        #[arg(long, value_name = "TIME", value_parser = readers::keep,
            conflicts_with_all = ["contact", "before", "limit"])]
        keep: Option<History>,
    },
    /// Print the texts that hold these words, newest last.
    #[command(after_help = "Example: whist search harbour --with alice")]
    Search {
        /// What they hold, whatever the case; `-` reads it from stdin.
        words: String,
        /// With this contact only.
        #[arg(long, value_name = "NAME")]
        with: Option<String>,
    },
    /// One text: how far it has come, its end, another version of it.
    #[command(after_help = "Examples:
  whist message status 12
  whist message delete 12 --everybody
  whist message edit 12 -                  the new text is read from stdin")]
    Message {
        #[command(subcommand)]
        what: Message,
    },
    /// List the texts that are not stored yet.
    #[command(after_help = "Example: whist outbox --json")]
    Outbox,
}

/// What is done with a text. `receive` and `history` print the numbers.
#[derive(Debug, Subcommand)]
pub(super) enum Message {
    /// How far a text of one's own has come.
    #[command(after_help = "Example: whist message status 12")]
    Status {
        /// Its number.
        #[arg(value_name = "N", value_parser = readers::message)]
        message: MessageId,
    },
    /// Take a text back before a packet of it has left.
    #[command(after_help = "Example: whist message cancel 12")]
    Cancel {
        /// Its number.
        #[arg(value_name = "N", value_parser = readers::message)]
        message: MessageId,
    },
    /// Delete a text here.
    #[command(after_help = "Example: whist message delete 12 --everybody")]
    Delete {
        /// Its number.
        #[arg(value_name = "N", value_parser = readers::message)]
        message: MessageId,
        /// At the contact too, as far as its program obeys; only texts of one's own.
        #[arg(long)]
        everybody: bool,
    },
    /// Send another version of a text of one's own.
    #[command(after_help = "Example: whist message edit 12 -")]
    Edit {
        /// Its number.
        #[arg(value_name = "N", value_parser = readers::message)]
        message: MessageId,
        /// What it says now; `-` reads it from stdin.
        text: String,
    },
}

impl Texts {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Send {
                contact,
                text,
                reply_to,
                wait,
                timeout,
            } => {
                let call = Call::Send {
                    contact,
                    text: streams::or_stdin(text)?,
                    reply_to,
                    wait_s: 0,
                };
                let queued = context.get(&call)?;
                let answer = match wait {
                    None => queued,
                    Some(until) => {
                        let message = queued.get("message").and_then(serde_json::Value::as_u64);
                        let unknown = || Failure::new(Exit::Other, "the daemon gave no number");
                        let message = MessageId::new(message.ok_or_else(unknown)?);
                        context.get(&Call::MessageWait {
                            message,
                            until,
                            wait_s: timeout,
                        })?
                    }
                };
                context.show(&call, &answer)
            }
            Self::Receive {
                from,
                wait,
                timeout,
            } => context.ask(&Call::Receive {
                contact: from,
                wait_s: if wait { timeout } else { 0 },
            }),
            Self::History {
                keep: Some(keep), ..
            } => context.ask(&Call::HistoryKeep { keep }),
            Self::History {
                contact,
                before,
                limit,
                ..
            } => context.ask(&Call::History {
                contact,
                before,
                limit: Some(limit),
            }),
            Self::Search { words, with } => context.ask(&Call::Search {
                words: streams::or_stdin(words)?,
                contact: with,
            }),
            Self::Message { what } => context.ask(&what.call()?),
            Self::Outbox => context.ask(&Call::Outbox {}),
        }
    }
}

impl Message {
    fn call(self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Status { message } => Call::MessageStatus { message },
            Self::Cancel { message } => Call::MessageCancel { message },
            Self::Delete { message, everybody } => Call::MessageDelete { message, everybody },
            Self::Edit { message, text } => Call::MessageEdit {
                message,
                text: streams::or_stdin(text)?,
            },
        })
    }
}
