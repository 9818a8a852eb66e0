//! Bytes that must not outlive their use, be copied by accident or be printed.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes: zeroized on drop, neither `Clone` nor `Copy`, compared in constant time.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes the bytes over. The caller's copy, if it has one, is the caller's to erase.
    pub const fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// Fresh random bytes.
    pub fn random(rng: &mut impl rand_core::CryptoRng) -> Self {
        let mut bytes = [0; N];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The bytes, for the cryptography that needs them.
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// A second copy, made on purpose.
    pub const fn duplicate(&self) -> Self {
        Self(self.0)
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        insta::assert_snapshot!(format!("{:?}", Secret::new([0xab; 32])), @"[redacted]");
    }

    #[test]
    fn secrets_compare_by_value() {
        assert_eq!(Secret::new([1; 4]), Secret::new([1; 4]));
        assert_ne!(Secret::new([1; 4]), Secret::new([2; 4]));
    }
}
