//! Contacts, invitations of our own, and invitations of others that wait to be opened, as the
//! vault keeps them.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use whist_ratchet::{Invitation, InvitationKey, PersonKey, Session};
use whist_types::{ItemHash, MailboxAddress, NodeId, Wall};

use crate::conversation::{Incoming, Loss};
use crate::ids::{ContactId, InvitationId, MessageId, PendingId};
use crate::limits::{NAME_BYTES_MAX, TEXTS_AHEAD_MAX};
use crate::rows::{Rows, Table};

/// A contact without its ratchet.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct ContactRow {
    pub(crate) name: String,
    /// Host of the contact's mailbox.
    pub(crate) provider: NodeId,
    /// The contact's address for us.
    pub(crate) address: MailboxAddress,
    /// Our address for the contact.
    pub(crate) own_address: MailboxAddress,
    /// Number of the next text to it.
    pub(crate) next_out: u64,
    /// Texts to it that can still come, oldest first, and those given up among them.
    pub(crate) coming: Vec<Coming>,
    /// Numbers of texts from it, ahead of the next, that it gave up.
    pub(crate) lost_in: Vec<u64>,
    /// Number of the next text from it.
    pub(crate) next_in: u64,
    /// The invitation was used twice.
    pub(crate) not_safe: bool,
    /// The invitation of ours by which it came, and the first item, to notice a second use.
    pub(crate) came_by: Option<([u8; 32], ItemHash)>,
}

/// A sent text, until it and all before it have come or are given up.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct Coming {
    pub(crate) sequence: u64,
    pub(crate) message: MessageId,
    /// When the contact's provider forgets it, once it is stored there.
    pub(crate) until_ms: Option<u64>,
    pub(crate) lost: bool,
}

impl ContactRow {
    /// What to tell the contact with the text of this number: what is given up before it.
    pub(crate) fn loss(&mut self, now: Wall, sequence: u64) -> Loss {
        for coming in &mut self.coming {
            coming.lost |= coming.until_ms.is_some_and(|ms| ms <= now.as_millis());
        }
        // The contact keeps no more than so many ahead.
        let span = TEXTS_AHEAD_MAX.saturating_sub(1);
        let least = self.next_out.saturating_sub(span);
        self.coming.retain(|c| c.sequence >= least);
        let live = self.coming.iter().position(|c| !c.lost);
        self.coming.drain(..live.unwrap_or(self.coming.len()));
        let floor = self.coming.first().map_or(self.next_out, |c| c.sequence);
        let lost = self.coming.iter().filter(|c| c.lost).map(|c| c.sequence);
        Loss::before(sequence, floor, lost)
    }

    /// Whether the oldest text that is not stored yet is as far behind as the contact waits.
    pub(crate) fn is_ahead(&self) -> bool {
        let waits = |c: &&Coming| c.until_ms.is_none() && !c.lost;
        let oldest = self.coming.iter().find(waits);
        oldest.is_some_and(|c| self.next_out.saturating_sub(c.sequence) >= TEXTS_AHEAD_MAX)
    }
}

/// A contact.
pub(crate) struct Contact {
    pub(crate) row: ContactRow,
    pub(crate) session: Session,
    pub(crate) incoming: Incoming,
}

impl Contact {
    pub(crate) fn new(row: ContactRow, session: Session) -> Self {
        let incoming = Incoming::from(row.next_in, &row.lost_in);
        Self {
            row,
            session,
            incoming,
        }
    }

    pub(crate) const fn peer(&self) -> PersonKey {
        self.session.peer()
    }
}

/// An invitation of our own.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct InvitationRow {
    pub(crate) key: [u8; 32],
    pub(crate) prekeys: Vec<u8>,
    pub(crate) blob: Vec<u8>,
    /// Where its drop is.
    pub(crate) provider: NodeId,
    /// Our address that it gives away.
    pub(crate) address: MailboxAddress,
    pub(crate) published: bool,
    /// To whom it was given.
    pub(crate) given: Option<String>,
    pub(crate) made_ms: u64,
}

impl InvitationRow {
    pub(crate) const fn key(&self) -> InvitationKey {
        InvitationKey::from_bytes(self.key)
    }

    pub(crate) fn text(&self) -> String {
        Invitation {
            provider: self.provider,
            key: self.key(),
        }
        .to_string()
    }
}

/// Somebody's invitation that waits to be opened.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct PendingRow {
    pub(crate) name: String,
    pub(crate) provider: NodeId,
    pub(crate) key: [u8; 32],
    pub(crate) token: [u8; 32],
    /// What its drop held. A drop opens once, so this waits here for an address and for room.
    pub(crate) blob: Option<Vec<u8>>,
}

