//! A secret that both people know, on its way into the root key. `docs/protocol/ratchet.md` has the
//! table of what each end says when.
//!
//! The session's initiator claims first, with a proof; the responder proves only in answer to a
//! claim that is right, and what it proved it keeps until the initiator has mixed it in. So there
//! is one order of events, whoever set the secret first, and who does not know the secret gets no
//! proof out of the responder.

use std::fmt;

use whist_types::{Reader, Secret, Truncated, Writer};

use crate::kdf::labelled;
use crate::limits::{PROOF_BYTES, RIDER_BYTES, WRONG_CLAIMS_MAX};
use crate::pqxdh::AD_BYTES;
use crate::{Error, Session};

/// What a slow function made of a passphrase and [`crate::Session::secret_salt`].
pub struct SharedSecret(Secret<32>);

impl SharedSecret {
    /// Takes that function's output.
    pub const fn new(secret: Secret<32>) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret([redacted])")
    }
}

/// How far a shared secret has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretState {
    /// None was set.
    None,
    /// One is demanded ([`crate::Session::require_secret`]) and none is set: nothing is sealed.
    Missing,
    /// One is set, and the peer has not said whether it has the same. Keys are as they were.
    Waiting,
    /// Both have the same, and it is mixed in with the next chain.
    Agreed,
    /// The peer has another: nothing is sealed before that is mended.
    Differs,
    /// It is in the keys of what is sealed.
    InUse,
}

/// Whether both have the same, as far as this end knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Open,
    Same,
    Other,
}

/// A proof: a hash of the secret with what it is said of.
pub(crate) type Proof = Secret<PROOF_BYTES>;

/// What this end knows of a secret that is not mixed in yet.
pub(crate) struct Shared {
    /// The secret that was set here.
    pub(crate) own: Option<Secret<32>>,
    /// Nothing but riders is sealed before a secret is mixed in.
    pub(crate) required: bool,
    /// The initiator's: which of its claims and withdrawals is the newest. The responder's: which
    /// of them it has heard.
    pub(crate) round: u32,
    /// What the initiator claimed in that round, if it did not withdraw. Of the responder alone.
    pub(crate) claim: Option<Proof>,
    pub(crate) verdict: Verdict,
    /// Claims that were wrong since the secret was set. Of the responder alone.
    pub(crate) wrong: u8,
    /// Whether an item has left since there was something new to say.
    pub(crate) told: bool,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            own: None,
            required: false,
            round: 0,
            claim: None,
            verdict: Verdict::Open,
            wrong: 0,
            told: true,
        }
    }
}

/// Where a session is: what proofs are bound to.
pub(crate) struct Binding {
    pub(crate) ad: [u8; AD_BYTES],
    pub(crate) initiator: bool,
    /// The number of the secret that comes next, from 1.
    pub(crate) which: u16,
}

impl Binding {
    fn proof(&self, own: &Secret<32>, by_initiator: bool, round: u32) -> Proof {
        let hash = Secret::new(labelled(
            "whist 2026 shared secret proof v1",
            &[
                own.expose(),
                &self.ad,
                &[u8::from(by_initiator)],
                &self.which.to_be_bytes(),
                &round.to_be_bytes(),
            ],
        ));
        let (&proof, _) = hash.expose().split_first_chunk().unwrap_or((&[0; _], &[]));
        Secret::new(proof)
    }
}

impl Shared {
    pub(crate) fn set(&mut self, secret: &SharedSecret, at: &Binding) -> Result<(), Error> {
        if self.verdict == Verdict::Same {
            return Err(Error::SecretAgreed);
        }
        if at.initiator {
            self.round = self.round.checked_add(1).ok_or(Error::Exhausted)?;
        }
        self.own = Some(secret.0.duplicate());
        self.verdict = Verdict::Open;
        self.wrong = 0;
        self.told = !at.initiator;
        self.judge(at);
        Ok(())
    }

