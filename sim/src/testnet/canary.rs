//! Looks for secrets where none may be: in any form in which a program could have written them.

use std::collections::{BTreeMap, BTreeSet};

/// Patterns are found by so many first bytes.
const START_BYTES: usize = 8;
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_ADDRESSES: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Everything that is looked for.
#[derive(Default)]
pub struct Hunt {
    patterns: Vec<(String, Vec<u8>)>,
    by_start: BTreeMap<u64, Vec<usize>>,
    /// One bit for each pair of first bytes, so that most places cost one look.
    pairs: Vec<bool>,
}

impl Hunt {
    /// Adds a secret of at least twelve bytes in all its forms, under a name.
    pub fn add(&mut self, name: &str, secret: &[u8]) {
        self.pairs.resize(1 << 16, false);
        for (form, pattern) in forms(secret) {
            let Some(start) = start_of(&pattern) else {
                continue;
            };
            let place = self.patterns.len();
            self.patterns.push((format!("{name}, {form}"), pattern));
            self.by_start.entry(start).or_default().push(place);
            if let Some(pair) = self.pairs.get_mut(pair_of(start)) {
                *pair = true;
            }
        }
    }

    /// How many patterns there are.
    pub const fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether nothing is looked for.
    pub const fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The names, with their forms, of what is in `bytes`.
    pub fn hits(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for (at, window) in bytes.windows(START_BYTES).enumerate() {
            let Some(start) = start_of(window) else {
                continue;
            };
            if !self.pairs.get(pair_of(start)).copied().unwrap_or(false) {
                continue;
            }
            for place in self.by_start.get(&start).into_iter().flatten() {
                if let Some((name, pattern)) = self.patterns.get(*place)
                    && bytes
                        .get(at..)
                        .is_some_and(|rest| rest.starts_with(pattern))
                {
                    found.insert(name.as_str());
                }
            }
        }
        found
    }
}

fn start_of(bytes: &[u8]) -> Option<u64> {
    let start = bytes.first_chunk::<START_BYTES>()?;
    Some(u64::from_be_bytes(*start))
}

fn pair_of(start: u64) -> usize {
    usize::try_from(start >> 48).unwrap_or(0)
}

/// Raw, hexadecimal in both cases, base64 in both alphabets wherever the secret may begin in the
/// encoded text, and lists of decimal numbers.
pub fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = |digits: &[u8; 16]| {
        let nibbles = secret.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digit = |nibble: u8| digits.get(usize::from(nibble)).copied();
        nibbles.filter_map(digit).collect::<Vec<_>>()
    };
    let list = |between: &str| {
        let numbers: Vec<_> = secret.iter().map(u8::to_string).collect();
        numbers.join(between).into_bytes()
    };
    let mut all = vec![
        ("raw", secret.to_vec()),
        ("hex", hex(b"0123456789abcdef")),
        ("HEX", hex(b"0123456789ABCDEF")),
        ("decimal, close", list(",")),
        ("decimal", list(", ")),
        ("decimal, by spaces", list(" ")),
    ];
    for (skipped, name) in ["base64", "base64 + 1", "base64 + 2"]
        .into_iter()
        .enumerate()
    {
        all.push((name, base64(secret, skipped, STANDARD)));
        let other = base64(secret, skipped, FOR_ADDRESSES);
        if all.last().is_some_and(|(_, last)| *last != other) {
            all.push((name, other));
        }
    }
    all
}

/// The characters that depend on the secret alone when `before` bytes of a group of three stand
/// before it.
fn base64(secret: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    // The first whole group begins this far in the secret; what shares a character is left out.
    let first = 3_usize.saturating_sub(before).checked_rem(3).unwrap_or(0);
    let groups = secret.get(first..).unwrap_or_default().chunks_exact(3);
    let encoded = groups.flat_map(|group| {
        let bits = group
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        [18, 12, 6, 0].map(|shift| usize::try_from(bits >> shift & 63).unwrap_or(0))
    });
    encoded
        .filter_map(|place| alphabet.get(place).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 16] = *b"\x01canary\xff\xfe\x80\x00bird!";

    #[test]
    fn a_secret_is_found_in_every_form_at_every_place() {
        let mut hunt = Hunt::default();
        hunt.add("bird", &SECRET);
        assert!(hunt.len() >= 9);
        for (form, pattern) in forms(&SECRET) {
            for before in 0..9 {
                let text = [vec![b'x'; before], pattern.clone(), vec![b'y'; 3]].concat();
                let hits = hunt.hits(&text);
                assert!(
                    hits.iter().any(|hit| hit.contains(form)),
                    "{form}: {hits:?}"
                );
            }
        }
        assert!(hunt.hits(&[b'x'; 1000]).is_empty());
    }

    #[test]
    fn base64_is_found_wherever_the_secret_begins() {
        // As others encode it, with one to three bytes of something else around it.
        for (text, before) in [
            ("AWNhbmFyef/+gABiaXJkIQ==", 0),
            ("KgFjYW5hcnn//oAAYmlyZCEq", 1),
            ("KioBY2FuYXJ5//6AAGJpcmQhKio=", 2),
        ] {
            let mut hunt = Hunt::default();
            hunt.add("bird", &SECRET);
            let hits = hunt.hits(text.as_bytes());
            assert_eq!(hits.len(), 1, "{before}: {hits:?}");
        }
    }
}
