//! Two people and a generator in one struct.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use whist_ratchet::{
    Bundle, Error, IdentitySecret, InvitationKey, Item, Plaintext, PrekeySecrets, Session,
};
use whist_types::{ConsensusHash, MailboxAddress, NodeId, Wall};

pub const NOW: Wall = Wall::from_secs(1_800_000_000);

pub fn text(body: &[u8]) -> Plaintext {
    Plaintext {
        device: 1,
        consensus: ConsensusHash::from_bytes([5; 32]),
        body: body.to_vec(),
    }
}

pub struct Inviter {
    pub identity: IdentitySecret,
    pub prekeys: PrekeySecrets,
    pub bundle: Bundle,
    pub key: InvitationKey,
}

pub fn inviter(rng: &mut ChaCha20Rng) -> Inviter {
    let identity = IdentitySecret::generate(rng);
    let (provider, address) = (
        NodeId::from_bytes([1; 32]),
        MailboxAddress::from_bytes([2; 32]),
    );
    let (prekeys, bundle) = PrekeySecrets::generate(&identity, provider, address, rng);
    let key = bundle.invitation_key();
    Inviter {
        identity,
        prekeys,
        bundle,
        key,
    }
}

/// Alice answered Bob's invitation, and he has her first item.
pub struct Pair {
    pub rng: ChaCha20Rng,
    pub alice: Session,
    pub bob: Session,
}

impl Pair {
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let identity = IdentitySecret::generate(&mut rng);
        let bob = inviter(&mut rng);
        let (alice, first) =
            Session::initiate(&identity, &bob.bundle, &bob.key, &text(b"first"), &mut rng).unwrap();
        let first = first.into_item();
        let (bob, said, peer) =
            Session::accept(&bob.identity, &bob.prekeys, &bob.key, &first, &mut rng).unwrap();
        assert_eq!((said, peer), (text(b"first"), identity.public()));
        Self { rng, alice, bob }
    }

    pub fn alice_seals(&mut self, body: &[u8]) -> Item {
        self.alice
            .seal(&text(body), &mut self.rng)
            .unwrap()
            .into_item()
    }

    pub fn bob_seals(&mut self, body: &[u8]) -> Item {
        self.bob
            .seal(&text(body), &mut self.rng)
            .unwrap()
            .into_item()
    }

    pub fn alice_opens(&mut self, item: &Item) -> Result<Vec<u8>, Error> {
        let text = self.alice.open(item, NOW, &mut self.rng)?;
        Ok(text.body.clone())
    }

    pub fn bob_opens(&mut self, item: &Item) -> Result<Vec<u8>, Error> {
        let text = self.bob.open(item, NOW, &mut self.rng)?;
        Ok(text.body.clone())
    }

    /// Both hear each other once: every key is new afterwards.
    pub fn round_trip(&mut self) {
        let item = self.alice_seals(b"ping");
        assert_eq!(self.bob_opens(&item).unwrap(), b"ping");
        let item = self.bob_seals(b"pong");
        assert_eq!(self.alice_opens(&item).unwrap(), b"pong");
    }
}