    /// The person wants none, neither set nor demanded.
    pub(crate) fn withdraw(&mut self, at: &Binding) -> Result<(), Error> {
        if self.verdict == Verdict::Same {
            return Err(Error::SecretAgreed);
        }
        if at.initiator && self.own.is_some() {
            self.round = self.round.checked_add(1).ok_or(Error::Exhausted)?;
            self.told = false;
        }
        self.own = None;
        self.verdict = Verdict::Open;
        self.required = false;
        Ok(())
    }

    /// Compares the initiator's claim with one's own secret. Who claims again and again is
    /// guessing: after some wrong ones nothing is compared before the person has set the secret
    /// again.
    fn judge(&mut self, at: &Binding) {
        let (false, Some(own), Some(claim)) = (at.initiator, &self.own, &self.claim) else {
            return;
        };
        let heard = self.wrong < WRONG_CLAIMS_MAX;
        self.verdict = if heard && *claim == at.proof(own, true, self.round) {
            Verdict::Same
        } else {
            self.wrong = self.wrong.saturating_add(u8::from(heard));
            Verdict::Other
        };
        self.told = false;
    }

    /// What the peer said.
    pub(crate) fn take(&mut self, rider: Rider, at: &Binding) {
        // Of a secret that is in use already: it came late.
        if rider.which != at.which {
            return;
        }
        match (rider.said, at.initiator) {
            (Said::Claim(proof), false) if rider.round > self.round => {
                (self.round, self.claim) = (rider.round, Some(proof));
                self.judge(at);
            }
            (Said::Withdrawn, false) if rider.round > self.round => {
                (self.round, self.claim) = (rider.round, None);
                // It will not mix in what it claimed before. A difference stays one until the
                // person here has said what is to be.
                if self.verdict == Verdict::Same {
                    self.verdict = Verdict::Open;
                }
            }
            (said @ (Said::Yes(_) | Said::No), true)
                if rider.round == self.round && self.verdict != Verdict::Same =>
            {
                let Some(own) = &self.own else {
                    return;
                };
                let same = match said {
                    Said::Yes(proof) => proof == at.proof(own, false, self.round),
                    _ => false,
                };
                self.verdict = if same { Verdict::Same } else { Verdict::Other };
                self.told = !same;
            }
            _ => {}
        }
    }

    /// What rides in each item, until the secret is in use.
    pub(crate) fn rider(&self, at: &Binding) -> Option<Rider> {
        let said = match (&self.own, at.initiator) {
            _ if self.round == 0 => return None,
            (Some(own), true) => Said::Claim(at.proof(own, true, self.round)),
            (None, true) => Said::Withdrawn,
            (None, false) => return None,
            (Some(own), false) => match self.verdict {
                Verdict::Open => return None,
                Verdict::Same => Said::Yes(at.proof(own, false, self.round)),
                Verdict::Other => Said::No,
            },
        };
        Some(Rider {
            which: at.which,
            round: self.round,
            said,
        })
    }

    /// The secret that both have, to be mixed in.
    pub(crate) fn agreed(&self) -> Option<&Secret<32>> {
        let own = self.own.as_ref();
        own.filter(|_| self.verdict == Verdict::Same)
    }

    /// Whether anything but riders may be sealed.
    pub(crate) fn admits(&self) -> Result<(), Error> {
        if self.verdict == Verdict::Other {
            return Err(Error::SecretsDiffer);
        }
        if self.required {
            return Err(Error::SecretMissing);
        }
        Ok(())
    }

    pub(crate) fn state(&self, mixed: u16) -> SecretState {
        match (self.verdict, &self.own) {
            (Verdict::Other, _) => SecretState::Differs,
            (Verdict::Same, _) => SecretState::Agreed,
            (Verdict::Open, Some(_)) => SecretState::Waiting,
            (Verdict::Open, None) if self.required => SecretState::Missing,
            (Verdict::Open, None) if mixed > 0 => SecretState::InUse,
            (Verdict::Open, None) => SecretState::None,
        }
    }
}

impl Session {
    const fn binding(&self) -> Binding {
        Binding {
            ad: self.ad,
            initiator: self.sparse.initiator,
            which: self.ratchet.send.secrets.saturating_add(1),
        }
    }

