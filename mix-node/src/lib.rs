#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// Floor 4: counters and durations of this program, far from their bounds; overflow checks stay on
// in release builds (Cargo.toml), so that a mistake ends the process instead of wrapping.
#![allow(clippy::arithmetic_side_effects)]

pub mod config;
pub mod limits;
mod loops;
mod metrics;
mod node;
pub mod shell;
mod stats;
mod view;

pub use loops::Segment;
pub use node::{Command, Effect, MixConfig, MixNode, Note};
pub use stats::{Drop, Stats};
pub use whist_node::{
    DiskKeyStore, KeyDisk, KeyDone, KeyEvent, KeyJob, LineRate, StartError as MixError,
    region_bytes,
};
