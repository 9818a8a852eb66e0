//! The exit: requests and their answers, through real packets.

use std::time::Duration;

use whist_link::{Frame, LinkId};
use whist_packet::request::{Create, Get, ReplyBody, Request, Revoke, encode_request};
use whist_packet::{Destination, Surb};
use whist_types::{ConsensusHash, DropId, Epoch, Instant, MailboxAddress, NodeId, Salt16};

use crate::rig::{Owner, Rig};

const HOLD: Duration = Duration::from_millis(50);

fn create(owner: &Owner, epoch: Epoch) -> Create {
    Create {
        mailbox: owner.mailbox(),
        epoch,
        salts: std::array::from_fn(|n| Salt16::from_bytes([n as u8; 16])),
        proof: [0; 64],
        signature: [0; 64],
    }
}

fn get(owner: &Owner, epoch: Epoch) -> Get {
    Get {
        mailbox: owner.mailbox(),
        epoch,
        acked: 0,
        done: [0; 64],
        held: [0; 64],
        lease_s: 20,
        wanted: 0,
        signature: [0; 64],
    }
}

fn put(address: MailboxAddress, item: u8) -> Request {
    Request::Put {
        address,
        item: Box::new([item; 1536]),
    }
}

/// Sends a request and waits: how long the answer took, and what it says.
fn ask(
    rig: &mut Rig,
    link: LinkId,
    make: impl FnOnce(&Surb, NodeId) -> Request,
) -> (Duration, ReplyBody) {
    rig.take_left();
    let asked = rig.now.instant;
    let secret = rig.request(link, make);
    rig.wait(Duration::from_secs(1));
    let mut replies = rig.take_left();
    assert_eq!(replies.len(), 1);
    let (at, packet) = replies.remove(0);
    let reply = rig.open_reply(packet, &secret);
    assert_eq!(reply.consensus, rig.consensus.hash());
    (at.since(asked), reply.body)
}

/// A mailbox, its owner and its addresses.
fn mailbox(rig: &mut Rig, link: LinkId, seed: u8) -> (Owner, Vec<MailboxAddress>) {
    let owner = Owner::new(seed);
    let request = create(&owner, rig.epoch());
    let mailbox = owner.mailbox();
    let addresses = request.salts.iter().map(|s| mailbox.address(s)).collect();
    let (_, body) = ask(rig, link, |surb, provider| {
        owner.sign(Request::Create(Box::new(request)), surb, &provider)
    });
    let expected = ReplyBody::Created {
        per_day: 2_048,
        burst: 8_192,
    };
    assert_eq!(body, expected);
    (owner, addresses)
}

fn poll(rig: &mut Rig, link: LinkId, owner: &Owner) -> ReplyBody {
    let request = get(owner, rig.epoch());
    let (took, body) = ask(rig, link, |surb, provider| {
        owner.sign(Request::Get(Box::new(request)), surb, &provider)
    });
    assert_eq!(took, HOLD);
    body
}

#[test]
fn every_command_is_answered_at_the_fixed_offset() {
    let mut rig = Rig::new();
    let link = rig.mix_link(2);
    let owner = Owner::new(1);
    let epoch = rig.epoch();
    let drop = DropId::from_bytes([4; 32]);
    let unsigned = [
        Request::Echo,
        put(MailboxAddress::from_bytes([1; 32]), 1),
        Request::Get(Box::new(get(&owner, epoch))),
        Request::Create(Box::new(create(&owner, epoch))),
        Request::Revoke(Box::new(Revoke {
            mailbox: owner.mailbox(),
            epoch,
            addresses: Vec::new(),
            signature: [0; 64],
        })),
        Request::Publish {
            drop,
            proof: [0; 64],
            blob: Box::new([6; 1554]),
        },
        Request::Fetch {
            drop,
            token_hash: [1; 32],
        },
        Request::Fetch {
            drop,
            token_hash: [2; 32],
        },
        Request::Doc {
            hash: ConsensusHash::from_bytes([1; 32]),
            chunk: 0,
        },
    ];
    let mut statuses = Vec::new();
    for request in unsigned {
        let (took, body) = ask(&mut rig, link, |_, _| request);
        assert_eq!(took, HOLD);
        statuses.push(body.status());
    }
    assert_eq!(statuses, [0, 2, 9, 9, 9, 0, 6, 7, 5]);
    assert_eq!(rig.stats().answered, 9);
}

