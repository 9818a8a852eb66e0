//! Four authorities make consensuses, whatever happens to one of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

mod bounds;
mod clocks;
mod rig;

use std::collections::BTreeSet;

use rig::{Node, Rig, wall};
use whist_directory::{Command, Event, Ignored, Record};
use whist_link::{DocGet, Frame, Hello, Input, LinkId, split};
use whist_netdoc::{Bundle, Extension, Follower, Kind, SignedHeader};
use whist_types::Epoch;

#[test]
fn four_authorities_make_one_consensus_each_epoch() {
    let mut rig = Rig::new();
    for epoch in 1..=4 {
        rig.describe(epoch);
        rig.run_to(wall(epoch, 0));
        assert_eq!(rig.epochs(), [Some(epoch); 4]);
        let hashes: BTreeSet<_> = (0..4).map(|i| rig.newest(i).unwrap().hash()).collect();
        assert_eq!(hashes.len(), 1);
        assert_eq!(rig.newest(0).unwrap().nodes().len(), 9);
    }
    assert!((0..4).all(|i| rig.signed(i).len() == 4));
}

#[test]
fn three_of_four_make_a_consensus_with_one_dead_and_it_catches_up() {
    let mut rig = Rig::new();
    rig.kill(1);
    for epoch in 1..=3 {
        rig.describe(epoch);
        rig.run_to(wall(epoch, 100));
        assert_eq!(rig.epochs(), [Some(epoch), None, Some(epoch), Some(epoch)]);
    }
    rig.start(1);
    rig.run_to(wall(3, 300));
    assert_eq!(rig.epochs(), [Some(3); 4]);
    rig.describe(4);
    rig.run_to(wall(4, 0));
    assert_eq!(rig.epochs(), [Some(4); 4]);
    assert_eq!(rig.signed(1).len(), 1);
}

#[test]
fn two_of_four_make_nothing_and_say_so() {
    let mut rig = Rig::new();
    rig.describe(1);
    rig.kill(2);
    rig.kill(3);
    rig.run_to(wall(1, 100));
    assert_eq!(rig.epochs(), [None; 4]);
    let missing = Event::NoConsensus {
        epoch: Epoch::new(1),
        signatures: 2,
    };
    assert!(rig.events.contains(&(0, missing)), "{:?}", rig.events);
    // They are back in time for the next epoch.
    rig.start(2);
    rig.start(3);
    rig.run_to(wall(1, 500));
    rig.describe(2);
    rig.run_to(wall(2, 0));
    assert_eq!(rig.epochs(), [Some(2); 4]);
}

#[test]
fn a_signature_over_another_header_does_not_count_and_a_second_one_is_evidence() {
    let mut rig = Rig::new();
    // Authorities 0 and 1 run; 2 and 3 are the test's.
    rig.kill(2);
    rig.kill(3);
    rig.describe(1);
    rig.run_to(wall(0, 650));
    assert_eq!((rig.signed(0).len(), rig.signed(0)), (1, rig.signed(1)));
    let two = rig.play_authority(2, 0);
    let first = rig.forged(2, 1, 10);
    rig.send_signature(two, &first);
    assert_eq!(rig.ignored(0), [Ignored::Disagrees]);
    let second = rig.forged(2, 1, 11);
    rig.send_signature(two, &second);
    let equivocation = Event::Equivocation {
        authority: 2,
        epoch: Epoch::new(1),
    };
    assert!(rig.events.contains(&(0, equivocation)));
    let record = Record::Evidence {
        authority: 2,
        epoch: Epoch::new(1),
    };
    assert_eq!(rig.disks[0][&record], [first, second].concat());
    assert_eq!(rig.epochs(), [None; 4]);
    // The honest signature of authority 3 completes the quorum without authority 2.
    let own = rig.disks[1][&Record::Signed].clone();
    let bundle = Bundle::dangerously_from_bytes(&own).unwrap();
    let header = SignedHeader::parse(bundle.signed_bytes())
        .unwrap()
        .header()
        .clone();
    let three = rig.play_authority(3, 0);
    let signature = header.sign(3, rig.keys.secret(3).unwrap());
    rig.send_signature(
        three,
        &SignedHeader::new(header, vec![signature]).to_bytes(),
    );
    assert_eq!(rig.epochs()[0], Some(1));
}

