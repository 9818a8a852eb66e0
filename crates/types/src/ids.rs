//! Newtypes for everything that is "32 bytes", so that no two of them can be confused.

use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use data_encoding::HEXLOWER_PERMISSIVE;

/// A text that is not the lower-case hexadecimal form of an id or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits")]
pub struct ParseIdError {
    /// Number of digits that the id has.
    pub expected: usize,
}

macro_rules! byte_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(BorshSerialize, BorshDeserialize)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Wraps bytes as they stand on the wire.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes as they stand on the wire.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The bytes as they stand on the wire.
            pub const fn to_bytes(self) -> [u8; $len] {
                self.0
            }

            /// Whether all bytes are zero.
            pub fn is_zero(&self) -> bool {
                self.0.iter().all(|&b| b == 0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| <[u8; $len]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or(ParseIdError { expected: $len * 2 })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Of a node or a document: everybody may read it.
macro_rules! public_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        byte_newtype!($(#[$doc])* $name, $len);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

/// Of a person: it names somebody's mailbox, session or message, and must not get into a log. It
/// has no text but the one that `serde` writes.
macro_rules! private_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        byte_newtype!($(#[$doc])* $name, $len);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([scrubbed])"))
            }
        }
    };
}

public_newtype!(
    /// A node's id and its address in Sphinx: the BLAKE3 hash of its identity key.
    NodeId, 32
);
public_newtype!(
    /// A node's off-line Ed25519 identity key (public half).
    IdentityKey, 32
);
public_newtype!(
    /// A node's or authority's on-line Ed25519 key, by which its links know it (RFC 7250).
    LinkKey, 32
);
public_newtype!(
    /// An authority's Ed25519 key, with which it signs the consensus.
    AuthorityKey, 32
);
public_newtype!(
    /// A node's X25519 key for Sphinx packets of one epoch (public half).
    SphinxKey, 32
);
public_newtype!(
    /// An operator's family: nodes that share it are never two of one route.
    Family, 32
);
private_newtype!(
    /// Where a client's replies go at its entry provider; random, fresh for each session.
    SessionAddress, 32
);
private_newtype!(
    /// Names one outstanding SURB to its maker; random and never zero.
    SurbId, 16
);
private_newtype!(
    /// A mailbox's Ed25519 key, made for this mailbox alone (public half).
    MailboxKey, 32
);
private_newtype!(
    /// An address of a mailbox, given to one contact: BLAKE3(mailbox key ‖ 16 random bytes).
    MailboxAddress, 32
);
private_newtype!(
    /// The 16 random bytes behind one address of a mailbox, known to its owner and provider.
    Salt16, 16
);
private_newtype!(
    /// Where a sealed invitation bundle waits at a provider.
    DropId, 32
);
public_newtype!(
    /// BLAKE3 of an item, by which `PUT` is idempotent.
    ItemHash, 32
);
public_newtype!(
    /// BLAKE3 of a consensus header as signed.
    ConsensusHash, 32
);

impl IdentityKey {
    /// The node id that this key has (protocol.md §1).
    pub fn node_id(&self) -> NodeId {
        NodeId(blake3::derive_key("whist 2026 node id v1", &self.0))
    }
}

impl MailboxKey {
    /// The address that `salt` opens at this mailbox (protocol.md §3).
    pub fn address(&self, salt: &Salt16) -> MailboxAddress {
        let mut hasher = blake3::Hasher::new_derive_key("whist 2026 mailbox address v1");
        hasher.update(&self.0);
        hasher.update(&salt.0);
        MailboxAddress(*hasher.finalize().as_bytes())
    }
}

/// The position of a mix in a route, counted from 0 at the entry provider's side.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    BorshSerialize,
    BorshDeserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Layer(u8);

impl Layer {
    /// The layer that entry providers send to.
    pub const FIRST: Self = Self(0);

    /// The `index`-th layer, from 0.
    pub const fn new(index: u8) -> Self {
        Self(index)
    }

    /// Index from 0.
    pub const fn index(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let id = IdentityKey::from_bytes([7; 32]).node_id();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(
            serde_json::from_str::<NodeId>(&format!("\"{id}\"")).ok(),
            Some(id)
        );
        assert_eq!("zz".parse::<NodeId>(), Err(ParseIdError { expected: 64 }));
    }

    #[test]
    fn what_names_a_person_does_not_print() {
        let printed = [
            format!("{:?}", MailboxKey::from_bytes([7; 32])),
            format!("{:?}", MailboxAddress::from_bytes([7; 32])),
            format!("{:?}", SessionAddress::from_bytes([7; 32])),
            format!("{:?}", SurbId::from_bytes([7; 16])),
            format!("{:?}", DropId::from_bytes([7; 32])),
            format!("{:?}", Salt16::from_bytes([7; 16])),
        ];
        let names = [
            "MailboxKey",
            "MailboxAddress",
            "SessionAddress",
            "SurbId",
            "DropId",
            "Salt16",
        ];
        assert_eq!(printed, names.map(|name| format!("{name}([scrubbed])")));
    }

    #[test]
    fn what_names_a_person_can_still_be_written_and_read() {
        let id = DropId::from_bytes([7; 32]);
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text, format!("\"{}\"", "07".repeat(32)));
        assert_eq!(serde_json::from_str::<DropId>(&text).unwrap(), id);
    }

    #[test]
    fn an_address_depends_on_key_and_salt() {
        let key = MailboxKey::from_bytes([1; 32]);
        let a = key.address(&Salt16::from_bytes([1; 16]));
        assert_ne!(a, key.address(&Salt16::from_bytes([2; 16])));
        assert_ne!(
            a,
            MailboxKey::from_bytes([2; 32]).address(&Salt16::from_bytes([1; 16]))
        );
    }
}
