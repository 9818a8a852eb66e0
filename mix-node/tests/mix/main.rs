//! The mix as a value, among neighbours that are test code.
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

mod epochs;
mod faults;
mod packets;
mod rig;
