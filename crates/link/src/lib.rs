#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod connection;
mod dialer;
mod error;
mod frame;
#[cfg(test)]
mod frankenstein;
pub mod fuzzing;
mod identity;
pub mod limits;
pub mod pair;
mod part;
pub mod puzzle;
mod role;
mod tls;

pub use connection::{Connection, Entry};
pub use dialer::{Backoff, Dialer};
pub use error::{Error, Malformed};
pub use frame::{BODY_BYTES, DocGet, FRAME_BYTES, Frame, Hello, RECORD_BYTES, Reply};
pub use identity::LinkIdentity;
pub use pair::Pair;
pub use part::{Assembler, PART_BYTES, Part, split, split_padded};
pub use role::{Input, LinkId, Output, Remote, Role, Target};
pub use tls::{ClientSetup, Clients, ServerSetup};
