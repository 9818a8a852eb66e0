//! Whoever steals a state: what they can read, and when they no longer can.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use whist_types::{ConsensusHash, MailboxAddress, NodeId, Secret, Wall};

use crate::kdf::{chain_step, hybrid, numbered_step};
use crate::ratchet::Message;
use crate::session::open_body;
use crate::shared::{Shared, Verdict};
use crate::sparse::{Sparse, Turn};
use crate::{Error, IdentitySecret, Item, Plaintext, PrekeySecrets, Session, SharedSecret, aead};

const NOW: Wall = Wall::from_secs(1_800_000_000);

fn text(body: Vec<u8>) -> Plaintext {
    Plaintext {
        device: 0,
        consensus: ConsensusHash::from_bytes([5; 32]),
        body,
    }
}

struct Pair {
    rng: ChaCha20Rng,
    ends: [Session; 2],
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let alice = IdentitySecret::generate(&mut rng);
        let bob = IdentitySecret::generate(&mut rng);
        let provider = NodeId::from_bytes([1; 32]);
        let address = MailboxAddress::from_bytes([2; 32]);
        let (prekeys, bundle) = PrekeySecrets::generate(&bob, provider, address, &mut rng);
        let (key, hello) = (bundle.invitation_key(), text(Vec::new()));
        let (one, first) = Session::initiate(&alice, &bundle, &key, &hello, &mut rng).unwrap();
        let (two, ..) = Session::accept(&bob, &prekeys, &key, first.item(), &mut rng).unwrap();
        let ends = [one, two];
        Self { rng, ends }
    }

    fn seal(&mut self, end: usize, body: Vec<u8>) -> Item {
        let sealed = self.ends[end].seal(&text(body), &mut self.rng);
        sealed.unwrap().into_item()
    }
}

fn copy(session: &Session) -> Session {
    Session::from_bytes(&session.to_bytes()).unwrap()
}

/// The last epoch whose keys follow from this state and what travels later: that of an exchange
/// under way, if the state holds its secret half, belongs to it.
fn known<K: crate::sparse::Kem>(sparse: &Sparse<K>) -> u32 {
    match (&sparse.turn, &sparse.coming) {
        (Turn::Offer { .. }, _) => sparse.send.epoch + 1,
        (_, Some(coming)) => coming.receive.epoch,
        _ => sparse.receive.epoch,
    }
}

/// Whether the thief has the key of an item. It takes what it can use of it, and is not bound by
/// what an honest end refuses.
fn reads(thief: &mut Session, item: &Item, rng: &mut ChaCha20Rng) -> bool {
    let message = Message::parse(item.as_bytes()).ok().unwrap();
    let mut sparse = None;
    let Ok((header, found)) = thief.recognise(&message, &mut sparse, rng) else {
        return false;
    };
    let Ok(body) = open_body(&thief.ad, &message, found.message_key()) else {
        return false;
    };
    let mut sparse = sparse.unwrap();
    let length = |room| sparse.fragment_bytes(&header.note, room);
    let unpadded = Plaintext::unpad(&body, crate::BODY_MAX, length).ok();
    let fragment = unpadded.unwrap().fragment;
    let mut tried = sparse.duplicate();
    if tried.take(&header.note, fragment).is_ok() {
        sparse = tried;
    }
    thief.sparse = sparse;
    true
}

/// The thief takes the whole state of `victim` before round `at`. It breaks X25519: it is given the
/// classical ratchet as it is before every item, with all its private keys and roots. Long bodies
/// leave 40 bytes for a fragment, so that the theft falls into the middle of exchanges. Returns how
/// many items it could read.
fn thief(victim: usize, at: usize, body: usize) -> u32 {
    let mut p = Pair::new(at as u64);
    let (mut thief, mut last) = (None::<Session>, 0);
    let (mut read, mut closed) = (0, 0);
    for round in 0.. {
        if round == at {
            last = known(&p.ends[victim].sparse);
            thief = Some(copy(&p.ends[victim]));
        }
        let item = p.seal(victim, vec![1; body]);
        p.ends[1 - victim].open(&item, NOW, &mut p.rng).unwrap();
        let epoch = p.ends[1 - victim].sparse.send.epoch;
        let item = p.seal(1 - victim, vec![2; body]);
        if let Some(thief) = &mut thief {
            thief.ratchet = copy(&p.ends[victim]).ratchet;
            let opened = reads(thief, &item, &mut p.rng);
            assert_eq!(
                opened,
                epoch <= last,
                "round {round}, epoch {epoch}, {last}"
            );
            if opened {
                read += 1;
            } else {
                closed += 1;
                // The control: what the thief lacks is the post-quantum ratchet and nothing else.
                let mut all = copy(&p.ends[victim]);
                all.ratchet = copy(&p.ends[victim]).ratchet;
                assert!(all.open(&item, NOW, &mut p.rng).is_ok());
            }
        }
        p.ends[victim].open(&item, NOW, &mut p.rng).unwrap();
        if closed == 8 {
            break;
        }
        assert!(round < at + 300, "the thief reads for ever");
    }
    read
}

