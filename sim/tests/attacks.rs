//! Attacks on running programs (docs/attacks.md): real processes on loopback, and neighbours and
//! peers that the test plays with keys of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    unreachable_pub,
    missing_docs
)]

#[path = "attacks/bombs.rs"]
mod bombs;
#[path = "attacks/canaries.rs"]
mod canaries;
#[path = "attacks/clock.rs"]
mod clock;
#[path = "attacks/crowd.rs"]
mod crowd;
#[path = "attacks/files.rs"]
mod files;
#[path = "attacks/layers.rs"]
mod layers;
#[path = "attacks/raw.rs"]
mod raw;
#[path = "attacks/refusals.rs"]
mod refusals;
#[path = "attacks/rig.rs"]
mod rig;
#[path = "attacks/sizes.rs"]
mod sizes;
#[path = "attacks/stale.rs"]
mod stale;
#[path = "attacks/twins.rs"]
mod twins;
