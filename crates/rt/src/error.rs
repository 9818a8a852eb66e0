//! The one error of this crate. No variant holds an address of anybody on the Internet.

use std::io;
use std::path::{Path, PathBuf};

use crate::Exit;

/// What can go wrong between a program and the world. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum RtError {
    /// The configuration does not parse: file, line and key stand in the text.
    #[error("{0}")]
    Config(String),
    /// The file system refused.
    #[error("cannot {doing} {}: {error}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// A file or folder that others could read or change, with the command that mends it.
    #[error("{}: {why}; mend it with: {mend}", path.display())]
    Exposed {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The command.
        mend: String,
    },
    /// A second instance runs on this state folder.
    #[error("{}: another instance is running on this folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The state folder is of another program or version.
    #[error("{}: {why}", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// What it is and what was expected.
        why: String,
    },
    /// A file's contents do not check out.
    #[error("{}: damaged ({why})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        why: &'static str,
    },
    /// A folder that must be memory-backed is not.
    #[error("{}: not memory-backed (needs a tmpfs, for example /run or /dev/shm)", path.display())]
    NotInMemory {
        /// The folder.
        path: PathBuf,
    },
    /// A region's memory could be written to a swap device.
    #[error(
        "{}: keys could be swapped to a disk: raise LimitMEMLOCK=, or switch swap off, or mount \
         its folder with noswap",
        path.display()
    )]
    Swappable {
        /// The file.
        path: PathBuf,
    },
    /// A region exists with another size.
    #[error("{}: holds {found} bytes where {expected} were expected", path.display())]
    RegionSize {
        /// The file.
        path: PathBuf,
        /// Bytes that it has.
        found: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on port {port}: {error}")]
    Listen {
        /// The port.
        port: u16,
        /// What the operating system said.
        error: io::Error,
    },
    /// The metrics address is not a loopback one.
    #[error("metrics are for loopback only: set `metrics` to 127.0.0.1:PORT or [::1]:PORT")]
    PublicMetrics,
    /// A metric was registered twice or is malformed.
    #[error("metrics: {0}")]
    Metric(#[from] prometheus::Error),
    /// The operating system has no randomness.
    #[error("the operating system gives no randomness")]
    NoRandomness,
    /// A part of the program broke and told everybody to end.
    #[error("{0}")]
    Failed(String),
    /// A task panicked; where, says the line that the panic itself printed.
    #[error("a task panicked")]
    Panicked,
    /// The runtime could not be started or signals not be caught.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// Needed to listen or to authenticate itself, and not given.
    #[error("a listener or an identified dial needs the link key")]
    NoIdentity,
    /// A policy that refuses to run.
    #[error("{0}")]
    Refused(&'static str),
}

impl RtError {
    pub(crate) fn file(doing: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self::File {
            doing,
            path: path.to_owned(),
            error: error.into(),
        }
    }

    /// The exit code that a program ends with for this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Usage,
            Self::Exposed { .. }
            | Self::NotInMemory { .. }
            | Self::Swappable { .. }
            | Self::PublicMetrics
            | Self::Refused(_)
            | Self::Version { .. } => Exit::Refused,
            Self::File { .. }
            | Self::InUse { .. }
            | Self::Damaged { .. }
            | Self::RegionSize { .. }
            | Self::Listen { .. }
            | Self::Metric(_)
            | Self::NoRandomness
            | Self::Failed(_)
            | Self::Panicked
            | Self::Start(_)
            | Self::NoIdentity => Exit::Other,
        }
    }
}