impl PendingRow {
    pub(crate) const fn key(&self) -> InvitationKey {
        InvitationKey::from_bytes(self.key)
    }
}

/// A text that was sent.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct MessageRow {
    pub(crate) contact: ContactId,
    pub(crate) state: crate::call::MessageState,
    /// Pieces that did not leave yet.
    pub(crate) unsent: u16,
    /// Pieces without an answer.
    pub(crate) unanswered: u16,
}

/// Reads every row of a table whose keys are numbers.
fn numbered<T: BorshDeserialize>(rows: &Rows, table: Table) -> Option<BTreeMap<u64, T>> {
    rows.of(table)
        .map(|(key, value)| {
            let number = <[u8; 8]>::try_from(key).ok().map(u64::from_be_bytes)?;
            Some((number, borsh::from_slice(value).ok()?))
        })
        .collect()
}

/// The last of a map's keys.
fn last<V>(map: &BTreeMap<u64, V>) -> u64 {
    map.last_key_value().map_or(0, |(&number, _)| number)
}

/// Everybody: contacts and those who may become some.
pub(crate) struct People {
    pub(crate) contacts: BTreeMap<ContactId, Contact>,
    pub(crate) invitations: BTreeMap<InvitationId, InvitationRow>,
    pub(crate) pending: BTreeMap<PendingId, PendingRow>,
    pub(crate) messages: BTreeMap<MessageId, MessageRow>,
    last: [u64; 4],
}

impl People {
    /// Reads them; none if a row is not what it should be.
    pub(crate) fn load(rows: &Rows) -> Option<Self> {
        let found: BTreeMap<u64, ContactRow> = numbered(rows, Table::Contact)?;
        let invitations = numbered(rows, Table::Invitation)?;
        let pending = numbered(rows, Table::Pending)?;
        let messages = numbered(rows, Table::Message)?;
        let numbers = [
            last(&found),
            last(&invitations),
            last(&pending),
            last(&messages),
        ];
        let mut contacts = BTreeMap::new();
        for (number, row) in found {
            let id = ContactId::new(number);
            let session = rows.find(Table::Session, &id.key())?;
            let session = Session::from_bytes(session).ok()?;
            contacts.insert(id, Contact::new(row, session));
        }
        for (key, value) in rows.of(Table::Fragment) {
            let id = ContactId::from_key(key.get(..8)?)?;
            let crate::conversation::Body::Piece(piece) = crate::conversation::Body::decode(value)?
            else {
                return None;
            };
            if let Some(contact) = contacts.get_mut(&id) {
                contact.incoming.restore(piece);
            }
        }
        Some(Self {
            contacts,
            invitations: renamed(invitations, InvitationId::new),
            pending: renamed(pending, PendingId::new),
            messages: renamed(messages, MessageId::new),
            last: numbers,
        })
    }

    fn next(&mut self, which: usize) -> u64 {
        let Some(last) = self.last.get_mut(which) else {
            return 0;
        };
        *last = last.saturating_add(1);
        *last
    }

    pub(crate) fn next_contact(&mut self) -> ContactId {
        ContactId::new(self.next(0))
    }

    pub(crate) fn next_invitation(&mut self) -> InvitationId {
        InvitationId::new(self.next(1))
    }

    pub(crate) fn next_pending(&mut self) -> PendingId {
        PendingId::new(self.next(2))
    }

    pub(crate) fn next_message(&mut self) -> MessageId {
        MessageId::new(self.next(3))
    }

    /// The contact of that name.
    pub(crate) fn by_name(&self, name: &str) -> Option<ContactId> {
        self.contacts
            .iter()
            .find(|(_, contact)| contact.row.name == name)
            .map(|(id, _)| *id)
    }

    /// Why a name cannot be given to a contact, if it cannot.
    pub(crate) fn refuse_name(&self, name: &str) -> Option<&'static str> {
        let used = self.by_name(name).is_some()
            || self.pending.values().any(|p| p.name == name)
            || self
                .invitations
                .values()
                .any(|i| i.given.as_deref() == Some(name));
        if used {
            Some("that name is taken")
        } else if name.is_empty() || name.len() > NAME_BYTES_MAX {
            Some("a name has 1 to 64 bytes")
        } else if name.chars().any(char::is_control) {
            Some("a name has no control characters")
        } else {
            None
        }
    }
}

fn renamed<K: Ord, V>(map: BTreeMap<u64, V>, name: fn(u64) -> K) -> BTreeMap<K, V> {
    map.into_iter()
        .map(|(number, value)| (name(number), value))
        .collect()
}
