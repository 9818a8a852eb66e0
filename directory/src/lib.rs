#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod authority;
pub mod cli;
pub mod config;
mod error;
mod event;
mod exchange;
mod genesis;
pub mod limits;
mod links;
mod metrics;
mod pool;
mod round;
mod shell;

pub use authority::{Authority, Saved, Setup};
pub use error::{Error, Ignored};
pub use event::{Command, Effect, Event, Record};
