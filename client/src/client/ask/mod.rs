//! What a person asks for: which call it is, and who waits for what.

mod address;
mod contact;
mod keys;
mod people;
pub(super) mod texts;
mod words;

use std::time::Duration;

use whist_types::Now;

use crate::call::{Answer, Call, MessageState, Until};
use crate::client::{Client, Waiter, Wish};
use crate::ids::ContactId;
use crate::limits::{SEARCH_BYTES_MAX, WAIT_MAX, WAITERS_MAX};
use crate::rpc::RpcError;

// The exit codes of the command line (docs/using.md).
pub(super) const OTHER: i64 = 1;
pub(super) const USAGE: i64 = 2;
pub(super) const UNKNOWN_CONTACT: i64 = 5;
const KEY_CHANGED: i64 = 6;
const TIMED_OUT: i64 = 7;
pub(super) const REFUSED: i64 = 8;

impl Client {
    pub(in crate::client) fn ask(&mut self, now: Now, tag: u64, call: Call) {
        let answer = match call {
            Call::Invite { name, wait_s } => self.ask_invite(now, tag, name, wait_s),
            Call::Invites {} => Ok(Some(self.invites())),
            Call::Add {
                name,
                invitation,
                now: at_once,
                wait_s,
            } => self.ask_add(now, tag, name, &invitation, at_once, wait_s),
            Call::Send {
                contact,
                text,
                reply_to,
                wait_s,
            } => self.ask_send(now, tag, &contact, &text, reply_to, wait_s),
            Call::History {
                contact,
                before,
                limit,
            } => self.ask_history(contact, before, limit),
            Call::HistoryKeep { keep } => self.ask_history_keep(now, keep),
            Call::Search { words, contact } => self.ask_search(now, tag, &words, contact),
            Call::MessageStatus { message } => self.ask_message_status(message),
            Call::MessageWait {
                message,
                until,
                wait_s,
            } => self.ask_message_wait(now, tag, message, until, wait_s),
            Call::MessageCancel { message } => self.ask_message_cancel(now, message),
            Call::MessageDelete { message, everybody } => {
                self.ask_message_delete(now, message, everybody)
            }
            Call::MessageEdit { message, text } => self.ask_message_edit(now, message, text),
            Call::Outbox {} => self.ask_outbox(),
            Call::Receive { contact, wait_s } => self.ask_receive(now, tag, contact, wait_s),
            Call::Contacts {} => Ok(Some(Answer::Contacts {
                contacts: self.contact_list(now),
            })),
            Call::Status {} | Call::NetStatus {} => {
                Ok(Some(Answer::Status(Box::new(self.status(now)))))
            }
            Call::NetNodes {} => Ok(Some(self.net_nodes(now))),
            Call::NetCheck { clock_is_wrong } => self.ask_net_check(now, clock_is_wrong),
            call @ Call::ContactSet { .. } => self.ask_contact_change(now, tag, call),
            other => self.ask_of_people(now, other),
        };
        match answer {
            Ok(Some(answer)) => self.answer(tag, Ok(answer)),
            Ok(None) => {}
            Err(error) => self.answer(tag, Err(error)),
        }
    }

    fn ask_of_people(&mut self, now: Now, call: Call) -> Result<Option<Answer>, RpcError> {
        match call {
            Call::Verify {
                contact,
                number,
                undo,
            } => self.ask_verify(&contact, number.as_deref(), undo),
            Call::ContactShow { contact } => self.ask_contact_show(now, &contact),
            Call::ContactRename { contact, name } => self.ask_contact_rename(&contact, &name),
            Call::ContactBlock { contact } => self.ask_contact_block(&contact, true),
            Call::ContactUnblock { contact } => self.ask_contact_block(&contact, false),
            Call::ContactAcceptKey { contact, number } => {
                self.ask_accept_key(now, &contact, &number)
            }
            Call::ContactRefuseKey { contact } => self.ask_refuse_key(&contact),
            Call::SessionReset { contact } => self.ask_session_reset(now, &contact),
            Call::IdentityShow {} => self.ask_identity_show(),
            Call::IdentityRotate {} => self.ask_identity_rotate(now),
            Call::AddressCreate {} => self.ask_address_create(),
            Call::AddressShow {} => self.ask_address_show(),
            Call::AddressRotate {} => self.ask_address_rotate(),
            Call::AddressDelete {} => self.ask_address_delete(),
            Call::AddressAdd {
                name,
                address,
                note,
            } => self.ask_address_add(now, name, &address, note),
            Call::Requests {} => Ok(Some(self.requests())),
            Call::Accept { request, name } => self.ask_accept(now, request, name),
            Call::Reject { request } => self.ask_reject(request),
            Call::Dismiss { banner } => self.ask_dismiss(banner),
            Call::ContactRemove { contact } => self.ask_contact_remove(now, &contact),
            _ => Err(RpcError::new(OTHER, "this is asked of the daemon")),
        }
    }

