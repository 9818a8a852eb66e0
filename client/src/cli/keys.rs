//! One's own key, sessions, and banners.

use clap::Subcommand;
use whist_rt::{Exit, Failure};

use super::readers;
use crate::call::Call;
use crate::ids::BannerId;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// One's own identity: the key that contacts compare.
    #[command(after_help = "Examples:
  whist identity show
  whist identity rotate --yes")]
    Identity {
        #[command(subcommand)]
        what: Identity,
    },
    /// The keys that are shared with a contact.
    #[command(after_help = "Example: whist session reset alice")]
    Session {
        #[command(subcommand)]
        what: Session,
    },
    /// Say that a banner was seen; `whist status` shows its number.
    #[command(after_help = "Example: whist dismiss 3")]
    Dismiss {
        /// Its number.
        #[arg(value_parser = readers::banner, value_name = "N")]
        banner: BannerId,
    },
}

/// What is done with one's own identity.
#[derive(Debug, Subcommand)]
pub(super) enum Identity {
    /// Show the fingerprint of one's own key.
    #[command(after_help = "Example: whist identity show")]
    Show,
    /// Take a new key: every contact has to compare and accept it, and open invitations are void.
    #[command(after_help = "Example: whist identity rotate --yes")]
    Rotate {
        /// Do it; there is no way back.
        #[arg(long)]
        yes: bool,
    },
}

/// What is done with a session.
#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// Ask a contact for a new session, if texts of one side stay unreadable.
    #[command(after_help = "Example: whist session reset alice")]
    Reset {
        /// Which.
        contact: String,
    },
}

impl Keys {
    pub(super) fn call(self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Identity {
                what: Identity::Show,
            } => Call::IdentityShow {},
            Self::Identity {
                what: Identity::Rotate { yes: true },
            } => Call::IdentityRotate {},
            Self::Identity {
                what: Identity::Rotate { yes: false },
            } => {
                let why = "every contact has to compare and accept a new key, and nothing brings \
                           the old one back: if that is wanted, say --yes";
                return Err(Failure::new(Exit::Usage, why));
            }
            Self::Session {
                what: Session::Reset { contact },
            } => Call::SessionReset { contact },
            Self::Dismiss { banner } => Call::Dismiss { banner },
        })
    }
}
