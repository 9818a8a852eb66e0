//! Numbers of words that are given up, a bit each.

use std::collections::BTreeMap;

/// A set of numbers of which many lie side by side. Whatever a contact names, it holds one block
/// for each 64 numbers of the window in which it may name any: 257 blocks of 16 bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    blocks: BTreeMap<u64, u64>,
}

const fn place(number: u64) -> (u64, u64) {
    (number / 64, 1_u64 << (number % 64))
}

impl Marks {
    /// From the form in which a row holds them.
    pub(super) fn from_blocks(blocks: &[(u64, u64)]) -> Self {
        let blocks = blocks.iter().copied().filter(|(_, bits)| *bits != 0);
        Self {
            blocks: blocks.collect(),
        }
    }

    /// Number divided by 64, and the bits of the 64 from there.
    pub(super) fn blocks(&self) -> Vec<(u64, u64)> {
        self.blocks.iter().map(|(at, bits)| (*at, *bits)).collect()
    }

    /// These and those.
    pub(super) fn with(&self, others: &Self) -> Self {
        let mut blocks = self.blocks.clone();
        for (at, bits) in &others.blocks {
            *blocks.entry(*at).or_default() |= bits;
        }
        Self { blocks }
    }

    pub(super) fn insert(&mut self, number: u64) {
        let (at, bit) = place(number);
        *self.blocks.entry(at).or_default() |= bit;
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let (at, bit) = place(number);
        let Some(bits) = self.blocks.get_mut(&at) else {
            return false;
        };
        let was = *bits & bit != 0;
        *bits &= !bit;
        if *bits == 0 {
            self.blocks.remove(&at);
        }
        was
    }

    /// Forgets the numbers below this one.
    pub(super) fn forget_below(&mut self, number: u64) {
        let (at, bit) = place(number);
        self.blocks = self.blocks.split_off(&at);
        let above = !bit.saturating_sub(1);
        if let Some(bits) = self.blocks.get_mut(&at) {
            *bits &= above;
            if *bits == 0 {
                self.blocks.remove(&at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn marks_are_a_set_of_numbers(
            steps in proptest::collection::vec((0_u8..3, 0_u64..300), 0..200),
        ) {
            let (mut marks, mut set) = (Marks::default(), BTreeSet::new());
            for (what, number) in steps {
                match what {
                    0 => {
                        marks.insert(number);
                        set.insert(number);
                    }
                    1 => prop_assert_eq!(marks.remove(number), set.remove(&number)),
                    _ => {
                        marks.forget_below(number);
                        set = set.split_off(&number);
                    }
                }
                prop_assert_eq!(&marks, &Marks::from_blocks(&marks.blocks()));
                prop_assert!(marks.blocks.values().all(|bits| *bits != 0));
            }
            for number in 0..300 {
                prop_assert_eq!(marks.remove(number), set.contains(&number));
            }
        }
    }
}
