//! The whole provider in virtual time: real packets and keys, frames instead of sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs,
    unreachable_pub
)]

mod chaos;
mod entry;
mod exit;
mod rig;
mod slow_disk;
mod split;
