//! Quotas of addresses, by arrival, in a table of fixed size that does not know which addresses
//! are live: what it answers says nothing about them.

use whist_types::{Instant, MailboxAddress, Secret};

use crate::limits;

const DAY_MICROS: u64 = 86_400_000_000;

/// What an address takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Items a day.
    pub per_day: u32,
    /// Items at once.
    pub burst: u32,
}

/// One token bucket for each of `limits::QUOTA_BUCKETS` hashes, two hashes an address: an item is
/// taken if either bucket has a token, and costs one in both. So two addresses that share one
/// bucket do not starve each other, and to exhaust a stranger's quota takes a flood that exhausts
/// a good part of the table.
///
/// A bucket is one number: the time at which it will be full again (the virtual scheduling form
/// of a token bucket).
pub struct QuotaTable {
    key: Secret<32>,
    full_at_micros: Vec<u64>,
}

impl QuotaTable {
    /// A table whose buckets are all full, under a secret key: nobody can aim at a bucket.
    pub fn new(key: Secret<32>) -> Self {
        Self {
            key,
            full_at_micros: vec![0; limits::QUOTA_BUCKETS],
        }
    }

    /// An item arrives for `address`. Whether its quota allows it; a token is used in any case
    /// where one is there.
    pub fn take(&mut self, now: Instant, address: &MailboxAddress, quota: Quota) -> bool {
        let now = now.as_nanos() / 1_000;
        let step = DAY_MICROS / u64::from(quota.per_day.max(1));
        let depth = step.saturating_mul(u64::from(quota.burst));
        let mut allowed = false;
        for bucket in self.buckets(address) {
            if let Some(full_at) = self.full_at_micros.get_mut(bucket) {
                let next = (*full_at).max(now).saturating_add(step);
                if next.saturating_sub(now) <= depth {
                    *full_at = next;
                    allowed = true;
                }
            }
        }
        allowed
    }

    fn buckets(&self, address: &MailboxAddress) -> [usize; 2] {
        let hash = blake3::keyed_hash(self.key.expose(), address.as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        [[a, b, c, d], [e, f, g, h]].map(|bytes| {
            let wide = usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(0);
            wide.checked_rem(limits::QUOTA_BUCKETS).unwrap_or(0)
        })
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use std::time::Duration;

    use super::*;

    const QUOTA: Quota = Quota {
        per_day: 24,
        burst: 5,
    };

    fn table() -> QuotaTable {
        QuotaTable::new(Secret::new([1; 32]))
    }

    fn address(n: u8) -> MailboxAddress {
        MailboxAddress::from_bytes([n; 32])
    }

    #[test]
    fn an_address_takes_its_burst_and_then_its_rate() {
        let mut table = table();
        let now = Instant::ZERO;
        let taken = (0..9).filter(|_| table.take(now, &address(1), QUOTA));
        assert_eq!(taken.count(), 5);
        let hour = |h: u64| Instant::ZERO.after(Duration::from_secs(3600 * h));
        assert!(table.take(hour(1), &address(1), QUOTA));
        assert!(!table.take(hour(1), &address(1), QUOTA));
        let taken = (0..9).filter(|_| table.take(hour(100), &address(1), QUOTA));
        assert_eq!(taken.count(), 5, "a bucket holds no more than its burst");
    }

    #[test]
    fn one_address_at_its_quota_does_not_stop_another() {
        let mut table = table();
        while table.take(Instant::ZERO, &address(1), QUOTA) {}
        assert!((2..200).all(|n| table.take(Instant::ZERO, &address(n), QUOTA)));
    }
}
