//! Rows 19 and 20: peers that announce much, say nothing, or never come to an end.

use std::net::SocketAddr;
use std::time::Duration;

use whist_rt::io::{AsyncReadExt, AsyncWriteExt};
use whist_rt::raw::TcpStream;
use whist_rt::time::{self, Instant};
use whist_sim::testnet::{Kind, Person, Plan, Testnet, until, within};

use super::rig::Rig;

const AT_ONCE: usize = 40;
const MIB: u64 = 1 << 20;
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

async fn throw(address: SocketAddr) -> usize {
    let mut held = Vec::new();
    for bomb in bombs() {
        for _ in 0..AT_ONCE {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The other side may close before it has read all.
            let _ = time::timeout(Duration::from_secs(1), stream.write_all(&bomb)).await;
            held.push(stream);
        }
        // Those that wait for more stay until all of a kind are there.
        if held.len() >= 4 * AT_ONCE {
            held.clear();
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
            for _ in 0..2 {
                throw(address).await;
            }
            let warm = memory(pid);
            let mut thrown = 0;
            for _ in 0..4 {
                thrown += throw(address).await;
            }
            let grown = memory(pid).saturating_sub(warm);
            assert!(grown <= MIB, "{name}: {grown} B for {thrown} connections");
        }
        // Both still serve.
        for to in [rig.mix, rig.provider] {
            rig.serves(to).await;
        }
    };
    whist_rt::block_on(test).unwrap();
}

/// Sockets that say nothing, half a ClientHello, or a whole record of nothing.
async fn silence(address: SocketAddr) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for number in 0..SILENT {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let words: &[u8] = match number % 3 {
            0 => b"",
            1 => &[22, 3, 1, 5, 0xdc, 1, 0, 5, 0xd8, 3, 3],
            _ => &[22],
        };
        let _ = stream.write_all(words).await;
        held.push(stream);
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
        let mut held = silence(address).await;
        let taken = || async { (descriptors(pid) >= baseline + SILENT).then_some(()) };
        until("sockets that are accepted", taken).await.unwrap();
        let begun = Instant::now();
        // A new link, which costs a puzzle now, and replies over it.
        net.proxy(&entry).unwrap().cut(true);
        alice.daemon().line("off line").await.unwrap();
        net.proxy(&entry).unwrap().cut(false);
        let delivered = "whist_provider_delivered_total";
        let before = net.metrics(&entry).await.unwrap().value(delivered).unwrap();
        net.reaches(&entry, delivered, before + 20.0).await.unwrap();
        let served = begun.elapsed();
        assert!(
            descriptors(pid) >= baseline + SILENT / 2,
            "served after {served:?}"
        );

        within(DEADLINES + BACK, "their end", closed(&mut held))
            .await
            .unwrap();
        let back = || async { (descriptors(pid) <= baseline + 4).then_some(()) };
        until("descriptors as before", back).await.unwrap();
        assert!(begun.elapsed() <= DEADLINES + BACK, "{:?}", begun.elapsed());
    };
    whist_rt::block_on(test).unwrap();
}
