//! Row 1: sizes as a tag.

use std::time::Duration;

use whist_link::{Frame, RECORD_BYTES};
use whist_types::NodeId;

use super::raw::Raw;
use super::rig::Rig;

const HEADER_BYTES: usize = 5;

/// What goes on the wire instead of two records.
type Change = Box<dyn Fn(&[u8], &[u8]) -> Vec<u8>>;

/// The same record with another length on the wire.
fn resized(record: &[u8], bytes: usize) -> Vec<u8> {
    let body = u16::try_from(bytes - HEADER_BYTES).unwrap();
    let mut changed = record.to_vec();
    changed.resize(bytes, 0x5a);
    changed[3..5].copy_from_slice(&body.to_be_bytes());
    changed
}

/// The shortest and longest, all near the right one, and round ones between.
fn lengths() -> Vec<usize> {
    let near = RECORD_BYTES - 20..=RECORD_BYTES + 20;
    let far = [
        5, 6, 21, 22, 23, 24, 25, 100, 348, 512, 1024, 2048, 2065, 2413,
    ];
    let long = [
        2 * RECORD_BYTES,
        4096,
        4101,
        8192,
        16_389,
        16_645,
        16_646,
        65_540,
    ];
    let mut all: Vec<_> = near.chain(far).chain(long).collect();
    all.retain(|bytes| *bytes != RECORD_BYTES);
    all
}

/// One frame in two records, two in one, and one of the right length that nobody sealed.
fn cut_otherwise(first: &[u8], second: &[u8]) -> Vec<Vec<u8>> {
    let (head, tail) = first[HEADER_BYTES..].split_at(1_200);
    let record = |body: &[u8]| {
        let whole = [&first[..HEADER_BYTES], body].concat();
        resized(&whole, whole.len())
    };
    let split = [record(head), record(tail)].concat();
    let merged = record(&[&first[HEADER_BYTES..], &second[HEADER_BYTES..]].concat());
    let mut altered = first.to_vec();
    altered[RECORD_BYTES / 2] ^= 1;
    vec![split, merged, altered]
}

impl Rig {
    /// A link on which packets to `to` may come.
    async fn lawful(&mut self, to: NodeId, number: u8) -> Raw {
        if to == self.mix {
            let from = self.around(&to).0;
            let from = from[usize::from(number) % from.len()];
            self.link_of(&from, to).await
        } else {
            self.session(number).await
        }
    }

    async fn refuses_other_lengths(&mut self, to: NodeId) {
        let (_, after) = self.around(&to);
        let received = self.metric(&to, "received_total").await;
        let mut sent = Vec::new();
        let mut number = 0;
        // Begun and never ended: the link closes at the deadline for whole frames.
        let mut half = self.lawful(to, 255).await;
        let (mark, packet) = self.packet(to, after[0], Duration::ZERO);
        let record = half.seal(Frame::Packet(packet.into_bytes()));
        half.write(&record[..RECORD_BYTES - 1]).await;
        sent.push(mark);

        let mut bad: Vec<Change> = Vec::new();
        for bytes in lengths() {
            bad.push(Box::new(move |record, _| resized(record, bytes)));
        }
        for place in 0..3 {
            bad.push(Box::new(move |first, second| {
                cut_otherwise(first, second).remove(place)
            }));
        }
        for change in bad {
            number += 1;
            let mut link = self.lawful(to, number).await;
            let mut records = Vec::new();
            for _ in 0..2 {
                let (mark, packet) = self.packet(to, after[0], Duration::ZERO);
                records.push(link.seal(Frame::Packet(packet.into_bytes())));
                sent.push(mark);
            }
            link.write(&change(&records[0], &records[1])).await;
            link.is_closed().await;
        }
        half.is_closed().await;

        // The one length passes, in whatever pieces its bytes come.
        let mut link = self.lawful(to, 254).await;
        let (mark, packet) = self.packet(to, after[0], Duration::from_millis(300));
        let record = link.seal(Frame::Packet(packet.into_bytes()));
        for piece in record.chunks(97) {
            assert!(link.write(piece).await);
        }
        self.arrives(mark).await;
        let seen = self.stage.seen().arrivals.clone();
        let forwarded = sent.iter().filter(|mark| seen.contains_key(mark)).count();
        assert_eq!(forwarded, 0, "of {} packets in other sizes", sent.len());
        self.reaches(&to, "received_total", received + 1.0).await;
        let taken = self.metric(&to, "received_total").await - received;
        assert_eq!(taken, 1.0, "packets that were looked at");
    }
}

#[test]
fn a_packet_in_a_record_of_any_other_length_is_never_forwarded_and_its_link_closes() {
    let test = async {
        let mut rig = Rig::start(1, 6_000).await;
        for to in [rig.mix, rig.provider] {
            rig.refuses_other_lengths(to).await;
        }
    };
    whist_rt::block_on(test).unwrap();
}
