//! The entry: sessions, their clocks, and what their packets may do.

use std::time::Duration;

use whist_link::{Assembler, Frame, Hello, Input, LinkId};
use whist_netdoc::{Bundle, Follower};
use whist_packet::{Destination, Unwrapped};
use whist_types::{Instant, SessionAddress, SurbId};

use crate::rig::Rig;

const DELAY: Duration = Duration::from_millis(123);

/// Everything a client sees of its link: times and kinds of frames.
fn kinds(frames: &[(Instant, Frame)]) -> Vec<(Instant, &'static str)> {
    let kind = |frame: &Frame| match frame {
        Frame::Hello(_) => "hello",
        Frame::Reply(_) => "reply",
        Frame::Dummy => "dummy",
        Frame::DocChunk(_) => "document",
        _ => "other",
    };
    frames.iter().map(|(at, f)| (*at, kind(f))).collect()
}

/// A reply that a mailbox elsewhere sends to the client's session here.
fn reply(rig: &mut Rig, session: u8) -> Frame {
    let me = rig.node.id();
    let (surb, _, _) = rig.surb(me, session);
    let (_, packet) = surb.reply(&[5; 2048]).unwrap();
    rig.mixed_to_us(packet)
}

#[test]
fn a_clients_packet_goes_to_the_first_layer_after_its_delay() {
    let mut rig = Rig::new();
    let client = rig.client(1, 1);
    let sent = rig.now.instant;
    let packet = rig.through_us(DELAY);
    rig.frame(client, packet.clone());
    assert_eq!(rig.stats().held_packets, 1);
    rig.wait(Duration::from_secs(1));
    let left = rig.take_left();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, sent.after(DELAY));
    assert_eq!(rig.stats().forwarded, 1);
    rig.frame(client, packet);
    assert_eq!(rig.dropped("replayed"), 1);
}

#[test]
fn packets_across_layers_or_against_the_stream_are_dropped() {
    let mut rig = Rig::new();
    let client = rig.client(1, 2);
    let [a, b, c] = [0, 1, 2].map(|layer| rig.mix(layer).id);
    let (me, other) = (rig.node.id(), rig.other_provider());
    let forward = |rig: &mut Rig, nodes: &[_]| {
        let to = Destination::REQUEST;
        Frame::Packet(rig.packet(nodes, DELAY, &to, &[0; 2048]).into_bytes())
    };
    let skips_a_layer = forward(&mut rig, &[me, b, c, other]);
    rig.frame(client, skips_a_layer);
    let skips_all = forward(&mut rig, &[me, other]);
    rig.frame(client, skips_all);
    assert_eq!(rig.dropped("unknown_next_hop"), 2);
    let ends_here = forward(&mut rig, &[me]);
    rig.frame(client, ends_here);
    assert_eq!(rig.dropped("not_from_mix"), 1);
    let last = rig.mix_link(2);
    let to_be_forwarded = forward(&mut rig, &[me, a, b, c, other]);
    rig.frame(last, to_be_forwarded);
    assert_eq!(rig.dropped("not_from_client"), 1);
    let first = rig.mix_link(0);
    let from_the_first_layer = forward(&mut rig, &[me]);
    rig.frame(first, from_the_first_layer);
    assert_eq!(rig.dropped("wrong_layer"), 1);
    rig.wait(Duration::from_secs(1));
    assert!(rig.take_left().is_empty());
    assert_eq!(rig.stats().held(), 0);
    assert!(rig.closed.is_empty(), "a drop is silent");
}

#[test]
fn one_frame_a_slot_whatever_arrives_and_documents_beside_them() {
    let run = |busy: bool| {
        let mut rig = Rig::new();
        let client = rig.client(1, 1);
        let last = rig.mix_link(2);
        let begun = rig.now.instant;
        let mut delivered = 0;
        for second in 0..120_u64 {
            if busy {
                let packet = rig.through_us(DELAY);
                rig.frame(client, packet);
                // A hoard is released now and then, and somebody sends what was not earned.
                let replies = if second % 10 == 9 { 12 } else { 0 };
                for _ in 0..replies {
                    let frame = reply(&mut rig, 1);
                    rig.frame(last, frame);
                }
            }
            rig.wait(Duration::from_secs(1));
        }
        rig.stats();
        let frames = rig.sent_to(client);
        for (_, frame) in &frames {
            delivered += usize::from(matches!(frame, Frame::Reply(_)));
        }
        let times: Vec<_> = frames.iter().map(|(at, _)| at.since(begun)).collect();
        let waiting = rig.stats().held_replies;
        (times, delivered, rig.dropped("unearned") + waiting)
    };
    let (idle, none, _) = run(false);
    let (busy, some, rest) = run(true);
    assert_eq!(idle, busy);
    assert_eq!(none, 0);
    assert_eq!(some as u64 + rest, 12 * 12);
    assert!(rest > 20 && some > 100);
}

