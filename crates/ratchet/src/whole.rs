//! A bundle given whole, as text: an address that any number of people may write first to.

use data_encoding::BASE32_NOPAD;
use whist_types::{Reader, Truncated, Writer};

use crate::kdf::labelled;
use crate::{BUNDLE_BYTES, Bundle, Error, UnverifiedBundle};

/// Size of a bundle given whole, before it becomes text.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | version | 1 |
/// | 1 | 1538 | bundle | as an invitation names it |
/// | 1539 | 4 | checksum | first bytes of BLAKE3 over what precedes, under a label of its own |
///
/// As text: `whist-address:` and the base32 form (RFC 4648, without padding, lower case; capitals
/// and breaks of lines are read too).
pub const WHOLE_BYTES: usize = 1 + BUNDLE_BYTES + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 4;
const _: () = assert!(WHOLE_BYTES == 1_543);

/// What the text begins with.
pub const WHOLE_PREFIX: &str = "whist-address:";
const VERSION: u8 = 1;

impl Bundle {
    /// The text of the table above.
    pub fn to_text(&self) -> String {
        let bytes = self.to_bytes();
        let mut w = Writer::with_capacity(WHOLE_BYTES);
        w.u8(VERSION).put(&bytes).put(&checksum(&bytes));
        let text = BASE32_NOPAD.encode(&w.into_bytes()).to_ascii_lowercase();
        format!("{WHOLE_PREFIX}{text}")
    }

    /// Reads that text, and checks both signatures.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let text: String = text.split_whitespace().collect();
        let text = text.to_ascii_uppercase();
        let body = text
            .strip_prefix(&WHOLE_PREFIX.to_ascii_uppercase())
            .ok_or(Error::NotAnInvitation)?;
        if !body.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7')) {
            return Err(Error::BadCharacter);
        }
        if body.len() != BASE32_NOPAD.encode_len(WHOLE_BYTES) {
            return Err(Error::WrongLength);
        }
        let bytes = BASE32_NOPAD
            .decode(body.as_bytes())
            .map_err(|_| Error::BadChecksum)?;
        let mut r = Reader::new(&bytes);
        let mut fields = || Ok::<_, Truncated>((r.u8()?, r.array()?, r.array()?));
        let (version, bundle, sum) = fields().map_err(|_| Error::WrongLength)?;
        if version != VERSION {
            return Err(Error::UnknownVersion(version));
        }
        if sum != checksum(&bundle) {
            return Err(Error::BadChecksum);
        }
        UnverifiedBundle::from_bytes(&bundle)?.verify()
    }
}

fn checksum(bundle: &[u8; BUNDLE_BYTES]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = labelled("whist 2026 address text v1", &[&[VERSION], bundle]);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IdentitySecret, PrekeySecrets};
    use chacha20::rand_core::SeedableRng as _;
    use whist_types::{MailboxAddress, NodeId, Secret};

    #[test]
    fn a_bundle_survives_its_text_form_and_a_misread_character_is_found() {
        let mut rng = chacha20::ChaCha20Rng::from_seed([3; 32]);
        let identity = IdentitySecret::from_seed(Secret::new([7; 32]));
        let (provider, address) = (
            NodeId::from_bytes([1; 32]),
            MailboxAddress::from_bytes([2; 32]),
        );
        let (_, bundle) = PrekeySecrets::generate(&identity, provider, address, &mut rng);
        let text = bundle.to_text();
        assert_eq!(text.len(), WHOLE_PREFIX.len() + 2_469);
        let read = |text: &str| Bundle::from_text(text).map(|bundle| bundle.to_bytes());
        assert_eq!(read(&text), Ok(bundle.to_bytes()));
        let broken: Vec<&str> = (0..text.len())
            .step_by(60)
            .map(|i| &text[i..(i + 60).min(text.len())])
            .collect();
        assert_eq!(
            read(&broken.join("\r\n ").to_uppercase()),
            Ok(bundle.to_bytes())
        );
        for place in [20, 700, 2_400] {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'a' { b'b' } else { b'a' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(read(&other), Err(Error::BadChecksum));
        }
        assert_eq!(read(&text[..2_000]), Err(Error::WrongLength));
        assert_eq!(read("whist:aecq"), Err(Error::NotAnInvitation));
        assert_eq!(
            read(&format!("{}!", &text[..text.len() - 1])),
            Err(Error::BadCharacter)
        );
    }
}
