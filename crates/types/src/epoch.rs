//! Epochs: the network's hours. Keys, consensus and layers belong to them.

use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::Wall;

/// The number of an epoch, counted from the network's genesis in steps of the epoch's length.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    BorshSerialize,
    BorshDeserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The epoch `n` later.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    /// The epoch `n` earlier, or the first.
    #[must_use]
    pub const fn minus(self, n: u64) -> Self {
        Self(self.0.saturating_sub(n))
    }

    /// The next epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The epoch before, or the first.
    #[must_use]
    pub const fn previous(self) -> Self {
        self.minus(1)
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How long epochs are and how far a key is accepted beyond its own (parameters.md).
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    BorshSerialize,
    BorshDeserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct EpochSchedule {
    /// When epoch 0 of this network starts, in milliseconds since the Unix epoch.
    pub genesis_ms: u64,
    /// Length of an epoch in milliseconds; never zero in verified parameters.
    pub epoch_ms: u64,
    /// A key is accepted this long before its epoch starts and after it ends, in milliseconds.
    pub key_window_ms: u64,
}

impl EpochSchedule {
    /// The epoch at `wall`.
    pub const fn epoch_at(&self, wall: Wall) -> Epoch {
        match wall
            .as_millis()
            .saturating_sub(self.genesis_ms)
            .checked_div(self.epoch_ms)
        {
            Some(number) => Epoch(number),
            None => Epoch(0),
        }
    }

    /// When `epoch` starts.
    pub const fn start(&self, epoch: Epoch) -> Wall {
        Wall::from_millis(
            self.genesis_ms
                .saturating_add(epoch.0.saturating_mul(self.epoch_ms)),
        )
    }

    /// When `epoch` ends, which is when the next one starts.
    pub const fn end(&self, epoch: Epoch) -> Wall {
        self.start(epoch.next())
    }

    /// Length of an epoch.
    pub const fn length(&self) -> Duration {
        Duration::from_millis(self.epoch_ms)
    }

    /// When the key of `epoch` enters service.
    pub fn key_from(&self, epoch: Epoch) -> Wall {
        self.start(epoch)
            .before(Duration::from_millis(self.key_window_ms))
    }

    /// When the key of `epoch` is erased.
    pub fn key_until(&self, epoch: Epoch) -> Wall {
        self.end(epoch)
            .after(Duration::from_millis(self.key_window_ms))
    }

    /// The epochs whose keys are accepted at `wall`, the likelier first: two inside a window.
    pub fn accepted(&self, wall: Wall) -> (Epoch, Option<Epoch>) {
        let current = self.epoch_at(wall);
        let before = current.previous();
        if before != current && wall < self.key_until(before) {
            (current, Some(before))
        } else if wall >= self.key_from(current.next()) {
            (current, Some(current.next()))
        } else {
            (current, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: EpochSchedule = EpochSchedule {
        genesis_ms: 0,
        epoch_ms: 10_000,
        key_window_ms: 1_000,
    };

    #[test]
    fn inside_a_window_two_keys_are_accepted_and_outside_one() {
        let e = Epoch::new(5);
        assert_eq!(
            SCHEDULE.accepted(Wall::from_millis(50_000)),
            (e, Some(e.previous()))
        );
        assert_eq!(
            SCHEDULE.accepted(Wall::from_millis(50_999)),
            (e, Some(e.previous()))
        );
        assert_eq!(SCHEDULE.accepted(Wall::from_millis(51_000)), (e, None));
        assert_eq!(SCHEDULE.accepted(Wall::from_millis(58_999)), (e, None));
        assert_eq!(
            SCHEDULE.accepted(Wall::from_millis(59_000)),
            (e, Some(e.next()))
        );
    }

    #[test]
    fn an_epoch_starts_where_the_one_before_it_ends() {
        let e = Epoch::new(7);
        assert_eq!(SCHEDULE.epoch_at(SCHEDULE.start(e)), e);
        assert_eq!(SCHEDULE.end(e), SCHEDULE.start(e.next()));
    }
}
