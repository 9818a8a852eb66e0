//! Descriptors, consensuses, loops.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rig::{self, Rig, quiet};
use whist_link::{Frame, Input};
use whist_mix::{Effect, Note};
use whist_netdoc::Parameters;
use whist_netdoc::testing::{Authorities, entries};
use whist_types::{Epoch, Layer, Wall};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn a_descriptor_goes_to_every_authority_each_epoch_and_its_keys_stay_what_they_were() {
    let mut rig = Rig::serving(1, quiet(), 100);
    rig.run_until_epoch(14);
    rig.run_for(MS(100));
    for epoch in 11..=15 {
        let of_epoch: Vec<_> = rig
            .descriptors
            .iter()
            .filter(|(_, d)| d.epoch == Epoch::new(epoch))
            .collect();
        let authorities: BTreeSet<_> = of_epoch.iter().map(|(key, _)| *key).collect();
        assert_eq!(authorities.len(), 4, "{epoch}");
        assert!(of_epoch.iter().all(|(_, d)| *d == of_epoch[0].1));
        assert_eq!(of_epoch[0].1.id(), rig.node.id());
    }
    let keys = |epoch: u64| {
        let found = rig
            .descriptors
            .iter()
            .find(|(_, d)| d.epoch == Epoch::new(epoch));
        found.unwrap().1.keys
    };
    for epoch in 11..=14 {
        assert_eq!(
            keys(epoch)[1..],
            keys(epoch + 1)[..3],
            "the same key under each epoch"
        );
    }
    let all: BTreeSet<_> = (11..=15).flat_map(keys).collect();
    assert_eq!(all.len(), 8, "another key for each epoch");
}

#[test]
fn an_authority_that_was_away_gets_the_descriptor_when_it_is_back() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let authority = rig.authorities.link(2).unwrap().public();
    let count = |rig: &Rig| {
        rig.descriptors
            .iter()
            .filter(|(k, _)| *k == authority)
            .count()
    };
    let before = count(&rig);
    rig.break_links_to(authority);
    rig.run_for(MS(3_000));
    assert_eq!(count(&rig), before + 1);
}

#[test]
fn a_restarted_mix_keeps_the_keys_that_it_published() {
    let mut rig = Rig::serving(1, quiet(), 100);
    rig.restart(true);
    rig.run_for(MS(100));
    let of_next = Epoch::new(12);
    let published: BTreeSet<_> = rig
        .descriptors
        .iter()
        .filter(|(_, d)| d.epoch == of_next)
        .map(|(_, d)| d.keys)
        .collect();
    assert_eq!(published.len(), 1);
}

#[test]
fn the_next_consensus_is_fetched_at_a_uniform_time_before_its_epoch() {
    let mut shares = Vec::new();
    let mut rig = Rig::serving(1, quiet(), 100);
    rig.asked.clear();
    for epoch in 12..72 {
        rig.run_until_epoch(epoch);
        let before = rig.schedule().start(Epoch::new(epoch)).since(rig.asked[0]);
        shares.push(before.as_secs_f64() / rig.schedule().length().as_secs_f64());
        assert_eq!(rig.asked.len(), 1, "asked once, of one authority");
        rig.asked.clear();
        assert_eq!(rig.stats().consensus, Some(Epoch::new(epoch)));
    }
    assert!(
        shares.iter().all(|s| (0.15..=0.30).contains(s)),
        "{shares:?}"
    );
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    // The standard deviation of the mean of 60 uniform draws over 0.15 is 0.0056.
    assert!((mean - 0.225).abs() < 0.0056 * 3.3, "{mean}");
}

#[test]
fn a_fetch_is_repeated_and_the_mix_serves_through_the_grace_and_no_longer() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let sender = rig.mixes(0)[0].link;
    let next = rig.mixes(2)[0].clone();
    rig.serving = false;
    rig.asked.clear();
    rig.run_until_epoch(12);
    assert!((5..60).contains(&rig.asked.len()), "{}", rig.asked.len());
    for (epoch, mixed) in [(12, 1), (13, 2), (14, 2)] {
        rig.run_until_epoch(epoch);
        rig.run_for(MS(2_000));
        let packet = rig.packet_now(&next, 0);
        rig.send_from(sender, &packet);
        rig.run_for(MS(5));
        assert_eq!(rig.stats().mixed, mixed, "epoch {epoch}");
    }
    assert!(rig.stats().balances());
}

#[test]
fn a_consensus_that_does_not_verify_is_refused_and_changes_nothing() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let authority = rig.authorities.link(0).unwrap().public();
    let link = rig.link_to(authority).unwrap();
    for part in whist_link::split(7, &[3; 5_000]) {
        let frame = Frame::DocChunk(Box::new(part));
        rig.input(Input::Frame { link, frame });
    }
    assert!(
        rig.notes()
            .iter()
            .any(|note| matches!(note, Note::Refused(_)))
    );
    assert_eq!(rig.stats().consensus, Some(Epoch::new(11)));
    let part = whist_link::split(7, &[3; 5_000]).remove(1);
    let frame = Frame::DocChunk(Box::new(part));
    rig.input(Input::Frame { link, frame });
    assert_eq!(rig.closed.last(), Some(&link), "a part out of order");
}