#[test]
fn an_authority_that_equivocates_after_it_agreed_is_not_counted_any_more() {
    let mut rig = Rig::new();
    for i in 1..4 {
        rig.kill(i);
    }
    rig.describe(1);
    rig.run_to(wall(0, 650));
    let own = rig.disks[0][&Record::Signed].clone();
    let bundle = Bundle::dangerously_from_bytes(&own).unwrap();
    let header = SignedHeader::parse(bundle.signed_bytes())
        .unwrap()
        .header()
        .clone();
    let agree = |rig: &Rig, author: u8| {
        let signature = header.sign(author, rig.keys.secret(author).unwrap());
        SignedHeader::new(header.clone(), vec![signature]).to_bytes()
    };
    let one = rig.play_authority(1, 0);
    let agreed = agree(&rig, 1);
    rig.send_signature(one, &agreed);
    let forged = rig.forged(1, 1, 10);
    rig.send_signature(one, &forged);
    let two = rig.play_authority(2, 0);
    let agreed = agree(&rig, 2);
    rig.send_signature(two, &agreed);
    // Own, 1 and 2 would be a quorum; 1 is out.
    assert_eq!(rig.epochs()[0], None);
    let three = rig.play_authority(3, 0);
    let agreed = agree(&rig, 3);
    rig.send_signature(three, &agreed);
    assert_eq!(rig.epochs()[0], Some(1));
}

#[test]
fn an_authority_that_signs_differently_to_two_halves_splits_nothing() {
    let mut rig = Rig::new();
    rig.kill(3);
    rig.describe(1);
    rig.run_to(wall(0, 590));
    for (to, weight) in [(0, 10), (1, 11), (2, 12)] {
        let end = rig.play_authority(3, to);
        let forged = rig.forged(3, 1, weight);
        rig.send_signature(end, &forged);
    }
    rig.run_to(wall(1, 0));
    assert_eq!(rig.epochs(), [Some(1), Some(1), Some(1), None]);
    let hashes: BTreeSet<_> = (0..3).map(|i| rig.newest(i).unwrap().hash()).collect();
    assert_eq!(hashes.len(), 1);
}

#[test]
fn a_signature_in_anothers_name_or_broken_closes_the_link() {
    let mut rig = Rig::new();
    rig.kill(2);
    rig.kill(3);
    for (n, signature) in [rig.forged(3, 1, 10), {
        let mut broken = rig.forged(2, 1, 10);
        broken[200] ^= 1;
        broken
    }]
    .into_iter()
    .enumerate()
    {
        let two = rig.play_authority(2, 0);
        rig.send_signature(two, &signature);
        assert_eq!(rig.ignored(0).len(), n + 1);
        assert_eq!(rig.ignored(0)[n], Ignored::BadSignature);
        assert!(!rig.links.contains_key(&two));
    }
    // A node is no authority.
    let key = rig.nodes[0].link.public();
    let node = rig.play(10, 0, key);
    let signature = rig.forged(2, 1, 10);
    rig.send_signature(node, &signature);
    assert!(!rig.links.contains_key(&node));
}

#[test]
fn a_late_descriptor_waits_for_the_next_epoch() {
    let mut rig = Rig::new();
    rig.nodes.push(Node::new(99, Kind::Mix));
    for i in 0..4 {
        rig.kill(i);
        rig.start(i);
    }
    let newcomer = rig.nodes.pop().unwrap();
    rig.describe(1);
    rig.nodes.push(newcomer);
    rig.run_to(wall(0, 551));
    let late = rig.nodes[9].descriptor(1, 0);
    rig.upload(9, 0, &late);
    assert_eq!(rig.ignored(0).last(), Some(&Ignored::Late));
    rig.run_to(wall(1, 0));
    assert_eq!(rig.newest(0).unwrap().nodes().len(), 9);
    rig.describe(2);
    rig.run_to(wall(2, 0));
    assert_eq!(rig.newest(0).unwrap().nodes().len(), 10);
}

