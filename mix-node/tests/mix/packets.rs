//! What happens to packets.

use std::time::Duration;

use crate::rig::{self, Rig, quiet};
use rand_core::Rng as _;
use whist_link::{Frame, Hello, Input, LinkId, Remote, Role};
use whist_mix::{Command, Effect, KeyEvent, Note};
use whist_netdoc::NodeEntry;
use whist_packet::{Packet, Unwrapped, unwrap};
use whist_types::{ConsensusHash, LinkKey, SessionAddress};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn a_packet_is_unwrapped_held_and_forwarded_at_its_deadline() {
    for layer in 0..rig::LAYERS {
        let mut rig = Rig::serving(layer, quiet(), 100);
        let (sender, next) = around(&rig);
        let packet = rig.packet_now(&next, 70);
        let came = rig.now.instant;
        rig.send_from(sender.link, &packet);
        rig.run_for(MS(69));
        assert!(rig.packets_sent().is_empty());
        assert_eq!(rig.stats().held, 1);
        rig.run_for(MS(2));
        let sent = rig.packets_sent();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].0, sent[0].1), (came.after(MS(70)), next.link));
        let opened = unwrap(sent[0].2.clone(), &rig.secrets[&next.id], MS(60_000)).unwrap();
        match opened.content {
            Unwrapped::Forward { next, .. } => assert_eq!(next, rig.providers()[0].id),
            Unwrapped::Final { .. } => assert_eq!(layer, rig::LAYERS - 1),
        }
        let stats = rig.stats();
        assert_eq!((stats.received, stats.mixed, stats.held), (1, 1, 0));
        assert_eq!(stats.dropped_total(), 0);
        assert!(stats.balances());
    }
}

/// The first node before the mix and the first after it.
fn around(rig: &Rig) -> (NodeEntry, NodeEntry) {
    let layer = rig.layer.index();
    let before = match layer.checked_sub(1) {
        Some(before) => rig.mixes(before),
        None => rig.providers(),
    };
    let after = if layer + 1 < rig::LAYERS {
        rig.mixes(layer + 1)
    } else {
        rig.providers()
    };
    (before[0].clone(), after[0].clone())
}

#[test]
fn a_replayed_packet_is_dropped_even_after_a_restart() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let (sender, next) = around(&rig);
    let other = rig.mixes(0)[1].clone();
    let packet = rig.packet_now(&next, 0);
    // Another form of the same point: bit 255 of alpha is ignored by X25519.
    let mut twin = packet.clone().into_bytes();
    twin[31] ^= 0x80;
    let twin = Packet::from_bytes(twin);
    rig.send_from(sender.link, &packet);
    rig.run_for(MS(10));
    assert_eq!(rig.packets_sent().len(), 1);
    for link in [sender.link, other.link] {
        rig.send_from(link, &packet);
        rig.send_from(link, &twin);
    }
    assert_eq!(rig.dropped("replayed"), 4);

    rig.restart(false);
    let epoch = rig.epoch();
    assert_eq!(rig.stats().keys, [epoch]);
    rig.send_from(sender.link, &packet);
    rig.send_from(sender.link, &twin);
    rig.run_for(MS(10));
    assert_eq!(rig.dropped("replayed"), 2);
    let fresh = rig.packet_now(&next, 0);
    rig.send_from(sender.link, &fresh);
    rig.run_for(MS(10));
    assert_eq!(
        rig.packets_sent().len(),
        2,
        "a fresh packet passes after the restart"
    );
    assert!(rig.stats().balances());
}

#[test]
fn a_wiped_memory_ends_its_key_and_the_next_epochs_key_serves() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let (sender, next) = around(&rig);
    let epoch = rig.epoch();
    let old = rig.packet_now(&next, 0);
    rig.send_from(sender.link, &old);
    rig.run_for(MS(10));
    rig.restart(true);
    assert!(rig.stats().keys.is_empty());
    assert!(rig.notes().contains(&Note::Key(KeyEvent::Missing(epoch))));
    let fresh = rig.packet_now(&next, 0);
    for packet in [&old, &fresh] {
        rig.send_from(sender.link, packet);
    }
    assert_eq!(rig.dropped("no_key"), 2);

    rig.run_until_epoch(epoch.next().number());
    rig.run_for(MS(10));
    assert_eq!(rig.stats().keys, [epoch.next()]);
    let before = rig.packets_sent().len();
    // Inside the window the old epoch is accepted still, and its key is nowhere any more.
    rig.send_from(sender.link, &old);
    rig.send_from(sender.link, &fresh);
    let packet = rig.packet_now(&next, 0);
    rig.send_from(sender.link, &packet);
    rig.run_for(MS(10));
    assert_eq!(rig.packets_sent().len(), before + 1);
    assert_eq!(rig.dropped("bad_mac"), 2);
    assert!(rig.stats().balances());
}

