//! Invitations and contacts.

use clap::Subcommand;
use whist_ratchet::WHOLE_PREFIX;
use whist_rt::{Exit, Failure};

use super::{Context, start, streams};
use crate::call::Call;

#[derive(Debug, Subcommand)]
pub(super) enum People {
    /// Print an invitation, to be given to one person over a safe way.
    #[command(after_help = "Example: whist invite --name bob --wait")]
    Invite {
        /// What to call whoever uses it [default: a free one, such as contact-3fa9c1].
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Wait until one is published.
        #[arg(long)]
        wait: bool,
        /// So many seconds at most.
        #[arg(long, default_value_t = 120, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Open an invitation, whose giver becomes a contact; or ask through an address.
    #[command(after_help = "Examples:
  whist add --name alice - < invitation.txt
  whist add --name carol --note 'it is me, from the harbour' - < address.txt")]
    Add {
        /// The text; `-` reads it from stdin, where no other process sees it.
        invitation: String,
        /// What to call who gave it [default: a free one, such as contact-3fa9c1].
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// What is said with it, through an address only: at most 140 bytes.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Do not wait at random: the provider of the invitation may see when it was read.
        #[arg(long)]
        now: bool,
        /// Wait until it is opened.
        #[arg(long)]
        wait: bool,
        /// So many seconds at most.
        #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
        timeout: u64,
    },
    /// List the invitations of one's own that nobody has used yet.
    #[command(after_help = "Example: whist invites --json")]
    Invites,
    /// List the contacts with the fingerprints of their keys.
    #[command(after_help = "Example: whist contacts --json")]
    Contacts,
}

impl People {
    pub(super) fn call(self, context: &Context) -> Result<Call, Failure> {
        Ok(match self {
            Self::Invite {
                name,
                wait,
                timeout,
            } => Call::Invite {
                name: or_a_free_one(name)?,
                wait_s: if wait { timeout } else { 0 },
            },
            Self::Add {
                invitation,
                name,
                note,
                now,
                wait,
                timeout,
            } => {
                let invitation = streams::or_stdin(invitation)?;
                if invitation.trim().to_lowercase().starts_with(WHOLE_PREFIX) {
                    return through_address(context, name, invitation, note);
                }
                if note.is_some() {
                    let why = "a note goes with an address; an invitation needs none";
                    return Err(Failure::new(Exit::Usage, why));
                }
                // What is no invitation shows nothing to anybody: one line says so, and no other.
                invitation
                    .parse::<whist_ratchet::Invitation>()
                    .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
                start::connect(context)?;
                context.say(what_waits(now))?;
                Call::Add {
                    name: or_a_free_one(name)?,
                    invitation,
                    now,
                    wait_s: if wait { timeout } else { 0 },
                }
            }
            Self::Invites => Call::Invites {},
            Self::Contacts => Call::Contacts {},
        })
    }
}

/// Asks whoever published an address.
fn through_address(
    context: &Context,
    name: Option<String>,
    address: String,
    note: Option<String>,
) -> Result<Call, Failure> {
    whist_ratchet::Bundle::from_text(&address)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    start::connect(context)?;
    context.say("nothing more can be said to it before it has accepted")?;
    Ok(Call::AddressAdd {
        name: or_a_free_one(name)?,
        address,
        note: note.unwrap_or_default(),
    })
}

/// The name, or one that nobody has: of sixteen million, by chance.
fn or_a_free_one(name: Option<String>) -> Result<String, Failure> {
    if let Some(name) = name {
        return Ok(name);
    }
    let random = whist_rt::seed()?;
    let digits = random.expose().iter().take(3).map(|b| format!("{b:02x}"));
    Ok(format!("contact-{}", digits.collect::<String>()))
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