#[test]
fn a_mix_that_saw_the_authorities_contradict_themselves_keeps_the_proof_over_a_restart() {
    let mut rig = Rig::serving(1, quiet(), 100);
    rig.run_until_epoch(12);
    assert!(!rig.stats().split);
    // The same authorities sign another list for this epoch.
    let mut twins = Authorities::new(1, 4, quiet(), Wall::from_millis(rig::GENESIS));
    let second = twins.make(Epoch::new(12), entries(3, 1, 3)).unwrap();
    let link = rig.link_to(rig.authorities.link(0).unwrap().public());
    for part in whist_link::split(7, &second.to_bytes()) {
        let link = link.unwrap();
        let frame = Frame::DocChunk(Box::new(part));
        rig.input(Input::Frame { link, frame });
    }
    let split = Note::Split(Epoch::new(12));
    for restarted in [false, true] {
        if restarted {
            rig.restart(false);
        }
        assert!(rig.stats().split, "restarted: {restarted}");
        rig.run_for(MS(500));
        // It serves on by the consensus before, and by no newer one.
        assert_eq!(rig.stats().layer, Some(Layer::new(1)));
    }
    rig.run_until_epoch(13);
    assert_eq!(rig.stats().consensus, Some(Epoch::new(12)));
    assert_eq!(rig.notes().iter().filter(|note| **note == split).count(), 1);
}

#[test]
fn a_mix_that_the_consensus_does_not_list_serves_nobody_and_says_so() {
    let mut rig = Rig::new(1, quiet(), 100);
    rig.run_for(MS(100));
    rig.descriptors.iter_mut().for_each(|(_, d)| {
        d.identity = whist_types::IdentityKey::from_bytes([3; 32]);
    });
    rig.run_until_epoch(11);
    assert!(rig.notes().contains(&Note::NotListed(Epoch::new(11))));
    assert_eq!(rig.stats().layer, None);
    assert_eq!(rig.stats().loops_sent, 0);
    assert_eq!(rig.stats().links_out, 0);
}

/// Loops by the demo's law, all of them carried around by the neighbours.
fn carry_loops(rig: &mut Rig, from: usize, lose: impl Fn(usize) -> bool) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let sent = rig.packets_sent();
    for (n, (at, first, packet)) in sent.into_iter().enumerate().skip(from) {
        let carried = rig
            .carry(first, packet)
            .expect("a loop comes back to its mix");
        assert!(carried.delay < MS(60_000) && at <= rig.now.instant);
        paths.push(carried.path.iter().map(ToString::to_string).collect());
        let (link, back) = carried.back.unwrap();
        if !lose(n) {
            rig.send_from(link, &back);
        }
    }
    paths
}

#[test]
fn loops_leave_by_an_exponential_clock_cross_every_other_layer_once_and_come_home() {
    for layer in 0..rig::LAYERS {
        let mut rig = Rig::serving(layer, Parameters::demo(), 1_000);
        let mut paths = Vec::new();
        let mut seen = 0;
        for _ in 0..300 {
            rig.run_for(MS(100));
            let fresh = carry_loops(&mut rig, seen, |_| false);
            seen += fresh.len();
            paths.extend(fresh);
        }
        let stats = rig.stats();
        assert_eq!(stats.loops_sent, seen as u64);
        assert_eq!(stats.loops_returned, stats.loops_sent);
        assert_eq!((stats.loop_loss, stats.loop_alarms), (Some(0.0), 0));
        assert!(stats.balances());
        let ids = |nodes: Vec<whist_netdoc::NodeEntry>| -> BTreeSet<String> {
            nodes.iter().map(|node| node.id.to_string()).collect()
        };
        let mut places: Vec<_> = (layer + 1..rig::LAYERS)
            .map(|l| ids(rig.mixes(l)))
            .collect();
        places.push(ids(rig.providers()));
        places.extend((0..layer).map(|l| ids(rig.mixes(l))));
        for path in &paths {
            assert_eq!(path.len(), places.len());
            assert!(
                path.iter()
                    .zip(&places)
                    .all(|(node, place)| place.contains(node))
            );
        }
        for (at, place) in places.iter().enumerate() {
            let used: BTreeSet<_> = paths.iter().map(|path| path[at].clone()).collect();
            assert_eq!(used, *place, "every node is used");
        }
        // Gaps are Exp(50 ms): Kolmogorov–Smirnov at 0.001 over some 600 of them.
        let times: Vec<_> = rig.packets_sent().iter().map(|(at, ..)| *at).collect();
        let mut gaps: Vec<f64> = times
            .windows(2)
            .map(|pair| pair[1].since(pair[0]).as_secs_f64())
            .collect();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len() as f64;
        assert!(n > 500.0, "{n}");
        let worst = gaps.iter().enumerate().fold(0.0_f64, |worst, (i, gap)| {
            let law = 1.0 - (-gap / 0.05).exp();
            worst
                .max((law - i as f64 / n).abs())
                .max(((i + 1) as f64 / n - law).abs())
        });
        assert!(worst * n.sqrt() < 1.949, "{}", worst * n.sqrt());
    }
}

