//! Reply blocks that are out: what each was for, by the id under which its reply comes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use whist_packet::SurbSecret;
use whist_types::{Instant, NodeId, SurbId};

use crate::ids::RequestId;
use crate::limits::{SURB_LIFE_QUANTILES, SURBS_MAX};

/// What a packet was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Cover.
    Echo,
    /// A `GET`.
    Poll,
    /// A decoy.
    Decoy,
    /// A request of the outbox.
    Request { id: RequestId, put: bool },
}

/// One reply block that is out.
pub(crate) struct Outstanding {
    pub(crate) secret: SurbSecret,
    pub(crate) purpose: Purpose,
    /// Who answers it.
    pub(crate) exit: NodeId,
}

/// All that are out, bounded by number and by age; the oldest go first.
#[derive(Default)]
pub(crate) struct Surbs {
    by_id: HashMap<SurbId, Outstanding>,
    ages: VecDeque<(Instant, SurbId)>,
}

impl Surbs {
    pub(crate) fn insert(&mut self, now: Instant, outstanding: Outstanding) {
        while self.ages.len() >= SURBS_MAX {
            self.drop_oldest();
        }
        let id = outstanding.secret.id();
        self.ages.push_back((now, id));
        self.by_id.insert(id, outstanding);
    }

    /// Takes one out: a reply block is used once.
    pub(crate) fn take(&mut self, id: &SurbId) -> Option<Outstanding> {
        self.by_id.remove(id)
    }

    /// Forgets those whose reply is later than nearly every reply.
    pub(crate) fn expire(&mut self, now: Instant, round_trip: Duration) {
        let life = round_trip.saturating_mul(SURB_LIFE_QUANTILES);
        while self
            .ages
            .front()
            .is_some_and(|(at, _)| now.since(*at) > life)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id)) = self.ages.pop_front() {
            self.by_id.remove(&id);
        }
    }

    /// The link is gone, and with it the address at which replies would come.
    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
        self.ages.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;
    use whist_packet::{Destination, Hop, Route, SphinxSecret, build_surb};
    use whist_timing::Rng;
    use whist_types::SessionAddress;

    fn outstanding(rng: &mut Rng, id: u8) -> Outstanding {
        let hop = Hop {
            node: NodeId::from_bytes([1; 32]),
            key: SphinxSecret::generate(rng).public(),
            delay: Duration::ZERO,
        };
        let to = Destination {
            session: SessionAddress::from_bytes([1; 32]),
            surb: SurbId::from_bytes([id; 16]),
        };
        let route = Route::exactly(vec![hop], 1).unwrap();
        Outstanding {
            secret: build_surb(&route, &to, rng).unwrap().1,
            purpose: Purpose::Echo,
            exit: NodeId::from_bytes([2; 32]),
        }
    }

    #[test]
    fn a_reply_block_is_used_once_and_expires() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut surbs = Surbs::default();
        surbs.insert(Instant::ZERO, outstanding(&mut rng, 1));
        surbs.insert(Instant::ZERO, outstanding(&mut rng, 2));
        let id = SurbId::from_bytes([1; 16]);
        assert!(surbs.take(&id).is_some());
        assert!(surbs.take(&id).is_none());
        let round_trip = Duration::from_secs(1);
        surbs.expire(Instant::ZERO.after(Duration::from_secs(8)), round_trip);
        assert_eq!(surbs.len(), 1);
        surbs.expire(Instant::ZERO.after(Duration::from_secs(9)), round_trip);
        assert_eq!(surbs.len(), 0);
    }
}
