//! What somebody learns who opened an invitation, and whom nobody answers.

use std::time::Duration;

use whist_types::Now;

use crate::api::Event;
use crate::call::{Answer, Call, ContactInfo};
use crate::client::Client;
use crate::client::rig::{Rig, parameters};
use crate::indicators::Indicator;
use crate::limits::ANSWER_AWAITED;

fn client(rig: &mut Rig, side: usize) -> &mut Client {
    rig.sides[side].client.as_mut().unwrap()
}

fn later(now: Now, wait: Duration) -> Now {
    Now {
        instant: now.instant.after(wait),
        wall: now.wall.after(wait),
    }
}

fn invitation(rig: &mut Rig, side: usize, name: &str) -> String {
    let (name, wait_s) = (name.to_owned(), 0);
    match rig.asked(side, Call::Invite { name, wait_s }) {
        Ok(Answer::Invitation { invitation }) => invitation,
        other => panic!("{other:?}"),
    }
}

fn add(rig: &mut Rig, side: usize, name: &str, invitation: &str) {
    let call = Call::Add {
        name: name.into(),
        invitation: invitation.into(),
        now: true,
        wait_s: 0,
    };
    rig.asked(side, call).unwrap();
}

fn only_contact(rig: &mut Rig, side: usize) -> ContactInfo {
    match rig.asked(side, Call::Contacts {}) {
        Ok(Answer::Contacts { mut contacts }) if contacts.len() == 1 => contacts.remove(0),
        other => panic!("{other:?}"),
    }
}

fn banners(rig: &mut Rig, side: usize) -> Vec<Indicator> {
    let now = rig.now;
    let banners = client(rig, side).status(now).banners.into_iter();
    banners.map(|banner| banner.kind).collect()
}

/// What is warned of a contact so much later.
fn warned(rig: &mut Rig, side: usize, after: Duration) -> bool {
    let now = later(rig.now, after);
    let warnings = client(rig, side).status(now).warnings;
    warnings
        .iter()
        .any(|w| w.contains("no answer yet from alice"))
}

fn ready(rig: &Rig, side: usize) -> bool {
    let client = rig.sides[side].client.as_ref().unwrap();
    client.status(rig.now).invitations_ready > 0
}

#[test]
fn who_opens_an_invitation_second_is_told_until_it_is_dismissed_and_over_a_restart() {
    let mut rig = Rig::new(parameters());
    let [alice, bob, carol] = [1, 2, 3].map(|seed| rig.add_client(seed));
    rig.until("invitations", |rig| ready(rig, alice));
    let text = invitation(&mut rig, alice, "bob");
    let added = |rig: &Rig, side: usize| {
        let told = |event: &Event| matches!(event, Event::Added { .. });
        rig.sides[side].events.iter().any(told)
    };
    add(&mut rig, bob, "alice", &text);
    rig.until("the first", |rig| added(rig, bob));
    add(&mut rig, carol, "alice", &text);
    rig.until("the end of the second", |rig| {
        let failed = |event: &Event| matches!(event, Event::AddFailed { .. });
        rig.sides[carol].events.iter().any(failed)
    });
    rig.run(Duration::from_millis(10));
    // Nobody listened, and nobody waited: whoever looks later is told all the same.
    rig.start(carol, 93);
    let taken = Indicator::InvitationTaken;
    assert_eq!(
        banners(&mut rig, carol)
            .iter()
            .filter(|b| **b == taken)
            .count(),
        1
    );
    assert_eq!(contacts(&mut rig, carol), 0);
    assert!(!banners(&mut rig, bob).contains(&taken));
    let now = rig.now;
    let all = client(&mut rig, carol).status(now).banners;
    let banner = all.iter().find(|banner| banner.kind == taken).unwrap();
    assert!(
        banner.advice.contains("Ask for a new one"),
        "{}",
        banner.advice
    );
    let banner = banner.banner;
    rig.asked(carol, Call::Dismiss { banner }).unwrap();
    assert!(!banners(&mut rig, carol).contains(&taken));
}

fn contacts(rig: &mut Rig, side: usize) -> usize {
    let now = rig.now;
    client(rig, side).status(now).contacts
}

#[test]
fn of_a_silent_giver_of_an_invitation_it_is_said_since_when_and_after_a_day_what_it_may_mean() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let since = only_contact(&mut rig, bob).silent_since_s.unwrap();
    assert!(since <= rig.now.wall.as_secs());
    let heard = only_contact(&mut rig, alice).silent_since_s;
    assert_eq!(heard, None, "who was invited has come");
    let age = rig.now.wall.as_secs() - since;
    let left = ANSWER_AWAITED - Duration::from_secs(age);
    assert!(!warned(&mut rig, bob, left - Duration::from_secs(2)));
    assert!(warned(&mut rig, bob, left + Duration::from_secs(2)));
    assert!(!warned(&mut rig, alice, 2 * ANSWER_AWAITED));
    rig.run(Duration::from_millis(10));
    rig.start(bob, 94);
    assert_eq!(only_contact(&mut rig, bob).silent_since_s, Some(since));
    let send = Call::Send {
        contact: "bob".into(),
        text: "here I am".into(),
        reply_to: None,
        wait_s: 0,
    };
    rig.asked(alice, send).unwrap();
    rig.until("the text", |rig| rig.texts(bob).len() == 1);
    assert_eq!(only_contact(&mut rig, bob).silent_since_s, None);
    assert!(!warned(&mut rig, bob, 2 * ANSWER_AWAITED));
    rig.run(Duration::from_millis(10));
    rig.start(bob, 95);
    assert_eq!(only_contact(&mut rig, bob).silent_since_s, None);
}
