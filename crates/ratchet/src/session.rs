//! A conversation with one person.

use std::fmt;
use std::time::Duration;

use rand_core::CryptoRng;
use whist_types::{ConsensusHash, Reader, Secret, Truncated, Wall};
use zeroize::Zeroizing;

use crate::identity::exchange_public;
use crate::kdf::hybrid;
use crate::limits::{
    BODY_MAX, FIRST_PAYLOAD_MAX, FIRST_PLAINTEXT_BYTES, KEM_CIPHERTEXT_BYTES, PLAINTEXT_BYTES,
    RIDER_BYTES, XNONCE_BYTES,
};
use crate::pqxdh::{self, AD_BYTES, associated_data};
use crate::ratchet::{Chain, Header, Jumped, Message, Ratchet};
use crate::shared::{Rider, Shared};
use crate::skipped::{Hour, Place, Skipped};
use crate::sparse::{MlKem768, Note, Sparse};
use crate::{
    Bundle, Error, IdentitySecret, InvitationKey, Item, PersonKey, Plaintext, PrekeySecrets,
    SealedItem, aead,
};

const FIRST_VERSION: u8 = 1;

/// A conversation with one person: keys for both directions and those of items that are missing.
pub struct Session {
    pub(crate) peer: PersonKey,
    pub(crate) ad: [u8; AD_BYTES],
    pub(crate) ratchet: Ratchet,
    pub(crate) skipped: Skipped,
    pub(crate) sparse: Sparse<MlKem768>,
    pub(crate) shared: Shared,
}

/// What the outer seal of a first item holds.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | version | 1 |
/// | 1 | 32 | identity | the initiator's [`PersonKey`] |
/// | 33 | 32 | ephemeral | X25519 |
/// | 65 | 1088 | ciphertext | ML-KEM-768 |
/// | 1153 | 343 | message | the first ratchet message; its plaintext has 243 bytes |
struct First<'a> {
    identity: PersonKey,
    ephemeral: [u8; 32],
    ciphertext: [u8; KEM_CIPHERTEXT_BYTES],
    message: &'a [u8],
}

impl<'a> First<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        if r.u8() != Ok(FIRST_VERSION) {
            return Err(Error::Malformed);
        }
        let mut keys = || Ok::<_, Truncated>((r.array()?, r.array()?, r.array()?));
        let (identity, ephemeral, ciphertext) = keys().map_err(|_| Error::Malformed)?;
        Ok(Self {
            identity: PersonKey::from_bytes(identity)?,
            ephemeral,
            ciphertext,
            message: r.rest(),
        })
    }
}

/// How an item was recognised, and what is to change if its body opens as well.
pub(crate) enum Found {
    /// A key that was kept.
    Kept(Place, Secret<32>),
    /// The current chain, moved on.
    Current(Chain, Jumped, Secret<32>),
    /// The peer's next chain.
    Next(Box<Ratchet>, Jumped, Jumped, Secret<32>),
}

impl Found {
    pub(crate) const fn message_key(&self) -> &Secret<32> {
        match self {
            Self::Kept(_, key) | Self::Current(_, _, key) | Self::Next(_, _, _, key) => key,
        }
    }
}

