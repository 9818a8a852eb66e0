//! Documents that came from a peer: not to be read before their signatures are checked.

/// A kind of document and the form in which it waits for its verification.
pub trait Document {
    /// What was parsed of it.
    type Form;
}

/// A document that came from a peer. Its `verify` is the only way to what is inside.
pub struct Unverified<T: Document>(pub(crate) T::Form);

impl<T: Document> std::fmt::Debug for Unverified<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unverified")
    }
}
