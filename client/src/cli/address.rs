//! The own address, and those who wrote to it.

use clap::Subcommand;
use whist_rt::Failure;

use super::readers;
use crate::call::Call;
use crate::ids::AskerId;

#[derive(Debug, Subcommand)]
pub(super) enum Reach {
    /// An address, which any number of people may have; who writes to it has to be accepted.
    #[command(after_help = "Examples:
  whist address create > address.txt
  whist address rotate                     whoever has the old one reaches nobody any more")]
    Address {
        #[command(subcommand)]
        what: Of,
    },
    /// List those who wrote to the address and wait to be accepted.
    #[command(after_help = "Example: whist requests --json")]
    Requests,
    /// Make one of them a contact, and tell it.
    #[command(after_help = "Example: whist accept 3 --name carol")]
    Accept {
        /// Its number, as `requests` prints it.
        #[arg(value_name = "N", value_parser = readers::asker)]
        request: AskerId,
        /// What to call it.
        #[arg(long, value_name = "NAME")]
        name: String,
    },
    /// Turn one of them down; it is not told.
    #[command(after_help = "Example: whist reject 3")]
    Reject {
        /// Its number, as `requests` prints it.
        #[arg(value_name = "N", value_parser = readers::asker)]
        request: AskerId,
    },
}

/// What is done with the address.
#[derive(Debug, Subcommand)]
pub(super) enum Of {
    /// Make one and print it.
    #[command(after_help = "Example: whist address create")]
    Create,
    /// Print it.
    #[command(after_help = "Example: whist address show")]
    Show,
    /// Make another one in its place.
    #[command(after_help = "Example: whist address rotate")]
    Rotate,
    /// Delete it; contacts stay.
    #[command(after_help = "Example: whist address delete")]
    Delete,
}

impl Reach {
    #[expect(clippy::unnecessary_wraps, reason = "as all groups of commands")]
    pub(super) fn call(self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Address { what } => match what {
                Of::Create => Call::AddressCreate {},
                Of::Show => Call::AddressShow {},
                Of::Rotate => Call::AddressRotate {},
                Of::Delete => Call::AddressDelete {},
            },
            Self::Requests => Call::Requests {},
            Self::Accept { request, name } => Call::Accept { request, name },
            Self::Reject { request } => Call::Reject { request },
        })
    }
}