impl Session {
    /// Answers an invitation: the session and its first item, for the bundle's address.
    ///
    /// The body of `first` has at most [`FIRST_PAYLOAD_MAX`] bytes. Draws 32 bytes (ephemeral key),
    /// 32 (ML-KEM), 32 (ratchet key), 64 (seed of the first offer), 12 (inner nonce), 24 (outer
    /// nonce).
    pub fn initiate(
        identity: &IdentitySecret,
        bundle: &Bundle,
        key: &InvitationKey,
        first: &Plaintext,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, SealedItem), Error> {
        let own = identity.public();
        if bundle.identity() == own {
            return Err(Error::OwnInvitation);
        }
        if bundle.invitation_key() != *key {
            return Err(Error::WrongBundle);
        }
        let room = first.room(FIRST_PAYLOAD_MAX, FIRST_PLAINTEXT_BYTES)?;
        let ephemeral = Secret::random(rng);
        let (agreed, ciphertext) = pqxdh::initiate(identity, &ephemeral, bundle, rng)?;
        let ad = associated_data(&own, &bundle.identity(), key);
        let mut ratchet = Ratchet::initiator(&agreed, bundle.prekey(), rng)?;
        let mut sparse = Sparse::new(true, &agreed.sparse);
        let sealing = sparse.seal(room, rng)?;
        let plaintext = first.pad(None, &sealing.fragment, FIRST_PLAINTEXT_BYTES)?;
        let message = ratchet.seal(&ad, &plaintext, &sealing, rng)?;
        let head: [&[u8]; 5] = [
            &[FIRST_VERSION],
            own.as_bytes(),
            &exchange_public(&ephemeral),
            &ciphertext,
            &message,
        ];
        let mut nonce = [0; XNONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed = aead::seal_extended(&key.first_contact_key(), &nonce, &head.concat());
        let session = Self {
            peer: bundle.identity(),
            ad,
            ratchet,
            skipped: Skipped::default(),
            sparse,
            shared: Shared::default(),
        };
        let item = Item::from_vec([nonce.as_slice(), &sealed].concat());
        Ok((session, SealedItem::new(item)))
    }

    /// Takes the first item of an invitation of one's own: the session, what it said, and who
    /// wrote it. Delete `prekeys` afterwards. Draws 32 bytes (ratchet key).
    ///
    /// [`Error::NotForUs`] if the item is not a first item of this invitation.
    pub fn accept(
        identity: &IdentitySecret,
        prekeys: &PrekeySecrets,
        key: &InvitationKey,
        item: &Item,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Plaintext, PersonKey), Error> {
        let mut r = Reader::new(item.as_bytes());
        let nonce = r.array().map_err(|_| Error::NotForUs)?;
        let inner = aead::open_extended(&key.first_contact_key(), &nonce, r.rest())
            .map_err(|_| Error::NotForUs)?;
        let first = First::parse(&inner)?;
        let own = identity.public();
        if first.identity == own {
            return Err(Error::OwnInvitation);
        }
        let agreed = pqxdh::respond(
            identity,
            prekeys,
            &first.identity,
            &first.ephemeral,
            &first.ciphertext,
        )?;
        let ad = associated_data(&first.identity, &own, key);
        let message = Message::parse(first.message).map_err(|_| Error::Malformed)?;
        let header = Header::open(&agreed.initiator_header, &message).ok_or(Error::Altered)?;
        header.check()?;
        if header.number != 0 || header.previous != 0 {
            return Err(Error::Malformed);
        }
        let mut ratchet = Ratchet::responder(&agreed, &prekeys.prekey, &header.key, rng)?;
        let receive = ratchet.receive.as_mut().ok_or(Error::Malformed)?;
        let mut sparse = Sparse::<MlKem768>::new(false, &agreed.sparse);
        let (_, key) = sparse.follow(&header.note, 0)?;
        let key = hybrid(&receive.step()?, &key);
        let plaintext = open_body(&ad, &message, &key)?;
        let (plaintext, rider) = take(&mut sparse, &header, &plaintext, FIRST_PAYLOAD_MAX)?;
        if header.secrets != 0 || rider.is_some() {
            return Err(Error::Malformed);
        }
        let session = Self {
            peer: first.identity,
            ad,
            ratchet,
            skipped: Skipped::default(),
            sparse,
            shared: Shared::default(),
        };
        Ok((session, plaintext, first.identity))
    }

    /// Seals one item. Store the session before the item leaves. Draws 64 bytes if the
    /// post-quantum ratchet begins an offer, 32 if it begins an answer; then 12.
    ///
    /// [`Error::TooLong`] if the body is above [`BODY_MAX`]; [`Error::SecretsDiffer`] or
    /// [`Error::SecretMissing`] while nothing may be said before a shared secret is mended or in
    /// use.
    pub fn seal(
        &mut self,
        plaintext: &Plaintext,
        rng: &mut impl CryptoRng,
    ) -> Result<SealedItem, Error> {
        plaintext.room(BODY_MAX, PLAINTEXT_BYTES)?;
        self.mix_own()?;
        self.shared.admits()?;
        self.seal_any(plaintext, rng)
    }

    /// Seals an item that says nothing but what this end has to say of a shared secret, whatever
    /// its state. Draws what [`Self::seal`] draws.
    pub fn seal_bare(
        &mut self,
        device: u8,
        consensus: ConsensusHash,
        rng: &mut impl CryptoRng,
    ) -> Result<SealedItem, Error> {
        self.mix_own()?;
        let plaintext = Plaintext {
            device,
            consensus,
            body: Vec::new(),
        };
        self.seal_any(&plaintext, rng)
    }

    fn seal_any(
        &mut self,
        plaintext: &Plaintext,
        rng: &mut impl CryptoRng,
    ) -> Result<SealedItem, Error> {
        if self.ratchet.send.next == u32::MAX {
            return Err(Error::Exhausted);
        }
        let rider = self.rider();
        let taken = rider.as_ref().map_or(0, |_| RIDER_BYTES);
        let room = plaintext.room(BODY_MAX, PLAINTEXT_BYTES)?;
        let room = room.checked_sub(taken).ok_or(Error::TooLong)?;
        let sealing = self.sparse.seal(room, rng)?;
        let padded = plaintext.pad(rider.as_ref(), &sealing.fragment, PLAINTEXT_BYTES)?;
        let message = self.ratchet.seal(&self.ad, &padded, &sealing, rng)?;
        self.shared.told = true;
        Ok(SealedItem::new(Item::from_vec(message)))
    }

    /// Opens one item; a failure leaves the session as it was. Store the session before the item
    /// is acknowledged. Draws 32 bytes when the peer's ratchet key is new.
    pub fn open(
        &mut self,
        item: &Item,
        now: Wall,
        rng: &mut impl CryptoRng,
    ) -> Result<Plaintext, Error> {
        let (plaintext, held) = self.open_held(item, now, rng)?;
        held.finish();
        Ok(plaintext)
    }

    /// The first half of [`Self::open`]: what the item says, and what [`Held::finish`] will change.
    /// Until then, and for ever if the value is dropped, the session is byte for byte what it was,
    /// and the item opens again. For a program that keeps no history: it shows the text, and lets
    /// the session move on only when it acknowledges the item. Draws what `open` draws.
    pub fn open_held(
        &mut self,
        item: &Item,
        now: Wall,
        rng: &mut impl CryptoRng,
    ) -> Result<(Plaintext, Held<'_>), Error> {
        let message = Message::parse(item.as_bytes()).map_err(|_| Error::NotForUs)?;
        let mut sparse = None;
        let (header, found) = self.recognise(&message, &mut sparse, rng)?;
        header.check()?;
        let mut sparse = sparse.unwrap_or_else(|| self.sparse.duplicate());
        let plaintext = open_body(&self.ad, &message, found.message_key())?;
        let (plaintext, rider) = take(&mut sparse, &header, &plaintext, BODY_MAX)?;
        let by_initiator = !self.sparse.initiator;
        let rider = rider.map(|rider| Rider::parse(rider, by_initiator));
        let rider = rider.transpose()?;
        let held = Held {
            session: self,
            found,
            sparse,
            rider,
            hour: Hour::of(now),
        };
        Ok((plaintext, held))
    }

    /// Forgets kept keys that are older than `life`, the mailboxes' time to live; says how many.
    pub fn expire(&mut self, now: Wall, life: Duration) -> usize {
        self.skipped.expire(now, life)
    }

    /// Who is at the other end.
    pub const fn peer(&self) -> PersonKey {
        self.peer
    }

    /// Whether anything of the peer's was opened in this session: if not, it may not have it.
    pub const fn has_heard(&self) -> bool {
        self.ratchet.receive.is_some()
    }

    /// Keys kept for items that are missing.
    pub fn skipped(&self) -> usize {
        self.skipped.len()
    }

    /// What the item is and its key. Leaves in `sparse` how the post-quantum ratchet moves on, if
    /// the item is not a late one.
    pub(crate) fn recognise(
        &self,
        message: &Message<'_>,
        sparse: &mut Option<Sparse<MlKem768>>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Header, Found), Error> {
        if let Some(chain) = &self.ratchet.receive
            && let Some(header) = Header::open(&chain.header, message)
        {
            if header.number < chain.next {
                let kept = self.skipped.find(&chain.header, header.number);
                return kept
                    .map(|(place, key)| (header, Found::Kept(place, key.duplicate())))
                    .ok_or(Error::Replayed);
            }
            if header.secrets != chain.secrets {
                return Err(Error::Malformed);
            }
            let (mut chain, jumped) = chain.jump(header.number)?;
            let key = chain.step()?;
            let sparse = sparse.insert(self.sparse.duplicate());
            let (jumped, key) = mix(sparse, &header.note, jumped, &key)?;
            return Ok((header, Found::Current(chain, jumped, key)));
        }
        if let Some(header) = Header::open(&self.ratchet.next_receive_header, message) {
            let sparse = sparse.insert(self.sparse.duplicate());
            return Ok((header, self.next_chain(&header, sparse, rng)?));
        }
        let (header, kept) = self
            .skipped
            .find_by_header(message)
            .ok_or(Error::NotForUs)?;
        kept.map(|(place, key)| (header, Found::Kept(place, key.duplicate())))
            .ok_or(Error::Replayed)
    }

    fn next_chain(
        &self,
        header: &Header,
        sparse: &mut Sparse<MlKem768>,
        rng: &mut impl CryptoRng,
    ) -> Result<Found, Error> {
        let old = match &self.ratchet.receive {
            Some(chain) => chain.jump(header.previous)?.1,
            None => Jumped::new(),
        };
        let secret = match header.secrets.checked_sub(self.ratchet.send.secrets) {
            Some(0) => None,
            // The initiator alone mixes, and what the responder has agreed to.
            Some(1) if !self.sparse.initiator => {
                Some(self.shared.agreed().ok_or(Error::Malformed)?)
            }
            _ => return Err(Error::Malformed),
        };
        let mut ratchet = self.ratchet.step(&header.key, secret, rng)?;
        let receive = ratchet.receive.as_ref().ok_or(Error::Malformed)?;
        let (mut receive, new) = receive.jump(header.number)?;
        let key = receive.step()?;
        ratchet.receive = Some(receive);
        let olds = old.len();
        let jumped = old.into_iter().chain(new).collect();
        let (mut old, key) = mix(sparse, &header.note, jumped, &key)?;
        let new = old.split_off(olds);
        Ok(Found::Next(Box::new(ratchet), old, new, key))
    }

    fn commit(&mut self, found: Found, hour: Hour) {
        match found {
            Found::Kept(place, _) => self.skipped.remove(place),
            Found::Current(chain, jumped, _) => {
                self.skipped.keep(&chain.header, jumped, hour);
                self.ratchet.receive = Some(chain);
            }
            Found::Next(ratchet, old, new, _) => {
                if let Some(chain) = &self.ratchet.receive {
                    self.skipped.keep(&chain.header, old, hour);
                }
                if let Some(chain) = &ratchet.receive {
                    self.skipped.keep(&chain.header, new, hour);
                }
                if ratchet.send.secrets != self.ratchet.send.secrets {
                    self.shared = Shared::default();
                }
                self.ratchet = *ratchet;
            }
        }
    }
}

/// An item that is open while its session has not moved on yet.
pub struct Held<'a> {
    session: &'a mut Session,
    found: Found,
    sparse: Sparse<MlKem768>,
    rider: Option<Rider>,
    hour: Hour,
}

