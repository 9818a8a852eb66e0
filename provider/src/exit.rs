//! The exit: what a request asks for, once its SURB parses.

use ed25519_dalek::{Signature, VerifyingKey};
use whist_netdoc::Follower;
use whist_packet::request::{
    DOC_CHUNK_BYTES, Get, ReplyBody, Request, parse_request, signing_bytes,
};
use whist_packet::{DropReason, PAYLOAD_BYTES, Surb, SurbHash};
use whist_types::{ConsensusHash, Epoch, MailboxKey, NodeId};

use crate::limits;

/// What a request is judged by, besides the store.
#[derive(Clone, Copy)]
pub struct Exit<'a> {
    /// This provider.
    pub provider: NodeId,
    /// The epoch now.
    pub epoch: Epoch,
    /// The consensuses, for `DOC`.
    pub follower: Option<&'a Follower>,
}

/// What is to be done about a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Say this.
    Answer(ReplyBody),
    /// Somebody asked for the header of a consensus: say this.
    Document(ReplyBody),
    /// The desk has the answer.
    Desk(Request),
}

impl Exit<'_> {
    /// Reads a request. Every one that parses as far as its SURB has an answer, valid or not.
    ///
    /// # Errors
    /// [`DropReason::BadSurb`]: there is nobody to answer.
    pub fn read(&self, payload: &[u8; PAYLOAD_BYTES]) -> Result<(Surb, Asked), DropReason> {
        let (surb, request) = parse_request(payload)?;
        let asked = match request {
            Ok(request) if self.is_signed(&request, &surb.hash()) => self.ask(request),
            _ => Asked::Answer(ReplyBody::Refused),
        };
        Ok((surb, asked))
    }

    fn ask(&self, request: Request) -> Asked {
        match request {
            Request::Echo => Asked::Answer(ReplyBody::Ok),
            Request::Doc { hash, chunk } => Asked::Document(self.document(&hash, chunk)),
            request => Asked::Desk(request),
        }
    }

    /// Whether what must be signed is, by the mailbox's key, for this provider, this SURB and
    /// about this epoch.
    fn is_signed(&self, request: &Request, surb: &SurbHash) -> bool {
        let Some((mailbox, epoch, signature)) = signed_parts(request) else {
            return true;
        };
        let near = self.epoch.previous() <= epoch && epoch <= self.epoch.next();
        let Ok(key) = VerifyingKey::from_bytes(mailbox.as_bytes()) else {
            return false;
        };
        let bytes = signing_bytes(request, surb, &self.provider);
        let signature = Signature::from_bytes(signature);
        near && key.verify_strict(&bytes, &signature).is_ok()
    }

    fn document(&self, hash: &ConsensusHash, chunk: u32) -> ReplyBody {
        let none = ReplyBody::None {
            waiting: 0,
            oldest: 0,
        };
        let consensus = self.follower.and_then(|follower| follower.by_hash(hash));
        let Some(consensus) = consensus else {
            return none;
        };
        let mut chunks = consensus.signed_bytes().chunks(DOC_CHUNK_BYTES);
        let count = chunks.len().min(limits::DOC_CHUNKS_MAX);
        let wanted = usize::try_from(chunk).unwrap_or(usize::MAX);
        let Some(bytes) = chunks.nth(wanted).filter(|_| wanted < count) else {
            return none;
        };
        let mut data = Box::new([0; DOC_CHUNK_BYTES]);
        data.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        ReplyBody::Doc {
            chunk,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            data,
        }
    }
}

/// Mailbox, epoch and signature of a request that is signed.
fn signed_parts(request: &Request) -> Option<(&MailboxKey, Epoch, &[u8; 64])> {
    match request {
        Request::Get(get) => {
            let Get {
                mailbox,
                epoch,
                signature,
                ..
            } = &**get;
            Some((mailbox, *epoch, signature))
        }
        Request::Create(create) => Some((&create.mailbox, create.epoch, &create.signature)),
        Request::Add(add) => Some((&add.mailbox, add.epoch, &add.signature)),
        Request::Revoke(revoke) => Some((&revoke.mailbox, revoke.epoch, &revoke.signature)),
        _ => None,
    }
}
