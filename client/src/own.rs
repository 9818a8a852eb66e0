//! What the person wants of all conversations: one row of the vault.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::conversation::History;
use crate::ids::MessageId;
use crate::indicators::Banners;

/// The one row of [`crate::rows::Table::Own`].
#[derive(Debug, Clone, Default, BorshSerialize, BorshDeserialize)]
pub(crate) struct Own {
    /// How long texts are kept.
    pub(crate) history: History,
    /// What the person is to be told.
    pub(crate) banners: Banners,
    /// The highest number that a text ever had: numbers are not used twice, though texts go.
    last_text: u64,
}

impl Own {
    /// Whether texts and names are written down at all.
    pub(crate) fn keeps_texts(&self) -> bool {
        self.history != History::None
    }

    /// A text has this number.
    pub(crate) fn saw_text(&mut self, number: u64) {
        self.last_text = self.last_text.max(number);
    }

    /// The next text's number.
    pub(crate) fn next_text(&mut self) -> MessageId {
        self.last_text = self.last_text.saturating_add(1);
        MessageId::new(self.last_text)
    }
}