#[test]
fn loops_that_stop_coming_back_raise_the_alarm() {
    let mut rig = Rig::serving(1, Parameters::demo(), 1_000);
    rig.run_for(MS(4_000));
    assert!(rig.stats().loops_sent > 40);
    assert_eq!(
        rig.stats().loop_loss,
        None,
        "not counted while links may still come up"
    );
    let mut seen = rig.packets_sent().len();
    for _ in 0..80 {
        rig.run_for(MS(100));
        seen += carry_loops(&mut rig, seen, |_| false).len();
    }
    assert_eq!(
        (rig.stats().loop_loss, rig.stats().loop_alarm),
        (Some(0.0), false)
    );
    // Somebody drops all of them from now on: ten periods and a round trip later it is known.
    rig.run_for(MS(500) + MS(2_600));
    let stats = rig.stats();
    assert!(stats.loop_alarm, "{stats:?}");
    assert!(rig.notes().contains(&Note::LoopAlarm));
    assert!(rig.node.loop_segments().count() > 10);
    assert!(stats.balances());
}

#[test]
fn loops_that_find_no_route_are_counted_and_raise_the_alarm() {
    let mut rig = Rig::new(1, Parameters::demo(), 100);
    // The next layer is of the mix's own family, through which no loop goes.
    for entry in &mut rig.others {
        if entry.role.layer() == Some(Layer::new(2)) {
            entry.family = rig::config(7, 1).family;
        }
    }
    rig.run_until_epoch(11);
    rig.run_for(Duration::from_secs(60));
    let stats = rig.stats();
    assert_eq!(stats.loops_sent, 0);
    assert!(stats.loops_unmade > 20, "{stats:?}");
    assert!(stats.loop_alarm, "{stats:?}");
    assert_eq!(stats.loop_loss, Some(1.0));
}

#[test]
fn a_loop_that_was_altered_or_comes_twice_does_not_count_as_returned() {
    let mut rig = Rig::serving(1, Parameters::demo(), 1_000);
    rig.run_for(MS(500));
    let (_, first, packet) = rig.packets_sent()[0].clone();
    let (link, back) = rig.carry(first, packet).unwrap().back.unwrap();
    let mut altered = back.clone().into_bytes();
    altered[1_000] ^= 1;
    rig.send_from(link, &whist_packet::Packet::from_bytes(altered));
    assert_eq!(rig.dropped("bad_payload"), 1);
    rig.send_from(link, &back);
    assert_eq!(rig.dropped("replayed"), 1);
    assert_eq!(rig.stats().loops_returned, 0);
    assert!(rig.stats().balances());
}

#[test]
fn what_is_reported_and_logged_names_nobody() {
    let mut rig = Rig::serving(1, Parameters::demo(), 1_000);
    rig.run_for(MS(3_000));
    rig.input(Input::Command(whist_mix::Command::Report));
    let told: Vec<_> = rig
        .effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::Directory(_)))
        .map(|effect| format!("{effect:?}"))
        .collect();
    assert!(told.iter().any(|text| text.contains("loops_sent")));
    let text = told.concat() + &format!("{:?}", rig.node);
    for node in &rig.others {
        for name in [
            node.id.to_string(),
            node.link.to_string(),
            node.address.clone(),
        ] {
            assert!(!text.contains(&name), "{name}");
        }
    }
}

#[test]
fn a_clock_that_jumps_costs_keys_but_opens_none_twice() {
    let mut rig = Rig::serving(1, quiet(), 100);
    let (sender, next) = (rig.mixes(0)[0].link, rig.mixes(2)[0].clone());
    let old = rig.packet_now(&next, 0);
    rig.send_from(sender, &old);
    rig.run_for(MS(1));
    assert_eq!(rig.stats().mixed, 1);
    // Two epochs ahead: the key of then waits on disk and enters; the one of now is erased.
    rig.now.wall = rig.now.wall.after(MS(21_500));
    rig.input(Input::Timeout);
    assert_eq!(rig.stats().keys, [Epoch::new(13)]);
    rig.send_from(sender, &old);
    // And back: nothing under the old key is opened again.
    rig.now.wall = rig.now.wall.before(MS(21_500));
    rig.input(Input::Timeout);
    rig.send_from(sender, &old);
    rig.run_for(MS(1));
    assert_eq!(rig.stats().mixed, 1);
    assert!(rig.stats().balances());
}
