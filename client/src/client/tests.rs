#![allow(clippy::arithmetic_side_effects, reason = "figures of tests")]

use std::collections::HashSet;
use std::time::Duration;

use whist_link::{Frame, Hello, Input};
use whist_netdoc::Parameters;
use whist_types::{Epoch, Instant};

use crate::api::Event;
use crate::call::{Answer, Call, MessageState, Status};
use crate::client::rig::{Rig, parameters};
use crate::control::Misbehaviour;

fn status(rig: &Rig, side: usize) -> Status {
    rig.sides[side].client.as_ref().unwrap().status(rig.now)
}

/// Ten texts each way, one of them of many pieces, and what must come of them.
fn converse(rig: &mut Rig, alice: usize, bob: usize, each: usize) {
    let text = |who: &str, i: usize| match i % 5 {
        3 => format!("{who} {i} {}", "long \u{1F0CF} ".repeat(700)),
        _ => format!("{who} {i}"),
    };
    for i in 0..each {
        rig.send(alice, "bob", &text("alice", i));
        rig.send(bob, "alice", &text("bob", i));
        rig.run(Duration::from_secs(1));
    }
    rig.until("all texts", |rig| {
        rig.texts(alice).len() >= each && rig.texts(bob).len() >= each
    });
    rig.run(Duration::from_secs(60));
    for (side, from, who) in [(alice, "bob", "bob"), (bob, "alice", "alice")] {
        let expected: Vec<_> = (0..each).map(|i| (from.to_owned(), text(who, i))).collect();
        assert_eq!(rig.texts(side), expected);
    }
}

#[test]
fn texts_come_exactly_once_and_in_order() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    converse(&mut rig, alice, bob, 10);
    rig.until("stored", |rig| {
        status(rig, alice).outbox + status(rig, bob).outbox == 0
    });
    let stats = status(&rig, alice).stats;
    assert!(
        stats.sent.total() > 100 && stats.decoys_received > 0,
        "{stats:?}"
    );
    assert_eq!(stats.bad_replies, 0);
}

#[test]
fn texts_come_exactly_once_and_in_order_under_loss_doubling_and_reordering() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.weather.loss = 40;
    rig.weather.doubles = true;
    rig.weather.reversed = true;
    converse(&mut rig, alice, bob, 10);
    assert!(status(&rig, alice).stats.repeats > 0);
}

#[test]
fn texts_that_overtake_the_first_item_are_kept_for_it() {
    let mut rig = Rig::new(parameters());
    let (alice, bob) = (rig.add_client(1), rig.add_client(2));
    rig.until("a mailbox", |rig| status(rig, alice).invitations_ready == 4);
    rig.weather.reversed = true;
    rig.ask(
        alice,
        1,
        Call::Invite {
            name: "bob".into(),
            wait_s: 0,
        },
    );
    rig.run(Duration::from_millis(10));
    let Some(Ok(Answer::Invitation { invitation })) = rig.answer(alice, 1) else {
        panic!()
    };
    // Alice is away while Bob writes, so that her polls find all items at once.
    rig.sides[alice].client = None;
    let (name, now, wait_s) = ("alice".into(), false, 0);
    rig.ask(
        bob,
        1,
        Call::Add {
            name,
            invitation,
            now,
            wait_s,
        },
    );
    rig.until("a contact", |rig| status(rig, bob).contacts == 1);
    for i in 0..5 {
        rig.send(bob, "alice", &format!("{i}"));
    }
    rig.until("stored", |rig| status(rig, bob).outbox == 0);
    rig.start(alice, 3);
    rig.until("five texts", |rig| rig.texts(alice).len() == 5);
    let texts: Vec<String> = rig.texts(alice).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_kill_at_any_moment_loses_and_doubles_nothing() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let mut answered = 0;
    for round in 0..20_u8 {
        let tag = 2_000 + u64::from(round);
        let (contact, text, wait_s) = ("bob".into(), format!("{round}"), 0);
        rig.ask(
            alice,
            tag,
            Call::Send {
                contact,
                text,
                reply_to: None,
                wait_s,
            },
        );
        let wait = u64::from(round) * 37 % 11;
        rig.run(Duration::from_millis(wait));
        // A text counts as sent when the answer came: then it was durable.
        answered += u8::from(rig.answer(alice, tag).is_some());
        rig.start(alice, 100 + round);
        rig.run(Duration::from_secs(u64::from(round) % 3));
        rig.start(bob, 150 + round);
        rig.run(Duration::from_secs(2));
    }
    rig.run(Duration::from_secs(120));
    let texts: Vec<u8> = rig
        .texts(bob)
        .iter()
        .map(|(_, t)| t.parse().unwrap())
        .collect();
    assert!(texts.is_sorted_by(|a, b| a < b), "{texts:?}");
    assert!(
        texts.len() >= usize::from(answered) && answered > 10,
        "{texts:?}"
    );
}