#[test]
fn what_one_authority_took_in_time_reaches_all_before_the_list_is_fixed() {
    let mut rig = Rig::new();
    rig.describe(1);
    rig.run_to(wall(0, 549));
    // Between the two deadlines floods are taken, uploads are not.
    let descriptor = rig.nodes[0].descriptor(1, 7);
    let lower = blake3::hash(&descriptor).as_bytes()
        < blake3::hash(&rig.nodes[0].descriptor(1, 0)).as_bytes();
    rig.upload(0, 3, &descriptor);
    rig.run_to(wall(1, 0));
    assert_eq!(rig.epochs(), [Some(1); 4]);
    let id = rig.nodes[0].identity.public().node_id();
    let load = rig.newest(2).unwrap().node(&id).unwrap().load;
    assert_eq!(load, if lower { 7 } else { 0 });
}

#[test]
fn a_restart_does_not_sign_twice() {
    let mut rig = Rig::new();
    rig.describe(1);
    rig.run_to(wall(0, 601));
    let first = rig.signed(0);
    assert_eq!(first.len(), 1);
    rig.kill(0);
    // Its memory is gone, and the list that it would fix now is another one.
    let admitted = rig.nodes.split_off(8);
    rig.start(0);
    rig.nodes.extend(admitted);
    rig.run_to(wall(0, 950));
    assert_eq!(rig.signed(0), first);
    assert_eq!(rig.epochs(), [Some(1); 4]);
}

#[test]
fn a_restart_before_the_list_is_fixed_gets_the_descriptors_from_the_others() {
    let mut rig = Rig::new();
    rig.describe(1);
    rig.run_to(wall(0, 500));
    rig.kill(2);
    rig.run_to(wall(0, 510));
    rig.start(2);
    rig.run_to(wall(1, 0));
    assert_eq!(rig.signed(2), rig.signed(0));
    assert_eq!(rig.epochs(), [Some(1); 4]);
}

#[test]
fn no_signature_leaves_before_it_is_on_disk() {
    let mut rig = Rig::new();
    rig.kill(3);
    rig.hold_disk.insert(0);
    rig.describe(1);
    rig.run_to(wall(0, 640));
    // 0 has signed in memory; 1 and 2 have only each other's signatures.
    assert_eq!(rig.signed(0).len(), 1);
    assert_eq!(rig.epochs(), [None; 4]);
    rig.sync(0);
    rig.settle();
    assert_eq!(rig.epochs(), [Some(1), Some(1), Some(1), None]);
}

#[test]
fn a_write_that_was_lost_with_the_process_left_no_signature_anywhere() {
    let mut rig = Rig::new();
    rig.kill(3);
    rig.hold_disk.insert(0);
    rig.describe(1);
    rig.run_to(wall(0, 640));
    assert_eq!(rig.signed(0).len(), 1);
    rig.kill(0);
    rig.hold_disk.clear();
    assert!(!rig.disks[0].contains_key(&Record::Signed));
    rig.start(0);
    // Its list is gone and it is too late for another: the epoch passes, the next one comes.
    rig.run_to(wall(1, 100));
    assert_eq!((rig.signed(0).len(), rig.epochs()), (1, vec![None; 4]));
    rig.describe(2);
    rig.run_to(wall(2, 0));
    assert_eq!(rig.epochs(), [Some(2), Some(2), Some(2), None]);
}

#[test]
fn a_cut_between_two_authorities_costs_nothing_and_a_consensus_is_fetched() {
    let mut rig = Rig::new();
    rig.cut.extend([(0, 1), (0, 2)]);
    for i in 0..3 {
        rig.kill(i);
        rig.start(i);
    }
    // Nodes send to all authorities.
    for node in 0..rig.nodes.len() {
        for to in 0..4 {
            let descriptor = rig.nodes[node].descriptor(1, 0);
            let end = rig.upload(node, to, &descriptor);
            rig.cut_link(end);
        }
    }
    rig.run_to(wall(1, 0));
    // 0 sees two signatures only and gets the consensus from 3.
    assert_eq!(rig.epochs(), [Some(1); 4]);
}

