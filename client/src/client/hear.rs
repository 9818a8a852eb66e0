//! Words that came whole, and receipts.

use whist_timing::exponential;
use whist_types::{Instant, Now};
use zeroize::{Zeroize as _, Zeroizing};

use crate::api::Event;
use crate::call::MessageState;
use crate::client::{After, Client};
use crate::contacts::{Contact, Receipts, What};
use crate::conversation::{Body, Missing, Place, RECEIPT_SPAN, Receipt, Settings, Whole, Word};
use crate::ids::ContactId;
use crate::indicators::Indicator;
use crate::texts::TextRow;

impl Client {
    pub(super) fn heard(&mut self, now: Now, id: ContactId, whole: &Whole) {
        // A blocked contact is not told: what it sends comes and is dropped.
        self.owe_receipt(now, id);
        let blocked = |contact: &Contact| contact.row.terms.blocked;
        let blocked = self.people.contacts.get(&id).is_some_and(blocked);
        let word = Word::decode(&whole.bytes);
        let word = word.filter(|word| !blocked || matches!(word, Word::Settings(_)));
        if !matches!(word, Some(Word::Text { .. })) {
            self.release(id, whole.sequence, now.instant);
        }
        match word {
            Some(Word::Text {
                answers,
                timer_s,
                text,
            }) => {
                // Whose it is, is said from where the sender stands.
                let answers = answers.map(|place| Place {
                    own: !place.own,
                    ..place
                });
                self.text_came(now, id, whole.sequence, (answers, timer_s, text));
            }
            Some(Word::Edit { sequence, text }) => self.revise(id, sequence, Some(text)),
            Some(Word::Delete { sequence }) => self.revise(id, sequence, None),
            Some(Word::Settings(settings)) => self.agree(id, settings),
            Some(Word::Nothing) => {}
            Some(Word::Renew { bundle }) => self.renewed(now, id, bundle.as_slice()),
            None if blocked => {}
            // Of a later version.
            None => self.unreadable(),
        }
    }

    fn text_came(
        &mut self,
        now: Now,
        contact: ContactId,
        sequence: u64,
        (answers, timer_s, text): (Option<Place>, u32, Zeroizing<String>),
    ) {
        let id = self.own.next_text();
        let known = self.people.contacts.get(&contact);
        let row = TextRow {
            contact,
            place: Place {
                own: false,
                sequence,
            },
            text: text.to_string(),
            at_s: now.wall.as_secs(),
            answers,
            timer_s,
            since_s: None,
            edited: false,
            deleted: false,
            safety: known.map(Contact::safety).unwrap_or_default(),
        };
        self.texts.put(id, row, true);
        self.texts.hide(id);
        self.save_text(id);
        self.stats.texts_received = self.stats.texts_received.saturating_add(1);
        self.after.push(After::Arrived(id));
        self.show(Event::Received {
            contact: self.name_of(contact),
            text,
        });
        self.trim_texts(now);
    }

    /// The contact changed or deleted a text of its own.
    fn revise(&mut self, contact: ContactId, sequence: u64, text: Option<Zeroizing<String>>) {
        let place = Place {
            own: false,
            sequence,
        };
        let is = |row: &TextRow| row.contact == contact && row.place == place;
        // Another version, or its end, is what comes back if nobody got it.
        for (_, texts) in &mut self.handed {
            for (_, row) in texts.iter_mut().filter(|(_, row)| is(row)) {
                if let Some(text) = &text {
                    row.text.zeroize();
                    row.text.push_str(text);
                    row.edited = true;
                }
            }
        }
        if text.is_none() {
            self.unhand(|_, row| is(row));
        }
        let Some(id) = self.texts.find(contact, place) else {
            return;
        };
        if self.revise_text(id, text.as_ref().map(|text| text.as_str())) {
            let contact = self.name_of(contact);
            self.show(Event::Revised {
                contact,
                message: id,
            });
        }
    }

