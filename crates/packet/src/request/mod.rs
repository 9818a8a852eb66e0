//! The final payload's layout, shared by client, provider and mix (protocol.md §3).
//!
//! Every field stands at a fixed offset; what a command leaves unused is random.

mod codec;
mod commands;
mod reply;
mod signing;

pub use codec::{BadRequest, REQUEST_VERSION, encode_request, parse_request};
pub use commands::{
    ADDRESSES_MAX, Add, BLOB_BYTES, Command, Create, DOC_CHUNK_BYTES, Get, ITEM_BYTES,
    NUMBER_MAP_BITS, Request, Revoke, map_contains, map_insert,
};
pub use reply::{BadReply, Reply, ReplyBody, encode_reply, parse_reply};
pub use signing::signing_bytes;
