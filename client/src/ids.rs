//! Numbers that name rows of the vault. Each kind is a type of its own.

use borsh::{BorshDeserialize, BorshSerialize};

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
            BorshSerialize, BorshDeserialize, serde::Serialize, serde::Deserialize,
            schemars::JsonSchema,
        )]
        pub struct $name(u64);

        impl $name {
            /// The number as an id.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            pub const fn number(self) -> u64 {
                self.0
            }

            /// The key of its row: big-endian, so that rows stand in the order of their numbers.
            pub fn key(self) -> Vec<u8> {
                self.0.to_be_bytes().to_vec()
            }

            /// The id whose row has this key.
            pub fn from_key(key: &[u8]) -> Option<Self> {
                <[u8; 8]>::try_from(key).ok().map(u64::from_be_bytes).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

number! {
    /// A contact.
    ContactId;
    /// A text, sent or received.
    MessageId;
    /// A request of the outbox.
    RequestId;
    /// An invitation of ours.
    InvitationId;
    /// An invitation of somebody else's that waits to be opened.
    PendingId;
    /// Something that the person is to be told.
    BannerId;
    /// Somebody who wrote to the own address.
    AskerId;
}
