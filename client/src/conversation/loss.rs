//! Which words before one are given up.

use whist_types::{Reader, Writer};

/// Which words before one are given up: their sender stopped repeating them, or their time to
/// live is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Lowest number that can still come.
    pub floor: u64,
    /// Bit i: the word 1 + i before is given up.
    pub lost: u64,
}

impl Loss {
    /// None of them.
    pub const NONE: Self = Self { floor: 1, lost: 0 };
    /// How many words before one the bits speak of.
    pub const SPAN: u64 = 64;

    /// What to tell with the word of this number.
    pub fn before(sequence: u64, floor: u64, lost: impl Iterator<Item = u64>) -> Self {
        let bit = |number: u64| {
            let back = sequence.checked_sub(number)?.checked_sub(1)?;
            1_u64.checked_shl(u32::try_from(back).ok()?)
        };
        Self {
            floor: floor.clamp(1, sequence.max(1)),
            lost: lost.filter_map(bit).fold(0, |all, one| all | one),
        }
    }

    /// The numbers that the bits name, seen from the word of this number.
    pub(super) fn numbers(self, sequence: u64) -> impl Iterator<Item = u64> {
        (0..Self::SPAN)
            .filter(move |back| (self.lost >> back) & 1 == 1)
            .filter_map(move |back| sequence.checked_sub(back.saturating_add(1)))
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            floor: r.u64().ok()?,
            lost: r.u64().ok()?,
        })
    }

    pub(super) fn write(self, w: &mut Writer) {
        w.u64(self.floor).u64(self.lost);
    }
}
