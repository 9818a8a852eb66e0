//! What a mailbox's key signs.

use whist_types::{NodeId, Writer};

use super::codec::write_signed;
use super::commands::Request;
use crate::SurbHash;

/// Domain of every signature by a mailbox's key.
const LABEL: &[u8] = b"whist 2026 mailbox request v1";

/// What the mailbox's key signs: label, command, the body's fields up to the signature (addresses
/// beyond the count left out), the SURB's hash, the provider. So a request cannot be moved to
/// another provider, nor its answer to another SURB.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 29 | label |
/// | 29 | 1 | command |
/// | 30 | n | the body's fields up to the signature |
/// | 30 + n | 32 | hash of the SURB |
/// | 62 + n | 32 | provider |
pub fn signing_bytes(request: &Request, surb: &SurbHash, provider: &NodeId) -> Vec<u8> {
    let mut w = Writer::new();
    w.put(LABEL).u8(request.command().byte());
    write_signed(&mut w, request);
    w.put(surb.as_bytes()).put(provider.as_bytes());
    w.into_bytes()
}

const _: () = assert!(LABEL.len() == 29);
