//! Row 16: a consensus past its grace, and nobody who brings a newer one.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use whist_link::{Frame, Hello};
use whist_rt::{time, wall};
use whist_sim::testnet::records::frame_lengths;
use whist_sim::testnet::{Kind, LIMIT, Person, Plan, Testnet, until, within};
use whist_types::{Epoch, SessionAddress};

use super::rig::{FEW, Rig};

const WATCH: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);
const SHORT: &str = "epoch_ms = 4000\nkey_window_ms = 1000\ngrace_epochs = 1";
const PACKETS: u32 = 20;
/// Metrics are a second old at most.
const SHOWN: Duration = Duration::from_millis(1_300);

/// Until this epoch has lasted so long that metrics show how it began.
async fn until_epoch(net: &Testnet, epoch: Epoch) {
    let start = net.schedule().start(epoch).after(SHOWN);
    while wall() < start {
        time::sleep(start.since(wall())).await;
    }
}

/// The kernel's number for a socket that listens.
const LISTENING: &str = "0A";

/// Where a process has connections to that it dialled, or tries to have.
fn peers(pid: u32) -> BTreeSet<SocketAddr> {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeSet::new();
    };
    let names = files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok());
    let sockets: BTreeSet<_> = names.map(|name| name.display().to_string()).collect();
    // A port on which it listens is the near end of what it accepted, and not dialled.
    let (mut found, mut listens) = (Vec::new(), BTreeSet::new());
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if !sockets.contains(&format!("socket:[{}]", fields[9])) {
                continue;
            }
            let (_, near) = fields[1].split_once(':').unwrap();
            let (address, port) = fields[2].split_once(':').unwrap();
            assert_eq!(address.len(), 8, "no IPv6 is in the network: {line}");
            if table == "tcp" && fields[3] == LISTENING {
                listens.insert(near.to_owned());
                continue;
            }
            let address = Ipv4Addr::from(u32::from_str_radix(address, 16).unwrap().to_be());
            let port = u16::from_str_radix(port, 16).unwrap();
            found.push((near.to_owned(), SocketAddr::from((address, port))));
        }
    }
    found.retain(|(near, _)| !listens.contains(near));
    found.into_iter().map(|(_, far)| far).collect()
}

/// What the client puts on the wire while it has nothing valid to send by: where it connects to.
pub async fn watch(pid: u32) -> BTreeSet<SocketAddr> {
    let mut seen = BTreeSet::new();
    let mut looks = time::interval(LOOK);
    for _ in 0..WATCH.as_millis() / LOOK.as_millis() {
        looks.tick().await;
        seen.extend(peers(pid));
    }
    seen
}

