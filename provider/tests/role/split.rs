//! Authorities that contradict themselves.

use std::time::Duration;

use whist_link::{Frame, Input, Output, Role as _, split};
use whist_netdoc::testing::{Authorities, entries};
use whist_netdoc::{Follower, Parameters};
use whist_provider::{Effect, Note};
use whist_types::Wall;

use crate::rig::Rig;

#[test]
fn a_provider_that_saw_the_authorities_contradict_themselves_keeps_the_proof() {
    let mut rig = Rig::new();
    rig.wait(Duration::from_secs(2_400));
    rig.next_epoch();
    assert!(!rig.stats().split);
    let epoch = rig.consensus.epoch();
    let mut twins = Authorities::new(7, 4, Parameters::default(), Wall::from_millis(0));
    let second = twins.make(epoch, entries(3, 1, 3)).unwrap();
    let link = rig.authority();
    let mut kept = None;
    let mut notes = Vec::new();
    for part in split(7, &second.to_bytes()) {
        let frame = Frame::DocChunk(Box::new(part));
        rig.node.handle(rig.now, Input::Frame { link, frame });
        while let Some(output) = rig.node.poll_output() {
            match output {
                Output::Effect(Effect::Directory(bytes)) => kept = Some(bytes),
                Output::Effect(Effect::Note(note)) => notes.push(note),
                _ => {}
            }
        }
    }
    assert!(notes.contains(&Note::Split(epoch)), "{notes:?}");
    assert!(rig.stats().split);
    let kept = Follower::from_bytes(rig.trusted(), &kept.unwrap()).unwrap();
    assert_eq!(kept.evidence().unwrap().epoch, epoch);
    // The consensus before it lists this provider, and rules.
    rig.wait(Duration::from_secs(60));
    assert!(rig.stats().listed);
}
