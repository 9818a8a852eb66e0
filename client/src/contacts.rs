//! Contacts, invitations of our own, and invitations of others that wait to be opened, as the
//! vault keeps them.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use whist_ratchet::{Invitation, InvitationKey, PersonKey, Session};
use whist_types::{Instant, ItemHash, MailboxAddress, NodeId, Wall};
use zeroize::Zeroize as _;

use crate::conversation::{History, Incoming, Loss, RECEIPT_SPAN};
use crate::ids::{ContactId, InvitationId, MessageId, PendingId};
use crate::limits::{NAME_BYTES_MAX, TEXTS_AHEAD_MAX};
use crate::rows::{Rows, Table};
use crate::texts::Safety;

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
    /// Number of the next word to it.
    pub(crate) next_out: u64,
    /// Words from it, ahead of the next, that it gave up: numbers divided by 64, each with the bits
    /// of the 64 from there.
    pub(crate) lost_in: Vec<(u64, u64)>,
    /// Number of the next word from it.
    pub(crate) next_in: u64,
    /// The invitation was used twice.
    pub(crate) not_safe: bool,
    /// The invitation of ours by which it came, and the first item, to notice a second use.
    pub(crate) came_by: Option<([u8; 32], ItemHash)>,
    /// What the person wants of this contact, and what was agreed.
    pub(crate) terms: Terms,
    /// What it is to be told of its texts.
    pub(crate) owed: Owed,
    /// What a changed key came with, which waits to be accepted.
    pub(crate) waiting: Option<Waiting>,
    /// What the contact was sent to begin a new session with.
    pub(crate) renewal: Option<Renewal>,
    /// The bundle of its own that was answered last: the same one, come again, begins nothing.
    pub(crate) answered: Option<[u8; 32]>,
    /// It was asked through its address and has not answered: nothing more is said to it.
    pub(crate) asked: bool,
    /// When its invitation was opened, until anything has come from it.
    pub(crate) silent_since_ms: Option<u64>,
    /// When nothing can come from the session before any more.
    pub(crate) old_until_ms: u64,
    /// Number of the first word that was sealed in the session of now.
    pub(crate) session_from: u64,
    /// What was seen of the session's shared secret.
    pub(crate) secret: SecretNote,
}

impl ContactRow {
    /// Of somebody with whom nothing was said yet, who is written to there.
    pub(crate) fn new(
        name: String,
        (provider, address): (NodeId, MailboxAddress),
        own_address: MailboxAddress,
    ) -> Self {
        Self {
            name,
            provider,
            address,
            own_address,
            next_out: 1,
            lost_in: Vec::new(),
            next_in: 1,
            not_safe: false,
            came_by: None,
            terms: Terms::default(),
            owed: Owed::default(),
            waiting: None,
            renewal: None,
            answered: None,
            asked: false,
            silent_since_ms: None,
            old_until_ms: 0,
            session_from: 1,
            secret: SecretNote::default(),
        }
    }
}

/// What was seen of a session's shared secret.
#[derive(Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct SecretNote {
    /// How many are in the keys.
    pub(crate) count: u16,
    /// Since when the last of them is.
    pub(crate) since_s: u64,
    /// Nothing is sealed for its sake, and the person was told.
    pub(crate) closed: bool,
}

/// What a changed key came with.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) enum Waiting {
    /// A bundle of it, with which it asks for a new session.
    Bundle(Vec<u8>),
    /// The answer to our own request for one.
    Answer {
        /// The session that it began.
        session: Vec<u8>,
        /// Where it can be written to.
        provider: NodeId,
        address: MailboxAddress,
    },
}

impl Drop for Waiting {
    fn drop(&mut self) {
        match self {
            Self::Bundle(_) => {}
            Self::Answer { session, .. } => session.zeroize(),
        }
    }
}

/// Secrets of a bundle that a contact was sent.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct Renewal {
    pub(crate) key: [u8; 32],
    pub(crate) prekeys: Vec<u8>,
}

impl Drop for Renewal {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.prekeys);
    }
}

/// What happens when a contact's key changes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    clap::ValueEnum,
    BorshSerialize,
    BorshDeserialize,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum KeyChange {
    /// Nothing is sent to it before the person has accepted it.
    #[default]
    Block,
    /// It is accepted, and told.
    Accept,
}

