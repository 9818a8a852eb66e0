#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// Floor 4: counters and durations of this program, far from their bounds; overflow checks stay on
// in release builds (Cargo.toml), so that a mistake ends the process instead of wrapping.
#![allow(clippy::arithmetic_side_effects)]

mod answers;
mod calendar;
pub mod clerk;
pub mod config;
pub mod desk;
pub mod desk_thread;
mod documents;
mod drops;
mod entry;
mod epochs;
mod error;
pub mod exit;
pub mod fuzzing;
pub mod key_files;
pub mod limits;
mod mailbox;
mod metrics;
mod provider;
pub mod quota;
pub mod session;
mod shelf;
pub mod shell;
mod stats;
pub mod store;
pub mod ticket;
mod traffic;
mod view;

pub use error::ProviderError;
pub use provider::{Command, Effect, Note, Provider, ProviderConfig};
pub use stats::{Drop, Stats};
pub use whist_node::{KeyDone, KeyEvent, KeyJob, region_bytes};