#[test]
fn a_client_past_its_grace_connects_to_known_providers_alone_sends_nothing_and_says_so() {
    let test = async {
        let plan = Plan {
            mixes: 3,
            providers: 3,
            parameters: SHORT.to_owned(),
            ..Plan::default()
        };
        let mut net = Testnet::start(&plan, &[]).await.unwrap();
        net.ready().await.unwrap();
        let mut alice = Person::init(&net, "alice").await.unwrap();
        alice.start().await.unwrap();
        alice.daemon().line("on line").await.unwrap();
        let pid = alice.daemon().pid().unwrap();
        let providers = net.names(Kind::Provider);
        let allowed: BTreeSet<_> = providers
            .iter()
            .map(|name| net.proxy(name).unwrap().address())
            .collect();

        for name in [Kind::Authority, Kind::Mix]
            .map(|kind| net.names(kind))
            .concat()
        {
            net.program(&name).unwrap().kill().await.unwrap();
        }
        // They hold their sockets and say nothing.
        for name in &providers {
            net.program(name).unwrap().signal("STOP").await.unwrap();
        }
        alice
            .daemon()
            .line("the consensus is too old")
            .await
            .unwrap();
        let seen = watch(pid).await;
        assert!(seen.is_subset(&allowed), "{seen:?} beyond {allowed:?}");
        assert!(!seen.is_empty(), "it tries to get a newer one");
        let status = alice.ask(&["status"]).await.unwrap();
        let warnings = status["warnings"].to_string();
        assert!(warnings.contains("too old: nothing is sent"), "{status}");
        assert_eq!(status["online"], false, "{status}");
        let sent = status["stats"]["sent"].clone();

        // Providers that are there again, and know nothing newer either, get a `HELLO` at most.
        let before = net.recorder().flows().len();
        for name in &providers {
            net.program(name).unwrap().kill().await.unwrap();
            net.restart(name).await.unwrap();
        }
        let linked = || async {
            let flows = net.recorder().flows();
            let mut opened = flows.iter().skip(before).filter(|flow| flow.down.len() > 2);
            opened.next_back().map(|_| ())
        };
        until("a link to a provider", linked).await.unwrap();
        let seen = watch(pid).await;
        assert!(seen.is_subset(&allowed), "{seen:?} beyond {allowed:?}");
        for flow in net.recorder().flows().iter().skip(before) {
            let up: Vec<_> = flow.up.iter().map(|(_, record)| *record).collect();
            let frames = frame_lengths(&up);
            assert!(frames.len() <= 1, "{frames:?} on {}", flow.link);
        }
        let status = alice.ask(&["status"]).await.unwrap();
        assert_eq!(status["stats"]["sent"], sent, "{status}");
    };
    whist_rt::block_on(test).unwrap();
}

#[test]
fn a_mix_and_a_provider_with_an_expired_consensus_forward_nothing() {
    let test = async {
        let mut rig = Rig::start_with(16, SHORT, 8_000, FEW).await;
        for to in [rig.mix, rig.provider] {
            rig.serves(to).await;
        }
        for name in rig.net.names(Kind::Authority) {
            rig.net.program(&name).unwrap().kill().await.unwrap();
        }
        // The programs may hold one consensus more than the puppets; it has its grace too. The key
        // of the epoch after that is still in the list that the puppets hold.
        let newest = *rig.stage.seen().consensuses.keys().next_back().unwrap();
        until_epoch(&rig.net, newest.plus(3)).await;
        assert_eq!(rig.epoch(), newest.plus(3));

        let (mix, provider) = (rig.mix, rig.provider);
        let (before, after) = rig.around(&mix);
        let mut link = rig.link_of(&before[0], mix).await;
        let counts = [
            rig.metric(&mix, "sent_total").await,
            rig.metric(&mix, "received_total").await,
        ];
        for _ in 0..PACKETS {
            let (_, packet) = rig.packet(mix, after[0], Duration::ZERO);
            link.send(Frame::Packet(packet.into_bytes())).await;
        }
        let looked = async {
            rig.reaches(&mix, "received_total", counts[1] + f64::from(PACKETS))
                .await;
        };
        within(LIMIT, "packets that are looked at", looked)
            .await
            .unwrap();
        time::timeout(Duration::from_secs(1), link.is_closed())
            .await
            .ok();
        assert_eq!(
            rig.metric(&mix, "sent_total").await,
            counts[0],
            "a mix sent"
        );

        let forwarded = rig.metric(&provider, "forwarded_total").await;
        let mut client = rig.dial(provider, None).await.unwrap();
        let hello = Frame::Hello(Hello::Client {
            version: Hello::VERSION,
            consensus: rig.consensus().hash(),
            session: SessionAddress::from_bytes([16; 32]),
            profile: 1,
        });
        client.send(hello).await;
        for _ in 0..PACKETS {
            let next = rig.puppets(0)[0];
            let (_, packet) = rig.packet(provider, next, Duration::ZERO);
            client.send(Frame::Packet(packet.into_bytes())).await;
        }
        time::timeout(Duration::from_secs(1), client.is_closed())
            .await
            .ok();
        assert_eq!(rig.metric(&provider, "forwarded_total").await, forwarded);
        // The two of the beginning.
        assert_eq!(rig.stage.seen().arrivals.len(), 2);
    };
    whist_rt::block_on(test).unwrap();
}