#[test]
fn an_unknown_version_or_command_is_answered_and_a_mauled_payload_is_not() {
    let mut rig = Rig::new();
    let link = rig.mix_link(2);
    let last = rig.other_provider();
    for (at, value) in [(0, 9), (1, 77)] {
        let (surb, secret, _) = rig.surb(last, 7);
        let mut payload = encode_request(&Request::Echo, &surb, &mut rig.rng);
        payload[at] = value;
        let frame = rig.ending_here(&Destination::REQUEST, &payload);
        rig.frame(link, frame);
        rig.wait(HOLD);
        let (_, packet) = rig.take_left().remove(0);
        assert_eq!(rig.open_reply(packet, &secret).body, ReplyBody::Refused);
    }
    let (surb, _, _) = rig.surb(last, 7);
    let payload = encode_request(&Request::Echo, &surb, &mut rig.rng);
    let Frame::Packet(mut bytes) = rig.ending_here(&Destination::REQUEST, &payload) else {
        panic!("no packet");
    };
    bytes[2_000] ^= 1;
    rig.frame(link, Frame::Packet(bytes));
    let nobody = rig.ending_here(&Destination::REQUEST, &[0; 2048]);
    rig.frame(link, nobody);
    rig.wait(Duration::from_secs(1));
    assert!(rig.take_left().is_empty());
    assert_eq!(
        (rig.dropped("bad_payload"), rig.dropped("bad_surb")),
        (1, 1)
    );
}

#[test]
fn a_message_is_stored_and_polled() {
    let mut rig = Rig::new();
    let link = rig.mix_link(2);
    let (owner, addresses) = mailbox(&mut rig, link, 1);
    let (took, body) = ask(&mut rig, link, |_, _| put(addresses[5], 42));
    assert_eq!((took, body), (HOLD, ReplyBody::Stored));
    let expected = ReplyBody::Item {
        number: 1,
        address: addresses[5],
        waiting: 1,
        oldest: 1,
        item: Box::new([42; 1536]),
    };
    assert_eq!(poll(&mut rig, link, &owner), expected);
}

#[test]
fn a_signature_for_another_surb_provider_epoch_or_mailbox_is_refused() {
    let mut rig = Rig::new();
    let link = rig.mix_link(2);
    let (owner, _) = mailbox(&mut rig, link, 1);
    let last = rig.other_provider();
    let (other_surb, _, _) = rig.surb(last, 7);
    let epoch = rig.epoch();
    let stranger = Owner::new(2);
    let request = || Request::Get(Box::new(get(&owner, epoch)));
    let old = Request::Get(Box::new(get(&owner, epoch.minus(2))));
    let refused = [
        ask(&mut rig, link, |_, p| {
            owner.sign(request(), &other_surb, &p)
        }),
        ask(&mut rig, link, |s, _| owner.sign(request(), s, &last)),
        ask(&mut rig, link, |s, p| owner.sign(old, s, &p)),
        ask(&mut rig, link, |s, p| stranger.sign(request(), s, &p)),
    ];
    for (took, body) in refused {
        assert_eq!((took, body), (HOLD, ReplyBody::Refused));
    }
    let near = Request::Get(Box::new(get(&owner, epoch.previous())));
    let (_, body) = ask(&mut rig, link, |s, p| owner.sign(near, s, &p));
    assert!(matches!(body, ReplyBody::None { .. }));
}

#[test]
fn what_is_not_durable_yet_is_answered_by_the_next_offset_at_which_it_is() {
    for (sync_ms, offsets) in [(0, 1), (49, 1), (51, 2), (149, 3), (420, 9)] {
        let mut rig = Rig::new();
        let link = rig.mix_link(2);
        let (owner, addresses) = mailbox(&mut rig, link, 1);
        rig.sync = Duration::from_millis(sync_ms);
        let (took, body) = ask(&mut rig, link, |_, _| put(addresses[0], 1));
        assert_eq!((took, body), (HOLD * offsets, ReplyBody::Stored));
        // Polls wait for nothing.
        assert!(matches!(
            poll(&mut rig, link, &owner),
            ReplyBody::Item { .. }
        ));
    }
}

