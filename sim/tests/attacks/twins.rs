//! Row 2: replays, also through twins of alpha.

use std::time::Duration;

use rand_core::Rng as _;
use whist_link::Frame;
use whist_packet::Packet;
use whist_rt::{task, time, wall};
use whist_types::NodeId;

use super::raw::Raw;
use super::rig::Rig;

/// Originals of a run that names no other number by `WHIST_TWINS`.
const ORIGINALS: usize = 1_000;
/// The longest windows that an epoch of this length may have.
const PARAMETERS: &str = "epoch_ms = 12000\nkey_window_ms = 3000\nmix_loop_mean_ms = 3600000";
const EPOCH_AND_TWO_WINDOWS_MS: u64 = 18_000;
/// Seven providers and nineteen mixes with the programs: six puppets before the mix, or more.
const MANY: [usize; 2] = [6, 18];
const PEERS: usize = 6;
/// One less than a peer may have: the puppet itself has one, too.
const LINKS_PER_PEER: usize = 3;
const LINKS: usize = PEERS * LINKS_PER_PEER;
/// Packets of a round on each link, and one more that closes it: on a peer's three links together
/// as many as the smallest bucket holds.
const ROUND: usize = 20;
const SMALLEST_BUCKET: usize = 64;
/// X25519 ignores the highest bit of the last byte of alpha.
const ALPHA_LAST: usize = 31;
const REPLAYED: &str = "dropped_total{reason=\"replayed\"}";
const LIMITED: &str = "dropped_total{reason=\"rate_limited\"}";

fn originals() -> usize {
    let asked = std::env::var("WHIST_TWINS").ok();
    asked.map_or(ORIGINALS, |count| {
        count.parse().expect("a number of packets")
    })
}

fn twin(packet: &Packet) -> Packet {
    let mut bytes = packet.clone().into_bytes();
    bytes[ALPHA_LAST] ^= 0x80;
    Packet::from_bytes(bytes)
}

fn shuffle<T>(rig: &mut Rig, all: &mut [T]) {
    for place in (1..all.len()).rev() {
        let other = rig.rng.next_u64() as usize % (place + 1);
        all.swap(place, other);
    }
}

async fn send_all(mut link: Raw, packets: Vec<Packet>) -> Raw {
    for packet in packets {
        let frame = Frame::Packet(packet.into_bytes());
        assert!(link.send(frame).await, "a link fell");
    }
    link
}

/// One round: what must arrive once, of how many there are copies, and what each link carries. The
/// four of a group are on four links, in any order; the last packet of a link has no copy, so that
/// everything before it was looked at when it arrives.
fn round(rig: &mut Rig, after: &[NodeId]) -> (Vec<u64>, usize, Vec<Vec<Packet>>) {
    let (mut marks, mut shares) = (Vec::new(), vec![Vec::new(); LINKS]);
    let fresh = |rig: &mut Rig, marks: &mut Vec<u64>| {
        let next = after[marks.len() % after.len()];
        let (mark, packet) = rig.packet(rig.mix, next, Duration::ZERO);
        marks.push(mark);
        packet
    };
    let groups = LINKS * ROUND / 4;
    for place in 0..groups {
        let packet = fresh(rig, &mut marks);
        let mut group = [packet.clone(), twin(&packet), packet.clone(), twin(&packet)];
        shuffle(rig, &mut group);
        for (step, packet) in group.into_iter().enumerate() {
            // In steps of seven, so that the same links do not meet in every group.
            shares[(place + 7 * step) % LINKS].push(packet);
        }
    }
    for share in &mut shares {
        assert_eq!(share.len(), ROUND);
        share.push(fresh(rig, &mut marks));
    }
    (marks, groups, shares)
}

/// A bucket is full again after this: the mix takes as many packets a second as it says, and each
/// of its peers has an equal part.
async fn refill(rig: &Rig) -> Duration {
    let rate = rig.metric(&rig.mix, "line_rate").await;
    let peers = rig.layer((rig.place(&rig.mix) + 3) % 4).len();
    Duration::from_secs_f64((LINKS_PER_PEER * (ROUND + 1)) as f64 * peers as f64 / rate)
}

#[test]
fn of_packets_their_copies_and_their_twins_from_16_links_and_more_at_once_one_each_is_forwarded() {
    const { assert!(LINKS >= 16 && LINKS_PER_PEER * (ROUND + 1) <= SMALLEST_BUCKET) };
    let test = async {
        let mut rig = Rig::start_with(2, PARAMETERS, EPOCH_AND_TWO_WINDOWS_MS - 4_000, MANY).await;
        let mix = rig.mix;
        let (before, after) = rig.around(&mix);
        assert!(before.len() >= PEERS, "{} peers", before.len());
        let mut links = Vec::new();
        for place in 0..LINKS {
            links.push(rig.link_of(&before[place % PEERS], mix).await);
        }
        let refill = refill(&rig).await;
        let counted = [
            rig.metric(&mix, REPLAYED).await,
            rig.metric(&mix, LIMITED).await,
        ];
        let (wanted, mut originals, mut sent) = (originals(), 0, 0);
        let (mut rounds, mut late) = (0, 0);
        while originals < wanted {
            // On a slow machine the next epoch's key takes what is left.
            rig.epoch_with(Duration::from_secs(6)).await;
            let until = rig.net.schedule().key_until(rig.epoch());
            let (marks, groups, shares) = round(&mut rig, &after);
            let sending = links.into_iter().zip(shares);
            let sending: Vec<_> = sending.map(|(l, s)| task::spawn(send_all(l, s))).collect();
            links = Vec::new();
            for sent in sending {
                links.push(sent.await.unwrap());
            }
            let all = rig.stage.until("every fresh packet", |seen| {
                let arrived = |mark| seen.arrivals.contains_key(mark);
                marks.iter().all(arrived).then_some(())
            });
            // What a key that is gone would have opened does not arrive any more: a round that
            // outlived its key shows nothing.
            let limit = until.since(wall()) + Duration::from_secs(10);
            let whole = time::timeout(limit, all).await;
            if matches!(whole, Ok(Ok(()))) {
                originals += groups;
            } else {
                late += 1;
                assert!(late < 5, "{late} of {rounds} rounds outlived their keys");
            }
            rounds += 1;
            sent += groups;
            time::sleep(refill).await;
        }
        let copies = (3 * originals) as f64;
        rig.reaches(&mix, REPLAYED, counted[0] + copies).await;
        if late == 0 {
            assert_eq!(rig.metric(&mix, REPLAYED).await - counted[0], copies);
            assert_eq!(rig.metric(&mix, LIMITED).await, counted[1]);
            let arrived = rig.stage.seen().arrivals.len();
            assert_eq!(arrived, sent + rounds * LINKS);
        }
        assert_eq!(rig.stage.seen().doubled(), 0);
    };
    whist_rt::block_on(test).unwrap();
}
