//! What a mix holds: a heap of deadlines in memory, without a timer grid.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use whist_types::Instant;

/// Values by deadline, at most a given number of them.
#[derive(Debug)]
pub struct Pool<T> {
    heap: BinaryHeap<Held<T>>,
    capacity: usize,
    inserted: u64,
}

impl<T> Pool<T> {
    /// An empty pool for at most `capacity` values.
    pub const fn with_capacity(capacity: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            capacity,
            inserted: 0,
        }
    }

    /// Holds `value` until `deadline`. A full pool gives it back: nothing that is held ever makes
    /// room for something new, or a flood would empty the pool of everybody else's packets.
    pub fn insert(&mut self, deadline: Instant, value: T) -> Result<(), T> {
        if self.heap.len() >= self.capacity {
            return Err(value);
        }
        self.inserted = self.inserted.wrapping_add(1);
        self.heap.push(Held {
            deadline,
            sequence: self.inserted,
            value,
        });
        Ok(())
    }

    /// A value whose deadline is not after `now`, the earliest first; of equal ones the first in.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_deadline()? > now {
            return None;
        }
        self.heap.pop().map(|held| held.value)
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|held| held.deadline)
    }

    /// How many values are held.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Changes how many can be held. What is held stays, also beyond a smaller number.
    pub const fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// How many can be held.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets everything that is held; says how many values that were.
    pub fn clear(&mut self) -> usize {
        let held = self.heap.len();
        self.heap.clear();
        held
    }
}

#[derive(Debug)]
struct Held<T> {
    deadline: Instant,
    sequence: u64,
    value: T,
}

impl<T> Ord for Held<T> {
    // Reversed, for a heap whose top is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.deadline, other.sequence).cmp(&(self.deadline, self.sequence))
    }
}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Held<T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_pool_gives_the_value_back_and_keeps_what_it_holds() {
        let mut pool = Pool::with_capacity(2);
        assert_eq!(pool.insert(Instant::from_nanos(3), 'a'), Ok(()));
        assert_eq!(pool.insert(Instant::from_nanos(1), 'b'), Ok(()));
        assert_eq!(pool.insert(Instant::from_nanos(0), 'c'), Err('c'));
        assert_eq!((pool.len(), pool.capacity()), (2, 2));
        assert_eq!(pool.pop_due(Instant::from_nanos(9)), Some('b'));
        assert_eq!(pool.clear(), 1);
        assert!(pool.is_empty());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_at_its_deadline_and_in_order(
            deadlines in proptest::collection::vec(0u64..50, 0..60),
        ) {
            let mut pool = Pool::with_capacity(60);
            for (index, &deadline) in deadlines.iter().enumerate() {
                prop_assert!(pool.insert(Instant::from_nanos(deadline), (deadline, index)).is_ok());
            }
            let mut expected: Vec<_> = deadlines.iter().copied().zip(0usize..).collect();
            expected.sort_unstable();
            let mut seen = Vec::new();
            for now in 0..50 {
                while let Some((deadline, index)) = pool.pop_due(Instant::from_nanos(now)) {
                    prop_assert_eq!(deadline, now);
                    seen.push((deadline, index));
                }
                prop_assert!(pool.next_deadline().is_none_or(|d| d > Instant::from_nanos(now)));
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
