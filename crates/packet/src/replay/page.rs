//! One page of tags and the check over it.

/// Bytes of a page: a page of the machine's memory, so that a lookup faults once.
pub(super) const PAGE_BYTES: usize = 4_096;
/// Bytes of a tag. At 1e8 tags the chance that a fresh packet meets another's tag is 3e-31.
pub(super) const TAG_BYTES: usize = 16;
/// Check and zeros before a page's first slot.
pub(super) const PAGE_HEADER_BYTES: usize = 16;
/// Tags that a page holds.
pub(super) const SLOTS: usize = 255;
const _: () = assert!(PAGE_HEADER_BYTES + SLOTS * TAG_BYTES == PAGE_BYTES);

/// The key of the pages' checks: tags are unpredictable already, so this need only catch damage.
pub(super) struct CheckKey {
    pub(super) a: u64,
    pub(super) b: u64,
}

/// A bijection that mixes all bits (the finaliser of SplitMix64).
const fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl CheckKey {
    /// What `tag` in `slot` adds to its page's check.
    pub(super) fn of_tag(&self, slot: usize, tag: &[u8; TAG_BYTES]) -> u64 {
        let (low, high) = halves(tag);
        let place = u64::try_from(slot).unwrap_or(u64::MAX);
        mix(mix(low ^ self.a).wrapping_add(high) ^ self.b.wrapping_add(place))
    }

    /// The check of page `number` while it is empty; never that of zeroed memory.
    pub(super) const fn of_empty(&self, number: u64) -> u64 {
        mix(self.a ^ mix(self.b.wrapping_add(number))) | 1 << 63
    }

    /// The check that a page's content asks for, and how many tags it holds.
    fn of_content(&self, number: u64, page: &[u8]) -> (u64, u64) {
        let mut sum = self.of_empty(number);
        let mut tags: u64 = 0;
        for (slot, tag) in slots(page).enumerate() {
            if *tag != [0; TAG_BYTES] {
                sum ^= self.of_tag(slot, tag);
                tags = tags.saturating_add(1);
            }
        }
        (sum, tags)
    }

    /// Holds a page against its check.
    pub(super) fn verify(&self, number: u64, page: &[u8]) -> Verdict {
        let (Some(stored), Some(zeros)) = (check_of(page), page.get(8..PAGE_HEADER_BYTES)) else {
            return Verdict::Damaged;
        };
        if zeros.iter().any(|&b| b != 0) {
            return Verdict::Damaged;
        }
        let (sum, tags) = self.of_content(number, page);
        if sum == stored {
            return Verdict::Whole { tags };
        }
        let unfinished = slots(page)
            .enumerate()
            .filter(|(_, tag)| **tag != [0; TAG_BYTES])
            .any(|(slot, tag)| torn_between(stored, sum ^ self.of_tag(slot, tag), sum));
        if unfinished {
            Verdict::Unfinished { check: sum, tags }
        } else {
            Verdict::Damaged
        }
    }
}

/// What a page turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Content and check agree.
    Whole { tags: u64 },
    /// An insert was cut short: all tags are there, one of them (perhaps torn, and then of a
    /// packet that went nowhere) is not in the check yet.
    Unfinished { check: u64, tags: u64 },
    /// Anything else.
    Damaged,
}

/// Whether every byte of `stored` is that of the check before an insert or of the one after it.
fn torn_between(stored: u64, before: u64, after: u64) -> bool {
    stored
        .to_le_bytes()
        .into_iter()
        .zip(before.to_le_bytes().into_iter().zip(after.to_le_bytes()))
        .all(|(s, (b, a))| s == b || s == a)
}

pub(super) fn check_of(page: &[u8]) -> Option<u64> {
    page.first_chunk().map(|c| u64::from_le_bytes(*c))
}

/// The tags of a page, free slots included.
pub(super) fn slots(page: &[u8]) -> std::slice::Iter<'_, [u8; TAG_BYTES]> {
    let rest = page.get(PAGE_HEADER_BYTES..).unwrap_or_default();
    rest.as_chunks::<TAG_BYTES>().0.iter()
}

/// Both halves of a tag as numbers.
pub(super) fn halves(tag: &[u8; TAG_BYTES]) -> (u64, u64) {
    let mut halves = tag
        .as_chunks::<8>()
        .0
        .iter()
        .map(|h| u64::from_le_bytes(*h));
    (
        halves.next().unwrap_or_default(),
        halves.next().unwrap_or_default(),
    )
}
