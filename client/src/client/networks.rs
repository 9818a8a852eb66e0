//! What the person is told of the network, and a clock that is wrong.

use std::time::Duration;

use whist_netdoc::Kind;

use crate::call::{Answer, Call, Check, NodeInfo, Status};
use crate::client::rig::{Rig, parameters};

fn status(rig: &mut Rig, side: usize) -> Status {
    match rig.asked(side, Call::NetStatus {}) {
        Ok(Answer::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

fn checks(rig: &mut Rig, side: usize, clock_is_wrong: bool) -> Vec<Check> {
    match rig.asked(side, Call::NetCheck { clock_is_wrong }) {
        Ok(Answer::Checks { checks }) => checks,
        other => panic!("{other:?}"),
    }
}

fn wrong(checks: &[Check]) -> Vec<&'static str> {
    let wrong = checks.iter().filter(|check| !check.ok);
    wrong.map(|check| check.check).collect()
}

fn nodes(rig: &mut Rig, side: usize) -> Vec<NodeInfo> {
    match rig.asked(side, Call::NetNodes {}) {
        Ok(Answer::Nodes { nodes }) => nodes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn with_a_wrong_clock_no_document_is_taken_until_the_person_says_so_and_then_all_goes() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    rig.sides[alice].ahead = Duration::from_secs(3 * 24 * 3_600);
    rig.run(Duration::from_secs(60));
    let before = status(&mut rig, alice);
    assert!(!before.online && before.epoch.is_none());
    assert_eq!(before.clock_ahead_s, Some(259_200));
    assert_eq!(
        wrong(&checks(&mut rig, alice, false)),
        ["link", "consensus", "clock"]
    );
    let bob = rig.add_client(2);
    rig.run(Duration::from_millis(100));
    let refused = rig.asked(
        bob,
        Call::NetCheck {
            clock_is_wrong: true,
        },
    );
    assert_eq!(refused.unwrap_err().code, 2, "nothing is wrong with bob's");
    assert_eq!(wrong(&checks(&mut rig, alice, true)), ["link", "consensus"]);
    rig.introduce(alice, bob);
    rig.send(alice, "bob", "what time is it?");
    rig.until("the text", |rig| rig.texts(bob).len() == 1);
    let after = status(&mut rig, alice);
    assert!(after.online && after.clock_is_wrong, "{after:?}");
    // Which is forgotten with the daemon's end.
    rig.start(alice, 90);
    rig.run(Duration::from_secs(5));
    assert!(!status(&mut rig, alice).online);
}

#[test]
fn a_node_that_loses_packets_is_named_and_loss_on_all_routes_points_at_the_entry() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    rig.until("a link", |rig| {
        rig.sides[alice]
            .client
            .as_ref()
            .unwrap()
            .status(rig.now)
            .online
    });
    let hole = rig.nodes.iter().find(|node| node.role.kind() == Kind::Mix);
    let hole = hole.unwrap().id;
    rig.weather.hole = Some(hole);
    rig.run(Duration::from_secs(60));
    let told = status(&mut rig, alice);
    assert!(told.loss_alarm, "{told:#?}");
    assert_eq!(told.loss_points_at, Some(hole.to_string()));
    let names: Vec<&str> = told.segments.iter().map(|s| s.segment.as_str()).collect();
    assert_eq!(
        names,
        ["entry", "layer 1", "layer 2", "layer 3", "providers"]
    );
    let first = &told.segments[1];
    assert_eq!(
        (first.worst.clone(), first.most),
        (Some(hole.to_string()), Some(1.0))
    );
    assert!(first.least.unwrap() < 0.5, "{first:?}");
    let known = nodes(&mut rig, alice);
    assert_eq!(known.len(), 15);
    let worst = known
        .iter()
        .find(|node| node.node == hole.to_string())
        .unwrap();
    assert_eq!(
        (worst.role, worst.layer, worst.loss),
        ("mix", Some(1), Some(1.0))
    );
    assert_eq!(known.iter().filter(|node| node.entry).count(), 1);
    assert_eq!(known.iter().filter(|node| node.mailbox).count(), 1);
    assert!(wrong(&checks(&mut rig, alice, false)).contains(&"loss"));
    // And now everybody's; a restart begins to count anew.
    rig.weather.hole = None;
    rig.weather.loss = 128;
    rig.start(alice, 91);
    rig.run(Duration::from_secs(45));
    assert_eq!(
        status(&mut rig, alice).loss_points_at.as_deref(),
        Some("entry")
    );
}

#[test]
fn what_is_to_be_expected_is_the_simulators_and_the_month_counts_the_documents() {
    let mut usual = parameters();
    usual.delay_mean_ms = 200;
    usual.profile_mean_ms = whist_netdoc::Parameters::default().profile_mean_ms;
    let mut rig = Rig::new(usual);
    let alice = rig.add_client(1);
    let without = rig.sides[alice].client.as_ref().unwrap().status(rig.now);
    assert_eq!(without.consensus_until_s, None);
    rig.until("a link", |rig| {
        rig.sides[alice]
            .client
            .as_ref()
            .unwrap()
            .status(rig.now)
            .online
    });
    let told = status(&mut rig, alice);
    let latency = told.latency.unwrap();
    assert_eq!(latency.stored_ms, [4_000, 4_700, 13_100]);
    assert_eq!(latency.read_ms, [6_000, 6_600, 17_100]);
    assert!(told.bytes_per_month > without.bytes_per_month + 1_000_000);
    assert!(!told.tor && told.consensus_until_s.is_some());
}
