//! Why a document is refused, and whose fault that is.

use whist_types::Epoch;

/// Why something was refused. A peer never learns the detail: it sees silence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The peer's fault: more bytes than the kind of document may have.
    #[error("too large")]
    TooLarge,
    /// The peer's fault: the bytes are not a document of this kind, or bytes follow it.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The peer's fault: a version that this program does not speak.
    #[error("unknown version {0}")]
    UnknownVersion(u8),
    /// The peer's fault: a signature does not verify.
    #[error("bad signature")]
    BadSignature,
    /// The peer's fault: a signature by an authority that is not in the set.
    #[error("unknown authority {0}")]
    UnknownAuthority(u8),
    /// The peer's fault: one authority signed twice in one document.
    #[error("authority {0} signs twice")]
    DuplicateSigner(u8),
    /// The peer's fault: fewer authorities signed than a quorum needs.
    #[error("{have} signatures of the {need} needed")]
    BelowQuorum {
        /// Valid signatures seen.
        have: usize,
        /// Signatures needed.
        need: usize,
    },
    /// The peer's fault: signed for another set of authorities or another schedule.
    #[error("document of another network")]
    OtherNetwork,
    /// The peer's fault: a part does not hash to what the header says.
    #[error("{0} is not what was signed")]
    NotWhatWasSigned(&'static str),
    /// The document's validity is over.
    #[error("expired")]
    Expired,
    /// The document is for an epoch that is too far ahead.
    #[error("not yet valid")]
    NotYetValid,
    /// The document is older than the one held.
    #[error("epoch {offered} is older than {held}")]
    RolledBack {
        /// Epoch of the document offered.
        offered: Epoch,
        /// Epoch of the document held.
        held: Epoch,
    },
    /// No proof that the document extends the one held.
    #[error("does not extend what is held")]
    NotAnExtension,
    /// Two documents of one epoch have the quorum: kept as evidence, nothing more is accepted.
    #[error("the authorities signed two documents of epoch {0}")]
    Equivocation(Epoch),
    /// The authorities' or the operator's fault: a value is outside of its bounds.
    #[error("{name}: {why}")]
    OutOfBounds {
        /// Which value.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The operator's fault: `network.toml` or another file in text form does not parse.
    #[error("{0}")]
    Text(String),
}

impl Refused {
    pub(crate) fn bounds(name: &'static str, why: impl Into<String>) -> Self {
        Self::OutOfBounds {
            name,
            why: why.into(),
        }
    }
}
