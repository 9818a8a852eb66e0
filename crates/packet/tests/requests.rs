//! The layouts of requests and replies (protocol.md §3).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

mod rig;

use chacha20::ChaCha20Rng;
use rand_core::Rng;
use rig::{rng, route, session};
use whist_packet::request::{
    ADDRESSES_MAX, Add, BadReply, BadRequest, Command, Create, Get, Reply, ReplyBody, Request,
    Revoke, encode_reply, encode_request, parse_reply, parse_request, signing_bytes,
};
use whist_packet::{DropReason, PAYLOAD_BYTES, SURB_BYTES, Surb, build_surb};
use whist_types::{ConsensusHash, DropId, Epoch, MailboxAddress, MailboxKey, NodeId, Salt16};

const BODY: usize = 2 + SURB_BYTES;

fn surb() -> Surb {
    build_surb(&route(4), &session(), &mut rng(1)).unwrap().0
}

fn bytes<const N: usize>(rng: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn salts(n: usize, rng: &mut ChaCha20Rng) -> Vec<Salt16> {
    (0..n).map(|_| Salt16::from_bytes(bytes(rng))).collect()
}

fn get(rng: &mut ChaCha20Rng) -> Get {
    Get {
        mailbox: MailboxKey::from_bytes(bytes(rng)),
        epoch: Epoch::new(rng.next_u64()),
        acked: rng.next_u64(),
        done: bytes(rng),
        held: bytes(rng),
        lease_s: rng.next_u32(),
        wanted: rng.next_u64(),
        signature: bytes(rng),
    }
}

/// One request of every command, twice where a count matters.
fn requests(seed: u64) -> Vec<Request> {
    let rng = &mut rng(seed);
    let mailbox = MailboxKey::from_bytes(bytes(rng));
    let epoch = Epoch::new(rng.next_u64());
    let used = rng.next_u64() as usize % (ADDRESSES_MAX + 1);
    let addresses = |n: usize, rng: &mut ChaCha20Rng| {
        (0..n)
            .map(|_| MailboxAddress::from_bytes(bytes(rng)))
            .collect()
    };
    vec![
        Request::Echo,
        Request::Put {
            address: MailboxAddress::from_bytes(bytes(rng)),
            item: Box::new(bytes(rng)),
        },
        Request::Get(Box::new(get(rng))),
        Request::Create(Box::new(Create {
            mailbox,
            epoch,
            salts: salts(ADDRESSES_MAX, rng).try_into().unwrap(),
            proof: bytes(rng),
            signature: bytes(rng),
        })),
        Request::Add(Box::new(Add {
            mailbox,
            epoch,
            salts: salts(used, rng),
            signature: bytes(rng),
        })),
        Request::Add(Box::new(Add {
            mailbox,
            epoch,
            salts: salts(ADDRESSES_MAX, rng),
            signature: bytes(rng),
        })),
        Request::Revoke(Box::new(Revoke {
            mailbox,
            epoch,
            addresses: addresses(used, rng),
            signature: bytes(rng),
        })),
        Request::Revoke(Box::new(Revoke {
            mailbox,
            epoch,
            addresses: addresses(ADDRESSES_MAX, rng),
            signature: bytes(rng),
        })),
        Request::Publish {
            drop: DropId::from_bytes(bytes(rng)),
            proof: bytes(rng),
            blob: Box::new(bytes(rng)),
        },
        Request::Fetch {
            drop: DropId::from_bytes(bytes(rng)),
            token_hash: bytes(rng),
        },
        Request::Doc {
            hash: ConsensusHash::from_bytes(bytes(rng)),
            chunk: rng.next_u32(),
        },
    ]
}

fn replies(seed: u64) -> Vec<ReplyBody> {
    let rng = &mut rng(seed);
    vec![
        ReplyBody::Ok,
        ReplyBody::Created {
            per_day: rng.next_u32(),
            burst: rng.next_u32(),
        },
        ReplyBody::Stored,
        ReplyBody::Full,
        ReplyBody::Item {
            number: rng.next_u64(),
            address: MailboxAddress::from_bytes(bytes(rng)),
            waiting: rng.next_u32(),
            oldest: rng.next_u64(),
            item: Box::new(bytes(rng)),
        },
        ReplyBody::None {
            waiting: rng.next_u32(),
            oldest: rng.next_u64(),
        },
        ReplyBody::Blob(Box::new(bytes(rng))),
        ReplyBody::Opened,
        ReplyBody::Doc {
            chunk: rng.next_u32(),
            count: rng.next_u32(),
            data: Box::new(bytes(rng)),
        },
        ReplyBody::Refused,
    ]
}

#[test]
fn every_request_survives_its_bytes_and_keeps_its_surb() {
    let surb = surb();
    for seed in 0..50 {
        for request in requests(seed) {
            let payload = encode_request(&request, &surb, &mut rng(seed + 1_000));
            let (parsed_surb, parsed) = parse_request(&payload).unwrap();
            assert_eq!(parsed.unwrap(), request);
            assert_eq!(parsed_surb, surb);
        }
    }
    let commands: std::collections::HashSet<_> =
        requests(0).iter().map(|r| r.command().byte()).collect();
    assert_eq!(commands.len(), Command::ALL.len());
}

#[test]
fn every_reply_survives_its_bytes() {
    for seed in 0..50 {
        let consensus = ConsensusHash::from_bytes(bytes(&mut rng(seed)));
        for (status, body) in replies(seed).into_iter().enumerate() {
            assert_eq!(usize::from(body.status()), status);
            let payload = encode_reply(&consensus, &body, &mut rng(seed + 1_000));
            assert_eq!(parse_reply(&payload).unwrap(), Reply { consensus, body });
        }
    }
}

#[test]
fn fields_stand_at_the_offsets_of_the_byte_tables() {
    let surb = surb();
    let rng = &mut rng(3);
    let get = get(rng);
    let payload = encode_request(&Request::Get(Box::new(get.clone())), &surb, rng);
    assert_eq!(payload[..2], [1, 2]);
    assert_eq!(payload[2..BODY], surb.to_bytes());
    let at = |from: usize, len: usize| payload[BODY + from..BODY + from + len].to_vec();
    assert_eq!(at(0, 32), get.mailbox.as_bytes());
    assert_eq!(at(32, 8), get.epoch.number().to_be_bytes());
    assert_eq!(at(40, 8), get.acked.to_be_bytes());
    assert_eq!(at(48, 64), get.done);
    assert_eq!(at(112, 64), get.held);
    assert_eq!(at(176, 4), get.lease_s.to_be_bytes());
    assert_eq!(at(180, 8), get.wanted.to_be_bytes());
    assert_eq!(at(188, 64), get.signature);
    // The signature does not move with the count.
    for count in [0, 5, 32] {
        let add = Add {
            mailbox: get.mailbox,
            epoch: get.epoch,
            salts: salts(count, rng),
            signature: bytes(rng),
        };
        let payload = encode_request(&Request::Add(Box::new(add.clone())), &surb, rng);
        assert_eq!(usize::from(payload[BODY + 40]), count);
        assert_eq!(payload[BODY + 553..BODY + 617], add.signature);
        let revoke = Revoke {
            mailbox: get.mailbox,
            epoch: get.epoch,
            addresses: vec![MailboxAddress::from_bytes([9; 32]); count],
            signature: bytes(rng),
        };
        let payload = encode_request(&Request::Revoke(Box::new(revoke.clone())), &surb, rng);
        assert_eq!(usize::from(payload[BODY + 40]), count);
        assert_eq!(payload[BODY + 1_065..BODY + 1_129], revoke.signature);
    }
}

/// Bytes of the payload that differ between two encodings with other randomness.
fn random_bytes(encode: impl Fn(u64) -> Box<[u8; PAYLOAD_BYTES]>) -> usize {
    let (a, b, c) = (encode(1), encode(2), encode(3));
    (0..PAYLOAD_BYTES)
        .filter(|&i| a[i] != b[i] || b[i] != c[i])
        .count()
}

#[test]
fn what_a_command_leaves_unused_is_random() {
    let surb = surb();
    // 1,650 less what each of the requests of `requests(0)` uses; ADD and REVOKE without entries.
    let used = |request: &Request| match request {
        Request::Echo => 0,
        Request::Put { .. } => 1_568,
        Request::Get(_) => 252,
        Request::Create(_) => 680,
        Request::Add(add) => 105 + 16 * add.salts.len(),
        Request::Revoke(revoke) => 105 + 32 * revoke.addresses.len(),
        Request::Publish { .. } => 1_650,
        Request::Fetch { .. } => 64,
        Request::Doc { .. } => 36,
    };
    for request in requests(0) {
        let random = random_bytes(|seed| encode_request(&request, &surb, &mut rng(seed)));
        let expected = 1_650 - used(&request);
        assert!(random <= expected, "{:?}", request.command());
        assert!(random + 2 >= expected, "{:?} {random}", request.command());
    }
    let zero = ConsensusHash::from_bytes([0; 32]);
    for (body, used) in replies(0)
        .iter()
        .zip([0, 8, 0, 0, 1_588, 12, 1_554, 0, 1_908, 0])
    {
        let random = random_bytes(|seed| encode_reply(&zero, body, &mut rng(seed)));
        assert!(
            random <= 2_014 - used && random + 2 >= 2_014 - used,
            "{}",
            body.status()
        );
    }
}

#[test]
fn a_request_that_is_bad_after_its_surb_can_still_be_answered() {
    let surb = surb();
    let good = encode_request(&requests(0)[4], &surb, &mut rng(1));
    let cases = [
        (0, 2, BadRequest::Version(2)),
        (0, 0, BadRequest::Version(0)),
        (1, 9, BadRequest::Command(9)),
        (1, 255, BadRequest::Command(255)),
        (BODY + 40, 33, BadRequest::Count(33)),
        (BODY + 40, 255, BadRequest::Count(255)),
    ];
    for (at, byte, expected) in cases {
        let mut payload = good.clone();
        payload[at] = byte;
        let (found, request) = parse_request(&payload).unwrap();
        assert_eq!(found, surb);
        assert_eq!(request, Err(expected));
    }
    let mut unanswerable = good;
    unanswerable[2..34].fill(0);
    assert_eq!(
        parse_request(&unanswerable).unwrap_err(),
        DropReason::BadSurb
    );
}

#[test]
fn a_reply_of_another_version_or_status_is_refused() {
    let zero = ConsensusHash::from_bytes([0; 32]);
    let mut payload = encode_reply(&zero, &ReplyBody::Ok, &mut rng(1));
    payload[1] = 10;
    assert_eq!(parse_reply(&payload), Err(BadReply::Status(10)));
    payload[0] = 2;
    assert_eq!(parse_reply(&payload), Err(BadReply::Version(2)));
}

#[test]
fn a_signature_binds_command_fields_surb_and_provider_and_nothing_that_is_unused() {
    let surb = surb();
    let (other_surb, _) = build_surb(&route(4), &session(), &mut rng(2)).unwrap();
    let here = NodeId::from_bytes([1; 32]);
    let there = NodeId::from_bytes([2; 32]);
    let mut seen = std::collections::HashSet::new();
    for request in requests(5) {
        assert!(seen.insert(signing_bytes(&request, &surb.hash(), &here)));
        assert!(seen.insert(signing_bytes(&request, &other_surb.hash(), &here)));
        assert!(seen.insert(signing_bytes(&request, &surb.hash(), &there)));
    }
    // Every bit of the signed fields counts; the signature and the unused bytes do not.
    let get = Request::Get(Box::new(get(&mut rng(6))));
    let payload = encode_request(&get, &surb, &mut rng(7));
    let signed = signing_bytes(&get, &surb.hash(), &here);
    for bit in 0..8 * 1_650 {
        let mut flipped = payload.clone();
        flipped[BODY + bit / 8] ^= 1 << (bit % 8);
        let (_, request) = parse_request(&flipped).unwrap();
        let same = signing_bytes(&request.unwrap(), &surb.hash(), &here) == signed;
        assert_eq!(same, bit >= 8 * 188, "bit {bit}");
    }
}