    /// The salt with which a passphrase becomes this session's [`SharedSecret`]: both ends have the
    /// same; no other two people have it, and no other session of these two.
    pub fn secret_salt(&self) -> [u8; 32] {
        labelled("whist 2026 shared secret salt v1", &[&self.ad])
    }

    /// The person sets a secret that the peer is to have too, or another one. It is mixed into the
    /// keys once both are known to have the same. Store the session afterwards.
    ///
    /// [`Error::SecretAgreed`] if one is agreed and about to be mixed in.
    pub fn set_secret(&mut self, secret: &SharedSecret) -> Result<(), Error> {
        let at = self.binding();
        if at.which == u16::MAX {
            return Err(Error::Exhausted);
        }
        self.shared.set(secret, &at)
    }

    /// The person wants none, neither set nor demanded. What is in use stays in the keys. Store the
    /// session afterwards.
    ///
    /// [`Error::SecretAgreed`] if one is agreed and about to be mixed in.
    pub fn withdraw_secret(&mut self) -> Result<(), Error> {
        let at = self.binding();
        self.shared.withdraw(&at)
    }

    /// Nothing is sealed before a secret is in use: for a session that follows one that had one.
    pub const fn require_secret(&mut self) {
        self.shared.required = true;
    }

    /// How far a shared secret has come.
    pub fn secret_state(&self) -> SecretState {
        self.shared.state(self.ratchet.send.secrets)
    }

    /// How many shared secrets are in the keys of what is sealed.
    pub const fn secrets(&self) -> u16 {
        self.ratchet.send.secrets
    }

    /// Whether an item should be sent even if there is nothing else to say ([`Self::seal_bare`]):
    /// there is something new to say of a shared secret, or it waits for a chain to be mixed in.
    pub fn owes_item(&self) -> bool {
        let begun = self.shared.agreed().is_some() && self.ratchet.send.next == 0;
        !self.shared.told || begun
    }

    pub(crate) fn rider(&self) -> Option<Rider> {
        self.shared.rider(&self.binding())
    }

    pub(crate) fn hear(&mut self, rider: Rider) {
        let at = self.binding();
        self.shared.take(rider, &at);
    }

    /// The initiator mixes in what both have, as soon as a chain of its own begins.
    pub(crate) fn mix_own(&mut self) -> Result<(), Error> {
        if self.sparse.initiator
            && self.ratchet.send.next == 0
            && let Some(secret) = self.shared.agreed()
        {
            self.ratchet.mix(secret)?;
            self.shared = Shared::default();
        }
        Ok(())
    }
}

/// What one end says of the secret, before the fragment in a plaintext of format 2.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | kind | of the initiator: 1 claim, 2 withdrawn; of the responder: 3 yes, 4 no |
/// | 1 | 2 | which | number of the secret that it speaks of, from 1, big-endian |
/// | 3 | 4 | round | of the initiator's claims and withdrawals, from 1, big-endian |
/// | 7 | 16 | proof | of the secret; zero in 2 and 4 |
pub(crate) struct Rider {
    pub(crate) which: u16,
    pub(crate) round: u32,
    pub(crate) said: Said,
}

/// What is said.
pub(crate) enum Said {
    Claim(Proof),
    Withdrawn,
    Yes(Proof),
    No,
}

impl Rider {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let none = Secret::new([0; PROOF_BYTES]);
        let (kind, proof) = match &self.said {
            Said::Claim(proof) => (1, proof),
            Said::Withdrawn => (2, &none),
            Said::Yes(proof) => (3, proof),
            Said::No => (4, &none),
        };
        let mut w = Writer::with_capacity(RIDER_BYTES);
        w.u8(kind).u16(self.which).u32(self.round);
        w.put(proof.expose());
        w.into_bytes()
    }

    /// Strict, so that one meaning has one form; only the initiator claims, only the other answers.
    pub(crate) fn parse(bytes: &[u8], by_initiator: bool) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let mut fields = || Ok::<_, Truncated>((r.u8()?, r.u16()?, r.u32()?, r.array()?));
        let (kind, which, round, proof) = fields().map_err(|_| Error::Malformed)?;
        let proof = Secret::new(proof);
        let bare = proof == Secret::new([0; PROOF_BYTES]);
        let said = match (kind, by_initiator) {
            (1, true) => Said::Claim(proof),
            (2, true) if bare => Said::Withdrawn,
            (3, false) => Said::Yes(proof),
            (4, false) if bare => Said::No,
            _ => return Err(Error::Malformed),
        };
        if which == 0 || round == 0 || !r.rest().is_empty() {
            return Err(Error::Malformed);
        }
        Ok(Self { which, round, said })
    }
}