/// What the person wants of a contact, and what was agreed with it.
#[derive(Clone, Default, BorshSerialize, BorshDeserialize)]
pub(crate) struct Terms {
    /// The key that was compared.
    pub(crate) verified: Option<[u8; 32]>,
    /// Whether its items are dropped and nothing is sent.
    pub(crate) blocked: bool,
    /// What happens when its key changes.
    pub(crate) key_change: KeyChange,
    /// Which receipts it gets.
    pub(crate) receipts: Receipts,
    /// Seconds after which new texts disappear, or 0.
    pub(crate) timer_s: u32,
    /// Which change of the timer that was.
    pub(crate) timer_change: u64,
    /// Days for which its texts are kept, if not those of the history.
    pub(crate) retention: Option<u16>,
    /// What it says that it keeps.
    pub(crate) peer_history: History,
    /// What it was told that we keep.
    pub(crate) told_history: History,
}

/// Which receipts a contact gets.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    clap::ValueEnum,
    BorshSerialize,
    BorshDeserialize,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Receipts {
    /// None.
    #[default]
    Off,
    /// That a text has come.
    Delivered,
    /// That, and that it was read.
    Read,
}

/// What a contact is to be told of its texts, where receipts are on.
#[derive(Clone, Default, BorshSerialize, BorshDeserialize)]
pub(crate) struct Owed {
    /// Words up to this number came before receipts were on: nothing is said of them.
    pub(crate) before: u64,
    /// The last word and the last read text that were told.
    pub(crate) told: (u64, u64),
    /// All texts up to this number are read.
    pub(crate) read: u64,
    /// Numbers of the last words that never came, or that nobody read.
    pub(crate) missing: BTreeSet<u64>,
}

impl Owed {
    /// Nothing is to be told of these, which come in any order. A receipt reaches back so far, and
    /// this no further.
    pub(crate) fn leave_out(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.missing.extend(numbers);
        let span = usize::try_from(RECEIPT_SPAN).unwrap_or(usize::MAX);
        while self.missing.len() > span {
            self.missing.pop_first();
        }
    }
}

/// A sent word, until it and all before it have come or are given up.
#[derive(Clone)]
pub(crate) struct Coming {
    pub(crate) message: MessageId,
    /// When the contact's provider forgets it, once it is stored there.
    pub(crate) until_ms: Option<u64>,
    pub(crate) lost: bool,
}

impl Coming {
    const fn is_lost(&self, now: Wall) -> bool {
        let over = matches!(self.until_ms, Some(ms) if ms <= now.as_millis());
        self.lost || over
    }
}

/// A contact.
pub(crate) struct Contact {
    pub(crate) row: ContactRow,
    pub(crate) session: Session,
    /// The session before, which still opens what is on its way.
    pub(crate) old: Option<Session>,
    /// An item that is held was read in the session of now, which has not moved for it yet.
    pub(crate) read_ahead: bool,
    pub(crate) incoming: Incoming,
    /// Words to it that can still come, and those given up among them, by number.
    pub(crate) coming: BTreeMap<u64, Coming>,
    /// When the next receipt is due.
    pub(crate) receipt_due: Option<Instant>,
    /// When an item about the shared secret is due.
    pub(crate) secret_due: Option<Instant>,
}

impl Contact {
    pub(crate) fn new(row: ContactRow, session: Session) -> Self {
        let incoming = Incoming::from(row.next_in, &row.lost_in);
        Self {
            row,
            session,
            old: None,
            read_ahead: false,
            incoming,
            coming: BTreeMap::new(),
            receipt_due: None,
            secret_due: None,
        }
    }

    pub(crate) const fn peer(&self) -> PersonKey {
        self.session.peer()
    }

    /// How sure the person can be of its key.
    pub(crate) fn safety(&self) -> Safety {
        if self.row.not_safe || self.row.waiting.is_some() {
            return Safety::Changed;
        }
        match self.row.terms.verified {
            Some(key) if key == *self.peer().as_bytes() => Safety::Verified,
            Some(_) => Safety::Changed,
            None => Safety::Unverified,
        }
    }

    /// What to tell the contact with the word of this number: what is given up before it.
    pub(crate) fn loss(&mut self, now: Wall, sequence: u64) -> Loss {
        // The contact keeps no more than so many ahead.
        let span = TEXTS_AHEAD_MAX.saturating_sub(1);
        let least = self.row.next_out.saturating_sub(span);
        self.coming = self.coming.split_off(&least);
        while let Some(first) = self.coming.first_entry() {
            if !first.get().is_lost(now) {
                break;
            }
            first.remove();
        }
        let floor = self.coming.first_key_value();
        let floor = floor.map_or(self.row.next_out, |(&sequence, _)| sequence);
        let reach = sequence.saturating_sub(Loss::SPAN)..sequence;
        let lost = self.coming.range(reach).filter(|(_, c)| c.is_lost(now));
        Loss::before(sequence, floor, lost.map(|(&number, _)| number))
    }

