//! Texts, out and in.

use clap::Subcommand;
use whist_rt::Failure;

use super::streams;
use crate::call::Call;

/// How far a text must have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Until {
    /// On the disk of the contact's provider.
    Stored,
}

#[derive(Debug, Subcommand)]
pub(super) enum Texts {
    /// Queue a text to a contact.
    #[command(after_help = "Example: whist send alice - --wait stored --timeout 60")]
    Send {
        /// To whom.
        contact: String,
        /// What; `-` reads it from stdin, where no other process sees it.
        text: String,
        /// Wait until it has come so far: `stored` is the word of the contact's provider.
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
}

impl Texts {
    pub(super) fn call(self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Send {
                contact,
                text,
                wait,
                timeout,
            } => Call::Send {
                contact,
                text: streams::or_stdin(text)?,
                reply_to: None,
                wait_s: wait.map_or(0, |Until::Stored| timeout),
            },
            Self::Receive {
                from,
                wait,
                timeout,
            } => Call::Receive {
                contact: from,
                wait_s: if wait { timeout } else { 0 },
            },
        })
    }
}