#[test]
fn a_thief_who_breaks_x25519_reads_until_the_next_exchange_is_over_and_then_nothing() {
    for victim in [0, 1] {
        // The control: the thief reads until then. With short texts an exchange may be over with
        // the very first item.
        let short: u32 = (0..8).map(|at| thief(victim, at, 5)).sum();
        let long = [3, 30, 40, 59, 61, 75, 90].map(|at| thief(victim, at, crate::BODY_MAX));
        assert!(short >= 4, "{short}");
        assert!(long.iter().all(|&read| read > 10), "{long:?}");
    }
}

/// Every key that the state holds, and every key that follows from one or two of them in one step.
fn keys_of(session: &Session) -> Vec<Secret<32>> {
    let stored = session.to_bytes();
    let windows = stored.windows(32);
    let mut keys: Vec<_> = windows
        .map(|w| Secret::new(w.try_into().unwrap()))
        .collect();
    let (r, s) = (&session.ratchet, &session.sparse);
    let chain = r.receive.as_ref().map(|chain| &chain.key);
    let classical = [Some(&r.root), Some(&r.own), Some(&r.send.key), chain];
    let sparse = [&s.root, &s.send.key, &s.receive.key];
    for key in classical.into_iter().flatten() {
        let stepped = chain_step(key).1;
        for other in sparse {
            let [_, numbered] = numbered_step(other, s.receive.next);
            for (one, two) in [(key, other), (&stepped, other), (key, &numbered)] {
                keys.push(hybrid(one, two));
            }
            keys.push(hybrid(&stepped, &numbered));
        }
        keys.push(stepped);
    }
    keys
}

fn opens(session: &Session, item: &Item) -> bool {
    let message = Message::parse(item.as_bytes()).ok().unwrap();
    let aad = [session.ad.as_slice(), message.header].concat();
    let try_key = |key: &Secret<32>| aead::open(key, &message.nonce, &aad, message.body).is_ok();
    keys_of(session).iter().any(try_key)
}

#[test]
fn no_key_of_the_state_after_an_item_opens_that_item() {
    let mut p = Pair::new(70);
    for round in 0..6u8 {
        let (late, item) = (p.seal(0, vec![round]), p.seal(0, vec![round; 9]));
        p.ends[1].open(&item, NOW, &mut p.rng).unwrap();
        assert!(!opens(&p.ends[1], &item));
        // The control: the key of an item that was jumped over is there until it comes.
        assert!(opens(&p.ends[1], &late));
        p.ends[1].open(&late, NOW, &mut p.rng).unwrap();
        assert!(!opens(&p.ends[1], &late) && !opens(&p.ends[1], &item));
        let next = p.seal(1, vec![round]);
        p.ends[0].open(&next, NOW, &mut p.rng).unwrap();
        assert!(!opens(&p.ends[0], &next));
        let mut snapshot = copy(&p.ends[1]);
        for item in [&item, &late] {
            let again = snapshot.open(item, NOW, &mut p.rng);
            assert!(matches!(again, Err(Error::Replayed | Error::NotForUs)));
        }
    }
}

/// Both mix a secret in, if there is one. The thief has Bob's whole state from before it was set,
/// every private key that he draws from then on, and his post-quantum ratchet as it is before every
/// item; and it tries `guess` for the secret. Returns how many items it read of those sealed before
/// the secret was in use and of those sealed after.
fn thief_without_secret(secret: Option<u8>, guess: u8) -> [u32; 2] {
    let mut p = Pair::new(80);
    for round in 0..3 {
        let item = p.seal(0, vec![round]);
        p.ends[1].open(&item, NOW, &mut p.rng).unwrap();
        let item = p.seal(1, vec![round]);
        p.ends[0].open(&item, NOW, &mut p.rng).unwrap();
    }
    let mut thief = copy(&p.ends[1]);
    for end in &mut p.ends {
        let secret = secret.map(|n| SharedSecret::new(Secret::new([n; 32])));
        secret
            .map_or(Ok(()), |secret| end.set_secret(&secret))
            .unwrap();
    }
    let mut read = [0, 0];
    for round in 0..12 {
        let item = p.seal(0, vec![9]);
        let mixed = p.ends[0].secrets();
        let draws = || ChaCha20Rng::seed_from_u64(round);
        thief.sparse = p.ends[1].sparse.duplicate();
        // As if there were nothing to mix in, and with the guess.
        let as_if = [mixed, thief.ratchet.send.secrets];
        let opened = as_if.into_iter().any(|secrets| {
            thief.ratchet.send.secrets = secrets;
            thief.shared = Shared {
                own: Some(Secret::new([guess; 32])),
                verdict: Verdict::Same,
                ..Shared::default()
            };
            thief.open(&item, NOW, &mut draws()).is_ok()
        });
        read[usize::from(mixed)] += u32::from(opened);
        p.ends[1].open(&item, NOW, &mut draws()).unwrap();
        let item = p.seal(1, vec![9]);
        p.ends[0].open(&item, NOW, &mut p.rng).unwrap();
    }
    assert_eq!(p.ends[0].secrets(), u16::from(secret.is_some()));
    read
}

#[test]
fn a_thief_who_breaks_x25519_and_the_kem_reads_nothing_once_a_secret_it_lacks_is_mixed_in() {
    let [before, after] = thief_without_secret(Some(7), 8);
    assert!(before > 0 && after == 0, "{before} {after}");
    // The controls: without a secret, and with it, such a thief reads everything.
    assert_eq!(thief_without_secret(None, 8), [12, 0]);
    assert_eq!(thief_without_secret(Some(7), 7), [before, 12 - before]);
}
