//! Which X25519 public values are nobody's.

use crate::SphinxKey;

impl SphinxKey {
    /// The public values of small order, bit 255 cleared: multiplied by any clamped secret they
    /// give zero, so that everybody knows the "shared" secret (RFC 7748 §6.1; the list is that of
    /// Bernstein's curve25519 page, non-canonical forms included).
    pub const SMALL_ORDER: [Self; 7] = [
        u256(0, 0),
        u256(1, 0),
        Self::from_bytes([
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ]),
        Self::from_bytes([
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83,
            0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd,
            0xd0, 0x9f, 0x11, 0x57,
        ]),
        // p - 1, p and p + 1 with p = 2^255 - 19.
        u256(0xec, 0xff),
        u256(0xed, 0xff),
        u256(0xee, 0xff),
    ];

    /// Whether it gives the zero secret with every key, in any of its encodings.
    pub fn is_small_order(&self) -> bool {
        let mut masked = self.to_bytes();
        if let Some(last) = masked.last_mut() {
            *last &= 0x7f;
        }
        Self::SMALL_ORDER.contains(&Self::from_bytes(masked))
    }

    /// Whether it is the one encoding that its maker gives it: bit 255 clear, and below p. What
    /// X25519 puts out always is.
    pub fn is_canonical(&self) -> bool {
        let [low, middle @ .., high] = self.as_bytes();
        let from_p = *high == 0x7f && *low >= 0xed && middle.iter().all(|byte| *byte == 0xff);
        high & 0x80 == 0 && !from_p
    }
}

/// A little-endian number of 255 bits: the lowest byte, and what fills the rest.
const fn u256(low: u8, fill: u8) -> SphinxKey {
    let mut bytes = [fill; 32];
    if let Some((first, rest)) = bytes.split_first_mut() {
        *first = low;
        if let Some(last) = rest.last_mut() {
            *last = fill & 0x7f;
        }
    }
    SphinxKey::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_small_order_is_known_with_either_top_bit() {
        for point in SphinxKey::SMALL_ORDER {
            let mut twin = point.to_bytes();
            twin[31] |= 0x80;
            let twin = SphinxKey::from_bytes(twin);
            assert!(point.is_small_order() && twin.is_small_order(), "{point}");
        }
        assert!(!SphinxKey::from_bytes([9; 32]).is_small_order());
    }

    #[test]
    fn a_number_from_p_on_or_with_the_top_bit_is_not_canonical() {
        let key = |low, high| {
            let mut bytes = u256(low, 0xff).to_bytes();
            bytes[31] = high;
            SphinxKey::from_bytes(bytes)
        };
        assert!(key(0xec, 0x7f).is_canonical(), "p - 1");
        assert!(key(0xff, 0x7e).is_canonical());
        for low in 0xed..=0xff {
            assert!(!key(low, 0x7f).is_canonical(), "{low:02x}");
        }
        assert!(!key(0, 0x80).is_canonical());
        assert!(SphinxKey::from_bytes([0; 32]).is_canonical());
    }
}
