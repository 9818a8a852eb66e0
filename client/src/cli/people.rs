//! Invitations and contacts.

use clap::Subcommand;
use whist_rt::{Exit, Failure};

use super::{Context, socket, streams};
use crate::call::Call;

#[derive(Debug, Subcommand)]
pub(super) enum People {
    /// Print an invitation, to be given to one person over a safe way.
    #[command(after_help = "Example: whist invite bob --wait 60")]
    Invite {
        /// What to call whoever uses it.
        name: String,
        /// Wait this many seconds until one is published.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        wait: u64,
    },
    /// Open an invitation; who gave it becomes a contact.
    #[command(after_help = "Example: whist add alice - --wait 60 < invitation.txt")]
    Add {
        /// What to call who gave it.
        name: String,
        /// The text; `-` reads it from stdin, where no other process sees it.
        invitation: String,
        /// Do not wait at random: the provider of the invitation may see when it was read.
        #[arg(long)]
        now: bool,
        /// Wait this many seconds until it is opened.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        wait: u64,
    },
    /// List the contacts with the fingerprints of their keys.
    #[command(after_help = "Example: whist contacts --json")]
    Contacts,
}

impl People {
    pub(super) fn call(self, context: &Context) -> Result<Call, Failure> {
        Ok(match self {
            Self::Invite { name, wait } => Call::Invite { name, wait_s: wait },
            Self::Add {
                name,
                invitation,
                now,
                wait,
            } => {
                let invitation = streams::or_stdin(invitation)?;
                // What is no invitation shows nothing to anybody: one line says so, and no other.
                invitation
                    .parse::<whist_ratchet::Invitation>()
                    .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
                socket::connect(&context.home)?;
                streams::say(what_waits(now))?;
                Call::Add {
                    name,
                    invitation,
                    now,
                    wait_s: wait,
                }
            }
            Self::Contacts => Call::Contacts {},
        })
    }
}

/// What `add` may show, said before anything is asked of anybody.
const fn what_waits(now: bool) -> &'static str {
    if now {
        "not waiting: who watches the invitation's provider may learn when it was opened"
    } else {
        "later than 30 minutes after `init`, opening waits about 10 minutes at random, so that it \
         does not stand out; --now skips that"
    }
}
