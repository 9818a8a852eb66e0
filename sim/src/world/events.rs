//! The event heap: unique integer keys, so that equal times come in the order they were made.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use whist_link::{Frame, LinkId};
use whist_types::Instant;

use super::ActorId;
use super::link::Side;

/// What happens at a moment of virtual time.
#[derive(Debug)]
pub(super) enum Event {
    /// The actor's deadline, if it still is the one noted.
    Wake(ActorId, Instant),
    /// One end of a connection is open.
    Up(usize, Side),
    /// One end learns that its connection broke, or never came to be.
    Down(usize, Side),
    /// A frame reaches one end.
    Deliver(usize, Side, Box<Frame>),
    /// A packet that its sender kept back leaves it.
    Send(ActorId, LinkId, Box<Frame>),
}

/// A heap of events keyed by (time in nanoseconds, sequence number).
#[derive(Debug)]
pub struct Heap<T> {
    keys: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    sequence: u64,
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self {
            keys: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sequence: 0,
        }
    }
}

impl<T> Heap<T> {
    /// Adds an event; those of one time keep the order in which they were added.
    pub fn push(&mut self, time: Instant, event: T) {
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.slots.get_mut(index) {
                    *slot = Some(event);
                }
                index
            }
            None => {
                self.slots.push(Some(event));
                self.slots.len().saturating_sub(1)
            }
        };
        self.keys.push(Reverse((time, self.sequence, index)));
        self.sequence = self.sequence.saturating_add(1);
    }

    /// The earliest event with its time.
    pub fn pop(&mut self) -> Option<(Instant, T)> {
        let Reverse((time, _, index)) = self.keys.pop()?;
        let event = self.slots.get_mut(index)?.take()?;
        self.free.push(index);
        Some((time, event))
    }

    /// When the earliest event is.
    pub fn next_time(&self) -> Option<Instant> {
        self.keys.peek().map(|Reverse((time, _, _))| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_time_come_in_the_order_they_were_made() {
        let mut heap = Heap::default();
        let at = Instant::from_nanos;
        for (time, name) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            heap.push(at(time), name);
        }
        let order: String = std::iter::from_fn(|| heap.pop())
            .map(|(_, name)| name)
            .collect();
        assert_eq!(order, "abcd");
    }
}
