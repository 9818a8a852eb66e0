#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod account;
mod api;
mod askers;
pub mod call;
pub mod cli;
mod client;
pub mod config;
mod contacts;
#[cfg(any(test, feature = "control"))]
pub mod control;
pub mod conversation;
pub mod daemon;
pub mod emission;
pub mod fuzzing;
pub mod ids;
pub mod indicators;
pub mod latency;
pub mod leave;
pub mod limits;
pub mod mailbox;
pub mod numbers;
pub mod outbox;
mod own;
pub mod passphrase;
pub mod qr;
pub mod rows;
pub mod rpc;
pub mod safety;
mod stretch;
mod surbs;
pub mod terminal;
mod texts;
pub mod vault;

#[cfg(any(test, feature = "control"))]
pub use account::decoy_beside;
pub use account::first_rows;
pub use api::{Command, Effect, Event, Ticket};
pub use call::{
    Answer, Banner, ContactDetails, ContactInfo, Kinds, MessageState, Outgoing, Stats, Status, Text,
};
pub use client::{BadState, Client};
pub use contacts::{KeyChange, Receipts};
pub use stretch::stretch;
pub use texts::Safety;
