//! Banners: what the person is to be told, once for each event.

use whist_types::{Layer, Now};

use crate::api::Event;
use crate::call::Banner;
use crate::client::Client;
use crate::ids::{BannerId, ContactId};
use crate::indicators::Indicator;
use crate::limits::{CROWD_PACKETS_MIN, CROWD_SESSIONS_MIN};
use whist_netdoc::Consensus;

/// Whether fewer packets than the least are expected in a mix of some layer.
pub(super) fn thin_mixes(consensus: &Consensus) -> bool {
    let parameters = consensus.parameters();
    (0..parameters.layers).any(|layer| {
        let mixes = consensus.mixes(Layer::new(layer));
        let load: f64 = mixes.iter().map(|m| f64::from(m.load)).sum();
        let count = f64::from(u32::try_from(mixes.len()).unwrap_or(u32::MAX));
        load < CROWD_PACKETS_MIN * count
    })
}

/// Whether fewer sessions than the least are on line.
pub(super) fn few_sessions(consensus: &Consensus) -> bool {
    let providers = consensus.providers().iter();
    let sessions = providers.fold(0_u64, |sum, p| sum.saturating_add(u64::from(p.load)));
    sessions < CROWD_SESSIONS_MIN
}

impl Client {
    /// Tells of an event, once until it is dismissed.
    pub(super) fn raise(&mut self, now: Now, what: Indicator, contact: Option<ContactId>) {
        let at_s = now.wall.as_secs();
        let banner = self.own.banners.raise(what, contact, at_s);
        self.save_own();
        if let Some(banner) = banner {
            self.show(Event::Banner { banner });
        }
    }

    /// Tells, once an epoch, of states that began.
    pub(super) fn look_at_states(&mut self, now: Now) {
        let lost = self.losses.overall().alarm;
        self.stands(now, Indicator::LoopsLost, lost);
        if let Some(consensus) = self.usable(now) {
            let small = thin_mixes(&consensus) || few_sessions(&consensus);
            self.stands(now, Indicator::SmallCrowd, small);
        }
    }

    fn stands(&mut self, now: Now, what: Indicator, stands: bool) {
        match self.own.banners.stands(what, stands) {
            Some(true) => self.raise(now, what, None),
            Some(false) => self.save_own(),
            None => {}
        }
    }

    pub(super) fn banners(&self) -> Vec<Banner> {
        let rows = self.own.banners.all();
        rows.map(|row| Banner {
            banner: row.id,
            kind: row.indicator,
            contact: row.contact.map(|id| self.name_of(id)),
            at_s: row.at_s,
            count: row.count,
            what: row.indicator.what(),
            advice: row.indicator.advice(),
        })
        .collect()
    }

    pub(super) fn dismiss(&mut self, banner: BannerId) -> bool {
        let was = self.own.banners.dismiss(banner);
        self.save_own();
        was
    }
}