#[test]
fn a_stranger_and_a_descriptor_of_somebody_else_are_shown_the_door() {
    let mut rig = Rig::new();
    let stranger = Node::new(200, Kind::Mix);
    rig.nodes.push(stranger);
    let unknown = rig.nodes[9].descriptor(1, 0);
    let end = rig.upload(9, 0, &unknown);
    assert_eq!(rig.ignored(0), [Ignored::NotAdmitted]);
    assert!(!rig.links.contains_key(&end));
    let others = rig.nodes[1].descriptor(1, 0);
    rig.upload(0, 0, &others);
    assert_eq!(rig.ignored(0)[1], Ignored::NotItsOwn);
    let mut broken = rig.nodes[0].descriptor(1, 0);
    broken[100] ^= 1;
    rig.upload(0, 0, &broken);
    assert_eq!(rig.ignored(0)[2], Ignored::BadSignature);
    // Epochs that are over or too far ahead.
    for epoch in [0, 3] {
        let descriptor = rig.nodes[0].descriptor(epoch, 0);
        rig.upload(0, 0, &descriptor);
    }
    assert_eq!(rig.ignored(0)[3..], [Ignored::OtherEpoch; 2]);
}

#[test]
fn a_list_that_is_no_network_is_not_signed() {
    let mut rig = Rig::new();
    let providers = rig.nodes.split_off(6);
    rig.describe(1);
    rig.nodes.extend(providers);
    rig.run_to(wall(1, 100));
    let short = Event::TooFewNodes {
        epoch: Epoch::new(1),
        descriptors: 6,
    };
    assert!(rig.events.contains(&(0, short)));
    assert_eq!(rig.epochs(), [None; 4]);
    rig.describe(2);
    rig.run_to(wall(2, 0));
    assert_eq!(rig.epochs(), [Some(2); 4]);
}

#[test]
fn a_node_fetches_the_consensus_and_follows_it() {
    let mut rig = Rig::new();
    let mut follower = Follower::new(rig.keys.trusted());
    for epoch in 1..=3 {
        rig.describe(epoch);
        rig.run_to(wall(epoch - 1, 800));
        let descriptor = rig.nodes[0].descriptor(epoch, 0);
        let end = rig.upload(0, 1, &descriptor);
        let leaves_from = follower.leaves_from();
        rig.say(
            end,
            [Frame::DocGet(DocGet {
                epoch: 0,
                leaves_from,
            })],
        );
        let mut assembler = whist_link::Assembler::new(100);
        let frames = rig.received.remove(&end).unwrap();
        assert!(matches!(frames[0], Frame::Hello(Hello::Node { .. })));
        let bundle = frames[1..].iter().find_map(|frame| match frame {
            Frame::DocChunk(part) => assembler.push((**part).clone()).unwrap(),
            _ => None,
        });
        follower.offer(rig.now.wall, &bundle.unwrap()).unwrap();
        assert_eq!(follower.newest().unwrap().epoch(), Epoch::new(epoch));
        rig.cut_link(end);
    }
    assert_eq!(
        follower.range(),
        rig.running[1].as_ref().unwrap().follower().range()
    );
    assert!(follower.bundle_at(2, u64::MAX).is_some());
    let newest = follower
        .newest()
        .unwrap()
        .bundle()
        .with_extension(Extension::None);
    assert!(newest.to_bytes().len() < 20_000);
}

#[test]
fn whoever_does_not_greet_or_asks_too_often_is_closed() {
    let mut rig = Rig::new();
    let key = rig.nodes[0].link.public();
    let end = (60, LinkId::dialed(1));
    rig.connect(end, 0, key);
    let get = Frame::DocGet(DocGet {
        epoch: 0,
        leaves_from: 0,
    });
    rig.say(end, [get.clone()]);
    assert!(!rig.links.contains_key(&end));
    let greedy = rig.play(61, 0, key);
    rig.say(greedy, vec![get; 65]);
    assert!(!rig.links.contains_key(&greedy));
    let mut expected = vec![Ignored::Stranger; 64];
    expected.insert(0, Ignored::Malformed);
    expected.push(Ignored::TooMany);
    assert_eq!(rig.ignored(0), expected);
    let chatty = rig.play(62, 0, key);
    rig.say(chatty, [Frame::Packet(Box::new([0; 2413]))]);
    assert!(!rig.links.contains_key(&chatty));
}

