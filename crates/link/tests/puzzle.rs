//! A server under load, over the whole of a connection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::sync::Arc;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use whist_link::pair::{Setup, records};
use whist_link::puzzle::{Challenge, Gate, Refusal, Solution};
use whist_link::{Entry, Error, Pair, limits};
use whist_types::Secret;

fn gate() -> Arc<Gate> {
    Arc::new(Gate::new(Secret::new([9; 32])))
}

fn solve(challenge: &Challenge) -> Solution {
    challenge
        .solve(100_000, &mut ChaCha20Rng::from_seed([4; 32]))
        .unwrap()
}

/// What a client gets that comes without a solution.
fn asked(gate: &Arc<Gate>) -> (Pair, Challenge) {
    let setup = Setup::client().under_load(gate, limits::EFFORT_MIN);
    let pair = Pair::connected(&setup).unwrap();
    let challenge = *pair.client.challenge().unwrap();
    (pair, challenge)
}

/// A second dial with a solution.
fn dial(gate: &Arc<Gate>, solution: Solution) -> Pair {
    let mut setup = Setup::client().under_load(gate, limits::EFFORT_MIN);
    setup.solution = Some(solution);
    Pair::connected(&setup).unwrap()
}

#[test]
fn a_server_under_load_asks_with_48_bytes_and_opens_to_who_solved() {
    let gate = gate();
    let (pair, challenge) = asked(&gate);
    assert_eq!(pair.client.error(), Some(&Error::PuzzleAsked));
    assert!(pair.server.is_closed() && pair.server.error().is_none());
    // 48 bytes in clear and nothing of TLS: no key was touched.
    assert_eq!(pair.server_wire, challenge.to_bytes());
    assert_eq!(records(&pair.client_wire).len(), 1);

    let solution = solve(&challenge);
    let pair = dial(&gate, solution);
    assert!(pair.is_open());
    assert_eq!(pair.client_wire[..64], solution.to_bytes());
    assert_eq!(pair.client_wire[64], 0x16);
    assert_eq!(pair.server_wire[0], 0x16);
}

#[test]
fn a_solution_opens_one_link() {
    let gate = gate();
    let solution = solve(&asked(&gate).1);
    assert!(dial(&gate, solution).is_open());
    let again = dial(&gate, solution);
    let spent = Error::PuzzleRefused(Refusal::Spent);
    assert_eq!(again.server.error(), Some(&spent));
    // Silence: the peer does not learn why.
    assert!(again.server_wire.is_empty() && again.client.is_closed());
}

#[test]
fn a_wrong_nonce_is_refused_before_any_key_work() {
    let gate = gate();
    let mut bytes = solve(&asked(&gate).1).to_bytes();
    bytes[63] ^= 1;
    let wrong = dial(&gate, Solution::from_bytes(&bytes).unwrap());
    let work = Error::PuzzleRefused(Refusal::Work);
    assert_eq!(wrong.server.error(), Some(&work));
    assert!(wrong.server_wire.is_empty());
}

#[test]
fn a_client_that_solved_is_welcome_when_the_load_is_over() {
    let solution = solve(&asked(&gate()).1);
    let setup = Setup {
        solution: Some(solution),
        entry: Entry::Free,
        ..Setup::client()
    };
    assert!(Pair::connected(&setup).unwrap().is_open());
}

#[test]
fn without_load_nothing_but_tls_is_on_the_wire() {
    let pair = Pair::connected(&Setup::client()).unwrap();
    for wire in [&pair.client_wire, &pair.server_wire] {
        assert!(records(wire).iter().all(|r| (20..=23).contains(&r.kind)));
    }
}

#[test]
fn the_byte_before_the_puzzle_is_whole_is_not_answered() {
    let mut pair = Pair::new(&Setup::client().under_load(&gate(), limits::EFFORT_MIN)).unwrap();
    pair.client_to_server(|bytes| {
        bytes.pop();
    });
    assert!(!pair.server_to_client(|_| {}) && !pair.server.is_closed());
    pair.advance(limits::HANDSHAKE);
    assert_eq!(pair.server.error(), Some(&Error::TimedOut("handshake")));
}