#[test]
fn nothing_leaves_before_the_vault_holds_it() {
    let (mut rig, alice, _) = Rig::pair(parameters());
    rig.until("quiet", |rig| status(rig, alice).outbox == 0);
    let before = status(&rig, alice).stats.sent;
    rig.weather.dead_disk = true;
    rig.send(alice, "bob", "never stored");
    rig.run(Duration::from_secs(30));
    let after = status(&rig, alice).stats.sent;
    assert_eq!(after.put, before.put);
    assert!(
        after.total() > before.total() + 100,
        "and the clock goes on"
    );
}

#[test]
fn nothing_is_acknowledged_before_the_vault_holds_it() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.send(bob, "alice", "one");
    rig.until("stored", |rig| status(rig, bob).outbox == 0);
    rig.weather.dead_disk = true;
    rig.run(Duration::from_secs(20));
    rig.weather.dead_disk = false;
    let known = rig.texts(alice).len();
    rig.start(alice, 77);
    rig.run(Duration::from_secs(20));
    assert_eq!(rig.texts(alice).len(), 1, "{known} before the kill");
}

/// All but times of answers: what an observer of the wire and the mixes has of a client.
fn observed(busy: bool, silent: bool) -> (Vec<super::rig::Seen>, usize) {
    observed_of(busy, silent, None, 220)
}

fn observed_of(
    busy: bool,
    silent: bool,
    control: Option<Misbehaviour>,
    rounds: usize,
) -> (Vec<super::rig::Seen>, usize) {
    let (mut rig, alice, bob) = Rig::pair(Parameters {
        profile_mean_ms: [100; 3],
        ..parameters()
    });
    rig.replies_seen = true;
    let from = rig.now.instant;
    rig.weather.silent = silent;
    if let Some(control) = control {
        let client = rig.sides[alice].client.as_mut().unwrap();
        client.dangerously_misbehave(control);
    }
    for i in 0..rounds {
        if busy {
            rig.send(alice, "bob", &format!("{i}"));
            rig.send(bob, "alice", &format!("{i}"));
        }
        rig.run(Duration::from_millis(500));
    }
    let seen = rig.sides[alice].seen.iter().filter(|s| s.at > from);
    (seen.cloned().collect(), rig.texts(alice).len())
}

#[test]
fn idle_and_busy_clients_of_one_seed_are_the_same_to_an_observer() {
    let (idle, none) = observed(false, false);
    let (busy, read) = observed(true, false);
    let (withheld, _) = observed(true, true);
    assert!(none == 0 && read > 100, "{read}");
    assert!(idle.len() > 900, "{}", idle.len());
    assert_eq!(idle, busy);
    assert_eq!(idle, withheld);
}

#[test]
fn a_client_that_skips_a_tick_when_its_outbox_is_full_or_sends_at_once_is_found_out() {
    for control in [
        Misbehaviour::SkipWhenFull { waiting: 2 },
        Misbehaviour::SendAtOnce,
    ] {
        let (idle, _) = observed_of(false, false, Some(control), 20);
        let (busy, _) = observed_of(true, false, Some(control), 20);
        assert_ne!(idle, busy, "{control:?}");
    }
}