/// Frames of documents that a peer got.
fn documents(rig: &mut Rig, end: (usize, LinkId)) -> usize {
    let get = Frame::DocGet(DocGet {
        epoch: 0,
        leaves_from: u64::MAX,
    });
    rig.say(end, [get]);
    let frames = rig.received.remove(&end).unwrap_or_default();
    let part = |frame: &&Frame| matches!(frame, Frame::DocChunk(_));
    frames.iter().filter(part).count()
}

#[test]
fn a_key_that_is_not_admitted_gets_no_document_and_one_that_is_listed_or_described_does() {
    let mut rig = Rig::new();
    rig.describe(1);
    rig.run_to(wall(0, 800));
    let stranger = Node::new(99, Kind::Mix);
    let end = rig.play(50, 1, stranger.link.public());
    assert_eq!(documents(&mut rig, end), 0);
    assert!(rig.ignored(1).contains(&Ignored::Stranger));
    assert!(rig.links.contains_key(&end), "it may still describe itself");

    // The consensus lists this one's link.
    let listed = rig.nodes[3].link.public();
    let end = rig.play(51, 1, listed);
    assert!(documents(&mut rig, end) > 0);

    // Admitted a moment ago, in no consensus yet; its descriptor shows who it is, also when it
    // comes too late and when another authority passed it on first.
    rig.nodes.push(stranger);
    let admitted = rig
        .nodes
        .iter()
        .map(|node| node.identity.public())
        .collect();
    rig.inputs
        .push_back((1, Input::Command(Command::Admit(admitted))));
    rig.settle();
    let descriptor = rig.nodes[9].descriptor(1, 0);
    let end = rig.upload(9, 1, &descriptor);
    assert!(rig.ignored(1).contains(&Ignored::Late));
    assert!(documents(&mut rig, end) > 0);
    let descriptor = rig.nodes[9].descriptor(2, 0);
    for _ in 0..2 {
        rig.cut_link(end);
        let end = rig.upload(9, 1, &descriptor);
        assert!(documents(&mut rig, end) > 0);
        rig.cut_link(end);
    }
    // Whoever repeats another one's descriptor is not that one.
    let thief = Node::new(98, Kind::Mix).link.public();
    let end = rig.play(60, 1, thief);
    let frame = |part| Frame::Descriptor(Box::new(part));
    rig.say(end, split(1, &descriptor).into_iter().map(frame));
    assert_eq!(documents(&mut rig, end), 0);
}

#[test]
fn a_family_of_mixes_and_providers_is_not_listed() {
    let mut rig = Rig::new();
    let twin = Node {
        number: 1,
        ..Node::new(120, Kind::Provider)
    };
    rig.nodes.push(twin);
    for i in 0..4 {
        rig.kill(i);
        rig.start(i);
    }
    rig.describe(1);
    rig.run_to(wall(1, 0));
    let listed = rig.newest(0).unwrap();
    let id = |n: usize| rig.nodes[n].identity.public().node_id();
    // Node 0 is a mix of the family that the newcomer, a provider, names too.
    assert!(listed.node(&id(0)).is_none() && listed.node(&id(9)).is_none());
    assert_eq!(listed.nodes().len(), 8);
}

#[test]
fn a_node_whose_key_no_route_takes_is_not_listed() {
    let mut rig = Rig::new();
    // Its Sphinx keys are zeros.
    rig.nodes.push(Node::new(0, Kind::Mix));
    for i in 0..4 {
        rig.kill(i);
        rig.start(i);
    }
    rig.describe(1);
    assert_eq!(rig.ignored(9 % 4), [Ignored::Malformed]);
    rig.run_to(wall(1, 0));
    assert_eq!(rig.epochs(), [Some(1); 4]);
    assert_eq!(rig.newest(0).unwrap().nodes().len(), 9);
}