#[test]
fn slots_are_twice_the_profiles_rate_to_the_nanosecond() {
    for (profile, gap_ms) in [(0_u8, 15_000_u64), (1, 500), (2, 125)] {
        let mut rig = Rig::new();
        let client = rig.client(1, profile);
        let begun = rig.now.instant;
        rig.wait(Duration::from_secs(300));
        let frames = rig.sent_to(client);
        let slots: Vec<_> = kinds(&frames)
            .into_iter()
            .filter(|(_, kind)| *kind == "dummy")
            .map(|(at, _)| at)
            .collect();
        assert_eq!(slots.len() as u64, 300_000 / gap_ms);
        assert_eq!(slots[0], begun.after(Duration::from_millis(gap_ms)));
        for pair in slots.windows(2) {
            assert_eq!(pair[1].since(pair[0]), Duration::from_millis(gap_ms));
        }
    }
}

#[test]
fn documents_come_after_hello_and_once_an_epoch_in_multiples_of_sixteen() {
    let mut rig = Rig::new();
    let client = rig.client(1, 1);
    let begun = rig.now.instant;
    rig.wait(Duration::from_secs(30));
    let first = rig.sent_to(client);
    let documents: Vec<_> = kinds(&first)
        .into_iter()
        .filter(|(_, kind)| *kind == "document")
        .map(|(at, _)| at)
        .collect();
    assert_eq!(documents[0], begun);
    assert!(documents.len() % 16 == 0 && !documents.is_empty());
    for pair in documents.windows(2) {
        assert_eq!(pair[1].since(pair[0]), Duration::from_millis(125));
    }
    let mut assembler = Assembler::new(100);
    let mut bundle = None;
    for (_, frame) in first {
        if let Frame::DocChunk(part) = frame {
            bundle = assembler.push(*part).unwrap().or(bundle);
        }
    }
    let bundle = bundle.unwrap();
    assert!(Bundle::parse(&bundle).is_ok());
    // The rest of this epoch, and the next two: the client follows by what comes unasked.
    let held = rig.consensus.hash();
    rig.wait(Duration::from_secs(2_400));
    rig.next_epoch();
    rig.wait(Duration::from_secs(3_500));
    let mut assembler = Assembler::new(100);
    let mut bundles = 0;
    let mut newest = None;
    for (_, frame) in rig.sent_to(client) {
        if let Frame::DocChunk(part) = frame
            && let Some(bundle) = assembler.push(*part).unwrap()
        {
            bundles += 1;
            newest = Some(bundle);
        }
    }
    assert!((1..=3).contains(&bundles), "{bundles}");
    let trusted = rig.trusted();
    let mut follower = Follower::light(trusted);
    follower.offer(rig.now.wall, &bundle).unwrap();
    assert_eq!(follower.hash(), held);
    follower.offer(rig.now.wall, &newest.unwrap()).unwrap();
    assert_eq!(follower.hash(), rig.consensus.hash());
}

#[test]
fn a_session_gets_its_profiles_rate_and_not_more() {
    let mut rig = Rig::new();
    let client = rig.client(1, 1);
    let flood = rig.through_us(DELAY);
    for _ in 0..60 {
        rig.frame(client, flood.clone());
    }
    assert_eq!(rig.dropped("rate_limited"), 40);
    assert_eq!(rig.dropped("replayed"), 19);
    // An honest neighbour is not touched by it.
    let honest = rig.client(2, 1);
    let packet = rig.through_us(DELAY);
    rig.frame(honest, packet);
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.stats().forwarded, 2);
}

#[test]
fn a_reply_reaches_its_session_and_no_other() {
    let mut rig = Rig::new();
    let (alice, bob) = (rig.client(1, 1), rig.client(2, 1));
    let last = rig.mix_link(2);
    let packet = rig.through_us(DELAY);
    rig.frame(alice, packet);
    let frame = reply(&mut rig, 1);
    rig.frame(last, frame);
    let stranger = reply(&mut rig, 9);
    rig.frame(last, stranger);
    assert_eq!(rig.dropped("unknown_session"), 1);
    let zero_surb = Destination {
        session: SessionAddress::from_bytes([0; 32]),
        surb: SurbId::from_bytes([1; 16]),
    };
    let neither = rig.ending_here(&zero_surb, &[0; 2048]);
    rig.frame(last, neither);
    assert_eq!(rig.dropped("unknown_session"), 2);
    rig.wait(Duration::from_secs(5));
    let got = |frames: Vec<(Instant, Frame)>| {
        let replies = frames.iter().filter(|(_, f)| matches!(f, Frame::Reply(_)));
        replies.count()
    };
    assert_eq!(got(rig.sent_to(alice)), 1);
    assert_eq!(got(rig.sent_to(bob)), 0);
}