#[test]
fn guard_mailbox_and_drops_are_of_different_families_and_picked_after_the_first_document() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    assert_eq!(status(&rig, alice).entry, None);
    rig.until("invitations", |rig| {
        status(rig, alice).invitations_ready == 4
    });
    let commands = &rig.sides[alice].commands;
    let mailbox = commands.iter().find(|c| c.1 == "create").unwrap().2;
    let drops: HashSet<_> = commands
        .iter()
        .filter(|c| c.1 == "publish")
        .map(|c| c.2)
        .collect();
    let entry = status(&rig, alice).entry.unwrap().parse().unwrap();
    assert_eq!(drops.len(), 4);
    assert!(!drops.contains(&mailbox) && !drops.contains(&entry) && mailbox != entry);
    let guard = rig.nodes.iter().find(|n| n.id == entry).unwrap().link;
    assert_eq!(rig.sides[alice].dials.last(), Some(&guard));
    assert!(
        rig.sides[alice].dials.len() <= 2,
        "one bootstrap, one guard"
    );
}

#[test]
fn giving_an_invitation_out_sends_nothing() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    rig.until("quiet", |rig| {
        status(rig, alice).invitations_ready == 4 && status(rig, alice).outbox == 0
    });
    rig.ask(
        alice,
        1,
        Call::Invite {
            name: "bob".into(),
            wait_s: 0,
        },
    );
    rig.run(Duration::from_millis(10));
    assert!(matches!(
        rig.answer(alice, 1),
        Some(Ok(Answer::Invitation { .. }))
    ));
    assert_eq!(status(&rig, alice).outbox, 0);
    assert_eq!(status(&rig, alice).invitations_ready, 3);
}

#[test]
fn invitations_are_refilled_in_batches_and_late_ones_wait() {
    let mut slow = parameters();
    slow.rare_after_ms = 0;
    slow.rare_mean_ms = 60_000;
    let mut rig = Rig::new(slow);
    let alice = rig.add_client(1);
    rig.until("a mailbox", |rig| status(rig, alice).invitations_ready == 4);
    for (tag, name) in (1..).zip(["a", "b"]) {
        rig.ask(
            alice,
            tag,
            Call::Invite {
                name: name.into(),
                wait_s: 0,
            },
        );
    }
    assert_eq!(status(&rig, alice).outbox, 0);
    rig.ask(
        alice,
        3,
        Call::Invite {
            name: "c".into(),
            wait_s: 0,
        },
    );
    assert_eq!(
        status(&rig, alice).outbox,
        3,
        "three at once, so that four are ready again"
    );
    let before = status(&rig, alice).stats.sent.other;
    rig.run(Duration::from_millis(900));
    assert_eq!(status(&rig, alice).stats.sent.other, before);
    rig.until("a refill", |rig| status(rig, alice).invitations_ready == 4);
}

#[test]
fn two_who_use_one_invitation_make_the_contact_unsafe() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let eve = rig.add_client(9);
    rig.weather.open_drops = true;
    rig.ask(
        alice,
        1,
        Call::Invite {
            name: "carol".into(),
            wait_s: 100,
        },
    );
    rig.until("an invitation", |rig| rig.answer(alice, 1).is_some());
    let Some(Ok(Answer::Invitation { invitation })) = rig.answer(alice, 1) else {
        panic!()
    };
    for side in [bob, eve] {
        let (name, invitation) = ("alice again".into(), invitation.clone());
        let call = Call::Add {
            name,
            invitation,
            now: true,
            wait_s: 0,
        };
        rig.ask(side, 2, call);
        rig.run(Duration::from_secs(30));
    }
    let told = |e: &Event| matches!(e, Event::Unsafe { contact } if contact == "carol");
    rig.until("a warning", |rig| rig.sides[alice].events.iter().any(told));
    assert!(
        status(&rig, alice)
            .warnings
            .iter()
            .any(|w| w.contains("carol"))
    );
}

#[test]
fn an_invitation_that_somebody_else_opened_is_reported() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let eve = rig.add_client(9);
    rig.ask(
        alice,
        1,
        Call::Invite {
            name: "carol".into(),
            wait_s: 100,
        },
    );
    rig.until("an invitation", |rig| rig.answer(alice, 1).is_some());
    let Some(Ok(Answer::Invitation { invitation })) = rig.answer(alice, 1) else {
        panic!()
    };
    for (side, wait_s) in [(eve, 0), (bob, 60)] {
        let (name, invitation) = ("alice again".into(), invitation.clone());
        rig.ask(
            side,
            2,
            Call::Add {
                name,
                invitation,
                now: true,
                wait_s,
            },
        );
        rig.run(Duration::from_secs(40));
    }
    let error = rig.answer(bob, 2).unwrap().unwrap_err();
    assert!(error.message.contains("somebody else"), "{error}");
}

