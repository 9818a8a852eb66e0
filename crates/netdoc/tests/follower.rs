//! Following the chain: newer, extending, within validity; two of one epoch stop everything.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use whist_netdoc::testing::{Authorities, entries};
use whist_netdoc::{Accepted, Bundle, Extension, Follower, NodeEntry, Parameters, Refused};
use whist_types::{ConsensusHash, Epoch, Wall};

const LENGTH: u64 = 10_000;

fn at(epoch: u64) -> Wall {
    Wall::from_millis(epoch * LENGTH + LENGTH / 2)
}

fn authorities() -> Authorities {
    Authorities::new(7, 4, Parameters::demo(), Wall::default())
}

fn nodes() -> Vec<NodeEntry> {
    entries(3, 2, 3)
}

/// Consensuses of epochs 1 to `last`, as bytes.
fn chain(a: &mut Authorities, last: u64) -> Vec<Vec<u8>> {
    (1..=last)
        .map(|e| a.make(Epoch::new(e), nodes()).unwrap().to_bytes())
        .collect()
}

#[test]
fn a_node_follows_epoch_by_epoch_and_a_client_by_proofs() {
    let mut a = authorities();
    let mut node = Follower::new(a.trusted());
    let mut client = Follower::light(a.trusted());
    assert_eq!((node.leaves_from(), client.leaves_from()), (0, u64::MAX));
    for (e, bundle) in (1..).zip(chain(&mut a, 12)) {
        let new = Ok(Accepted::New(Epoch::new(e)));
        assert_eq!(node.offer(at(e), &bundle), new);
        assert_eq!(node.offer(at(e), &bundle), Ok(Accepted::Known));
        let for_client = node.bundle_for(&client.hash(), at(e)).unwrap();
        assert!(for_client.len() < bundle.len() + 1_000);
        assert_eq!(client.offer(at(e), &for_client), new);
        assert_eq!(client.hash(), node.hash());
        assert_eq!(node.leaves_from(), e);
    }
    assert_eq!(client.usable(at(12)).unwrap().epoch(), Epoch::new(12));
}

#[test]
fn who_was_away_takes_the_newest_by_proof_and_a_node_by_the_missing_hashes() {
    let mut a = authorities();
    let bundles = chain(&mut a, 40);
    let mut node = Follower::new(a.trusted());
    let mut client = Follower::light(a.trusted());
    let mut late = Follower::new(a.trusted());
    for (e, bundle) in (1..).zip(&bundles) {
        node.offer(at(e), bundle).unwrap();
        if e == 3 {
            client
                .offer(at(e), &node.bundle_for(&client.hash(), at(e)).unwrap())
                .unwrap();
            late.offer(at(e), bundle).unwrap();
        }
    }
    let proof = node.bundle_for(&client.hash(), at(40)).unwrap();
    assert_eq!(
        client.offer(at(40), &proof),
        Ok(Accepted::New(Epoch::new(40)))
    );
    let missing = node.bundle_at(0, late.leaves_from()).unwrap();
    assert_eq!(
        late.offer(at(40), &missing),
        Ok(Accepted::New(Epoch::new(40)))
    );
    assert_eq!(late.leaves_from(), 40);
    assert_eq!(late.range(), node.range());
}

#[test]
fn a_newer_document_that_does_not_extend_what_is_held_is_refused() {
    let mut a = authorities();
    let bundles = chain(&mut a, 3);
    let mut node = Follower::new(a.trusted());
    let mut client = Follower::light(a.trusted());
    node.offer(at(1), &bundles[0]).unwrap();
    client.offer(at(1), &bundles[0]).unwrap();
    // The same authorities, but their range does not hold the header of epoch 1 that is held.
    let mut forked = authorities();
    let mut other = nodes();
    other.pop();
    forked.make(Epoch::new(1), other).unwrap();
    let fork = forked.make(Epoch::new(2), nodes()).unwrap();
    assert_eq!(
        node.offer(at(2), &fork.to_bytes()),
        Err(Refused::NotAnExtension)
    );
    assert_eq!(
        client.offer(at(2), &fork.to_bytes()),
        Err(Refused::NotAnExtension)
    );
    // Without any proof, or with one for another header.
    let bare = Bundle::with_extension(&fork, Extension::None).to_bytes();
    assert_eq!(client.offer(at(2), &bare), Err(Refused::NotAnExtension));
    assert_eq!(node.newest().unwrap().epoch(), Epoch::new(1));
}

