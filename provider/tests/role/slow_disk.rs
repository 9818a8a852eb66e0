//! A disk that takes its time costs those who wait for it, and no clock that an observer sees.

use std::time::Duration;

use whist_link::LinkId;
use whist_packet::request::{ReplyBody, Request};
use whist_types::MailboxAddress;

use crate::rig::Rig;

const OPERATION: Duration = Duration::from_millis(700);
const DELAY: Duration = Duration::from_millis(123);
const SECONDS: u64 = 60;

/// When frames left on the client's link, and when packets left for the first layer that the
/// client had sent, each since the start.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    downlink: Vec<Duration>,
    forwarded: Vec<Duration>,
}

/// A client at 2/s for a minute. With `asked`, a mix hands over a request a second meanwhile.
fn watch(rig: &mut Rig, asked: bool) -> (Seen, LinkId) {
    let client = rig.client(1, 1);
    let last = rig.mix_link(2);
    let begun = rig.now.instant;
    let mut forwarded = Vec::new();
    for second in 0..SECONDS {
        let packet = rig.through_us(DELAY);
        rig.frame(client, packet);
        if asked {
            let address = MailboxAddress::from_bytes([second as u8; 32]);
            let item = Box::new([1; 1536]);
            rig.request(last, |_, _| Request::Put { address, item });
        }
        let at = begun.after(Duration::from_secs(second)).after(DELAY);
        rig.wait(at.since(rig.now.instant));
        // What leaves at this instant is the client's; answers leave at others.
        let left = rig.take_left().into_iter().map(|(at, _)| at);
        forwarded.extend(left.filter(|left| *left == at).map(|at| at.since(begun)));
        let next = begun.after(Duration::from_secs(second + 1));
        rig.wait(next.since(rig.now.instant));
    }
    let downlink = rig.sent_to(client);
    let downlink = downlink.iter().map(|(at, _)| at.since(begun)).collect();
    let seen = Seen {
        downlink,
        forwarded,
    };
    (seen, last)
}

#[test]
fn a_store_whose_every_operation_takes_long_moves_no_slot_and_no_forwarded_packet() {
    let mut idle = Rig::new();
    let (expected, _) = watch(&mut idle, false);
    assert_eq!(expected.forwarded.len() as u64, SECONDS);
    assert!(expected.downlink.len() as u64 >= 2 * SECONDS);

    let mut slow = Rig::new();
    slow.disk.slow(OPERATION);
    slow.sync = OPERATION;
    let (seen, last) = watch(&mut slow, true);
    assert_eq!(seen, expected);
    // It really was that slow: the requests of one minute take the desk many.
    assert!(slow.stats().held_answers > SECONDS / 2);

    // All are answered in the end, and nobody before what was promised is on the disk.
    slow.disk.slow(Duration::ZERO);
    slow.wait(Duration::from_secs(3_600));
    assert_eq!(slow.stats().held_answers, 0);
    let stored = slow.stats().answered + slow.dropped("not_durable");
    assert_eq!(stored, SECONDS);
    let put = ask(&mut slow, last);
    assert_eq!(put, ReplyBody::Stored);

    // The same work done in the loop is found out.
    let mut broken = Rig::new();
    broken.in_loop = true;
    broken.disk.slow(OPERATION);
    broken.sync = OPERATION;
    let (seen, _) = watch(&mut broken, true);
    assert!(seen.downlink.len() < expected.downlink.len());
    assert!(seen.forwarded.len() < expected.forwarded.len());
}

fn ask(rig: &mut Rig, link: LinkId) -> ReplyBody {
    rig.take_left();
    let address = MailboxAddress::from_bytes([99; 32]);
    let item = Box::new([1; 1536]);
    let secret = rig.request(link, |_, _| Request::Put { address, item });
    rig.wait(Duration::from_secs(60));
    let (_, packet) = rig.take_left().remove(0);
    rig.open_reply(packet, &secret).body
}

#[test]
fn a_key_disk_that_takes_long_at_an_epochs_change_moves_no_slot_either() {
    let run = |key_disk: Duration| {
        let mut rig = Rig::new();
        rig.key_disk = key_disk;
        let client = rig.client(1, 1);
        let begun = rig.now.instant;
        // Its document of each epoch comes at a time of its own, the same in both runs.
        rig.next_epoch();
        rig.next_epoch();
        let sent = rig.sent_to(client);
        let keys = rig.stats().keys;
        let times: Vec<_> = sent.iter().map(|(at, _)| at.since(begun)).collect();
        (times, keys)
    };
    let (fast, keys) = run(Duration::ZERO);
    assert!(fast.len() > 2 * 7_000, "{}", fast.len());
    let (slow, same) = run(OPERATION);
    assert_eq!(slow, fast);
    assert_eq!(same, keys, "and keys enter service all the same");
}
