//! What can go wrong, and whose fault it is. A peer is never told.

/// Every failure of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No key of this session opens the item: it is for another one, or altered, or noise.
    #[error("the item does not belong to this session")]
    NotForUs,
    /// The item was opened before, or its key has expired.
    #[error("the item was opened before, or its key has expired")]
    Replayed,
    /// The item's number is further ahead than [`crate::SKIPPED_IN_CHAIN_MAX`].
    #[error("too many items are missing before this one")]
    TooManySkipped,
    /// The header is the peer's but the body is not.
    #[error("the item was altered")]
    Altered,
    /// A public key of small order, or not a point, or not in canonical form.
    #[error("an invalid public key")]
    BadKey,
    /// What was inside an authentic item or bundle is not what the format demands.
    #[error("malformed contents")]
    Malformed,
    /// A prekey of the bundle is not signed by its identity.
    #[error("a signature of the bundle is wrong")]
    BadSignature,
    /// The bundle is not the one that the invitation names.
    #[error("the bundle is not the one that the invitation names")]
    WrongBundle,
    /// One's own invitation.
    #[error("this invitation is one's own")]
    OwnInvitation,
    /// The body is longer than the item holds.
    #[error("the body is too long for one item")]
    TooLong,
    /// Stored state that was not written by this version, or is damaged.
    #[error("the stored state is damaged")]
    DamagedState,
    /// The peer has another shared secret: nothing is sealed before both have the same, or none.
    #[error("the shared secrets differ")]
    SecretsDiffer,
    /// A shared secret is demanded and not in use: nothing is sealed before.
    #[error("the shared secret is not in use")]
    SecretMissing,
    /// Both have the same shared secret, and it comes into use with the next items.
    #[error("the shared secret is agreed and comes into use")]
    SecretAgreed,
    /// 2^32 items in one chain.
    #[error("the chain is exhausted")]
    Exhausted,
    /// A text that does not begin with `whist:`.
    #[error("not an invitation: it must begin with \"whist:\"")]
    NotAnInvitation,
    /// A character that no invitation has.
    #[error("the invitation holds a character that does not belong there")]
    BadCharacter,
    /// An invitation that was cut or has something added.
    #[error("the invitation is incomplete or too long")]
    WrongLength,
    /// An invitation with a misread character.
    #[error("the invitation's checksum is wrong: a character was misread")]
    BadChecksum,
    /// An invitation of a later version.
    #[error("the invitation has version {0}; a newer program is needed")]
    UnknownVersion(u8),
}

/// Whose fault an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The other side, or somebody on the way.
    Peer,
    /// The caller, the person or the disk.
    Local,
}

impl Error {
    /// Whose fault this is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NotForUs
            | Self::Replayed
            | Self::TooManySkipped
            | Self::Altered
            | Self::BadKey
            | Self::Malformed
            | Self::BadSignature
            | Self::WrongBundle => Fault::Peer,
            Self::OwnInvitation
            | Self::TooLong
            | Self::DamagedState
            | Self::Exhausted
            | Self::SecretsDiffer
            | Self::SecretMissing
            | Self::SecretAgreed
            | Self::NotAnInvitation
            | Self::BadCharacter
            | Self::WrongLength
            | Self::BadChecksum
            | Self::UnknownVersion(_) => Fault::Local,
        }
    }
}
