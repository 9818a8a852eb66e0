//! What comes back: every packet is a loop, and its reply says what became of it.

use whist_netdoc::{Consensus, HEADER_BYTES, SIGNATURE_BYTES};
use whist_packet::request::{BLOB_BYTES, Reply, ReplyBody, parse_reply};
use whist_ratchet::{Bundle, Plaintext, Session, open_bundle};
use whist_types::{ConsensusHash, MailboxAddress, NodeId, Now, SurbId};

use crate::api::Event;
use crate::call::MessageState;
use crate::client::send::count;
use crate::client::{Client, Wish};
use crate::contacts::{Contact, ContactRow, PendingRow};
use crate::conversation::{Body, DEVICE};
use crate::ids::{InvitationId, PendingId, RequestId};
use crate::indicators::Indicator;
use crate::limits::HEADER_CHUNKS_MAX;
use crate::mailbox::{Mailbox, Use};
use crate::outbox::{Entry, Job};
use crate::rows::Table;
use crate::rpc::RpcError;
use crate::surbs::Purpose;

impl Client {
    /// A reply came over the link.
    pub(super) fn on_reply(&mut self, now: Now, id: SurbId, sealed: &[u8; 2_065]) {
        let Some(out) = self.surbs.take(&id) else {
            self.stats.unexpected_replies = self.stats.unexpected_replies.saturating_add(1);
            return;
        };
        let opened = out.secret.open(sealed).ok();
        let Some(reply) = opened.and_then(|payload| parse_reply(&payload).ok()) else {
            self.stats.bad_replies = self.stats.bad_replies.saturating_add(1);
            return;
        };
        self.losses.returned(now.instant, &id);
        count(&mut self.stats.returned, out.purpose);
        self.heard_of(now, reply.consensus, out.exit);
        match out.purpose {
            Purpose::Echo | Purpose::Decoy => {}
            Purpose::Poll => self.on_poll(now, reply),
            Purpose::Request { id, .. } => self.on_answer(now, id, reply.body),
        }
    }

    fn on_poll(&mut self, now: Now, reply: Reply) {
        match reply.body {
            ReplyBody::Item {
                number,
                address,
                oldest,
                item,
                ..
            } => {
                self.numbers.gone_below(oldest);
                self.on_item(now, number, address, item);
            }
            ReplyBody::None { oldest, .. } => self.numbers.gone_below(oldest),
            _ => self.turned_down(),
        }
    }

    const fn turned_down(&mut self) {
        self.stats.turned_down = self.stats.turned_down.saturating_add(1);
    }

    /// An answer to a request of the outbox, whichever of its packets it answers. What is neither
    /// the answer nor a refusal for good counts as no reply: the request is repeated.
    fn on_answer(&mut self, now: Now, id: RequestId, body: ReplyBody) {
        let Some(job) = self.outbox.entry(id).map(|entry| entry.job.clone()) else {
            return;
        };
        match (job, body) {
            (Job::Put { message, .. }, ReplyBody::Stored) => {
                if let Some(message) = message {
                    self.on_stored(now, message);
                }
            }
            (Job::Notice { .. }, ReplyBody::Stored) => {}
            (Job::Create, ReplyBody::Created { .. } | ReplyBody::Ok) => {
                if let Some(mailbox) = &mut self.mailbox {
                    mailbox.created();
                }
                self.save_mailbox();
            }
            (Job::Add { salts }, ReplyBody::Ok) => {
                if let Some(mailbox) = &mut self.mailbox {
                    mailbox.registered(&salts);
                }
                self.save_mailbox();
            }
            (Job::Revoke { addresses }, ReplyBody::Ok) => {
                if let Some(mailbox) = &mut self.mailbox {
                    mailbox.left(&addresses);
                }
                self.save_mailbox();
            }
            (Job::Publish { invitation }, ReplyBody::Ok) => self.on_published(invitation),
            (Job::Fetch { pending }, ReplyBody::Blob(blob)) => {
                // First, so that its place in a full outbox is the greeting's.
                self.outbox.answered(id);
                self.on_blob(now, pending, &blob);
            }
            (Job::Fetch { pending }, ReplyBody::Opened) => {
                let why = "somebody else has opened this invitation already";
                self.fail_pending(now, pending, Indicator::InvitationTaken, why);
            }
            (
                Job::Doc { hash, chunk },
                ReplyBody::Doc {
                    chunk: got,
                    count,
                    data,
                },
            ) if got == chunk => {
                self.on_header_chunk(now, hash, chunk, count, &data[..]);
            }
            (Job::Doc { .. }, ReplyBody::None { .. }) => {}
            _ => return self.turned_down(),
        }
        self.outbox.answered(id);
        self.save_request(now, id);
    }

