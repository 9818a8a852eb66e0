//! Row 19: peers that announce much, or never come to an end.

use std::net::SocketAddr;

use whist_rt::io::AsyncWriteExt;
use whist_rt::raw::TcpStream;
use whist_sim::testnet::{LIMIT, within};

use super::crowd::closed;
use super::rig::Rig;

const AT_ONCE: usize = 40;
/// Kinds of bombs whose connections are held at once.
const KINDS_AT_ONCE: usize = 4;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// So many windows on end may add a mebibyte together, and the quietest of all this much. A buffer
/// that is not given back, or one that is as large as a peer said, would be there in every window:
/// 364 B for each of its 360 connections.
const AT_REST: usize = 4;
const LEAST_GROWTH: u64 = 128 * KIB;
/// Which buffers are in use at once differs from window to window, and the allocator keeps what it
/// had at the worst moment: how many windows pass until it has met that moment is chance.
const WINDOWS_MAX: usize = 16;
/// What connections may hold while they are open: the buffers of a handshake, all of which the
/// allocator may keep for the next ones. One announcement in a thousand taken at its word is more.
const HEIGHT_OF_ONE: u64 = 64 * KIB;
/// First bytes of connections that cost whoever believes them.
fn bombs() -> Vec<Vec<u8>> {
    let header = |kind: u8, body: u16| {
        let [high, low] = body.to_be_bytes();
        vec![kind, 3, 3, high, low]
    };
    let partial = |kind, body: u16, filled: usize| {
        let mut bytes = header(kind, body);
        bytes.resize(5 + filled, 1);
        bytes
    };
    // A ClientHello that says it has 16 MB.
    let mut long_hello = partial(22, 4_000, 3_999);
    long_hello[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
    // As many small records of a handshake as anybody takes.
    let mut endless = Vec::new();
    for part in 0..2_000_u16 {
        let mut record = partial(22, 40, 40);
        if part == 0 {
            record[5..9].copy_from_slice(&[1, 0, 0xff, 0xff]);
        }
        endless.extend(record);
    }
    vec![
        partial(22, 16_384, 16_000),
        partial(23, 16_640, 16_000),
        partial(22, u16::MAX, 60_000),
        partial(22, 4_000, 3_999),
        long_hello,
        endless,
        vec![0; 100_000],
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n".to_vec(),
        b"\xff".repeat(65_536),
    ]
}

/// Throws all bombs and waits until the other side has let go of every connection.
async fn throw(address: SocketAddr) -> usize {
    for kinds in bombs().chunks(KINDS_AT_ONCE) {
        let mut held = Vec::new();
        for bomb in kinds {
            for _ in 0..AT_ONCE {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // The other side may close before it has read all.
                let writing = stream.write_all(bomb);
                let _ = within(LIMIT, "a bomb that is taken or refused", writing)
                    .await
                    .unwrap();
                held.push(stream);
            }
        }
        // Those that wait for more stay until all of these kinds are there.
        for mut stream in held {
            let _ = stream.shutdown().await;
            let ended = closed(std::slice::from_mut(&mut stream));
            within(LIMIT, "the end of a connection", ended)
                .await
                .unwrap();
        }
    }
    bombs().len() * AT_ONCE
}

/// Memory of a process that is its own. The table of tags on the tmpfs, whose size is fixed, counts
/// as shared.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
fn what_peers_announce_costs_a_mix_and_a_provider_no_memory() {
    let test = async {
        let mut rig = Rig::start(19, 6_000).await;
        for name in [super::rig::MIX, super::rig::PROVIDER] {
            let address = rig.net.listens(name).unwrap();
            let pid = rig.net.program(name).unwrap().pid().unwrap();
            let before = memory(pid);
            throw(address).await;
            let mut heights = vec![memory(pid)];
            let mut thrown = 0;
            let grown = |from: u64, to: u64| to.saturating_sub(from);
            loop {
                thrown += throw(address).await;
                heights.push(memory(pid));
                let newest = heights.len() - 1;
                if newest > AT_REST && grown(heights[newest - AT_REST], heights[newest]) <= MIB {
                    break;
                }
                assert!(
                    newest < WINDOWS_MAX,
                    "{name}: {thrown} connections, and it grows on: {heights:?}"
                );
            }
            let growth = heights.windows(2).map(|two| grown(two[0], two[1]));
            let least = growth.min().unwrap();
            assert!(
                least <= LEAST_GROWTH,
                "{name}: every window leaves {least} B or more: {heights:?}"
            );
            let height = heights.iter().max().unwrap().saturating_sub(before);
            let bound = HEIGHT_OF_ONE * (KINDS_AT_ONCE * AT_ONCE) as u64;
            assert!(
                height <= bound,
                "{name}: {height} B from {before} B: {heights:?}"
            );
        }
        // Both still serve.
        for to in [rig.mix, rig.provider] {
            rig.serves(to).await;
        }
    };
    whist_rt::block_on(test).unwrap();
}
