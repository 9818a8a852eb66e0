//! Lock, unlock, and unlock under duress: what an observer of the wires writes down is one file,
//! the file of a client whose person stayed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

mod people;

use std::time::Duration;

use people::{cast_watched, introduce, providers, send, status, texts, until};
use rand_core::SeedableRng as _;
use whist::call::Call;
use whist::{Command, Event, decoy_beside};
use whist_sim::network::Who;
use whist_sim::world::{Cast, Direction};
use whist_timing::Rng;

/// In this world both clients have one entry provider, and their mailboxes are elsewhere.
const SEED: u64 = 1;
const ALICE: Who = Who::Client(0);
const WHILE: Duration = Duration::from_secs(15);
const TEXTS: usize = 6;

/// What was seen of alice's wire and of her entry's links. In the one run her person stays; in the
/// other one the vault is locked, opened, locked again, and opened under duress.
fn observe(leaves: bool) -> [String; 2] {
    let mut wires: Vec<Who> = (0..4).map(Who::Provider).collect();
    wires.push(ALICE);
    let mut cast = cast_watched(SEED, &wires);
    introduce(&mut cast);
    let [entry, mailbox] = providers(&mut cast, 0);
    assert!(mailbox != entry);
    let all: Vec<String> = (0..TEXTS).map(|n| format!("a{n}")).collect();
    all.iter().for_each(|text| send(&mut cast, 0, text));
    cast.world.run_for(Duration::from_secs(5));
    lock(&mut cast, leaves);
    cast.world.run_for(WHILE);
    let rows = cast.client(0).unwrap().environment.rows.clone();
    if leaves {
        cast.tell(0, Command::Unlock { rows: rows.clone() });
    }
    cast.world.run_for(WHILE * 3);
    // In both runs: asking takes time.
    assert_eq!(status(&mut cast, 0).contacts, 1);
    assert_eq!(texts(&mut cast, 1), all, "a text was lost with the lock");
    lock(&mut cast, leaves);
    cast.world.run_for(WHILE);
    if leaves {
        let rows = decoy_beside(&rows, &mut Rng::from_seed([1; 32])).unwrap();
        cast.tell(0, Command::Unlock { rows });
    }
    cast.world.run_for(WHILE);
    let trace = cast.world.trace();
    let of = |who: Who, direction| trace.of(&who.to_string(), direction).to_text();
    let seen = [of(ALICE, None), of(entry, Some(Direction::Out))];
    assert!(seen.iter().all(|file| file.lines().count() > 500));
    let status = status(&mut cast, 0);
    assert!(!status.locked && status.online);
    assert_eq!(status.contacts, usize::from(!leaves));
    seen
}

fn lock(cast: &mut Cast, leaves: bool) {
    if leaves {
        cast.tell(0, Command::Lock);
    }
}

/// Says where two files part, instead of printing them.
fn assert_one_file(what: &str, a: &str, b: &str) {
    let pairs = a.lines().zip(b.lines()).enumerate();
    for (line, (a, b)) in pairs {
        assert_eq!(a, b, "{what} differ in line {line}");
    }
    assert_eq!(a.len(), b.len(), "{what} differ in length");
}

#[test]
fn lock_unlock_and_duress_leave_the_traces_of_a_client_whose_person_stayed() {
    let leaves = std::thread::spawn(|| observe(true));
    let stays = observe(false);
    let leaves = leaves.join().unwrap();
    assert_one_file("alice's wire", &stays[0], &leaves[0]);
    assert_one_file("the entry's links", &stays[1], &leaves[1]);
}

#[test]
fn a_locked_client_goes_on_sending_and_tells_nothing_of_its_person() {
    let mut cast = people::cast(SEED);
    introduce(&mut cast);
    let waits = Call::Receive {
        contact: None,
        wait_s: 3_600,
    };
    let waiting = cast.ask(0, waits);
    cast.world.run_for(Duration::from_secs(1));
    // Its batch is on its way to the disk when the lock comes: it is sent, and who asked is told.
    let last = Call::Send {
        contact: "bob".into(),
        text: "the last one".into(),
        reply_to: None,
        wait_s: 0,
    };
    let queued = cast.ask(0, last);
    cast.tell(0, Command::Lock);
    cast.world.run_for(Duration::from_secs(1));
    let events = &cast.client(0).unwrap().environment.events;
    let answered = events.iter().any(|(_, event)| match event {
        Event::Answer { tag, answer } => *tag == queued && answer.is_ok(),
        _ => false,
    });
    assert!(answered, "a lock left somebody without an answer");
    let before = status(&mut cast, 0).stats.sent;
    send(&mut cast, 1, "for somebody who is not in");
    cast.world.run_for(WHILE);
    let status = status(&mut cast, 0);
    assert!(status.locked && status.online);
    assert!(status.stats.sent.total() > before.total() + 50);
    assert_eq!(
        status.stats.sent.echo,
        status.stats.sent.total(),
        "cover alone"
    );
    assert_eq!((status.contacts, status.outbox, status.unread), (0, 0, 0));
    assert!(!status.mailbox && status.mailbox_provider.is_none());
    let asked = cast.ask(0, Call::Contacts {});
    cast.world.run_for(Duration::from_secs(1));
    let events = &cast.client(0).unwrap().environment.events;
    for tag in [waiting, asked] {
        let refused = events.iter().any(|(_, event)| match event {
            Event::Answer { tag: t, answer } if *t == tag => {
                answer.as_ref().as_ref().is_err_and(|error| error.code == 3)
            }
            _ => false,
        });
        assert!(refused, "call {tag} was answered in another way");
    }
    assert_eq!(texts(&mut cast, 0), Vec::<String>::new());
    let rows = cast.client(0).unwrap().environment.rows.clone();
    cast.tell(0, Command::Unlock { rows });
    let came = until(&mut cast, Duration::from_secs(120), |cast| {
        texts(cast, 0) == ["for somebody who is not in"]
    });
    assert!(came, "what came while nobody was in is lost");
    let came = until(&mut cast, Duration::from_secs(120), |cast| {
        texts(cast, 1) == ["the last one"]
    });
    assert!(came, "what was queued before the lock is lost");
}