#[test]
fn an_older_document_is_refused() {
    let mut a = authorities();
    let bundles = chain(&mut a, 3);
    let mut client = Follower::light(a.trusted());
    client.offer(at(3), &bundles[2]).unwrap();
    let rolled = Refused::RolledBack {
        offered: Epoch::new(2),
        held: Epoch::new(3),
    };
    assert_eq!(client.offer(at(3), &bundles[1]), Err(rolled));
}

#[test]
fn two_valid_headers_of_one_epoch_are_kept_as_evidence_and_end_the_following() {
    let mut a = authorities();
    let bundles = chain(&mut a, 3);
    let mut client = Follower::light(a.trusted());
    client.offer(at(1), &bundles[0]).unwrap();
    client.offer(at(2), &bundles[1]).unwrap();
    // The quorum signs a second document of epoch 2.
    let mut other = authorities();
    let first = other.make(Epoch::new(1), nodes()).unwrap();
    assert_eq!(first.to_bytes(), bundles[0]);
    let mut fewer = nodes();
    fewer.pop();
    let second = other.make(Epoch::new(2), fewer).unwrap();
    let equivocation = Refused::Equivocation(Epoch::new(2));
    assert_eq!(
        client.offer(at(2), &second.to_bytes()),
        Err(equivocation.clone())
    );
    let evidence = client.evidence().unwrap().clone();
    assert_eq!(evidence.offered, second.signed_bytes());
    assert_ne!(evidence.held, evidence.offered);
    // The state before it serves until its own grace ends; nothing more is taken.
    assert_eq!(client.usable(at(2)).unwrap().epoch(), Epoch::new(1));
    assert_eq!(client.usable(at(3)).unwrap().epoch(), Epoch::new(1));
    assert!(client.usable(at(4)).is_none());
    assert_eq!(client.offer(at(3), &bundles[2]), Err(equivocation));
    // It survives the disk.
    let back = Follower::from_bytes(a.trusted(), &client.to_bytes()).unwrap();
    assert_eq!(back.evidence(), Some(&evidence));
}

#[test]
fn what_the_authorities_contradicted_neither_rules_nor_is_served() {
    let mut a = authorities();
    let bundles = chain(&mut a, 2);
    let mut node = Follower::new(a.trusted());
    node.offer(at(1), &bundles[0]).unwrap();
    node.offer(at(2), &bundles[1]).unwrap();
    let first = node.at(Epoch::new(1)).unwrap().hash();
    let ruling = |node: &Follower, e| node.ruling(Epoch::new(e)).map(|c| c.epoch().number());
    assert_eq!(ruling(&node, 2), Some(2));
    let mut fewer = nodes();
    fewer.pop();
    let other = authorities().make(Epoch::new(2), fewer).unwrap();
    assert!(node.challenge(other.signed_bytes()).is_err());
    let state = node.to_bytes();
    let restarted = Follower::from_bytes(a.trusted(), &state).unwrap();
    for node in [node, restarted] {
        // The one before it lists keys of epochs 1 to 4.
        let rulings = [1, 2, 3, 4, 5].map(|e| ruling(&node, e));
        assert_eq!(rulings, [Some(1), Some(1), Some(1), Some(1), None]);
        // Also when nothing is usable any more.
        for e in [2, 3, 9] {
            assert_eq!(node.served(at(e)).unwrap().hash(), first);
            assert_eq!(node.named(at(e)), first);
        }
        let served = node.bundle_at(0, u64::MAX).unwrap();
        let served = Bundle::parse(&served).unwrap();
        assert!(served.verify(&a.trusted(), at(2)).unwrap().hash() == first);
        assert_eq!(node.bundle_at(2, 0), None);
        // Whoever looks for the proof finds the header.
        assert!(node.by_hash(&node.newest().unwrap().hash()).is_some());
    }
    let mut alone = Follower::new(a.trusted());
    let second = a.make(Epoch::new(3), nodes()).unwrap();
    assert!(alone.challenge(second.signed_bytes()).is_ok());
    assert!(alone.served(at(3)).is_none());
}

