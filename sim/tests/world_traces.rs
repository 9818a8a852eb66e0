//! What an observer of the wires writes down of an idle and of a busy client of one seed is one
//! file: at the clients' wires in both directions, and at the links of their entry provider.
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

use std::sync::OnceLock;
use std::time::Duration;

use people::{cast_watched, introduce, providers, send, texts};
use whist::control::Misbehaviour;
use whist_sim::network::Who;
use whist_sim::world::{Cast, Conduct, Direction, LinkLaw};

/// In this world both clients have one entry provider, and their mailboxes are elsewhere. No client
/// uses its entry as exit, so what leaves the entry is what clients send through it, its slots
/// and documents, and answers to loops of mixes, which know of no client.
const ALICE: Who = Who::Client(0);
const BOB: Who = Who::Client(1);
/// Texts that each one queues in a busy run, in bursts.
const BURSTS: usize = 12;
const BURST: usize = 20;
const BETWEEN_BURSTS: Duration = Duration::from_secs(5);
const AFTERWARDS: Duration = Duration::from_secs(15);

#[derive(Clone, Copy)]
struct Scene {
    texts: bool,
    bursts: usize,
    afterwards: Duration,
    control: Option<Misbehaviour>,
    mailbox: Conduct,
    /// Whether the entry provider loses, quietly, all that goes to two mixes of its next layer.
    drops: bool,
    /// How long the clients' disks take for a write, from the first text on.
    disk: Option<Duration>,
}

const IDLE: Scene = Scene {
    texts: false,
    bursts: BURSTS,
    afterwards: AFTERWARDS,
    control: None,
    mailbox: Conduct::Honest,
    drops: false,
    disk: None,
};
const BUSY: Scene = Scene {
    texts: true,
    ..IDLE
};

/// The files of the observers, and how much was read meanwhile.
struct Seen {
    wires: [String; 2],
    entry: String,
    read: [usize; 2],
    got: [u64; 2],
}

/// Two people who know each other, on a network of this seed, if both have one entry provider and
/// one mailbox provider.
fn introduced(seed: u64) -> Option<Cast> {
    let mut wires: Vec<Who> = (0..4).map(Who::Provider).collect();
    wires.extend([ALICE, BOB]);
    let mut cast = cast_watched(seed, &wires);
    introduce(&mut cast);
    let [one, other] = [0, 1].map(|index| providers(&mut cast, index));
    (one == other).then_some(cast)
}

/// One run. All of them are the same up to the moment of the first text.
fn observe(scene: Scene) -> Seen {
    // Providers are drawn: of the first seeds, one draws the same for both.
    static SEED: OnceLock<u64> = OnceLock::new();
    let seed = *SEED.get_or_init(|| (1..100).find(|&seed| introduced(seed).is_some()).unwrap());
    let mut cast = introduced(seed).unwrap();
    let [entry, mailbox] = providers(&mut cast, 0);
    assert_ne!(mailbox, entry);
    let mailbox = cast.id(mailbox).unwrap();
    cast.world.meddle(mailbox, scene.mailbox);
    if scene.drops {
        drop_to_chosen_mixes(&mut cast, entry);
    }
    for index in [0, 1] {
        if let Some(control) = scene.control {
            let client = &mut cast.client(index).unwrap().role;
            client.dangerously_misbehave(control);
        }
    }
    if let Some(delay) = scene.disk {
        for index in [0, 1] {
            cast.client(index).unwrap().environment.delay = delay;
        }
    }
    for burst in 0..scene.bursts {
        for i in (0..BURST).filter(|_| scene.texts) {
            send(&mut cast, 0, &format!("a{}", burst * BURST + i));
            send(&mut cast, 1, &format!("b{}", burst * BURST + i));
        }
        cast.world.run_for(BETWEEN_BURSTS);
    }
    cast.world.run_for(scene.afterwards);
    let read = [0, 1].map(|index| {
        let read = texts(&mut cast, index);
        let whose = ["b", "a"][usize::from(index)];
        let ordered = (0..read.len()).map(|i| format!("{whose}{i}"));
        assert!(read.iter().cloned().eq(ordered), "once and in order");
        read.len()
    });
    let got = [0, 1].map(|index| {
        let stats = cast.client(index).unwrap().role.stats();
        stats.returned.total()
    });
    let trace = cast.world.trace();
    let of = |who: Who, direction| trace.of(&who.to_string(), direction).to_text();
    Seen {
        wires: [of(ALICE, None), of(BOB, None)],
        entry: of(entry, Some(Direction::Out)),
        read,
        got,
    }
}

/// Two of the three mixes that follow a provider get nothing from it any more.
fn drop_to_chosen_mixes(cast: &mut Cast, entry: Who) {
    let lost = LinkLaw {
        loss_ppm: 1_000_000,
        packets_only: true,
        ..LinkLaw::after(Duration::from_millis(1))
    };
    let first = |cast: &mut Cast, i: u8| {
        let layer = cast.mix(i).unwrap().role.stats().layer;
        layer.is_some_and(|layer| layer.index() == 0)
    };
    let mixes: Vec<u8> = (0..9).filter(|i| first(cast, *i)).collect();
    assert_eq!(mixes.len(), 3);
    let entry = cast.id(entry).unwrap();
    for mix in &mixes[..2] {
        let mix = cast.id(Who::Mix(*mix)).unwrap();
        cast.world.set_law(entry, mix, lost.clone());
    }
}