#[test]
fn six_repeats_without_an_answer_and_the_person_is_told() {
    let mut fast = parameters();
    fast.retransmit_mean_ms = [100; 6];
    let (mut rig, alice, _) = Rig::pair(fast);
    rig.until("quiet", |rig| status(rig, alice).outbox == 0);
    rig.weather.silent = true;
    let before = status(&rig, alice).stats;
    rig.ask(
        alice,
        5,
        Call::Send {
            contact: "bob".into(),
            text: "hi".into(),
            reply_to: None,
            wait_s: 600,
        },
    );
    rig.until("failure", |rig| rig.answer(alice, 5).is_some());
    let Some(Ok(Answer::Message { state, .. })) = rig.answer(alice, 5) else {
        panic!()
    };
    assert_eq!(state, MessageState::Failed);
    let after = status(&rig, alice).stats;
    assert_eq!(after.sent.put - before.sent.put, 7);
    assert_eq!(after.repeats - before.repeats, 6);
}

#[test]
fn a_consensus_past_its_grace_stops_the_client_with_a_clear_status() {
    let mut short = parameters();
    short.epoch_ms = 60_000;
    short.key_window_ms = 5_000;
    let mut rig = Rig::new(short);
    // The rig begins a minute after the genesis, in epoch 1; epoch 0 serves until the end of 2.
    let alice = rig.add_client(1);
    rig.run(Duration::from_secs(100));
    assert!(status(&rig, alice).online);
    rig.run(Duration::from_secs(120));
    let sent = status(&rig, alice).stats.sent.total();
    assert!(!status(&rig, alice).online);
    rig.run(Duration::from_secs(30));
    assert_eq!(status(&rig, alice).stats.sent.total(), sent);
    assert!(rig.sides[alice].events.contains(&Event::Stale));
    assert!(
        status(&rig, alice)
            .warnings
            .iter()
            .any(|w| w.contains("too old"))
    );
    rig.publish(Epoch::new(5));
    rig.cut(alice);
    rig.until("a newer document", |rig| status(rig, alice).online);
}

#[test]
fn a_second_document_of_an_epoch_is_asked_for_through_the_network_and_proof_stops_the_client() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    rig.until("quiet", |rig| {
        status(rig, alice).invitations_ready == 4 && status(rig, alice).outbox == 0
    });
    rig.fork();
    let told = |rig: &Rig| rig.sides[alice].events.contains(&Event::Equivocation);
    rig.until("proof", told);
    let asked = rig.sides[alice].commands.iter().filter(|c| c.1 == "other");
    // A header with three signatures of each kind is about 10 kB.
    assert!((4..=8).contains(&asked.count()));
    assert!(!status(&rig, alice).online);
    assert!(
        status(&rig, alice)
            .warnings
            .iter()
            .any(|w| w.contains("two documents"))
    );
    rig.run(Duration::from_secs(1));
    rig.start(alice, 60);
    rig.run(Duration::from_secs(5));
    assert!(!status(&rig, alice).online, "the proof is kept");
}

#[test]
fn an_item_that_waited_for_days_starts_no_request_for_a_consensus_that_nobody_holds() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.sides[bob].client = None;
    rig.send(alice, "bob", "from long ago");
    rig.until("stored", |rig| status(rig, alice).outbox == 0);
    rig.sides[alice].client = None;
    let length = Duration::from_millis(parameters().epoch_ms);
    let mut epoch = Epoch::new(0);
    for _ in 0..48 {
        rig.run(length);
        epoch = epoch.next();
        rig.publish(epoch);
    }
    let before = rig.sides[bob].commands.len();
    rig.start(bob, 77);
    rig.until("what waited", |rig| !rig.texts(bob).is_empty());
    rig.run(Duration::from_secs(30));
    let asked = rig.sides[bob].commands[before..].iter();
    assert_eq!(asked.filter(|c| c.1 == "other").count(), 0);
}

#[test]
fn ticks_while_off_line_send_nothing_later() {
    let (mut rig, alice, _) = Rig::pair(parameters());
    rig.cut(alice);
    let at = rig.now.instant;
    rig.until("a new link", |rig| status(rig, alice).online);
    rig.run(Duration::from_secs(20));
    let back = rig.sides[alice].seen.iter().filter(|s| s.at > at);
    let times: Vec<Instant> = back.map(|s| s.at).collect();
    let burst = times
        .windows(5)
        .any(|w| w[4].since(w[0]) < Duration::from_millis(20));
    assert!(!times.is_empty() && !burst);
}

