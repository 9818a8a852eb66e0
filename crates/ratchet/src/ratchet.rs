//! The Double Ratchet with header encryption (Signal's specification, section 4), as values:
//! nothing here changes before the caller says so.

use rand_core::CryptoRng;
use whist_types::{Reader, Secret, Truncated, Writer};

use crate::identity::{agree, exchange_public};
use crate::kdf::{ROOT_INFO, SECRET_INFO, chain_step, hybrid, three_keys};
use crate::limits::{
    HEADER_BYTES, KEY_BYTES, NONCE_BYTES, SEALED_HEADER_BYTES, SKIPPED_IN_CHAIN_MAX,
};
use crate::pqxdh::Agreed;
use crate::sparse::{Note, Sealing};
use crate::{Error, aead};

/// A ratchet message's header in the clear.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 32 | key | the sender's ratchet key, X25519 |
/// | 32 | 4 | previous | items in the sender's previous chain, big-endian |
/// | 36 | 4 | number | of this item in its chain, from 0, big-endian |
/// | 40 | 4 | epoch | of the post-quantum ratchet, big-endian |
/// | 44 | 4 | epoch number | of this item in the sender's chain of the epoch, big-endian |
/// | 48 | 2 | offset | of the fragment in the plaintext, big-endian; 0xffff if it has none |
/// | 50 | 2 | acknowledged | bytes of the peer's key or ciphertext, big-endian |
/// | 52 | 2 | devices | how many the sender has, big-endian: 1 for now |
/// | 54 | 2 | secrets | shared secrets mixed into the chain's root key, big-endian |
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: [u8; 32],
    pub(crate) previous: u32,
    pub(crate) number: u32,
    pub(crate) note: Note,
    pub(crate) devices: u16,
    pub(crate) secrets: u16,
}

const _: () = assert!(HEADER_BYTES == KEY_BYTES + 4 * 4 + 4 * 2);

/// Stands for an item without a fragment.
const NO_FRAGMENT: u16 = u16::MAX;
/// One device for now.
const DEVICES: u16 = 1;

impl Header {
    fn to_bytes(self) -> Vec<u8> {
        let mut w = Writer::with_capacity(HEADER_BYTES);
        w.put(&self.key).u32(self.previous).u32(self.number);
        w.u32(self.note.epoch).u32(self.note.number);
        w.u16(self.note.offset.unwrap_or(NO_FRAGMENT));
        w.u16(self.note.acknowledged);
        w.u16(self.devices).u16(self.secrets);
        w.into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(bytes);
        Ok(Self {
            key: r.array()?,
            previous: r.u32()?,
            number: r.u32()?,
            note: Note {
                epoch: r.u32()?,
                number: r.u32()?,
                offset: Some(r.u16()?).filter(|&offset| offset != NO_FRAGMENT),
                acknowledged: r.u16()?,
            },
            devices: r.u16()?,
            secrets: r.u16()?,
        })
    }

    /// `HDECRYPT`: whether `key` is the one that sealed this header.
    pub(crate) fn open(key: &Secret<32>, message: &Message<'_>) -> Option<Self> {
        let bytes = aead::open(key, &message.nonce, &[], message.header).ok()?;
        Self::from_bytes(&bytes).ok()
    }

    /// Refuses what no honest program writes.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.devices == 0 {
            return Err(Error::Malformed);
        }
        Ok(())
    }
}

/// A ratchet message on the wire.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 12 | nonce | random; of header and body, whose keys differ |
/// | 12 | 72 | header | ChaCha20-Poly1305 under the header key, no associated data |
/// | 84 | rest | body | ChaCha20-Poly1305 under both ratchets' keys; associated data AD ‖ header |
pub(crate) struct Message<'a> {
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) header: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(bytes);
        Ok(Self {
            nonce: r.array()?,
            header: r.slice(SEALED_HEADER_BYTES)?,
            body: r.rest(),
        })
    }
}

/// One direction's symmetric chain.
pub(crate) struct Chain {
    /// Seals the headers of this chain.
    pub(crate) header: Secret<32>,
    pub(crate) key: Secret<32>,
    /// The number of the next item.
    pub(crate) next: u32,
    /// Shared secrets mixed into the root key that it came from.
    pub(crate) secrets: u16,
}

/// Keys of the items that were jumped over, by number, ascending.
pub(crate) type Jumped = Vec<(u32, Secret<32>)>;

impl Chain {
    pub(crate) const fn new(header: Secret<32>, key: Secret<32>, secrets: u16) -> Self {
        Self {
            header,
            key,
            next: 0,
            secrets,
        }
    }

    fn duplicate(&self) -> Self {
        Self {
            header: self.header.duplicate(),
            key: self.key.duplicate(),
            next: self.next,
            secrets: self.secrets,
        }
    }

    /// The next message key; the chain moves on.
    pub(crate) fn step(&mut self) -> Result<Secret<32>, Error> {
        let next = self.next.checked_add(1).ok_or(Error::Exhausted)?;
        let (key, message) = chain_step(&self.key);
        self.key = key;
        self.next = next;
        Ok(message)
    }

    /// A copy of this chain at `until` and the keys in between (`SkipMessageKeysHE`).
    pub(crate) fn jump(&self, until: u32) -> Result<(Self, Jumped), Error> {
        let distance = until.saturating_sub(self.next);
        if distance > SKIPPED_IN_CHAIN_MAX {
            return Err(Error::TooManySkipped);
        }
        let mut chain = self.duplicate();
        let mut jumped = Jumped::with_capacity(usize::try_from(distance).unwrap_or(0));
        while chain.next < until {
            let number = chain.next;
            jumped.push((number, chain.step()?));
        }
        Ok((chain, jumped))
    }
}