impl Held<'_> {
    /// The session moves on: the item will not open again. Store the session before the item is
    /// acknowledged.
    pub fn finish(self) {
        self.session.sparse = self.sparse;
        self.session.commit(self.found, self.hour);
        if let Some(rider) = self.rider {
            self.session.hear(rider);
        }
    }
}

impl fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held([redacted])")
    }
}

/// Makes the keys of both ratchets one: those of the items that were jumped over, and that of the
/// item after them.
fn mix(
    sparse: &mut Sparse<MlKem768>,
    note: &Note,
    jumped: Jumped,
    key: &Secret<32>,
) -> Result<(Jumped, Secret<32>), Error> {
    let count = u32::try_from(jumped.len()).map_err(|_| Error::TooManySkipped)?;
    let (keys, last) = sparse.follow(note, count)?;
    let both = jumped.into_iter().zip(keys);
    let jumped = both.map(|((number, key), sparse)| (number, hybrid(&key, &sparse)));
    Ok((jumped.collect(), hybrid(key, &last)))
}

/// Reads an open body, and gives the post-quantum ratchet its part; the rider is given back.
fn take<'a>(
    sparse: &mut Sparse<MlKem768>,
    header: &Header,
    body: &'a [u8],
    body_max: usize,
) -> Result<(Plaintext, Option<&'a [u8]>), Error> {
    let length = |room| sparse.fragment_bytes(&header.note, room);
    let unpadded = Plaintext::unpad(body, body_max, length)?;
    sparse.take(&header.note, unpadded.fragment)?;
    Ok((unpadded.plaintext, unpadded.rider))
}

pub(crate) fn open_body(
    ad: &[u8],
    message: &Message<'_>,
    key: &Secret<32>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let aad = [ad, message.header].concat();
    aead::open(key, &message.nonce, &aad, message.body).map_err(|_| Error::Altered)
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session([redacted])")
    }
}