impl Shared {
    /// For the store.
    ///
    /// | offset | size | field |
    /// |---|---|---|
    /// | 0 | 1 | flags: 1 a secret is set, 2 one is demanded, 4 there is a claim, 8 all is told |
    /// | 1 | 32 | the secret, or zeros |
    /// | 33 | 4 | round |
    /// | 37 | 16 | the claim, or zeros |
    /// | 53 | 1 | verdict: 0 open, 1 the same, 2 another |
    /// | 54 | 1 | wrong claims |
    pub(crate) fn write(&self, w: &mut Writer) {
        let flags = [
            (self.own.is_some(), OWN),
            (self.required, REQUIRED),
            (self.claim.is_some(), CLAIM),
            (self.told, TOLD),
        ];
        let flags = flags.iter().filter(|(set, _)| *set);
        w.u8(flags.fold(0, |all, (_, flag)| all | flag));
        match &self.own {
            Some(own) => w.put(own.expose()),
            None => w.put(&[0; 32]),
        };
        w.u32(self.round);
        match &self.claim {
            Some(claim) => w.put(claim.expose()),
            None => w.put(&[0; PROOF_BYTES]),
        };
        w.u8(match self.verdict {
            Verdict::Open => 0,
            Verdict::Same => 1,
            Verdict::Other => 2,
        });
        w.u8(self.wrong);
    }

    /// Reads what [`Self::write`] wrote: [`Error::DamagedState`] for anything else.
    pub(crate) fn read(r: &mut Reader<'_>, initiator: bool) -> Result<Self, Error> {
        let mut read = || {
            let (flags, own, round) = (r.u8()?, Secret::new(r.array()?), r.u32()?);
            let claim = Secret::new(r.array()?);
            Ok::<_, Truncated>((flags, own, round, claim, r.u8()?, r.u8()?))
        };
        let (flags, own, round, claim, verdict, wrong) = read().map_err(|_| Error::DamagedState)?;
        let has = |flag| flags & flag != 0;
        let verdict = match verdict {
            0 => Verdict::Open,
            1 => Verdict::Same,
            2 => Verdict::Other,
            _ => return Err(Error::DamagedState),
        };
        let zeros = (has(OWN) || own == Secret::new([0; 32]))
            && (has(CLAIM) || claim == Secret::new([0; PROOF_BYTES]));
        let known = flags & !(OWN | REQUIRED | CLAIM | TOLD) == 0;
        let judged = verdict == Verdict::Open || has(OWN);
        let agreed = verdict != Verdict::Same || initiator || has(CLAIM);
        let role = !initiator || (!has(CLAIM) && wrong == 0);
        if !(zeros && known && judged && agreed && role) || wrong > WRONG_CLAIMS_MAX {
            return Err(Error::DamagedState);
        }
        Ok(Self {
            own: Some(own).filter(|_| has(OWN)),
            required: has(REQUIRED),
            round,
            claim: Some(claim).filter(|_| has(CLAIM)),
            verdict,
            wrong,
            told: has(TOLD),
        })
    }
}

const OWN: u8 = 1;
const REQUIRED: u8 = 2;
const CLAIM: u8 = 4;
const TOLD: u8 = 8;
/// What [`Shared::write`] writes.
pub(crate) const STORED_BYTES: usize = 1 + 32 + 4 + PROOF_BYTES + 1 + 1;