    pub(super) fn wait(
        &mut self,
        now: Now,
        tag: u64,
        wait_s: u64,
        wish: Wish,
    ) -> Result<(), RpcError> {
        if self.waiters.len() >= WAITERS_MAX {
            return Err(RpcError::new(OTHER, "too many commands wait already"));
        }
        let wait = Duration::from_secs(wait_s).min(WAIT_MAX);
        self.waiters.push(Waiter {
            tag,
            deadline: now.instant.after(wait),
            wish,
        });
        Ok(())
    }

    fn contact_of(&self, name: &str) -> Result<ContactId, RpcError> {
        self.people
            .by_name(name)
            .ok_or_else(|| RpcError::new(UNKNOWN_CONTACT, format!("unknown contact: {name}")))
    }

    /// Answers those whose wish came true, and those who waited long enough.
    pub(super) fn serve_waiters(&mut self, now: Now) {
        let mut search_bytes = SEARCH_BYTES_MAX;
        for mut waiter in std::mem::take(&mut self.waiters) {
            let answer = match &mut waiter.wish {
                Wish::Search(search) => self.search_on(search, &mut search_bytes),
                wish => self.fulfil(now, waiter.tag, wish),
            };
            match answer {
                Some(answer) => self.answer(waiter.tag, Ok(answer)),
                // Its deadline, which is over, is what wakes the client to go on.
                None if matches!(waiter.wish, Wish::Search(_)) => self.waiters.push(waiter),
                None if waiter.deadline <= now.instant => {
                    self.answer(waiter.tag, Err(too_late(&waiter.wish)));
                }
                None => self.waiters.push(waiter),
            }
        }
    }

    fn fulfil(&mut self, now: Now, tag: u64, wish: &Wish) -> Option<Answer> {
        match wish {
            Wish::Invitation { name } => self.give_invitation(name),
            Wish::Added { pending, name } => {
                let gone = !self.people.pending.contains_key(pending);
                gone.then(|| Answer::Adding {
                    contact: name.clone(),
                    added: true,
                    waits_s: 0,
                })
            }
            Wish::Came { message, until } => {
                let state = self.people.messages.get(message)?.state;
                let on_its_way = match state {
                    MessageState::Queued | MessageState::Sent => true,
                    MessageState::Stored => *until == Until::Delivered,
                    _ => false,
                };
                (!on_its_way).then_some(Answer::Message {
                    message: *message,
                    state,
                })
            }
            Wish::Search(_) | Wish::Secret { .. } => None,
            Wish::Texts { contact } => {
                let texts = self.take_texts(now, tag, *contact);
                (!texts.is_empty()).then_some(Answer::Texts { texts })
            }
        }
    }
}

/// Nothing is said to a contact whose key changed.
pub(super) fn key_changed() -> RpcError {
    let why = "this contact's key has changed: compare the new safety number with it, then \
               `whist contact accept-key`";
    RpcError::new(KEY_CHANGED, why)
}

fn no_invitation() -> RpcError {
    let why = "no invitation is published yet; try again in a minute, or use --wait";
    RpcError::new(TIMED_OUT, why)
}

fn too_late(wish: &Wish) -> RpcError {
    match wish {
        Wish::Invitation { .. } => no_invitation(),
        Wish::Added { .. } => RpcError::new(
            TIMED_OUT,
            "the invitation is not opened yet; that goes on by itself",
        ),
        Wish::Came { until, .. } => RpcError::new(
            TIMED_OUT,
            match until {
                Until::Stored => "the text is not stored yet; it goes on being sent",
                Until::Delivered => {
                    "the contact has not said that the text came; it says so only where it \
                     switched receipts on"
                }
            },
        ),
        Wish::Secret { .. } => RpcError::new(TIMED_OUT, "the shared secret is not set"),
        Wish::Texts { .. } | Wish::Search(_) => RpcError::new(TIMED_OUT, "nothing came"),
    }
}
