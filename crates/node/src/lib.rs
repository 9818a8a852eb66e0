#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// As in the roles that are made of this: counters and durations, far from their bounds; overflow
// checks stay on in release builds (Cargo.toml), so that a mistake ends the process.
#![allow(clippy::arithmetic_side_effects)]

mod bucket;
mod directory;
pub mod epochs;
mod error;
mod key_files;
mod key_jobs;
mod keys;
pub mod limits;
pub mod line_rate;
mod links;
mod neighbours;
mod peers;
pub mod shell;

pub use bucket::Bucket;
pub use directory::Directory;
pub use error::StartError;
pub use key_files::{DiskKeyStore, KeyDisk};
pub use key_jobs::{KeyDone, KeyJob};
pub use keys::{EpochKeys, KeyEvent, region_bytes};
pub use line_rate::{LimitedBy, LineRate};
pub use links::Links;
pub use neighbours::Neighbours;
pub use peers::{Control, Peers, hello};