#[test]
fn a_header_named_by_somebody_else_is_judged_by_itself() {
    let mut a = authorities();
    let bundle = a.make(Epoch::new(1), nodes()).unwrap();
    let mut client = Follower::light(a.trusted());
    client.offer(at(1), &bundle.to_bytes()).unwrap();
    assert_eq!(client.challenge(bundle.signed_bytes()), Ok(()));
    let mut fewer = nodes();
    fewer.pop();
    let other = authorities().make(Epoch::new(1), fewer).unwrap();
    let mut unsigned = other.signed_bytes().to_vec();
    unsigned[200] ^= 1;
    assert_eq!(client.challenge(&unsigned), Err(Refused::BadSignature));
    assert!(client.evidence().is_none());
    let equivocation = Err(Refused::Equivocation(Epoch::new(1)));
    assert_eq!(client.challenge(other.signed_bytes()), equivocation);
    assert!(client.evidence().is_some());
}

#[test]
fn the_newest_serves_for_its_grace_and_then_nothing_does() {
    let mut a = authorities();
    let bundles = chain(&mut a, 2);
    let mut client = Follower::light(a.trusted());
    assert!(client.usable(at(1)).is_none());
    client.offer(at(1), &bundles[1]).unwrap();
    // Taken ahead of its time, used from its window on.
    assert!(client.usable(at(1)).is_none());
    assert!(
        client
            .usable(Wall::from_millis(2 * LENGTH - 1_000))
            .is_some()
    );
    assert!(client.usable(Wall::from_millis(5 * LENGTH - 1)).is_some());
    assert!(client.usable(Wall::from_millis(5 * LENGTH)).is_none());
}

#[test]
fn a_follower_survives_the_disk_and_refuses_what_was_changed_there() {
    let mut a = authorities();
    let bundles = chain(&mut a, 5);
    let mut node = Follower::new(a.trusted());
    for (e, bundle) in (1..).zip(&bundles) {
        node.offer(at(e), bundle).unwrap();
    }
    let bytes = node.to_bytes();
    let mut back = Follower::from_bytes(a.trusted(), &bytes).unwrap();
    assert_eq!((back.hash(), back.range()), (node.hash(), node.range()));
    let next = a.make(Epoch::new(6), nodes()).unwrap().to_bytes();
    assert_eq!(back.offer(at(6), &next), Ok(Accepted::New(Epoch::new(6))));
    // A flipped bit in a signed part is seen.
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    assert!(Follower::from_bytes(a.trusted(), &flipped).is_err());
    assert!(Follower::from_bytes(a.trusted(), &bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn the_ruling_consensus_is_that_of_the_keys_epoch_or_the_newest_that_lists_it() {
    let mut a = authorities();
    let bundles = chain(&mut a, 2);
    let mut node = Follower::new(a.trusted());
    for (e, bundle) in (1..).zip(&bundles) {
        node.offer(at(e), bundle).unwrap();
    }
    let ruling = |e| node.ruling(Epoch::new(e)).map(|c| c.epoch().number());
    let expected = [None, Some(1), Some(2), Some(2), Some(2), Some(2), None];
    assert_eq!([0, 1, 2, 3, 4, 5, 6].map(ruling), expected);
    let c = node.newest().unwrap();
    let n = &c.nodes()[0];
    assert_eq!(n.key_for(Epoch::new(5), c.epoch()), Some(n.keys[3]));
    assert_eq!(n.key_for(Epoch::new(6), c.epoch()), None);
    assert_eq!(n.key_for(Epoch::new(1), c.epoch()), None);
    assert_eq!(
        node.by_hash(&ConsensusHash::from_bytes([0; 32]))
            .map(|c| c.epoch()),
        None
    );
}

#[test]
fn before_an_epoch_begins_the_one_in_use_is_used_and_served() {
    let mut a = authorities();
    let mut node = Follower::new(a.trusted());
    let bundles = chain(&mut a, 3);
    node.offer(at(1), &bundles[0]).unwrap();
    node.offer(at(1), &bundles[1]).unwrap();
    assert_eq!(node.newest().unwrap().epoch(), Epoch::new(2));
    assert_eq!(node.usable(at(1)).unwrap().epoch(), Epoch::new(1));
    // Inside the key window before epoch 2, its consensus is valid, but lists no key of epoch 1.
    let schedule = *a.trusted().schedule();
    let close = schedule
        .start(Epoch::new(2))
        .before(std::time::Duration::from_millis(1));
    assert!(node.newest().unwrap().usable(close));
    assert_eq!(node.usable(close).unwrap().epoch(), Epoch::new(1));
    let mut fresh = Follower::light(a.trusted());
    let served = node.bundle_for(&fresh.hash(), close).unwrap();
    assert_eq!(
        fresh.offer(close, &served),
        Ok(Accepted::New(Epoch::new(1)))
    );
    assert_eq!(node.usable(at(2)).unwrap().epoch(), Epoch::new(2));
}