fn idle() -> &'static Seen {
    static SEEN: OnceLock<Seen> = OnceLock::new();
    SEEN.get_or_init(|| observe(IDLE))
}

/// Says where two files part, instead of printing them.
fn assert_one_file(what: &str, a: &str, b: &str) {
    if let Some((line, (a, b))) = a
        .lines()
        .zip(b.lines())
        .enumerate()
        .find(|(_, (a, b))| a != b)
    {
        panic!("{what} differ in line {line}:\n{a}\n{b}");
    }
    assert_eq!(a.len(), b.len(), "{what} differ in length");
}

#[test]
fn the_traces_of_an_idle_and_a_busy_client_are_one_file() {
    let (idle, busy) = (idle(), observe(BUSY));
    assert_eq!(idle.read, [0, 0]);
    assert!(
        busy.read[0] >= 200 && busy.read[1] >= 200,
        "{:?}",
        busy.read
    );
    assert!(idle.wires[0].lines().count() > 2_000);
    assert!(idle.entry.lines().count() > 2_000);
    assert_one_file("alice's wire", &idle.wires[0], &busy.wires[0]);
    assert_one_file("bob's wire", &idle.wires[1], &busy.wires[1]);
    assert_one_file("the entry's links", &idle.entry, &busy.entry);
}

const MEDDLING: [Conduct; 3] = [
    Conduct::Withholds,
    Conduct::Delays(Duration::from_secs(7)),
    Conduct::Hoards(Duration::from_secs(20)),
];

#[test]
fn a_mailbox_provider_that_withholds_delays_or_hoards_replies_changes_nothing_on_the_wire() {
    for mailbox in MEDDLING {
        let busy = observe(Scene { mailbox, ..BUSY });
        let met = match mailbox {
            Conduct::Withholds => busy.read == [0, 0] && busy.got[0] < idle().got[0] / 2,
            _ => (1..200).contains(&busy.read[0]) && busy.got != idle().got,
        };
        assert!(
            met,
            "{mailbox:?}: {:?} read, {:?} replies",
            busy.read, busy.got
        );
        assert_one_file("alice's wire", &idle().wires[0], &busy.wires[0]);
        assert_one_file("bob's wire", &idle().wires[1], &busy.wires[1]);
        assert_one_file("the entry's links", &idle().entry, &busy.entry);
    }
}

#[test]
fn an_entry_provider_that_drops_what_goes_to_chosen_mixes_does_not_move_a_single_route() {
    let busy = observe(Scene {
        drops: true,
        ..BUSY
    });
    assert!(
        busy.got[0] < idle().got[0] / 2,
        "{:?} of {:?} came back: too many",
        busy.got,
        idle().got
    );
    // Which mix comes first on each route is in the names of the links.
    assert_one_file("the entry's links", &idle().entry, &busy.entry);
    assert_one_file("alice's wire", &idle().wires[0], &busy.wires[0]);
    assert_one_file("bob's wire", &idle().wires[1], &busy.wires[1]);
}

/// A client hears of documents that it does not have yet, and asks for one.
#[test]
fn behind_a_disk_that_takes_twenty_seconds_for_a_write_the_traces_are_one_file_too() {
    let disk = Some(Duration::from_secs(20));
    let [idle, busy] = [IDLE, BUSY].map(|scene| observe(Scene { disk, ..scene }));
    // A text leaves when it is durable, and is read when that is: some of them too late.
    assert!((1..240).contains(&busy.read[0]), "{:?}", busy.read);
    assert_one_file("alice's wire", &idle.wires[0], &busy.wires[0]);
    assert_one_file("bob's wire", &idle.wires[1], &busy.wires[1]);
    assert_one_file("the entry's links", &idle.entry, &busy.entry);
}

/// A client that breaks the rule is found out in each of the files above, whatever the mailbox's
/// provider does.
fn found_out(control: Misbehaviour) {
    let short = Scene {
        bursts: 1,
        afterwards: Duration::ZERO,
        control: Some(control),
        ..IDLE
    };
    let idle = observe(short);
    for mailbox in [Conduct::Honest].into_iter().chain(MEDDLING) {
        let busy = observe(Scene {
            texts: true,
            mailbox,
            ..short
        });
        assert!(idle.wires[0] != busy.wires[0], "{control:?}, {mailbox:?}");
        assert!(idle.wires[1] != busy.wires[1], "{control:?}, {mailbox:?}");
        assert!(idle.entry != busy.entry, "{control:?}, {mailbox:?}");
    }
}

#[test]
fn a_client_that_skips_a_tick_when_its_outbox_is_full_is_found_out() {
    found_out(Misbehaviour::SkipWhenFull { waiting: 2 });
}

#[test]
fn a_client_that_sends_at_once_is_found_out() {
    found_out(Misbehaviour::SendAtOnce);
}
