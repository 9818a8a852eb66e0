//! What makes a session's secret of a passphrase that two people know.

use whist_types::Secret;
use zeroize::Zeroizing;

use crate::call::Hidden;
use crate::limits::{SHARED_SECRET_MEMORY_KIB, SHARED_SECRET_PASSES};
use crate::vault::{Cost, Credential};

/// Argon2id at a cost that is the same for everybody: both ends have to come to the same. White
/// space around the words and how much of it stands between them does not count. `None` without
/// the memory for it.
pub fn stretch(passphrase: &Hidden, salt: &[u8; 32]) -> Option<Secret<32>> {
    let said = passphrase.expose();
    // Never grown on the way, since a Vec that moves leaves a copy of its bytes behind.
    let mut words = Zeroizing::new(Vec::with_capacity(said.len()));
    for word in said.split_whitespace() {
        if !words.is_empty() {
            words.push(b' ');
        }
        words.extend_from_slice(word.as_bytes());
    }
    let cost = Cost {
        memory_kib: SHARED_SECRET_MEMORY_KIB,
        passes: SHARED_SECRET_PASSES,
    };
    cost.derive(&Credential::new(words), salt).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_does_not_count_and_everything_else_does() {
        let of = |text: &str, salt| stretch(&Hidden::new(text.to_owned()), &[salt; 32]).unwrap();
        let one = of("correct horse", 1);
        assert_eq!(one, of("  correct \t horse\n", 1));
        assert_ne!(one, of("correct horse", 2));
        assert_ne!(one, of("Correct horse", 1));
        // Both ends have to come to the same, whatever version they are of.
        let known = data_encoding::HEXLOWER.encode(one.expose());
        assert_eq!(
            known,
            "73ae5ed8e85e9df7704b4770d04cd309641513c72389b5cb8b10b6b7d800f105"
        );
    }
}
