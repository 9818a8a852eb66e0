//! The texts of all conversations, sent and received, as the vault keeps them: those that wait to
//! be read, and the history. Bounded by number and by bytes: what does not fit goes, the oldest
//! that was read first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::conversation::Place;
use crate::ids::{ContactId, MessageId};
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_TEXTS_MAX};
use crate::rows::{Rows, Table};

/// How sure one was of the other's key when a text was written or came.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    BorshSerialize,
    BorshDeserialize,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Safety {
    /// The safety number was never compared.
    #[default]
    Unverified,
    /// It was compared and is the same.
    Verified,
    /// The key is another one than the one that was known, or two people used one invitation.
    Changed,
}

/// A text.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct TextRow {
    pub(crate) contact: ContactId,
    pub(crate) place: Place,
    pub(crate) text: String,
    /// When it was written here, or came.
    pub(crate) at_s: u64,
    /// The text that it answers; whose it is, is seen from here.
    pub(crate) answers: Option<Place>,
    /// Seconds until it disappears, or 0.
    pub(crate) timer_s: u32,
    /// When that began: when it was written here, or read.
    pub(crate) since_s: Option<u64>,
    pub(crate) edited: bool,
    pub(crate) deleted: bool,
    pub(crate) safety: Safety,
}

impl TextRow {
    /// When it disappears by its timer.
    pub(crate) fn gone_s(&self) -> Option<u64> {
        let since = self.since_s.filter(|_| self.timer_s > 0)?;
        Some(since.saturating_add(u64::from(self.timer_s)))
    }
}

impl Drop for TextRow {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.text);
    }
}

/// All texts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    rows: BTreeMap<MessageId, TextRow>,
    unread: BTreeSet<MessageId>,
    /// Those of the unread that the vault does not hold yet.
    hidden: BTreeSet<MessageId>,
    places: HashMap<(ContactId, Place), MessageId>,
    bytes: usize,
}

impl Texts {
    /// Reads them; none if a row is not what it should be.
    pub(crate) fn load(rows: &Rows) -> Option<Self> {
        let mut texts = Self::default();
        for (table, unread) in [(Table::History, false), (Table::Inbox, true)] {
            for (key, value) in rows.of(table) {
                let id = MessageId::from_key(key)?;
                texts.put(id, borsh::from_slice(value).ok()?, unread);
            }
        }
        Some(texts)
    }

    /// The highest number.
    pub(crate) fn last(&self) -> u64 {
        self.rows.last_key_value().map_or(0, |(id, _)| id.number())
    }

    /// Adds or replaces a text.
    pub(crate) fn put(&mut self, id: MessageId, row: TextRow, unread: bool) {
        self.take(id);
        self.bytes = self.bytes.saturating_add(row.text.len());
        self.places.insert((row.contact, row.place), id);
        self.rows.insert(id, row);
        if unread {
            self.unread.insert(id);
        }
    }

    /// Removes a text.
    pub(crate) fn take(&mut self, id: MessageId) -> Option<TextRow> {
        let row = self.rows.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(row.text.len());
        self.places.remove(&(row.contact, row.place));
        self.unread.remove(&id);
        self.hidden.remove(&id);
        Some(row)
    }

    /// A text by its number.
    pub(crate) fn row(&self, id: MessageId) -> Option<&TextRow> {
        self.rows.get(&id)
    }

    /// The number of a text of a conversation.
    pub(crate) fn find(&self, contact: ContactId, place: Place) -> Option<MessageId> {
        self.places.get(&(contact, place)).copied()
    }

    /// It waits to be read, and is not shown before the vault holds it.
    pub(crate) fn hide(&mut self, id: MessageId) {
        self.hidden.insert(id);
    }

    /// The vault holds it.
    pub(crate) fn reveal(&mut self, id: MessageId) {
        self.hidden.remove(&id);
    }

    /// Whether it waits to be read.
    pub(crate) fn is_unread(&self, id: MessageId) -> bool {
        self.unread.contains(&id)
    }

    /// Whether the vault holds it.
    pub(crate) fn is_shown(&self, id: MessageId) -> bool {
        !self.hidden.contains(&id)
    }

    /// Texts that wait to be read, oldest first.
    pub(crate) fn unread(&self) -> impl Iterator<Item = (MessageId, &TextRow)> {
        self.unread
            .difference(&self.hidden)
            .filter_map(|id| Some((*id, self.rows.get(id)?)))
    }

    /// How many wait to be read.
    pub(crate) fn unread_len(&self) -> usize {
        self.unread.len().saturating_sub(self.hidden.len())
    }

    /// Every text, oldest first.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = (MessageId, &TextRow)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    /// Every text before one, or every one, oldest first.
    pub(crate) fn before(
        &self,
        before: Option<MessageId>,
    ) -> impl DoubleEndedIterator<Item = (MessageId, &TextRow)> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range((Bound::Unbounded, end));
        rows.map(|(id, row)| (*id, row))
    }

    /// The oldest text that was read, when there are more than are kept.
    pub(crate) fn surplus(&self) -> Option<MessageId> {
        let over = self.rows.len() > HISTORY_TEXTS_MAX || self.bytes > HISTORY_BYTES_MAX;
        let mut oldest = self.rows.keys().filter(|id| !self.unread.contains(id));
        oldest.next().copied().filter(|_| over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sequence: u64, text: &str) -> TextRow {
        TextRow {
            contact: ContactId::new(1),
            place: Place {
                own: false,
                sequence,
            },
            text: text.to_owned(),
            at_s: 10,
            answers: None,
            timer_s: 60,
            since_s: None,
            edited: false,
            deleted: false,
            safety: Safety::Unverified,
        }
    }

    #[test]
    fn a_timer_begins_when_a_text_is_read() {
        let mut row = row(1, "x");
        assert_eq!(row.gone_s(), None);
        row.since_s = Some(100);
        assert_eq!(row.gone_s(), Some(160));
        row.timer_s = 0;
        assert_eq!(row.gone_s(), None);
    }

    #[test]
    fn the_oldest_text_that_was_read_makes_room_and_no_unread_one_does() {
        let mut texts = Texts::default();
        let long = "x".repeat(HISTORY_BYTES_MAX / 2);
        texts.put(MessageId::new(1), row(1, &long), true);
        texts.put(MessageId::new(2), row(2, &long), false);
        assert_eq!(texts.surplus(), None);
        texts.put(MessageId::new(3), row(3, "more"), false);
        assert_eq!(texts.surplus(), Some(MessageId::new(2)));
        texts.take(MessageId::new(2));
        assert_eq!(texts.surplus(), None);
        let place = row(3, "").place;
        assert_eq!(
            texts.find(ContactId::new(1), place),
            Some(MessageId::new(3))
        );
    }
}
