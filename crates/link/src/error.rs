//! What goes wrong on a link, and whose fault it is.

/// Bytes that are no frame, part or blob of this protocol. The link that they came on is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A type byte that this version does not know.
    #[error("unknown frame type {0}")]
    UnknownType(u8),
    /// Padding that is not zero.
    #[error("padding is not zero")]
    Padding,
    /// A field whose value is not allowed.
    #[error("a field's value is not allowed")]
    Field,
    /// Not a whole frame.
    #[error("not a whole frame")]
    Size,
    /// A part that does not continue the blob before it.
    #[error("a part out of order")]
    Order,
    /// A blob larger than its reader takes.
    #[error("a blob above the limit")]
    TooLarge,
}

impl From<whist_types::Truncated> for Malformed {
    fn from(_: whist_types::Truncated) -> Self {
        Self::Size
    }
}

/// Why a link failed. A peer always sees the same: the link closes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The peer broke the protocol.
    #[error("the peer misbehaved: {0}")]
    PeerMisbehaved(&'static str),
    /// The peer sent a frame that is none.
    #[error("the peer sent a malformed frame: {0}")]
    Malformed(#[from] Malformed),
    /// The peer is not who it should be, or offers no proof of who it is.
    #[error("the peer did not prove the expected key")]
    WrongKey,
    /// A deadline passed.
    #[error("the peer was too slow: {0}")]
    TimedOut(&'static str),
    /// The server asks for a puzzle first: solve it and dial again.
    #[error("the server asks for a puzzle")]
    PuzzleAsked,
    /// The peer's solution of a puzzle does not count.
    #[error("the peer's solution does not count: {0}")]
    PuzzleRefused(crate::puzzle::Refusal),
    /// The connection ended without a closing record.
    #[error("the connection was lost")]
    Lost,
    /// A configuration or a key of our own that cannot be used.
    #[error("local fault: {0}")]
    Local(&'static str),
    /// This should not happen.
    #[error("a bug: {0}")]
    Bug(&'static str),
}