#[test]
fn keys_follow_the_epochs_and_are_accepted_in_their_windows_only() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let (sender, next) = around(&rig);
    let epoch = rig.epoch();
    let schedule = rig.schedule();
    // Where the clock stands, and whether the keys of this epoch and of the next are accepted.
    let start = schedule.start(epoch.next());
    let times = [
        (start.before(MS(1_500)), true, false),
        (start.before(MS(900)), true, true),
        (start.after(MS(900)), true, true),
        (start.after(MS(1_500)), false, true),
    ];
    for (time, this, that) in times {
        rig.run_for(time.since(rig.now.wall));
        for (of, accepted) in [(epoch, this), (epoch.next(), that)] {
            let before = rig.stats().mixed;
            let packet = rig.packet(of, &next, Duration::ZERO);
            rig.send_from(sender.link, &packet);
            rig.run_for(MS(1));
            assert_eq!(
                rig.stats().mixed - before,
                u64::from(accepted),
                "{time:?} {of}"
            );
        }
    }
    assert_eq!(rig.dropped("bad_mac"), 2);
}

#[test]
fn a_packet_from_a_node_of_another_layer_is_refused() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let (_, next) = around(&rig);
    let wrong = [
        rig.mixes(1)[0].link,
        rig.mixes(2)[1].link,
        rig.providers()[0].link,
        LinkKey::from_bytes([0x77; 32]),
    ];
    for key in wrong {
        let packet = rig.packet_now(&next, 0);
        rig.send_from(key, &packet);
    }
    rig.run_for(MS(10));
    assert_eq!(rig.dropped("wrong_layer"), 4);
    assert!(rig.packets_sent().is_empty());
    assert!(rig.stats().balances());
}

#[test]
fn a_next_hop_of_another_layer_or_of_no_consensus_is_never_served() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let (sender, _) = around(&rig);
    let mut stranger = rig.mixes(2)[0].clone();
    stranger.id = whist_types::NodeId::from_bytes([0x77; 32]);
    rig.secrets.insert(
        stranger.id,
        whist_packet::SphinxSecret::generate(&mut rig.rng),
    );
    let wrong = [
        rig.mixes(0)[1].clone(),
        rig.mixes(1)[0].clone(),
        rig.providers()[1].clone(),
        stranger,
    ];
    for next in &wrong {
        let packet = rig.packet_now(next, 0);
        rig.send_from(sender.link, &packet);
    }
    rig.run_for(MS(10));
    assert_eq!(rig.dropped("unknown_next_hop"), 4);
    assert!(rig.packets_sent().is_empty());
}

#[test]
fn a_delay_above_the_cap_and_a_flipped_bit_are_dropped() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let (sender, next) = around(&rig);
    let cap = quiet().delay_cap();
    let epoch = rig.epoch();
    let long = rig.packet(epoch, &next, cap + Duration::from_nanos(1));
    rig.send_from(sender.link, &long);
    let longest = rig.packet(epoch, &next, cap);
    rig.send_from(sender.link, &longest);
    let mut bytes = rig.packet_now(&next, 0).into_bytes();
    bytes[40] ^= 1;
    rig.send_from(sender.link, &Packet::from_bytes(bytes));
    assert_eq!(rig.dropped("delay_above_cap"), 1);
    assert_eq!(rig.dropped("bad_mac"), 1);
    assert_eq!(rig.stats().held, 1);
    assert!(rig.stats().balances());
}

