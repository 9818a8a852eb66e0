#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod dialer;
mod error;
mod frame;
mod identity;
pub mod limits;
mod part;
mod role;

pub use dialer::{Backoff, Dialer};
pub use error::{Error, Malformed};
pub use frame::{BODY_BYTES, DocGet, FRAME_BYTES, Frame, Hello, RECORD_BYTES, Reply};
pub use identity::LinkIdentity;
pub use part::{Assembler, PART_BYTES, Part, split, split_padded};
pub use role::{Input, LinkId, Output, Remote, Role, Target};
