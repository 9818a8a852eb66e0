//! One contact: what holds for it, and whether its key was compared.

use clap::{ArgGroup, Subcommand};
use whist_rt::Failure;

use super::{Context, readers, streams};
use crate::call::Call;
use crate::contacts::{KeyChange, Receipts};
use crate::passphrase::SharedSource;

#[derive(Debug, Subcommand)]
pub(super) enum Contact {
    /// Show the safety number of a contact, or say that it was compared.
    #[command(after_help = "Examples:
  whist verify alice                       60 digits, and the same as a QR code
  whist verify alice --equal 30035 44776 9286 …
  whist verify alice --undo")]
    Verify {
        /// Which.
        contact: String,
        /// The number as the contact has it: if it is the same, the contact is verified; `-` reads
        /// it from stdin.
        #[arg(long, value_name = "NUMBER", num_args = 1.., conflicts_with = "undo")]
        equal: Option<Vec<String>>,
        /// Not verified after all.
        #[arg(long)]
        undo: bool,
    },
    /// Show a contact, change what holds for it, or part with it.
    #[command(after_help = "Examples:
  whist contact show alice
  whist contact set alice --timer 1d       texts of both disappear a day after reading
  whist contact set alice --receipts delivered
  whist contact set alice --shared-secret  asks for a passphrase that alice sets too
  whist contact set alice --no-shared-secret
  whist contact set alice --retention 7 --key-change block
  whist contact accept-key alice -         the number is read from stdin")]
    Contact {
        #[command(subcommand)]
        what: Of,
    },
}

/// What is done with a contact.
#[derive(Debug, Subcommand)]
pub(super) enum Of {
    /// Show everything of a contact.
    #[command(after_help = "Example: whist contact show alice")]
    Show {
        /// Which.
        contact: String,
    },
    /// Call a contact by another name; only here.
    #[command(after_help = "Example: whist contact rename contact-3fa9c1 alice")]
    Rename {
        /// Which.
        contact: String,
        /// The new name.
        name: String,
    },
    /// Change what holds for a contact; what is left out stays.
    #[command(after_help = "Example: whist contact set alice --timer 8h --receipts read")]
    #[command(group = ArgGroup::new("change")
        .required(true)
        .multiple(true)
        .args([
            "receipts",
            "timer",
            "retention",
            "key_change",
            "shared_secret",
            "shared_secret_file",
            "shared_secret_command",
            "no_shared_secret",
        ]))]
    Set {
        /// Which.
        contact: String,
        /// Which receipts it gets from here.
        #[arg(long, value_enum)]
        receipts: Option<Receipts>,
        /// When texts of both disappear, after they were read: such as 30s, 8h, 4w, or off.
        #[arg(long, value_name = "TIME", value_parser = readers::timer)]
        timer: Option<u32>,
        /// Days for which its texts are kept here, whatever the history's; 0 for the history's.
        #[arg(long, value_name = "DAYS")]
        retention: Option<u16>,
        /// What happens when its key changes.
        #[arg(long, value_enum)]
        key_change: Option<KeyChange>,
        #[command(flatten)]
        shared_secret: SharedSource,
        /// Take a shared secret back that is not in use, and demand none of a new session.
        #[arg(
            long,
            conflicts_with_all = ["shared_secret", "shared_secret_file", "shared_secret_command"]
        )]
        no_shared_secret: bool,
    },
    /// Drop what a contact sends; it is not told.
    #[command(after_help = "Example: whist contact block eve")]
    Block {
        /// Which.
        contact: String,
    },
    /// Drop it no longer.
    #[command(after_help = "Example: whist contact unblock eve")]
    Unblock {
        /// Which.
        contact: String,
    },
    /// Delete a contact and all that is kept of it, at once and for good.
    #[command(after_help = "Example: whist contact remove eve")]
    Remove {
        /// Which.
        contact: String,
    },
    /// Accept a contact's changed key, after the new safety number was compared.
    #[command(
        after_help = "The new number is in `whist contact show`; the contact reads its own out.\n\
                      Example: whist contact accept-key alice 30035 44776 9286 …"
    )]
    AcceptKey {
        /// Which.
        contact: String,
        /// The number as the contact has it; `-` reads it from stdin.
        #[arg(required = true, value_name = "NUMBER")]
        number: Vec<String>,
    },
    /// Turn a contact's changed key down: the old one goes on.
    #[command(after_help = "Example: whist contact refuse-key alice")]
    RefuseKey {
        /// Which.
        contact: String,
    },
}

impl Contact {
    pub(super) fn call(self, context: &Context) -> Result<Call, Failure> {
        match self {
            Self::Verify {
                contact,
                equal,
                undo,
            } => Ok(Call::Verify {
                contact,
                number: equal.map(|words| number(&words)).transpose()?,
                undo,
            }),
            Self::Contact { what } => what.call(context),
        }
    }
}

impl Of {
    fn call(self, context: &Context) -> Result<Call, Failure> {
        Ok(match self {
            Self::Show { contact } => Call::ContactShow { contact },
            Self::Rename { contact, name } => Call::ContactRename { contact, name },
            Self::Set {
                contact,
                receipts,
                timer,
                retention,
                key_change,
                shared_secret,
                no_shared_secret,
            } => Call::ContactSet {
                contact,
                receipts,
                timer_s: timer,
                retention_days: retention,
                key_change,
                shared_secret: shared_secret.read(context.asks)?,
                no_shared_secret,
            },
            Self::Block { contact } => Call::ContactBlock { contact },
            Self::Unblock { contact } => Call::ContactUnblock { contact },
            Self::Remove { contact } => Call::ContactRemove { contact },
            Self::AcceptKey {
                contact,
                number: words,
            } => Call::ContactAcceptKey {
                contact,
                number: number(&words)?,
            },
            Self::RefuseKey { contact } => Call::ContactRefuseKey { contact },
        })
    }
}

/// A safety number, in one word or in groups.
fn number(words: &[String]) -> Result<String, Failure> {
    streams::or_stdin(words.join(" "))
}