/// The state of section 4.2, without the skipped keys. `DHRr` is not kept: header keys, not ratchet
/// keys, tell when to step.
pub(crate) struct Ratchet {
    /// `RK`.
    pub(crate) root: Secret<32>,
    /// `DHRs`, secret half.
    pub(crate) own: Secret<32>,
    /// `HKs`, `CKs`, `Ns`.
    pub(crate) send: Chain,
    /// `HKr`, `CKr`, `Nr`: nothing until the peer has been heard.
    pub(crate) receive: Option<Chain>,
    /// `NHKs`.
    pub(crate) next_send_header: Secret<32>,
    /// `NHKr`.
    pub(crate) next_receive_header: Secret<32>,
    /// `PN`.
    pub(crate) previous: u32,
}

impl Ratchet {
    /// `RatchetInitAliceHE`. Draws 32 bytes.
    pub(crate) fn initiator(
        agreed: &Agreed,
        prekey: &[u8; 32],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let own = Secret::random(rng);
        let shared = agree(&own, prekey)?;
        let [root, key, next_send_header] =
            three_keys(agreed.root.expose(), shared.expose(), ROOT_INFO);
        Ok(Self {
            root,
            own,
            send: Chain::new(agreed.initiator_header.duplicate(), key, 0),
            receive: None,
            next_send_header,
            next_receive_header: agreed.responder_header.duplicate(),
            previous: 0,
        })
    }

    /// `RatchetInitBobHE` and the step that the first message causes. Draws 32 bytes.
    pub(crate) fn responder(
        agreed: &Agreed,
        prekey: &Secret<32>,
        theirs: &[u8; 32],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let before = Before {
            root: &agreed.root,
            own: prekey,
            send_header: &agreed.responder_header,
            receive_header: &agreed.initiator_header,
            sent: 0,
            secrets: 0,
        };
        before.step(theirs, None, rng)
    }

    /// `DHRatchetHE`: the state after the peer's new key; with a shared secret if the peer has
    /// mixed one in. Draws 32 bytes.
    pub(crate) fn step(
        &self,
        theirs: &[u8; 32],
        secret: Option<&Secret<32>>,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let before = Before {
            root: &self.root,
            own: &self.own,
            send_header: &self.next_send_header,
            receive_header: &self.next_receive_header,
            sent: self.send.next,
            secrets: self.send.secrets,
        };
        before.step(theirs, secret, rng)
    }

    /// Mixes a shared secret into the root key and the sending chain, of which nothing has been
    /// used: the peer does the same in the step that the chain's first item causes.
    pub(crate) fn mix(&mut self, secret: &Secret<32>) -> Result<(), Error> {
        if self.send.next != 0 {
            return Err(Error::SecretAgreed);
        }
        let secrets = self.send.secrets.checked_add(1).ok_or(Error::Exhausted)?;
        [self.root, self.send.key, self.next_send_header] =
            three_keys(self.root.expose(), secret.expose(), SECRET_INFO);
        self.send.secrets = secrets;
        Ok(())
    }

    /// `RatchetEncryptHE`, under the keys of both ratchets. Draws 12 bytes.
    pub(crate) fn seal(
        &mut self,
        ad: &[u8],
        plaintext: &[u8],
        sealing: &Sealing,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Error> {
        let header = Header {
            key: exchange_public(&self.own),
            previous: self.previous,
            number: self.send.next,
            note: sealing.note,
            devices: DEVICES,
            secrets: self.send.secrets,
        };
        let message_key = hybrid(&self.send.step()?, &sealing.key);
        // Message keys are used once, so a constant nonce would do. A random one costs nothing and
        // keeps two plaintexts apart should a store ever be set back to an earlier state.
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let header = aead::seal(&self.send.header, &nonce, &[], &header.to_bytes());
        let aad = [ad, &header].concat();
        let body = aead::seal(&message_key, &nonce, &aad, plaintext);
        Ok([nonce.as_slice(), &header, &body].concat())
    }
}

/// What a Diffie-Hellman step reads.
struct Before<'a> {
    root: &'a Secret<32>,
    own: &'a Secret<32>,
    send_header: &'a Secret<32>,
    receive_header: &'a Secret<32>,
    sent: u32,
    secrets: u16,
}

impl Before<'_> {
    fn step(
        &self,
        theirs: &[u8; 32],
        secret: Option<&Secret<32>>,
        rng: &mut impl CryptoRng,
    ) -> Result<Ratchet, Error> {
        let shared = agree(self.own, theirs)?;
        let mut keys = three_keys(self.root.expose(), shared.expose(), ROOT_INFO);
        let mut secrets = self.secrets;
        if let Some(secret) = secret {
            keys = three_keys(keys[0].expose(), secret.expose(), SECRET_INFO);
            secrets = secrets.checked_add(1).ok_or(Error::Exhausted)?;
        }
        let [root, receive_key, next_receive_header] = keys;
        let own = Secret::random(rng);
        let shared = agree(&own, theirs)?;
        let [root, send_key, next_send_header] =
            three_keys(root.expose(), shared.expose(), ROOT_INFO);
        Ok(Ratchet {
            root,
            own,
            send: Chain::new(self.send_header.duplicate(), send_key, secrets),
            receive: Some(Chain::new(
                self.receive_header.duplicate(),
                receive_key,
                secrets,
            )),
            next_send_header,
            next_receive_header,
            previous: self.sent,
        })
    }
}
