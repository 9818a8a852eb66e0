//! The exit: what a request asks for, once its SURB parses.

use ed25519_dalek::{Signature, VerifyingKey};
use whist_netdoc::Follower;
use whist_packet::request::{
    DOC_CHUNK_BYTES, Get, ReplyBody, Request, parse_request, signing_bytes,
};
use whist_packet::{DropReason, PAYLOAD_BYTES, Surb, SurbHash};
use whist_types::{ConsensusHash, Epoch, MailboxKey, NodeId};

use crate::desk::{Answer, Desk, Moment};
use crate::limits;
use crate::store::Store;

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

impl Exit<'_> {
    /// Serves a request. Every one that parses as far as its SURB has an answer, valid or not.
    ///
    /// # Errors
    /// [`DropReason::BadSurb`]: there is nobody to answer.
    pub fn serve<S: Store>(
        &self,
        desk: &mut Desk<S>,
        at: Moment,
        payload: &[u8; PAYLOAD_BYTES],
    ) -> Result<(Surb, Answer), DropReason> {
        let (surb, request) = parse_request(payload)?;
        let answer = match request {
            Ok(request) if self.is_signed(&request, &surb.hash()) => {
                self.answer(desk, at, &request)
            }
            _ => Answer::now(ReplyBody::Refused),
        };
        Ok((surb, answer))
    }

    fn answer<S: Store>(&self, desk: &mut Desk<S>, at: Moment, request: &Request) -> Answer {
        match request {
            Request::Echo => Answer::now(ReplyBody::Ok),
            Request::Put { address, item } => desk.put(at, address, item),
            Request::Get(get) => desk.get(at, get),
            Request::Create(create) => desk.create(create),
            Request::Add(add) => desk.add(add),
            Request::Revoke(revoke) => desk.revoke(revoke),
            // Admission is open: no proof is asked for yet.
            Request::Publish { drop, blob, .. } => desk.publish(drop, blob),
            Request::Fetch { drop, token_hash } => desk.fetch(at, drop, token_hash),
            Request::Doc { hash, chunk } => {
                desk.asked_for_document();
                Answer::now(self.document(hash, *chunk))
            }
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
