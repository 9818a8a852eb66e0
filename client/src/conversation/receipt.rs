//! Receipts: what came and what was read, said late, for many texts at once, and only to contacts
//! for which the person switched them on.

use whist_types::{Reader, Writer};

/// Words before the last one that a receipt speaks of, with it.
pub const RECEIPT_SPAN: u64 = 512;
const MAP_BYTES: usize = 64;
const _: () = assert!(RECEIPT_SPAN == 8 * 64);

/// What came and what was read. Each receipt says all that the one before said, as far as it
/// reaches back, so a lost one does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Number of the last word that this speaks of.
    pub last: u64,
    /// What came, as bits.
    pub came: [u8; MAP_BYTES],
    /// Of those that came, all up to this number are read.
    pub read: u64,
}

impl Receipt {
    /// A receipt for the words up to `last`, but not for those that are `missing`.
    pub fn new(last: u64, missing: impl Iterator<Item = u64>, read: u64) -> Self {
        let mut receipt = Self {
            last,
            came: [0xff; MAP_BYTES],
            read: read.min(last),
        };
        for number in missing {
            receipt.clear(number);
        }
        // Numbers begin with one.
        for back in last..RECEIPT_SPAN {
            receipt.clear_back(back);
        }
        receipt
    }

    fn clear(&mut self, number: u64) {
        if let Some(back) = self.last.checked_sub(number) {
            self.clear_back(back);
        }
    }

    fn clear_back(&mut self, back: u64) {
        let byte = usize::try_from(back / 8).unwrap_or(usize::MAX);
        if let Some(byte) = self.came.get_mut(byte) {
            *byte &= !(1_u8 << (back % 8));
        }
    }

    /// The numbers of the words that came.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let has = |back: u64| {
            let byte = usize::try_from(back / 8).unwrap_or(usize::MAX);
            let bits = self.came.get(byte).copied().unwrap_or(0);
            (bits >> (back % 8)) & 1 == 1
        };
        let back = (0..RECEIPT_SPAN).filter(move |back| has(*back));
        back.filter_map(|back| self.last.checked_sub(back))
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.u64(self.last).put(&self.came).u64(self.read);
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Option<Self> {
        let receipt = Self {
            last: r.u64().ok()?,
            came: r.array().ok()?,
            read: r.u64().ok()?,
        };
        let sound = receipt.last > 0 && receipt.read <= receipt.last;
        (sound && receipt.numbers().all(|number| number > 0)).then_some(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_names_what_came_and_nothing_else() {
        let receipt = Receipt::new(5, [2, 9].into_iter(), 7);
        let mut came: Vec<u64> = receipt.numbers().collect();
        came.sort_unstable();
        assert_eq!(came, [1, 3, 4, 5]);
        assert_eq!(receipt.read, 5, "no more than it speaks of");
        let far = Receipt::new(1_000, [490].into_iter(), 0);
        assert_eq!(far.numbers().count(), 511);
        assert_eq!(far.numbers().min(), Some(489));
    }

    #[test]
    fn a_receipt_for_numbers_that_do_not_exist_is_none() {
        let mut receipt = Receipt::new(5, std::iter::empty(), 0);
        let parse = |receipt: &Receipt| {
            let mut w = Writer::with_capacity(80);
            receipt.write(&mut w);
            Receipt::parse(&mut Reader::new(&w.into_bytes()))
        };
        assert_eq!(parse(&receipt), Some(receipt.clone()));
        receipt.came[0] |= 1 << 5;
        assert_eq!(parse(&receipt), None, "number zero");
        receipt = Receipt::new(5, std::iter::empty(), 0);
        receipt.read = 6;
        assert_eq!(parse(&receipt), None);
    }
}