#[test]
fn a_link_above_its_share_is_limited_and_the_others_are_not() {
    let mut rig = Rig::serving(1, quiet(), 300);
    let (sender, next) = around(&rig);
    let honest = rig.mixes(0)[1].clone();
    // A share of 100/s and a burst of as many; the same bytes again and again: no key is touched
    // for what is over the share.
    let packet = rig.packet_now(&next, 0);
    for _ in 0..150 {
        rig.send_from(sender.link, &packet);
    }
    assert_eq!(rig.dropped("rate_limited"), 50);
    assert_eq!(rig.dropped("replayed"), 99);
    for _ in 0..100 {
        let packet = rig.packet_now(&next, 0);
        rig.send_from(honest.link, &packet);
    }
    rig.run_for(MS(10));
    assert_eq!(rig.packets_sent().len(), 101);
    assert_eq!(rig.dropped("rate_limited"), 50);
}

#[test]
fn a_full_queue_and_a_missing_link_are_counted() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let (sender, next) = around(&rig);
    let packet = rig.packet_now(&next, 5);
    rig.send_from(sender.link, &packet);
    rig.run_for(MS(10));
    let (_, _, sent) = rig.packets_sent()[0].clone();
    assert_eq!(rig.stats().sent, 1);
    let link = rig.link_to(next.link).unwrap();
    let frame = Frame::Packet(sent.into_bytes());
    rig.input(Input::Full { link, frame });
    assert_eq!((rig.stats().sent, rig.dropped("queue_full")), (0, 1));
    assert!(rig.stats().balances());

    let packet = rig.packet_now(&next, 0);
    rig.break_links_to(next.link);
    rig.send_from(sender.link, &packet);
    rig.run_for(MS(1));
    assert_eq!(rig.dropped("no_link"), 1);
    rig.run_for(MS(10_000));
    let packet = rig.packet_now(&next, 0);
    rig.send_from(sender.link, &packet);
    rig.run_for(MS(1));
    assert_eq!(rig.stats().sent, 1, "the next hop was dialled again");
    assert!(rig.stats().balances());
}

#[test]
fn every_packet_that_came_in_has_left_is_held_or_is_counted() {
    let mut rig = Rig::serving(1, whist_netdoc::Parameters::demo(), 1_500);
    let senders = [
        rig.mixes(0)[0].link,
        rig.mixes(0)[1].link,
        rig.providers()[0].link,
    ];
    let nexts = [
        rig.mixes(2)[0].clone(),
        rig.mixes(2)[1].clone(),
        rig.mixes(1)[0].clone(),
    ];
    let mut old: Vec<Packet> = Vec::new();
    for round in 0..400_usize {
        let sender = senders[rig.rng.next_u32() as usize % 3];
        let next = nexts[rig.rng.next_u32() as usize % 3].clone();
        let delay = u64::from(rig.rng.next_u32() % 120);
        let packet = match rig.rng.next_u32() % 6 {
            0 if !old.is_empty() => old[round % old.len()].clone(),
            1 => {
                let mut bytes = rig.packet_now(&next, delay).into_bytes();
                bytes[(rig.rng.next_u32() % 2_413) as usize] ^= 1;
                Packet::from_bytes(bytes)
            }
            2 => {
                let mut bytes = Box::new([0; 2_413]);
                rig.rng.fill_bytes(&mut *bytes);
                Packet::from_bytes(bytes)
            }
            _ => rig.packet_now(&next, delay),
        };
        rig.send_from(sender, &packet);
        old.push(packet);
        if round % 50 == 49 {
            rig.break_links_to(nexts[0].link);
        }
        let pause = u64::from(rig.rng.next_u32() % 30);
        rig.run_for(MS(pause));
        let stats = rig.stats();
        assert!(stats.balances(), "{stats:?}");
    }
    rig.run_for(MS(2_000));
    let stats = rig.stats();
    assert_eq!(stats.held, 0);
    assert!(stats.balances(), "{stats:?}");
    let reasons = [
        "replayed",
        "bad_mac",
        "wrong_layer",
        "unknown_next_hop",
        "no_link",
    ];
    for reason in reasons {
        assert!(stats.dropped[reason] > 0, "{reason} {stats:?}");
    }
    assert_eq!(stats.received, 400);
    assert!(stats.mixed > 50 && stats.loops_sent > 50, "{stats:?}");
}

