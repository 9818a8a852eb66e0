//! Texts, out and in.

use clap::Subcommand;
use whist_rt::Failure;

use super::streams;
use crate::call::Call;

#[derive(Debug, Subcommand)]
pub(super) enum Texts {
    /// Queue a text to a contact.
    #[command(after_help = "Example: whist send alice 'hello' --wait 60")]
    Send {
        /// To whom.
        contact: String,
        /// What; `-` reads it from stdin, where no other process sees it.
        text: String,
        /// Wait this many seconds until the contact's provider has stored it.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        wait: u64,
    },
    /// Print the texts that came, each once.
    #[command(after_help = "Example: whist receive --from alice --wait 60")]
    Receive {
        /// From this contact only.
        #[arg(long, value_name = "NAME")]
        from: Option<String>,
        /// Wait this many seconds for one.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        wait: u64,
    },
}

impl Texts {
    pub(super) fn call(self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Send {
                contact,
                text,
                wait,
            } => Call::Send {
                contact,
                text: streams::or_stdin(text)?,
                wait_s: wait,
            },
            Self::Receive { from, wait } => Call::Receive {
                contact: from,
                wait_s: wait,
            },
        })
    }
}