    /// The higher change of the timer counts; of two with one number, that of the lower key, so
    /// that both sides end with the same.
    fn agree(&mut self, id: ContactId, settings: Settings) {
        let own = self.identity().public();
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let lower = contact.peer() < own;
        let terms = &mut contact.row.terms;
        terms.peer_history = settings.history;
        let newer = settings.change > terms.timer_change
            || (settings.change == terms.timer_change && lower);
        if newer {
            terms.timer_change = settings.change;
        }
        let changed = newer && terms.timer_s != settings.timer_s;
        if changed {
            terms.timer_s = settings.timer_s;
        }
        self.save_contact(id);
        if changed {
            let contact = self.name_of(id);
            let timer_s = settings.timer_s;
            self.show(Event::Timer { contact, timer_s });
        }
    }

    /// Words that the contact gave up, and that never came.
    pub(super) fn missed(&mut self, now: Now, id: ContactId, missing: &Missing) {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        if missing.count == 0 {
            return;
        }
        contact.row.owed.leave_out(missing.numbers.iter().copied());
        if !contact.row.terms.blocked {
            self.raise(now, Indicator::Gap, Some(id));
        }
    }

    /// Receipts wait, for many texts at once.
    pub(super) fn owe_receipt(&mut self, now: Now, id: ContactId) {
        let mean = self.parameters().rare_mean();
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let wanted = contact.row.terms.receipts != Receipts::Off && !contact.row.terms.blocked;
        if wanted && contact.receipt_due.is_none() {
            let wait = exponential(mean, &mut self.rng);
            contact.receipt_due = Some(now.instant.after(wait));
        }
    }

    /// Sends the receipts that are due, in ordinary items.
    pub(super) fn send_receipts(&mut self, now: Now) {
        let contacts = self.people.contacts.iter();
        let due: Vec<ContactId> = contacts
            .filter(|(_, c)| c.receipt_due.is_some_and(|at| at <= now.instant))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.send_receipt(now, id);
        }
    }

    fn send_receipt(&mut self, now: Now, id: ContactId) {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        contact.receipt_due = None;
        let Some((receipt, told)) = contact.receipt() else {
            return;
        };
        match self.seal(id, &[Body::Receipt(receipt)]) {
            Ok(items) => {
                if let Some(contact) = self.people.contacts.get_mut(&id) {
                    contact.row.owed.told = told;
                }
                self.save_contact(id);
                // There is room: it was sealed.
                let _ = self.put(now, id, items, None);
            }
            // The outbox is full: later.
            Err(_) => self.owe_receipt(now, id),
        }
    }

    /// When the next receipt is due.
    pub(super) fn receipts_due(&self) -> Option<Instant> {
        let contacts = self.people.contacts.values();
        contacts.filter_map(|contact| contact.receipt_due).min()
    }

    /// The contact says what came and what was read.
    pub(super) fn on_receipt(&mut self, id: ContactId, receipt: &Receipt) {
        let numbers: Vec<u64> = receipt.numbers().collect();
        for sequence in numbers {
            let Some(message) = self.people.message_at(id, sequence) else {
                continue;
            };
            let state = match sequence <= receipt.read {
                true => MessageState::Read,
                false => MessageState::Delivered,
            };
            let before = self.people.messages.get(&message).map(|row| row.state);
            if before.is_none_or(|before| before.at_least(state) == before) {
                continue;
            }
            let row = self.change_message(message, |row| row.state = state);
            if let Some(row) = row.filter(|row| row.what == What::Text) {
                self.show_state(message, &row);
            }
            // What came cannot come any more.
            if let Some(contact) = self.people.contacts.get_mut(&id) {
                contact.coming.remove(&sequence);
            }
        }
    }
}

impl Contact {
    /// What to tell of its texts, and what is told with that; nothing if all was told.
    fn receipt(&self) -> Option<(Receipt, (u64, u64))> {
        let (row, owed) = (&self.row, &self.row.owed);
        if row.terms.blocked {
            return None;
        }
        let read = match row.terms.receipts {
            Receipts::Off => return None,
            Receipts::Delivered => 0,
            Receipts::Read => owed.read,
        };
        let last = self.incoming.next().saturating_sub(1);
        let told = (last, read);
        if last <= owed.before || told == owed.told {
            return None;
        }
        // What came before receipts were on is nobody's business.
        let first = last.saturating_sub(RECEIPT_SPAN.saturating_sub(1));
        let before = first..=owed.before;
        let missing = owed.missing.iter().copied().chain(before);
        Some((Receipt::new(last, missing, read), told))
    }
}