#[test]
fn a_clock_that_is_wrong_is_said_and_a_frame_that_does_not_belong_closes_the_link() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    rig.until("a link", |rig| status(rig, alice).online);
    rig.cut(alice);
    rig.until("a link", |rig| rig.sides[alice].client.is_some());
    let mut client = rig.sides[alice].client.take().unwrap();
    let mut now = rig.now;
    now.instant = now.instant.after(Duration::from_secs(60));
    let link = loop {
        use whist_link::{Output, Remote, Role};
        client.handle(now, Input::Timeout);
        if let Some(Output::Dial { link, target }) = client.poll_output() {
            client.handle(
                now,
                Input::Up {
                    link,
                    remote: Remote::Node(target.key),
                },
            );
            break link;
        }
    };
    let hello = |wall| Hello::Node {
        version: 1,
        consensus: whist_types::ConsensusHash::from_bytes([0; 32]),
        time: wall,
    };
    let skewed = Frame::Hello(hello(now.wall.after(Duration::from_secs(90))));
    use whist_link::Role;
    client.handle(
        now,
        Input::Frame {
            link,
            frame: skewed.clone(),
        },
    );
    assert!(
        client
            .status(now)
            .warnings
            .iter()
            .any(|w| w.contains("90 s behind"))
    );
    while client.poll_output().is_some() {}
    client.handle(
        now,
        Input::Frame {
            link,
            frame: skewed,
        },
    );
    let mut closed = false;
    while let Some(output) = client.poll_output() {
        closed |= matches!(output, whist_link::Output::Close { link: l } if l == link);
    }
    assert!(closed, "a second HELLO has no business there");
    assert!(!client.status(now).online);
}

#[test]
fn malformed_and_unknown_names_get_the_documented_codes() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let send = |contact: &str, text: String| Call::Send {
        contact: contact.into(),
        text,
        reply_to: None,
        wait_s: 0,
    };
    let add = |name: &str, invitation: &str| Call::Add {
        name: name.into(),
        invitation: invitation.into(),
        now: false,
        wait_s: 0,
    };
    let cases = [
        (send("eve", "x".into()), 5),
        (send("bob", "x".repeat(70_000)), 2),
        (add("x", "whist:nonsense"), 2),
        (add("bob", "whist:nonsense"), 2),
        (
            Call::Invite {
                name: "bob".into(),
                wait_s: 0,
            },
            2,
        ),
        (
            Call::Invite {
                name: String::new(),
                wait_s: 0,
            },
            2,
        ),
        (
            Call::Receive {
                contact: Some("eve".into()),
                wait_s: 0,
            },
            5,
        ),
        (
            Call::Receive {
                contact: None,
                wait_s: 1,
            },
            7,
        ),
    ];
    for (tag, (call, code)) in (10..).zip(cases) {
        rig.ask(alice, tag, call);
        rig.run(Duration::from_secs(2));
        let error = rig.answer(alice, tag).unwrap().unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(!error.message.contains('\n'));
    }
    assert!(rig.texts(bob).is_empty());
}

#[test]
fn receive_hands_each_text_out_once_and_waits_for_one() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.ask(
        alice,
        7,
        Call::Receive {
            contact: None,
            wait_s: 300,
        },
    );
    rig.send(bob, "alice", "one");
    rig.until("an answer", |rig| rig.answer(alice, 7).is_some());
    let Some(Ok(Answer::Texts { texts })) = rig.answer(alice, 7) else {
        panic!()
    };
    assert_eq!(texts.len(), 1);
    assert_eq!(
        (texts[0].contact.as_str(), texts[0].text.as_str()),
        ("bob", "one")
    );
    rig.run(Duration::from_secs(1));
    rig.start(alice, 50);
    rig.ask(
        alice,
        8,
        Call::Receive {
            contact: None,
            wait_s: 0,
        },
    );
    rig.run(Duration::from_millis(10));
    assert_eq!(
        rig.answer(alice, 8),
        Some(Ok(Answer::Texts { texts: Vec::new() }))
    );
}
