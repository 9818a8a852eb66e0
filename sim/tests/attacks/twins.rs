//! Row 2: replays, also through twins of alpha.

use std::time::Duration;

use rand_core::Rng as _;
use whist_link::Frame;
use whist_packet::Packet;
use whist_rt::task;
use whist_rt::time::{self, Instant};

use super::raw::Raw;
use super::rig::Rig;

/// As many originals as are built in this time.
const BUILDING: Duration = Duration::from_secs(4);
const ORIGINALS_MAX: usize = 3_000;
const ORIGINALS_MIN: usize = 300;
/// X25519 ignores the highest bit of the last byte of alpha.
const ALPHA_LAST: usize = 31;
const REPLAYED: &str = "dropped_total{reason=\"replayed\"}";
const LINKS_PER_PEER: usize = 3;
/// Packets that one link sends at once, and its pause: below its share of the mix's rate.
const BURST: usize = 10;
const PAUSE: Duration = Duration::from_millis(15);

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
    for burst in packets.chunks(BURST) {
        for packet in burst {
            let frame = Frame::Packet(packet.clone().into_bytes());
            assert!(link.send(frame).await, "a link fell");
        }
        time::sleep(PAUSE).await;
    }
    link
}

#[test]
fn of_a_packet_its_copies_and_its_twins_from_many_links_at_once_one_is_forwarded() {
    let test = async {
        let mut rig = Rig::start(2, 12_000).await;
        rig.epoch_with(Duration::from_secs(8)).await;
        let mix = rig.mix;
        let (before, after) = rig.around(&mix);
        let mut links = Vec::new();
        for from in &before {
            for _ in 0..LINKS_PER_PEER {
                links.push(rig.link_of(from, mix).await);
            }
        }
        assert!(links.len() >= 6, "{} links", links.len());
        let (begun, mut marks, mut groups) = (Instant::now(), Vec::new(), Vec::new());
        while marks.len() < ORIGINALS_MAX && begun.elapsed() < BUILDING {
            let next = after[marks.len() % after.len()];
            let (mark, packet) = rig.packet(mix, next, Duration::ZERO);
            marks.push(mark);
            groups.push([packet.clone(), twin(&packet), packet.clone(), twin(&packet)]);
        }
        let originals = marks.len();
        assert!(
            originals >= ORIGINALS_MIN,
            "{originals}: too few to show anything"
        );
        let replayed = rig.metric(&mix, REPLAYED).await;

        // The four of a group leave on four links, at about the same time, in any order.
        let count = links.len();
        let mut shares = vec![Vec::new(); count];
        for mut group in groups {
            shuffle(&mut rig, &mut group);
            let start = rig.rng.next_u64() as usize;
            for (step, packet) in group.into_iter().enumerate() {
                shares[start.wrapping_add(step) % count].push(packet);
            }
        }
        let sending = links.into_iter().zip(shares);
        let sending: Vec<_> = sending.map(|(l, s)| task::spawn(send_all(l, s))).collect();
        let mut open = Vec::new();
        for sent in sending {
            open.push(sent.await.unwrap());
        }
        rig.stage
            .until("every fresh packet", |seen| {
                let arrived = |mark| seen.arrivals.contains_key(mark);
                marks.iter().all(arrived).then_some(())
            })
            .await
            .unwrap();
        let copies = (3 * originals) as f64;
        rig.reaches(&mix, REPLAYED, replayed + copies).await;
        assert_eq!(rig.metric(&mix, REPLAYED).await - replayed, copies);
        let seen = rig.stage.seen();
        assert_eq!((seen.doubled(), seen.arrivals.len()), (0, originals));
    };
    whist_rt::block_on(test).unwrap();
}