#[test]
fn replies_of_a_session_that_ends_are_counted() {
    let mut rig = Rig::new();
    let client = rig.client(1, 1);
    let last = rig.mix_link(2);
    let packet = rig.through_us(DELAY);
    rig.frame(client, packet);
    let frame = reply(&mut rig, 1);
    rig.frame(last, frame);
    rig.input(Input::Down { link: client });
    assert_eq!(rig.dropped("session_ended"), 1);
    let late = reply(&mut rig, 1);
    rig.frame(last, late);
    assert_eq!(rig.dropped("unknown_session"), 1);
    assert_eq!(rig.stats().sessions, [0, 0, 0]);
}

#[test]
fn who_breaks_the_protocol_loses_the_link() {
    let mut rig = Rig::new();
    let closes = |rig: &mut Rig, link: LinkId| {
        let closed = rig.closed.contains(&link);
        rig.closed.clear();
        closed
    };
    let twice = rig.client(1, 1);
    rig.hello_of_client(twice, 3, 1);
    assert!(closes(&mut rig, twice));
    let first = rig.client(4, 1);
    let second = rig.client(4, 1);
    assert!(
        closes(&mut rig, second),
        "an address belongs to one session"
    );
    assert!(rig.stats().sessions == [0, 1, 0], "which goes on");
    let zero = rig.client(0, 1);
    assert!(closes(&mut rig, zero));
    let early = rig.client_link();
    let packet = rig.through_us(DELAY);
    rig.frame(early, packet);
    assert!(closes(&mut rig, early));
    let reply = whist_link::Reply {
        session: SessionAddress::from_bytes([1; 32]),
        surb: SurbId::from_bytes([1; 16]),
        payload: [0; 2065],
    };
    rig.frame(first, Frame::Reply(Box::new(reply)));
    assert!(closes(&mut rig, first));
    let node = rig.client_link();
    let hello = Hello::Node {
        version: Hello::VERSION,
        consensus: rig.consensus.hash(),
        time: rig.now.wall,
    };
    rig.frame(node, Frame::Hello(hello));
    assert!(closes(&mut rig, node));
    let silent = rig.client_link();
    rig.wait(Duration::from_secs(11));
    assert!(closes(&mut rig, silent));
}

#[test]
fn a_drain_sends_what_is_held_and_then_says_so() {
    let mut rig = Rig::new();
    let client = rig.client(1, 1);
    let packet = rig.through_us(DELAY);
    rig.frame(client, packet);
    rig.input(Input::Command(whist_provider::Command::Drain));
    let late = rig.through_us(DELAY);
    rig.frame(client, late);
    assert_eq!(rig.dropped("draining"), 1);
    assert!(!rig.drained);
    rig.wait(DELAY);
    assert!(rig.drained);
    assert_eq!(rig.take_left().len(), 1);
}

#[test]
fn a_drain_waits_for_the_replies_of_sessions_and_counts_those_that_are_left() {
    let mut rig = Rig::new();
    let client = rig.client(1, 1);
    let last = rig.mix_link(2);
    for _ in 0..20 {
        let packet = rig.through_us(Duration::ZERO);
        rig.frame(client, packet);
        let frame = reply(&mut rig, 1);
        rig.frame(last, frame);
    }
    let waiting = rig.stats().held_replies;
    rig.input(Input::Command(whist_provider::Command::Drain));
    assert!(!rig.drained, "replies wait");
    rig.wait(Duration::from_secs(600));
    assert!(rig.drained);
    let stats = rig.stats();
    assert_eq!((waiting, stats.held_replies), (20, 0));
    assert!(stats.delivered > 0, "the first slots of the drain");
    assert_eq!(stats.delivered + rig.dropped("draining"), 20);
}

#[test]
fn a_packet_seen_before_a_kill_is_dropped_after_it() {
    let mut rig = Rig::new();
    let client = rig.client(1, 1);
    let packet = rig.through_us(DELAY);
    rig.frame(client, packet.clone());
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.take_left().len(), 1);
    let mut rig = rig.kill();
    let client = rig.client(2, 1);
    rig.frame(client, packet);
    let fresh = rig.through_us(DELAY);
    rig.frame(client, fresh);
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.dropped("replayed"), 1);
    assert_eq!(rig.take_left().len(), 1);
}

#[test]
fn what_is_forwarded_opens_at_the_next_hop() {
    let mut rig = Rig::new();
    let client = rig.client(1, 1);
    let packet = rig.through_us(DELAY);
    rig.frame(client, packet);
    rig.wait(Duration::from_secs(1));
    let (_, packet) = rig.take_left().remove(0);
    let Unwrapped::Forward { next, .. } = rig.open_at_mix(0, packet) else {
        panic!("it ends at the first mix");
    };
    assert_eq!(next, rig.mix(1).id);
}
