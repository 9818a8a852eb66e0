//! The recovery phrase: 32 random bytes as 24 words of BIP-39, whose checksum finds a word that
//! was written down wrong. Whist uses the words' bytes and none of the BIP's seeds.

use bip39::{Language, Mnemonic};
use rand_core::Rng as _;
use whist_timing::Rng;
use whist_types::Secret;
use zeroize::Zeroizing;

use super::Credential;

/// Words of a recovery phrase.
pub const PHRASE_WORDS: usize = 24;
/// Words of a passphrase that is offered: 66 bits, eleven each.
pub const PASSPHRASE_WORDS: usize = 6;
/// Keeps the phrase's bytes from ever being a passphrase.
const LABEL: &[u8] = b"whist 2026 recovery phrase v1";

/// A recovery phrase. Erased when dropped.
pub struct Phrase(Mnemonic);

/// What is wrong with the words of a phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Another number of words.
    #[error("a recovery phrase has 24 words, not {0}")]
    Words(usize),
    /// The word at this place, from one, is not of the list.
    #[error("word {0} is none of the list: look for a slip of the pen")]
    Unknown(usize),
    /// Every word is one, and yet they do not belong together.
    #[error("the words do not fit together: one of them is another word, or their order is")]
    Checksum,
}

impl Phrase {
    /// A fresh one.
    pub fn random(rng: &mut Rng) -> Self {
        Self::of(&Secret::random(rng))
    }

    #[expect(clippy::expect_used, reason = "32 bytes are a length of the BIP")]
    fn of(bytes: &Secret<32>) -> Self {
        let words = Mnemonic::from_entropy(bytes.expose());
        Self(words.expect("32 bytes make 24 words"))
    }

    /// Reads words, whatever their case and the white space between them.
    ///
    /// # Errors
    /// What is wrong with them, and never the words.
    pub fn parse(text: &str) -> Result<Self, PhraseError> {
        let text = Zeroizing::new(text.to_lowercase());
        let words = Zeroizing::new(text.split_whitespace().collect::<Vec<_>>().join(" "));
        let count = words.split(' ').filter(|word| !word.is_empty()).count();
        if count != PHRASE_WORDS {
            return Err(PhraseError::Words(count));
        }
        let unknown = |word: &str| Language::English.find_word(word).is_none();
        if let Some(place) = words.split(' ').position(unknown) {
            return Err(PhraseError::Unknown(place.saturating_add(1)));
        }
        Mnemonic::parse_in_normalized(Language::English, &words)
            .map(Self)
            .map_err(|_| PhraseError::Checksum)
    }

    /// The words, to be written down.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.0.words()
    }

    /// What opens the slot.
    pub fn credential(&self) -> Credential {
        let (bytes, length) = self.0.to_entropy_array();
        let bytes = Zeroizing::new(bytes);
        let bytes = bytes.get(..length).unwrap_or_default();
        Credential::new(Zeroizing::new([LABEL, bytes].concat()))
    }
}

impl std::fmt::Debug for Phrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phrase([redacted])")
    }
}

/// A passphrase of six words, drawn evenly from the 2,048 of BIP-39: 66 bits.
pub fn six_words(rng: &mut Rng) -> Zeroizing<String> {
    let list = Language::English.word_list();
    let mut text = Zeroizing::new(String::with_capacity(64));
    for n in 0..PASSPHRASE_WORDS {
        // The list's length divides 2^32, so the remainder favours no word.
        let place = rng.next_u32().checked_rem(2_048).unwrap_or(0);
        let word = usize::try_from(place)
            .ok()
            .and_then(|place| list.get(place));
        if n > 0 {
            text.push(' ');
        }
        text.push_str(word.copied().unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;

    fn said(phrase: &Phrase) -> String {
        phrase.words().collect::<Vec<_>>().join(" ")
    }

    /// The vectors of 32 bytes that the BIP names: github.com/trezor/python-mnemonic, vectors.json.
    #[test]
    fn the_published_vectors_of_bip39_hold_in_both_directions() {
        let cases: [(&str, &str); 5] = [
            (
                "0000000000000000000000000000000000000000000000000000000000000000",
                "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                 abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                 abandon abandon abandon art",
            ),
            (
                "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
                "legal winner thank year wave sausage worth useful legal winner thank year wave \
                 sausage worth useful legal winner thank year wave sausage worth title",
            ),
            (
                "8080808080808080808080808080808080808080808080808080808080808080",
                "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd \
                 amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic \
                 bless",
            ),
            (
                "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo \
                 zoo zoo zoo vote",
            ),
            (
                "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
                "hamster diagram private dutch cause delay private meat slide toddler razor book \
                 happy fancy gospel tennis maple dilemma loan word shrug inflict delay length",
            ),
        ];
        for (hex, words) in cases {
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
            let bytes = Secret::new(bytes.as_slice().try_into().unwrap());
            assert_eq!(said(&Phrase::of(&bytes)), words);
            let read = Phrase::parse(&format!("  {}\n", words.to_uppercase())).unwrap();
            assert_eq!(&read.0.to_entropy_array().0[..32], bytes.expose());
        }
    }

    #[test]
    fn a_phrase_that_was_written_down_wrong_is_told_apart_and_never_repeated() {
        let right = said(&Phrase::random(&mut Rng::from_seed([1; 32])));
        let mut words: Vec<&str> = right.split(' ').collect();
        assert_eq!(Phrase::parse("").unwrap_err(), PhraseError::Words(0));
        assert_eq!(
            Phrase::parse(&words[..23].join(" ")).unwrap_err(),
            PhraseError::Words(23)
        );
        words[4] = "whist";
        let error = Phrase::parse(&words.join(" ")).unwrap_err();
        assert_eq!(error, PhraseError::Unknown(5));
        assert!(!error.to_string().contains("whist"));
        let zoo = ["zoo"; 24].join(" ");
        assert_eq!(Phrase::parse(&zoo).unwrap_err(), PhraseError::Checksum);
        assert_eq!(
            format!("{:?}", Phrase::parse(&right).unwrap()),
            "Phrase([redacted])"
        );
    }

    #[test]
    fn six_words_are_drawn_from_the_whole_list() {
        let mut rng = Rng::from_seed([2; 32]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..4_000 {
            let text = six_words(&mut rng);
            assert_eq!(text.split(' ').count(), PASSPHRASE_WORDS);
            seen.extend(text.split(' ').map(str::to_owned));
        }
        // Each word is missed with probability (1 - 1/2048)^24000, which is 8e-6.
        assert!(seen.len() >= 2_046, "{}", seen.len());
    }
}