#[test]
fn a_drain_sends_out_what_is_held_and_takes_nothing_new() {
    let mut rig = Rig::serving(1, whist_netdoc::Parameters::demo(), 100);
    let (sender, next) = around(&rig);
    for delay in [30, 200, 1_000] {
        let packet = rig.packet_now(&next, delay);
        rig.send_from(sender.link, &packet);
    }
    rig.input(Input::Command(Command::Drain));
    let loops = rig.stats().loops_sent;
    let packet = rig.packet_now(&next, 0);
    rig.send_from(sender.link, &packet);
    assert_eq!(rig.dropped("draining"), 1);
    let drained = |rig: &Rig| rig.effects.contains(&Effect::Drained);
    rig.run_for(MS(990));
    assert!(!drained(&rig));
    rig.run_for(MS(20));
    assert!(drained(&rig));
    let stats = rig.stats();
    assert_eq!((stats.mixed, stats.held), (3, 0));
    assert_eq!(stats.loops_sent, loops, "a mix that drains sends no loops");
    assert!(stats.balances());
    let more = LinkId::accepted(999);
    let remote = Remote::Node(sender.link);
    rig.input(Input::Up { link: more, remote });
    assert_eq!(rig.closed.last(), Some(&more));
}

#[test]
fn a_drain_of_an_empty_pool_ends_at_once() {
    let mut rig = Rig::serving(1, quiet(), 100);
    rig.input(Input::Command(Command::Drain));
    assert!(rig.effects.contains(&Effect::Drained));
}

#[test]
fn a_peer_that_breaks_the_protocol_loses_its_link() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let sender = rig.mixes(0)[0].link;
    let client = Frame::Hello(Hello::Client {
        version: Hello::VERSION,
        consensus: ConsensusHash::from_bytes([0; 32]),
        session: SessionAddress::from_bytes([1; 32]),
        profile: 0,
    });
    let other_version = Frame::Hello(Hello::Node {
        version: Hello::VERSION + 1,
        consensus: ConsensusHash::from_bytes([0; 32]),
        time: rig.now.wall,
    });
    let part = whist_link::split(1, b"x").remove(0);
    for first in [
        client,
        other_version,
        Frame::Dummy,
        Frame::DocChunk(Box::new(part.clone())),
        Frame::Descriptor(Box::new(part)),
    ] {
        let link = rig.dial(sender);
        rig.input(Input::Frame { link, frame: first });
        assert_eq!(rig.closed.last(), Some(&link));
    }
    let link = rig.dial(sender);
    for _ in 0..2 {
        assert_ne!(rig.closed.last(), Some(&link));
        let frame = rig.hello();
        rig.input(Input::Frame { link, frame });
    }
    assert_eq!(rig.closed.last(), Some(&link), "a second HELLO");

    let link = LinkId::accepted(500);
    let remote = Remote::Anonymous;
    rig.input(Input::Up { link, remote });
    assert_eq!(
        rig.closed.last(),
        Some(&link),
        "clients have no business with a mix"
    );

    let (_, next) = around(&rig);
    let packet = rig.packet_now(&next, 0);
    let link = rig.link_to(next.link).unwrap();
    let frame = Frame::Packet(packet.into_bytes());
    rig.input(Input::Frame { link, frame });
    assert_eq!(rig.dropped("wrong_direction"), 1);
    assert_eq!(rig.closed.last(), Some(&link));
    assert!(rig.stats().balances());
}

#[test]
fn links_of_strangers_are_few_and_end_soon() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let most = whist_mix::limits::UNLISTED_LINKS_MAX;
    for n in 0..=most {
        let key = LinkKey::from_bytes([u8::try_from(n).unwrap(); 32]);
        rig.dial(key);
    }
    assert_eq!(rig.closed.len(), 1);
    let sender = rig.mixes(0)[0].link;
    rig.link_from(sender);
    assert_eq!(rig.closed.len(), 1, "a listed peer is not in their number");
    rig.run_for(whist_mix::limits::UNLISTED_LIFE + MS(1));
    assert_eq!(rig.closed.len(), most + 1);
    assert_eq!(rig.stats().links_in, 1);
}

#[test]
fn nothing_is_due_while_nothing_happens() {
    // A role whose time-out lies in the past again and again would spin.
    let mut rig = Rig::serving(1, quiet(), 100);
    let mut wakes = 0_u32;
    let end = rig.now.instant.after(MS(60_000));
    while let Some(at) = rig.node.poll_timeout().filter(|at| *at <= end) {
        let wait = at.since(rig.now.instant).max(Duration::from_nanos(1));
        rig.run_for(wait);
        wakes += 1;
    }
    assert!(wakes < 200, "{wakes} in a minute of six epochs");
}
