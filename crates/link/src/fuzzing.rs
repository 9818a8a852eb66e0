//! What a fuzzer calls; `cargo test` runs the committed corpus through it (`tests/corpus.rs`).
//! None of these may panic, whatever the bytes.

use std::io::Write as _;
use std::sync::Arc;

use whist_types::Secret;

use crate::pair::Setup;
use crate::puzzle::{Challenge, Gate, Solution};
use crate::{Assembler, Connection, FRAME_BYTES, Frame, Pair, limits};

/// A frame that decodes encodes to the bytes that it came from. Short inputs are padded with zeros.
pub fn fuzz_frame(data: &[u8]) {
    let mut bytes = [0; FRAME_BYTES];
    for (to, from) in bytes.iter_mut().zip(data) {
        *to = *from;
    }
    if let Ok(frame) = Frame::decode(&bytes) {
        assert_eq!(*frame.encode(), bytes);
    }
}

/// Parts in any order give a blob, nothing, or an error; never more than what came.
pub fn fuzz_parts(data: &[u8]) {
    let mut assembler = Assembler::new(8);
    for chunk in data.chunks(FRAME_BYTES) {
        let mut bytes = [0; FRAME_BYTES];
        for (to, from) in bytes.iter_mut().zip(chunk) {
            *to = *from;
        }
        if let Ok(Frame::DocChunk(part)) = Frame::decode(&bytes)
            && let Ok(Some(blob)) = assembler.push(*part)
        {
            assert!(blob.len() <= 8 * crate::PART_BYTES);
        }
    }
}

/// A challenge and a solution that are read write themselves back.
pub fn fuzz_puzzle(data: &[u8]) {
    if let Some(bytes) = data.first_chunk()
        && let Ok(challenge) = Challenge::from_bytes(bytes)
    {
        assert_eq!(challenge.to_bytes(), *bytes);
    }
    if let Some(bytes) = data.first_chunk()
        && let Ok(solution) = Solution::from_bytes(bytes)
    {
        assert_eq!(solution.to_bytes(), *bytes);
    }
}

/// Bytes to an end in the stage that the first byte names: a fresh server, a fresh client, a server
/// under load, either end in the middle of the handshake, an open end, an open end with the bytes
/// sealed by its peer.
pub fn fuzz_connection(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else {
        return;
    };
    let setup = match mode % 7 {
        2 => {
            let gate = Arc::new(Gate::new(Secret::new([3; 32])));
            Setup::client().under_load(&gate, limits::EFFORT_MIN)
        }
        _ => Setup::client(),
    };
    let Ok(mut pair) = Pair::new(&setup) else {
        return;
    };
    match mode % 7 {
        0 | 2 => feed(&mut pair.server, pair.now, data),
        1 => feed(&mut pair.client, pair.now, data),
        3 => {
            pair.client_to_server(|bytes| garble(bytes, data));
            pair.drive();
        }
        4 => {
            pair.client_to_server(|_| {});
            pair.server_to_client(|bytes| garble(bytes, data));
            pair.drive();
        }
        5 => {
            pair.drive();
            feed(&mut pair.server, pair.now, data);
        }
        _ => {
            pair.drive();
            for chunk in data.chunks(FRAME_BYTES) {
                let _all = pair.client.tls().writer().write(chunk);
            }
            pair.drive();
        }
    }
    // However it went, both ends can still be asked and closed.
    for end in [&mut pair.client, &mut pair.server] {
        end.handle_timeout(pair.now);
        end.close();
        assert!(end.is_closed() && end.poll_timeout().is_none());
    }
    pair.drive();
}

/// Gives `data` in pieces whose sizes it names itself.
fn feed(end: &mut Connection, now: whist_types::Now, data: &[u8]) {
    let mut rest = data;
    while let Some(&first) = rest.first() {
        let size = usize::from(first).saturating_add(1).min(rest.len());
        let (piece, after) = rest.split_at_checked(size).unwrap_or((rest, &[]));
        if end.receive(now, piece).is_err() {
            assert!(end.is_closed());
        }
        while end.poll_frame().is_some() {}
        rest = after;
    }
}

/// Flips bits of a flight: from an offset that the first two bytes name; or cuts it there.
fn garble(bytes: &mut Vec<u8>, data: &[u8]) {
    let Some((&[high, low], flips)) = data.split_first_chunk() else {
        return;
    };
    let at = usize::from(u16::from_be_bytes([high, low]));
    let at = at.checked_rem(bytes.len()).unwrap_or(0);
    if flips.is_empty() {
        return bytes.truncate(at);
    }
    for (byte, flip) in bytes.iter_mut().skip(at).zip(flips) {
        *byte ^= flip;
    }
}
