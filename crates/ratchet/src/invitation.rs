//! Invitations: a short text that leads to a sealed bundle.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use whist_types::{DropId, NodeId, Reader, Secret, Truncated, Writer};

use crate::bundle::bundle_hash;
use crate::kdf::labelled;
use crate::limits::{NONCE_BYTES, TAG_BYTES};
use crate::{BUNDLE_BYTES, Bundle, Error, UnverifiedBundle, aead};

/// Size of a sealed bundle, which is what a drop holds (protocol.md, section 3).
pub const BLOB_BYTES: usize = 1_554;
const _: () = assert!(BUNDLE_BYTES + TAG_BYTES == BLOB_BYTES);

/// Size of an invitation before it becomes text.
pub const INVITATION_BYTES: usize = 1 + 32 + 32 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 4;
const _: () = assert!(INVITATION_BYTES == 69);

const VERSION: u8 = 1;
const PREFIX: &str = "whist:";

/// `k`, the hash of a bundle. Who holds it can open the bundle, write the first item, or burn the
/// invitation, so it is a secret.
#[derive(PartialEq, Eq)]
pub struct InvitationKey(Secret<32>);

impl InvitationKey {
    /// Wraps the bytes of an invitation.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The bytes, for the store and for the text.
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// A second copy, made on purpose.
    pub const fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }

    /// Where the sealed bundle waits.
    pub fn drop_id(&self) -> DropId {
        DropId::from_bytes(labelled(
            "whist 2026 invitation drop id v1",
            &[self.expose()],
        ))
    }

    pub(crate) fn of(bundle: &[u8; BUNDLE_BYTES]) -> Self {
        Self::from_bytes(bundle_hash(bundle))
    }

    pub(crate) fn sealing_key(&self) -> Secret<32> {
        Secret::new(labelled("whist 2026 invitation seal v1", &[self.expose()]))
    }

    pub(crate) fn first_contact_key(&self) -> Secret<32> {
        Secret::new(labelled("whist 2026 first contact v1", &[self.expose()]))
    }
}

impl fmt::Debug for InvitationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationKey([redacted])")
    }
}

/// Seals a bundle for its drop. The nonce is zero: the key belongs to this bundle alone.
pub fn seal_bundle(bundle: &Bundle) -> Box<[u8; BLOB_BYTES]> {
    let bytes = bundle.to_bytes();
    let key = InvitationKey::of(&bytes).sealing_key();
    let sealed = aead::seal(&key, &[0; NONCE_BYTES], &[], &bytes);
    #[expect(clippy::expect_used, reason = "the sizes are asserted above")]
    sealed.try_into().expect("bundle and tag make a blob")
}

/// Opens a drop's blob: its bundle hashes to `k` and is signed, or it is refused.
pub fn open_bundle(key: &InvitationKey, blob: &[u8; BLOB_BYTES]) -> Result<Bundle, Error> {
    let bytes = aead::open(&key.sealing_key(), &[0; NONCE_BYTES], &[], blob)
        .map_err(|_| Error::WrongBundle)?;
    let bytes: &[u8; BUNDLE_BYTES] = bytes.as_slice().try_into().map_err(|_| Error::Malformed)?;
    if InvitationKey::of(bytes) != *key {
        return Err(Error::WrongBundle);
    }
    UnverifiedBundle::from_bytes(bytes)?.verify()
}

/// What one person gives another.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | version | 1 |
/// | 1 | 32 | provider | where the drop is |
/// | 33 | 32 | k | the bundle's hash |
/// | 65 | 4 | checksum | first bytes of BLAKE3 over what precedes, under a label of its own |
///
/// As text: `whist:` and the base32 form (RFC 4648, without padding, lower case; capitals are
/// read too, so that a QR code can use its alphanumeric mode): 117 characters.
#[derive(PartialEq, Eq)]
pub struct Invitation {
    /// Where the drop is.
    pub provider: NodeId,
    /// Opens it.
    pub key: InvitationKey,
}

impl Invitation {
    /// The bytes of the table above.
    pub fn to_bytes(&self) -> [u8; INVITATION_BYTES] {
        let mut w = Writer::with_capacity(INVITATION_BYTES);
        w.u8(VERSION)
            .put(self.provider.as_bytes())
            .put(self.key.expose());
        w.put(&checksum(
            VERSION,
            self.provider.as_bytes(),
            self.key.expose(),
        ));
        #[expect(clippy::expect_used, reason = "the sizes are asserted above")]
        w.into_bytes().try_into().expect("the fields add up")
    }

    /// Reads the bytes of the table above.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let version = r.u8().map_err(|_| Error::WrongLength)?;
        if version != VERSION {
            return Err(Error::UnknownVersion(version));
        }
        let mut fields = || Ok::<_, Truncated>((r.array()?, r.array()?, r.array()?));
        let (provider, key, sum) = fields().map_err(|_| Error::WrongLength)?;
        if !r.rest().is_empty() {
            return Err(Error::WrongLength);
        }
        if sum != checksum(version, &provider, &key) {
            return Err(Error::BadChecksum);
        }
        Ok(Self {
            provider: NodeId::from_bytes(provider),
            key: InvitationKey::from_bytes(key),
        })
    }
}

fn checksum(version: u8, provider: &[u8; 32], key: &[u8; 32]) -> [u8; CHECKSUM_BYTES] {
    let label = "whist 2026 invitation text v1";
    let [a, b, c, d, ..] = labelled(label, &[&[version], provider, key]);
    [a, b, c, d]
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = BASE32_NOPAD.encode(&self.to_bytes()).to_ascii_lowercase();
        write!(f, "{PREFIX}{text}")
    }
}

impl FromStr for Invitation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim().to_ascii_uppercase();
        let body = text
            .strip_prefix(&PREFIX.to_ascii_uppercase())
            .ok_or(Error::NotAnInvitation)?;
        // Checked first so that a cut text is called cut, not misspelt.
        if !body.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7')) {
            return Err(Error::BadCharacter);
        }
        if body.len() != BASE32_NOPAD.encode_len(INVITATION_BYTES) {
            return Err(Error::WrongLength);
        }
        let bytes = BASE32_NOPAD
            .decode(body.as_bytes())
            .map_err(|_| Error::BadChecksum)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invitation([redacted])")
    }
}