#[test]
fn live_revoked_and_unknown_addresses_are_one_and_the_same_from_outside() {
    let mut rig = Rig::new();
    let link = rig.mix_link(2);
    let (owner, addresses) = mailbox(&mut rig, link, 1);
    let epoch = rig.epoch();
    let revoke = Revoke {
        mailbox: owner.mailbox(),
        epoch,
        addresses: vec![addresses[1]],
        signature: [0; 64],
    };
    let (_, body) = ask(&mut rig, link, |surb, provider| {
        owner.sign(Request::Revoke(Box::new(revoke)), surb, &provider)
    });
    assert_eq!(body, ReplyBody::Ok);
    let unknown = MailboxAddress::from_bytes([77; 32]);
    // Each game is played at the same moments of a disk whose syncs take any time.
    for round in 0..40_u8 {
        rig.sync = Duration::from_millis(u64::from(round) * 7);
        let games = [addresses[0], addresses[1], unknown];
        let answers: Vec<_> = games
            .iter()
            .map(|address| ask(&mut rig, link, |_, _| put(*address, round)))
            .collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(answers[0].1, ReplyBody::Stored);
    }
}

#[test]
fn stored_is_kept_over_a_kill() {
    let mut rig = Rig::new();
    let link = rig.mix_link(2);
    let (owner, addresses) = mailbox(&mut rig, link, 1);
    let mut stored = 0;
    for item in 0..10 {
        let (_, body) = ask(&mut rig, link, |_, _| put(addresses[0], item));
        stored += u32::from(body == ReplyBody::Stored);
    }
    // One more is under way when the kill comes.
    rig.sync = Duration::from_secs(10);
    rig.request(link, |_, _| put(addresses[0], 99));
    let mut rig = rig.kill();
    rig.sync = Duration::from_millis(3);
    let link = rig.mix_link(2);
    let ReplyBody::Item {
        waiting, number, ..
    } = poll(&mut rig, link, &owner)
    else {
        panic!("nothing there");
    };
    assert_eq!((stored, waiting, number), (10, 10, 1));
}

#[test]
fn a_consensus_is_read_in_chunks_and_equals_what_was_signed() {
    let mut rig = Rig::new();
    let link = rig.mix_link(2);
    let hash = rig.consensus.hash();
    let mut bytes = Vec::new();
    let mut chunks = 1;
    let mut next = 0;
    while next < chunks {
        let (_, body) = ask(&mut rig, link, |_, _| Request::Doc { hash, chunk: next });
        let ReplyBody::Doc { chunk, count, data } = body else {
            panic!("{body:?}");
        };
        assert_eq!(chunk, next);
        chunks = count;
        bytes.extend_from_slice(&*data);
        next += 1;
    }
    let signed = rig.consensus.signed_bytes();
    assert_eq!(&bytes[..signed.len()], signed);
    assert!(bytes[signed.len()..].iter().all(|b| *b == 0));
    let (_, body) = ask(&mut rig, link, |_, _| Request::Doc {
        hash,
        chunk: chunks,
    });
    assert!(matches!(body, ReplyBody::None { .. }));
}

#[test]
fn a_surb_that_begins_elsewhere_is_not_followed() {
    let mut rig = Rig::new();
    let link = rig.mix_link(2);
    let (second, other) = (rig.mix(1).id, rig.other_provider());
    let surb = rig.surb_over(&[second, other]);
    let payload = encode_request(&Request::Echo, &surb, &mut rig.rng);
    let frame = rig.ending_here(&Destination::REQUEST, &payload);
    rig.frame(link, frame);
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.dropped("unknown_first_hop"), 1);
    assert_eq!(rig.stats().answered, 0);
}

#[test]
fn answers_leave_in_the_order_of_their_arrival_whatever_the_disk_does() {
    let mut rig = Rig::new();
    let link = rig.mix_link(2);
    rig.sync = Duration::from_millis(30);
    let mut times: Vec<Instant> = Vec::new();
    for n in 0..20_u8 {
        let address = MailboxAddress::from_bytes([n; 32]);
        let request = if n % 2 == 0 {
            Request::Echo
        } else {
            put(address, n)
        };
        times.push(rig.now.instant);
        rig.request(link, |_, _| request);
        rig.wait(Duration::from_millis(1));
    }
    rig.wait(Duration::from_secs(1));
    for (at, _) in rig.take_left() {
        let offsets: Vec<u128> = times
            .iter()
            .map(|asked| at.since(*asked).as_nanos())
            .collect();
        assert!(
            offsets
                .iter()
                .any(|ns| *ns > 0 && ns % HOLD.as_nanos() == 0)
        );
    }
    assert_eq!(rig.stats().answered, 20);
}
