//! Rows 19 and 20: peers that announce much, say nothing, or never come to an end.

use std::net::SocketAddr;
use std::time::Duration;

use whist_rt::io::{AsyncReadExt, AsyncWriteExt};
use whist_rt::raw::TcpStream;
use whist_rt::time::Instant;
use whist_rt::{Shutdown, task};
use whist_sim::testnet::{Kind, LIMIT, Person, Plan, Testnet, until, within};

use super::rig::Rig;

const AT_ONCE: usize = 40;
/// Kinds of bombs whose connections are held at once.
const KINDS_AT_ONCE: usize = 4;
const KIB: u64 = 1 << 10;
const WINDOWS: usize = 6;
/// What the quietest window may add. A buffer that is not given back, or one that is as large as a
/// peer said, would be there in every window: 364 B for each of its 360 connections.
const LEAST_GROWTH: u64 = 128 * KIB;
/// What connections may hold while they are open: the buffers of a handshake, all of which the
/// allocator may keep for the next ones. One announcement in a thousand taken at its word is more.
const HEIGHT_OF_ONE: u64 = 64 * KIB;
const SILENT: usize = 200;
/// Ours: the handshake's deadline and that of a client's first word are 10 s each.
const DEADLINES: Duration = Duration::from_secs(20);
const BACK: Duration = Duration::from_secs(30);

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

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
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
            for _ in 0..WINDOWS {
                thrown += throw(address).await;
                heights.push(memory(pid));
            }
            // Which buffers were in use at once differs from window to window, and the allocator
            // keeps what it had at the worst moment: one window alone says little.
            let growth = heights.windows(2).map(|two| two[1].saturating_sub(two[0]));
            let least = growth.min().unwrap();
            assert!(
                least <= LEAST_GROWTH,
                "{name}: every {} connections leave {least} B or more: {heights:?}",
                thrown / WINDOWS
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

/// A socket that says nothing, half a ClientHello, or a whole record of nothing.
async fn silence(address: SocketAddr, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let words: &[u8] = match number % 3 {
        0 => b"",
        1 => &[22, 3, 1, 5, 0xdc, 1, 0, 5, 0xd8, 3, 3],
        _ => &[22],
    };
    let _ = stream.write_all(words).await;
    stream
}

/// As many silent sockets all the time, however long `meanwhile` takes: each that is closed is
/// followed by another one. Gives those that are open at the end.
async fn silent_until<T>(
    address: SocketAddr,
    meanwhile: impl Future<Output = T>,
) -> Vec<TcpStream> {
    let mut one_by_one = Vec::new();
    for number in 0..SILENT {
        let done = Shutdown::new();
        let stop = done.clone();
        let keeping = task::spawn(async move {
            loop {
                let mut stream = silence(address, number).await;
                task::select! {
                    () = stop.triggered() => return stream,
                    () = closed(std::slice::from_mut(&mut stream)) => {}
                }
            }
        });
        one_by_one.push((done, keeping));
    }
    meanwhile.await;
    let mut held = Vec::new();
    for (done, keeping) in one_by_one {
        done.trigger();
        held.push(keeping.await.unwrap());
    }
    held
}

async fn closed(held: &mut [TcpStream]) {
    for stream in held {
        let mut byte = [0; 1];
        while matches!(stream.read(&mut byte).await, Ok(1..)) {}
    }
}

fn provider(net: &Testnet, id: &str) -> String {
    let of_id = |name: &String| net.identity(name).unwrap().node_id().to_string() == id;
    net.names(Kind::Provider).into_iter().find(of_id).unwrap()
}

#[test]
fn two_hundred_silent_sockets_are_gone_after_their_deadline_and_a_client_is_served_meanwhile() {
    let test = async {
        let plan = Plan {
            mixes: 3,
            providers: 3,
            parameters: "epoch_ms = 6000".to_owned(),
            ..Plan::default()
        };
        let mut net = Testnet::start(&plan, &[]).await.unwrap();
        net.ready().await.unwrap();
        let mut alice = Person::init(&net, "alice").await.unwrap();
        alice.start().await.unwrap();
        alice.daemon().line("on line").await.unwrap();
        let status = alice.ask(&["status"]).await.unwrap();
        let entry = provider(&net, status["entry"].as_str().unwrap());
        let pid = net.program(&entry).unwrap().pid().unwrap();
        let address = net.listens(&entry).unwrap();

        let baseline = descriptors(pid);
        let meanwhile = async {
            let taken = || async { (descriptors(pid) >= baseline + SILENT).then_some(()) };
            until("sockets that are accepted", taken).await.unwrap();
            // A new link, which costs a puzzle now, and replies over it.
            net.proxy(&entry).unwrap().cut(true);
            alice.daemon().line("off line").await.unwrap();
            net.proxy(&entry).unwrap().cut(false);
            let delivered = "whist_provider_delivered_total";
            let before = net.metrics(&entry).await.unwrap().value(delivered).unwrap();
            net.reaches(&entry, delivered, before + 20.0).await.unwrap();
            let open = descriptors(pid);
            assert!(open >= baseline + SILENT / 2, "{open} after {baseline}");
        };
        let mut held = silent_until(address, meanwhile).await;

        let begun = Instant::now();
        within(DEADLINES + BACK, "their end", closed(&mut held))
            .await
            .unwrap();
        let back = || async { (descriptors(pid) <= baseline + 4).then_some(()) };
        until("descriptors as before", back).await.unwrap();
        assert!(begun.elapsed() <= DEADLINES + BACK, "{:?}", begun.elapsed());
    };
    whist_rt::block_on(test).unwrap();
}
