//! An open link: order, bounds, deadlines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::time::Duration;

use whist_link::pair::Setup;
use whist_link::{Error, Frame, Pair, RECORD_BYTES, limits};

fn packet(i: u8) -> Frame {
    Frame::Packet(Box::new([i; 2413]))
}

#[test]
fn frames_arrive_whole_and_in_order_however_the_bytes_are_cut() {
    for cut in [1, 4, 5, 6, 1000, 2435, 2436, 2437, 10_000] {
        let mut pair = Pair::connected(&Setup::client()).unwrap();
        for i in 0..5 {
            pair.client.send(pair.now, packet(i)).unwrap();
        }
        let mut bytes = Vec::new();
        assert_eq!(pair.client.transmit(&mut bytes), 5 * RECORD_BYTES);
        let mut frames = Vec::new();
        for piece in bytes.chunks(cut) {
            assert_eq!(pair.server.receive(pair.now, piece), Ok(piece.len()));
            frames.extend(std::iter::from_fn(|| pair.server.poll_frame()));
        }
        assert_eq!(frames, (0..5).map(packet).collect::<Vec<_>>());
    }
}

#[test]
fn a_frame_is_not_taken_before_the_link_is_open_or_after_it_closed() {
    let mut pair = Pair::new(&Setup::client()).unwrap();
    assert_eq!(pair.client.send(pair.now, packet(1)), Err(packet(1)));
    pair.drive();
    pair.client.send(pair.now, packet(1)).unwrap();
    pair.client.close();
    assert_eq!(pair.client.send(pair.now, packet(2)), Err(packet(2)));
    pair.drive();
    assert_eq!(pair.server_frames, [packet(1)]);
    assert!(pair.server.is_closed() && pair.server.error().is_none());
}

#[test]
fn what_waits_inside_is_bounded_in_both_directions() {
    let mut pair = Pair::connected(&Setup::client()).unwrap();
    let mut bytes = Vec::new();
    for _ in 0..2 {
        for _ in 0..limits::FRAMES_HELD {
            pair.client.send(pair.now, packet(3)).unwrap();
        }
        assert_eq!(pair.client.send(pair.now, packet(3)), Err(packet(3)));
        pair.client.transmit(&mut bytes);
    }
    let half = limits::FRAMES_HELD * RECORD_BYTES;
    assert_eq!(pair.server.receive(pair.now, &bytes), Ok(half));
    assert_eq!(pair.server.receive(pair.now, &bytes[half..]), Ok(0));
    assert_eq!(std::iter::from_fn(|| pair.server.poll_frame()).count(), 64);
    assert_eq!(pair.server.receive(pair.now, &bytes[half..]), Ok(half));
}

#[test]
fn a_flipped_bit_closes_the_link_in_silence() {
    for at in [0, 3, 5, 1000, 2435] {
        let mut pair = Pair::connected(&Setup::client()).unwrap();
        pair.client.send(pair.now, packet(1)).unwrap();
        pair.client.send(pair.now, packet(2)).unwrap();
        pair.client_to_server(|bytes| bytes[at] ^= 0x40);
        assert!(matches!(
            pair.server.error(),
            Some(Error::PeerMisbehaved(_))
        ));
        assert!(pair.server_frames.is_empty() && !pair.server_to_client(|_| {}));
    }
}

#[test]
fn a_record_that_is_replayed_or_swapped_closes_the_link() {
    for swap in [false, true] {
        let mut pair = Pair::connected(&Setup::client()).unwrap();
        pair.client.send(pair.now, packet(1)).unwrap();
        pair.client.send(pair.now, packet(2)).unwrap();
        pair.client_to_server(|bytes| {
            if swap {
                bytes.rotate_left(RECORD_BYTES);
            } else {
                bytes.copy_within(..RECORD_BYTES, RECORD_BYTES);
            }
        });
        assert!(pair.server.error().is_some());
        assert_eq!(pair.server_frames.len(), usize::from(!swap));
    }
}

#[test]
fn nodes_keep_their_link_alive_and_notice_when_it_died() {
    let mut pair = Pair::connected(&Setup::nodes()).unwrap();
    for _ in 0..20 {
        pair.advance(limits::KEEP_ALIVE);
        pair.drive();
    }
    assert!(pair.is_open());
    assert_eq!(pair.client_frames, vec![Frame::Dummy; 20]);
    assert_eq!(pair.server_frames, vec![Frame::Dummy; 20]);
    // Nothing is carried any more.
    let due = pair.now.instant.after(limits::KEEP_ALIVE);
    assert_eq!(pair.client.poll_timeout(), Some(due));
    for _ in 0..3 {
        pair.advance(limits::KEEP_ALIVE);
    }
    assert!(pair.is_open());
    pair.advance(Duration::from_secs(5));
    assert_eq!(pair.client.error(), Some(&Error::TimedOut("idle")));
    assert_eq!(pair.server.error(), Some(&Error::TimedOut("idle")));
}

#[test]
fn on_a_clients_link_nobody_sends_what_no_clock_asked_for() {
    let mut pair = Pair::connected(&Setup::client()).unwrap();
    let before = (pair.client_wire.len(), pair.server_wire.len());
    pair.advance(limits::IDLE_CLIENT - Duration::from_nanos(1));
    pair.drive();
    assert!(pair.is_open());
    assert_eq!((pair.client_wire.len(), pair.server_wire.len()), before);
    pair.advance(Duration::from_nanos(1));
    assert_eq!(pair.client.error(), Some(&Error::TimedOut("idle")));
    assert_eq!(pair.server.error(), Some(&Error::TimedOut("idle")));
}

#[test]
fn a_frame_that_is_not_whole_in_time_closes_the_link() {
    let mut pair = Pair::connected(&Setup::client()).unwrap();
    pair.client.send(pair.now, packet(1)).unwrap();
    let mut bytes = Vec::new();
    pair.client.transmit(&mut bytes);
    // A byte a second is progress, and is not enough.
    for byte in bytes.iter().take(10) {
        assert!(!pair.server.is_closed());
        pair.server
            .receive(pair.now, std::slice::from_ref(byte))
            .unwrap();
        pair.advance(Duration::from_secs(1));
    }
    assert_eq!(pair.server.error(), Some(&Error::TimedOut("whole frame")));
}

#[test]
fn a_connection_that_ends_without_a_word_is_lost() {
    let mut pair = Pair::connected(&Setup::client()).unwrap();
    pair.client.receive_end();
    assert_eq!(pair.client.error(), Some(&Error::Lost));
}

#[test]
fn a_connection_can_be_moved_to_another_thread() {
    const fn is_send<T: Send + 'static>() {}
    is_send::<whist_link::Connection>();
}