    /// Whether the oldest word that is not stored yet is as far behind as the contact waits.
    pub(crate) fn is_ahead(&self) -> bool {
        let waits = |c: &Coming| c.until_ms.is_none() && !c.lost;
        let oldest = self.coming.iter().find(|(_, coming)| waits(coming));
        oldest.is_some_and(|(&n, _)| self.row.next_out.saturating_sub(n) >= TEXTS_AHEAD_MAX)
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

impl Drop for InvitationRow {
    fn drop(&mut self) {
        self.key.zeroize();
        self.prekeys.zeroize();
        self.given.zeroize();
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
    /// What is said with the request, if it is an address and no invitation.
    pub(crate) note: Option<String>,
}

impl PendingRow {
    pub(crate) const fn key(&self) -> InvitationKey {
        InvitationKey::from_bytes(self.key)
    }
}

impl Drop for PendingRow {
    fn drop(&mut self) {
        self.name.zeroize();
        self.key.zeroize();
        self.token.zeroize();
        self.note.zeroize();
    }
}

/// A word that was sent.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct MessageRow {
    pub(crate) contact: ContactId,
    /// Its number.
    pub(crate) sequence: u64,
    pub(crate) what: What,
    pub(crate) state: crate::call::MessageState,
    /// Pieces that did not leave yet.
    pub(crate) unsent: u16,
    /// Pieces without an answer.
    pub(crate) unanswered: u16,
    /// When the contact's provider forgets it, once it is stored there.
    pub(crate) until_ms: Option<u64>,
    /// It is given up: the contact is told to wait no longer.
    pub(crate) lost: bool,
}

/// What a word is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) enum What {
    /// It is a text.
    Text,
    /// Another version of a text.
    Edit(MessageId),
    /// A text goes.
    Delete(MessageId),
    /// What is agreed.
    Settings,
    /// It says nothing.
    Nothing,
    /// It asks for a new session.
    Renewal,
}

/// The key of the row that holds a contact's session before.
pub(crate) fn old_session_key(id: ContactId) -> Vec<u8> {
    let mut key = id.key();
    key.push(1);
    key
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
    sequences: BTreeMap<(ContactId, u64), MessageId>,
    last: [u64; 3],
}

impl People {
    /// Reads them; none if a row is not what it should be.
    pub(crate) fn load(rows: &Rows) -> Option<Self> {
        let found: BTreeMap<u64, ContactRow> = numbered(rows, Table::Contact)?;
        let invitations = numbered(rows, Table::Invitation)?;
        let pending = numbered(rows, Table::Pending)?;
        let messages: BTreeMap<u64, MessageRow> = numbered(rows, Table::Message)?;
        let numbers = [last(&found), last(&invitations), last(&pending)];
        let mut contacts = BTreeMap::new();
        for (number, row) in found {
            let id = ContactId::new(number);
            let session = rows.find(Table::Session, &id.key())?;
            let session = Session::from_bytes(session).ok()?;
            let mut contact = Contact::new(row, session);
            if let Some(old) = rows.find(Table::Session, &old_session_key(id)) {
                contact.old = Some(Session::from_bytes(old).ok()?);
            }
            contacts.insert(id, contact);
        }
        for (number, row) in &messages {
            if let Some(contact) = contacts.get_mut(&row.contact) {
                let coming = Coming {
                    message: MessageId::new(*number),
                    until_ms: row.until_ms,
                    lost: row.lost,
                };
                contact.coming.insert(row.sequence, coming);
            }
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
        let places = messages.iter();
        let sequences = places
            .map(|(number, row)| ((row.contact, row.sequence), MessageId::new(*number)))
            .collect();
        Some(Self {
            sequences,
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

    /// A word was said.
    pub(crate) fn add_message(&mut self, id: MessageId, row: MessageRow) {
        self.sequences.insert((row.contact, row.sequence), id);
        self.messages.insert(id, row);
    }

    /// A word is no longer followed.
    pub(crate) fn forget_message(&mut self, id: MessageId) {
        if let Some(row) = self.messages.remove(&id) {
            self.sequences.remove(&(row.contact, row.sequence));
        }
    }

    /// The word of this number to a contact.
    pub(crate) fn message_at(&self, contact: ContactId, sequence: u64) -> Option<MessageId> {
        self.sequences.get(&(contact, sequence)).copied()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_word_is_not_forgotten_for_older_ones_that_nobody_read() {
        let mut owed = Owed::default();
        owed.leave_out([1_000]);
        owed.leave_out(1..=600);
        assert!(owed.missing.contains(&1_000));
        assert_eq!(u64::try_from(owed.missing.len()).unwrap(), RECEIPT_SPAN);
        assert!(!owed.missing.contains(&89) && owed.missing.contains(&90));
    }
}
