//! Values that could identify somebody, and therefore never reach a log.

use std::fmt;

/// Wraps whatever could identify anybody: an address on the Internet, a contact's name, a mailbox.
/// `Debug` and `Display` print `[scrubbed]` (the idea of Arti's safelog).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for use; not for printing.
    pub const fn as_inner(&self) -> &T {
        &self.0
    }

    /// The value, for use; not for printing.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[scrubbed]")
    }
}

impl<T> fmt::Display for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[scrubbed]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensitive_value_prints_nothing_of_itself() {
        let name = Sensitive::new("alice");
        insta::assert_snapshot!(format!("{name:?} {name}"), @"[scrubbed] [scrubbed]");
    }
}
