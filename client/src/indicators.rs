//! Indicators of compromise: one banner for each event, with what to do, kept until the person
//! dismisses it.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::ids::{BannerId, ContactId};
use crate::limits::BANNERS_MAX;

/// What happened.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    BorshSerialize,
    BorshDeserialize,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Indicator {
    /// A contact's key is another one.
    KeyChanged,
    /// A contact has another shared secret.
    SecretsDiffer,
    /// A new session with a contact has no shared secret any more.
    SecretMissing,
    /// Two people used one invitation.
    InvitationUsedTwice,
    /// Somebody else had opened an invitation of somebody's before.
    InvitationTaken,
    /// An invitation of somebody's could not be opened.
    InvitationVoid,
    /// The authorities signed two documents for one epoch.
    TwoDirectories,
    /// More packets are lost than chance explains.
    LoopsLost,
    /// Texts of a contact never came.
    Gap,
    /// An edit or a deletion may not have reached a contact.
    Undone,
    /// The crowd is too small to hide in.
    SmallCrowd,
}

impl Indicator {
    /// What happened, in a sentence; of a contact where there is one.
    pub const fn what(self) -> &'static str {
        match self {
            Self::KeyChanged => "The contact's key has changed.",
            Self::SecretsDiffer => "The contact has set another shared secret.",
            Self::SecretMissing => "A new session with the contact lacks the shared secret.",
            Self::InvitationUsedTwice => "Two people have used one invitation.",
            Self::InvitationTaken => {
                "Somebody else had opened the invitation before you: nobody was added by it."
            }
            Self::InvitationVoid => "An invitation could not be opened: nobody was added by it.",
            Self::TwoDirectories => "The authorities signed two lists of nodes for one epoch.",
            Self::LoopsLost => "More packets are lost than chance explains.",
            Self::Gap => "Texts of the contact were sent and never came.",
            Self::Undone => "An edit or a deletion may not have reached the contact.",
            Self::SmallCrowd => "The crowd is too small to hide in.",
        }
    }

    /// What to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::KeyChanged => {
                "Nothing is sent to it. Compare the new safety number with the contact, in person \
                 or by voice, before you accept the key. A new device is the usual reason; \
                 somebody in between is the other one."
            }
            Self::SecretsDiffer => {
                "Nothing is sent to it. Somebody mistyped, or somebody is in the contact's place \
                 and does not know the secret. Speak with the contact another way, then both set \
                 it again."
            }
            Self::SecretMissing => {
                "Nothing is sent to it before both have set the secret again with `whist contact \
                 set NAME --shared-secret`. If nobody asked for a new session, ask the contact \
                 another way why there is one."
            }
            Self::InvitationUsedTwice => {
                "Write nothing that matters. Compare safety numbers, and if they differ, remove \
                 the contact and hand over a new invitation another way."
            }
            Self::InvitationTaken => {
                "Tell whoever gave it to you, by a way that others do not use: whoever opened it \
                 is taken for you there. Ask for a new one, by a better way."
            }
            Self::InvitationVoid => {
                "It may be older than two weeks, damaged, or kept by a provider that is gone. Ask \
                 for a new one."
            }
            Self::TwoDirectories => {
                "Some authorities lie or are not their own masters. The proof is kept; tell the \
                 people who run the network, and wait for their word."
            }
            Self::LoopsLost => {
                "Your entry provider, or somebody on the way to it, may drop packets to watch what \
                 follows. If it goes on for hours, wait with what matters, and tell the people \
                 who run the network."
            }
            Self::Gap => {
                "Ask the contact what it sent, in words that tell nothing. Somebody may keep \
                 items from you."
            }
            Self::Undone => "Ask the contact to delete it, or take it as read.",
            Self::SmallCrowd => {
                "Whoever watches the whole network can guess more than usual. Wait for a busier \
                 hour with what matters."
            }
        }
    }
}

