//! What strangers, nodes and other authorities can take of an authority.

use std::time::Duration;

use whist_directory::{Ignored, limits};
use whist_link::{DocGet, Frame, LinkId};
use whist_netdoc::Kind;

use crate::rig::{Node, Rig, wall};

#[test]
fn an_authority_that_was_away_is_told_of_epochs_to_come_alone() {
    let mut rig = Rig::new();
    (1..4).for_each(|i| rig.kill(i));
    for epoch in 1..=20 {
        rig.describe(epoch);
        rig.run_to(wall(epoch, 0));
    }
    // Of the epochs without a consensus there is more.
    rig.describe(21);
    let one = rig.play_authority(1, 0);
    rig.run_to(wall(20, 500));
    let frames = rig.received.remove(&one).unwrap_or_default();
    let told = frames.iter().filter(|f| matches!(f, Frame::Descriptor(_)));
    assert_eq!(told.count(), rig.nodes.len());
}

/// Links that are up at the first authority, from parties that the test plays.
fn links(rig: &Rig) -> usize {
    rig.running[0].as_ref().unwrap().links()
}

fn get() -> Frame {
    Frame::DocGet(DocGet {
        epoch: 0,
        leaves_from: 0,
    })
}

#[test]
fn strangers_have_a_few_places_each_for_a_moment_and_none_of_a_node() {
    let mut rig = Rig::new();
    let others = links(&rig);
    let stranger = |n: usize| Node::new(100 + n as u8, Kind::Mix).link.public();
    let mut ends = Vec::new();
    for n in 0..limits::STRANGERS_MAX {
        ends.push(rig.play(100 + n, 0, stranger(n)));
    }
    assert_eq!(links(&rig), others + limits::STRANGERS_MAX);
    // A newcomer finds a place: the oldest stranger's.
    let end = rig.play(300, 0, Node::new(99, Kind::Mix).link.public());
    assert_eq!(links(&rig), others + limits::STRANGERS_MAX);
    assert!(!rig.links.contains_key(&ends[0]) && rig.links.contains_key(&ends[1]));
    assert!(rig.links.contains_key(&end));
    // A node that is admitted describes itself and is no stranger any more.
    let descriptor = rig.nodes[3].descriptor(1, 0);
    let node = rig.upload(3, 0, &descriptor);
    for n in 0..limits::STRANGERS_MAX {
        rig.play(400 + n, 0, stranger(n));
    }
    assert!(rig.links.contains_key(&node));
    assert_eq!(links(&rig), others + limits::STRANGERS_MAX + 1);
    // Strangers who say nothing are gone after their time; the node is not.
    let now = rig.now.wall;
    rig.run_to(now.after(limits::STRANGER_LIFE + Duration::from_secs(1)));
    assert_eq!(links(&rig), others + 1);
    assert!(rig.links.contains_key(&node));
    let unwanted = rig
        .ignored(0)
        .iter()
        .filter(|w| **w == Ignored::Unwanted)
        .count();
    assert_eq!(unwanted, limits::STRANGERS_MAX);
}

#[test]
fn a_node_in_the_consensus_is_no_stranger_and_has_four_links() {
    let mut rig = Rig::new();
    rig.describe(1);
    rig.run_to(wall(1, 0));
    let others = links(&rig);
    let key = rig.nodes[3].link.public();
    let ends: Vec<_> = (0..6).map(|n| rig.play(60 + n, 0, key)).collect();
    assert_eq!(links(&rig), others + limits::LINKS_PER_NODE);
    let up: Vec<_> = ends.iter().map(|end| rig.links.contains_key(end)).collect();
    assert_eq!(up, [false, false, true, true, true, true]);
    let now = rig.now.wall;
    rig.run_to(now.after(limits::STRANGER_LIFE * 2));
    assert_eq!(links(&rig), others + limits::LINKS_PER_NODE);
}

#[test]
fn an_authority_has_one_link_and_no_second_bundle_waits_on_it() {
    let mut rig = Rig::new();
    rig.describe(1);
    rig.run_to(wall(0, 800));
    assert_eq!(rig.epochs(), [Some(1); 4]);
    rig.describe(2);
    rig.kill(3);
    let others = links(&rig);
    let ends: Vec<(usize, LinkId)> = (0..8).map(|_| rig.play_authority(3, 0)).collect();
    assert_eq!(links(&rig), others + 1);
    let last = *ends.last().unwrap();
    assert!(rig.links.contains_key(&last));
    // What does not go out at once waits, and while it does no other answer is queued.
    rig.received.clear();
    rig.say(last, vec![get(); 40]);
    let busy = rig
        .ignored(0)
        .iter()
        .filter(|w| **w == Ignored::Busy)
        .count();
    assert!((1..40).contains(&busy), "{busy}");
    rig.run_to(wall(1, 0));
    let frames = rig.received.remove(&last).unwrap_or_default();
    let bundle = rig.running[0].as_ref().unwrap().follower().bundle_at(0, 0);
    let parts = whist_link::split(1, &bundle.unwrap()).len();
    let got = frames.iter().filter(|f| matches!(f, Frame::DocChunk(_)));
    let got = got.count();
    assert_eq!(got, (40 - busy) * parts);
    assert!(got <= limits::BURST_FRAMES + parts, "{got}");
}