    fn on_published(&mut self, id: InvitationId) {
        if let Some(invitation) = self.people.invitations.get_mut(&id) {
            invitation.published = true;
            self.save_invitation(id);
        }
    }

    fn on_blob(&mut self, now: Now, id: PendingId, blob: &[u8; BLOB_BYTES]) {
        let Some(pending) = self.people.pending.get_mut(&id) else {
            return;
        };
        pending.blob = Some(blob.to_vec());
        self.save_pending(id);
        self.greet(now, id);
    }

    /// Greets those whose invitations are open and waited for an address or for room.
    pub(super) fn greet_opened(&mut self, now: Now) {
        let pending = self.people.pending.iter();
        let opened: Vec<PendingId> = pending
            .filter(|(_, row)| row.blob.is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in opened {
            self.greet(now, id);
        }
    }

    /// Answers an opened invitation: a contact, and the first item to it. Without a free address
    /// or room in the outbox it stays open; upkeep comes back to it.
    pub(super) fn greet(&mut self, now: Now, id: PendingId) {
        if self.outbox.room() == 0 || !self.mailbox.as_ref().is_some_and(Mailbox::has_free) {
            return;
        }
        let Some(pending) = self.people.pending.get(&id).cloned() else {
            return;
        };
        let blob = pending.blob.as_deref().and_then(|b| b.try_into().ok());
        let Some(blob) = blob else {
            return;
        };
        match open_bundle(&pending.key(), blob) {
            Ok(bundle) => self.greet_by(now, id, &pending, &bundle),
            Err(error) => self.void_pending(now, id, &error.to_string()),
        }
    }

    fn greet_by(&mut self, now: Now, id: PendingId, pending: &PendingRow, bundle: &Bundle) {
        let contact = self.people.next_contact();
        let Some(mailbox) = &mut self.mailbox else {
            return;
        };
        let provider = mailbox.provider();
        let Some(own) = mailbox.allot(Use::Contact(contact)) else {
            return;
        };
        let greeting = match &pending.note {
            None => Body::Greeting {
                provider,
                address: own,
            },
            Some(note) => Body::Request {
                provider,
                address: own,
                note: note.clone(),
            },
        };
        let first = self.plaintext(&greeting);
        let identity = self.identity();
        let made = Session::initiate(&identity, bundle, &pending.key(), &first, &mut self.rng);
        let (session, item) = match made {
            Ok(made) => made,
            Err(error) => return self.void_pending(now, id, &error.to_string()),
        };
        let at = (bundle.provider(), bundle.address());
        let asked = pending.note.is_some();
        let row = ContactRow {
            asked,
            // Whoever is asked owes no answer; whoever invites somebody wants to be found.
            silent_since_ms: (!asked).then(|| now.wall.as_millis()),
            ..ContactRow::new(pending.name.clone(), at, own)
        };
        let job = Job::Put {
            address: row.address,
            item,
            message: None,
        };
        let exit = row.provider;
        self.people
            .contacts
            .insert(contact, Contact::new(row, session));
        self.people.pending.remove(&id);
        self.batch.delete(Table::Pending, id.key());
        self.save_mailbox();
        self.save_contact(contact);
        // There is room: that was asked first.
        let _ = self.push(now, exit, job, std::time::Duration::ZERO);
        self.tell_policy(now, contact);
        self.show(Event::Added {
            contact: pending.name.clone(),
        });
    }

    /// A body with what every item carries beside it.
    pub(super) fn plaintext(&self, body: &Body) -> Plaintext {
        Plaintext {
            device: DEVICE,
            consensus: self.follower.hash(),
            body: body.encode(),
        }
    }

    fn void_pending(&mut self, now: Now, id: PendingId, reason: &str) {
        self.fail_pending(now, id, Indicator::InvitationVoid, reason);
    }

    /// Gives up on somebody's invitation and says so: to who waits for it, to who listens, and to
    /// whoever looks later.
    fn fail_pending(&mut self, now: Now, id: PendingId, what: Indicator, reason: &str) {
        let Some(pending) = self.people.pending.remove(&id) else {
            return;
        };
        self.batch.delete(Table::Pending, id.key());
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.retain(|waiter| {
            let ours = matches!(&waiter.wish, Wish::Added { pending, .. } if *pending == id);
            if ours {
                self.answer(waiter.tag, Err(RpcError::new(1, reason)));
            }
            !ours
        });
        self.waiters = waiters;
        self.show(Event::AddFailed {
            contact: pending.name.clone(),
            reason: reason.to_owned(),
        });
        self.raise(now, what, None);
    }

    /// Requests that were repeated as often as may be, or that could not leave for as long as that
    /// takes, since their provider is gone: the person is told.
    pub(super) fn give_up(&mut self, now: Now, consensus: &Consensus) {
        let mut over = self.outbox.given_up(now.instant);
        let life = self.repeat_law().life();
        let mut outbox = std::mem::take(&mut self.outbox);
        let can_leave = |entry: &Entry| self.can_leave(consensus, entry);
        over.extend(outbox.stranded(now.instant, life, can_leave));
        self.outbox = outbox;
        for entry in over {
            self.save_request(now, entry.id);
            self.given_up(now, entry);
        }
    }

    pub(super) fn given_up(&mut self, now: Now, entry: Entry) {
        match entry.job {
            Job::Put {
                message: Some(id), ..
            } => self.give_word_up(now, id, MessageState::Failed),
            Job::Fetch { pending } => {
                self.void_pending(now, pending, "the invitation's provider does not answer");
            }
            // The rumour stays until its epoch is over: one an epoch.
            Job::Doc { .. } => {}
            // The next word or receipt says the same; a new session can be asked for once more.
            Job::Notice { .. } => {}
            Job::Put {
                address,
                message: None,
                ..
            } => self.greeting_failed(address),
            // Upkeep queues these again as long as they are needed.
            Job::Create | Job::Add { .. } | Job::Revoke { .. } | Job::Publish { .. } => {}
        }
    }

    fn greeting_failed(&mut self, address: MailboxAddress) {
        let contacts = self.people.contacts.values();
        if let Some(contact) = contacts.map(|c| &c.row).find(|row| row.address == address) {
            self.show(Event::AddFailed {
                contact: contact.name.clone(),
                reason: "the first item stays without an answer".to_owned(),
            });
        }
    }

    fn on_header_chunk(
        &mut self,
        now: Now,
        hash: ConsensusHash,
        chunk: u32,
        count: u32,
        data: &[u8],
    ) {
        let Some(rumour) = self.rumour.as_mut().filter(|r| r.hash == hash) else {
            return;
        };
        rumour.bytes.extend_from_slice(data);
        let next = chunk.saturating_add(1);
        if next < count.min(HEADER_CHUNKS_MAX) {
            let exit: NodeId = rumour.provider;
            let job = Job::Doc { hash, chunk: next };
            let _ = self.push(now, exit, job, std::time::Duration::ZERO);
            return;
        }
        let bytes = std::mem::take(&mut rumour.bytes);
        if let Some(signed) = without_padding(&bytes) {
            // Only proof of two documents for one epoch has a consequence, and `judge` keeps it.
            let _ = self.judge(now, signed);
        }
    }
}

/// Header and signatures without the zeros that fill the last chunk: the count of signatures
/// stands after the header.
fn without_padding(bytes: &[u8]) -> Option<&[u8]> {
    let count = usize::from(*bytes.get(HEADER_BYTES)?);
    let length = HEADER_BYTES
        .saturating_add(1)
        .saturating_add(count.saturating_mul(SIGNATURE_BYTES));
    bytes.get(..length)
}