/// What the person is to be told.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct BannerRow {
    pub(crate) id: BannerId,
    pub(crate) indicator: Indicator,
    pub(crate) contact: Option<ContactId>,
    /// When it happened last.
    pub(crate) at_s: u64,
    /// How often since it was dismissed last.
    pub(crate) count: u64,
}

/// All that the person is to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Banners {
    rows: Vec<BannerRow>,
    last: u64,
    /// States that were told and last: told again only after they ended.
    standing: BTreeSet<Indicator>,
}

impl Banners {
    /// Every one, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &BannerRow> {
        self.rows.iter()
    }

    /// Something happened. The same, while it is not dismissed, is counted and no second banner;
    /// gives the number of a new one. When there are too many, the least grave makes room.
    pub(crate) fn raise(
        &mut self,
        indicator: Indicator,
        contact: Option<ContactId>,
        at_s: u64,
    ) -> Option<BannerId> {
        let same = |row: &&mut BannerRow| row.indicator == indicator && row.contact == contact;
        if let Some(row) = self.rows.iter_mut().find(same) {
            row.at_s = at_s;
            row.count = row.count.saturating_add(1);
            return None;
        }
        if self.rows.len() >= BANNERS_MAX {
            let least = self.rows.iter().map(|row| row.indicator).max()?;
            let place = self.rows.iter().position(|row| row.indicator == least)?;
            self.rows.remove(place);
        }
        self.last = self.last.saturating_add(1);
        let id = BannerId::new(self.last);
        self.rows.push(BannerRow {
            id,
            indicator,
            contact,
            at_s,
            count: 1,
        });
        Some(id)
    }

    /// A state lasts or has ended; whether it has to be told now.
    pub(crate) fn stands(&mut self, indicator: Indicator, stands: bool) -> Option<bool> {
        match stands {
            true => self.standing.insert(indicator).then_some(true),
            false => self.standing.remove(&indicator).then_some(false),
        }
    }

    /// The person has seen it; whether it was there.
    pub(crate) fn dismiss(&mut self, id: BannerId) -> bool {
        let before = self.rows.len();
        self.rows.retain(|row| row.id != id);
        self.rows.len() < before
    }

    /// Nothing is to be told of a contact that is gone.
    pub(crate) fn forget(&mut self, contact: ContactId) {
        self.rows.retain(|row| row.contact != Some(contact));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Option<ContactId> = Some(ContactId::new(1));

    #[test]
    fn one_event_has_one_banner_until_it_is_dismissed() {
        let mut banners = Banners::default();
        let id = banners.raise(Indicator::Gap, ONE, 10).unwrap();
        assert_eq!(banners.raise(Indicator::Gap, ONE, 20), None);
        let row = banners.all().next().unwrap();
        assert_eq!((row.count, row.at_s), (2, 20));
        assert!(banners.raise(Indicator::Gap, None, 20).is_some());
        assert!(banners.dismiss(id) && !banners.dismiss(id));
        assert!(banners.raise(Indicator::Gap, ONE, 30).unwrap() > id);
        banners.forget(ContactId::new(1));
        assert_eq!(banners.all().count(), 1);
    }

    #[test]
    fn a_state_that_lasts_is_told_once_and_again_after_it_ended() {
        let mut banners = Banners::default();
        let crowd = Indicator::SmallCrowd;
        assert_eq!(banners.stands(crowd, true), Some(true));
        assert_eq!(banners.stands(crowd, true), None);
        assert_eq!(banners.stands(crowd, false), Some(false));
        assert_eq!(banners.stands(crowd, true), Some(true));
    }

    #[test]
    fn banners_are_bounded_and_the_grave_ones_stay() {
        let mut banners = Banners::default();
        banners.raise(Indicator::KeyChanged, ONE, 0);
        for i in (0_u64..).take(2 * BANNERS_MAX) {
            banners.raise(Indicator::Gap, Some(ContactId::new(i)), i);
        }
        assert_eq!(banners.all().count(), BANNERS_MAX);
        let first = banners.all().next().unwrap();
        assert_eq!(first.indicator, Indicator::KeyChanged);
    }
}
