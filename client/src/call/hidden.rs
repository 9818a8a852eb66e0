//! A secret in a call: erased when dropped, never printed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret text. A call can be copied, and so can this; each copy is erased.
#[derive(Clone, Serialize, Deserialize, JsonSchema, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// Takes a text over.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for what opens the vault.
    pub const fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Hidden {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Hidden {}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Call;

    #[test]
    fn a_call_with_a_secret_prints_nothing_of_it() {
        let call = Call::Unlock {
            passphrase: Hidden::new("open sesame".to_owned()),
            key: Some(Hidden::new("5a".repeat(32))),
        };
        let expected = "Unlock { passphrase: [redacted], key: Some([redacted]) }";
        assert_eq!(format!("{call:?}"), expected);
    }
}
