#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod account;
mod api;
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
pub mod latency;
pub mod leave;
pub mod limits;
pub mod mailbox;
pub mod numbers;
pub mod outbox;
pub mod passphrase;
pub mod rows;
pub mod rpc;
mod surbs;
pub mod terminal;
pub mod vault;

pub use account::first_rows;
pub use api::{Command, Effect, Event, Ticket};
pub use call::{Answer, ContactInfo, Kinds, MessageState, Stats, Status, Text};
pub use client::{BadState, Client};
