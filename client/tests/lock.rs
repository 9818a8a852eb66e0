//! Locking on the program itself: what a locked daemon says, and who opens it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

mod home;

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use home::Home;
use serde_json::Value;

/// Only there so that a hang ends.
const LIMIT: Duration = Duration::from_secs(120);

/// Every command that asks the daemon for something of the person's.
const OF_THE_PERSON: [&str; 15] = [
    "contacts",
    "invites",
    "invite --name bob",
    "send bob x",
    "receive",
    "history",
    "history --keep 7d",
    "search x",
    "outbox",
    "verify bob",
    "contact show bob",
    "session reset bob",
    "identity show",
    "dismiss 1",
    "message status 1",
];

fn home_with_a_request() -> (Home, home::Daemon) {
    let home = Home::new();
    assert!(home.init().status.success());
    let daemon = home.daemon();
    let args = ["add", "--name", "carol", &home::invitation()];
    assert_eq!(ends(&home, "right", &args).0, 0);
    assert_eq!(status(&home)["outbox"], 1);
    (home, daemon)
}

/// The code, and what was said on stderr, one line at most.
fn ends(home: &Home, secret: &str, args: &[&str]) -> (i32, String) {
    let output = home.run(secret, args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.lines().count() <= 1, "{args:?}: {said}");
    (output.status.code().unwrap(), said)
}

fn status(home: &Home) -> Value {
    let output = home.run("right", &["status", "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn secret(home: &Home, name: &str) {
    let path = home.path(name);
    std::fs::write(&path, format!("{name}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
}

struct Subscriber(Lines<BufReader<UnixStream>>);

impl Subscriber {
    fn new(home: &Home) -> Self {
        let mut stream = UnixStream::connect(home.path("home/daemon.sock")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        writeln!(stream, r#"{{"jsonrpc":"2.0","id":1,"method":"subscribe"}}"#).unwrap();
        let mut subscriber = Self(BufReader::new(stream).lines());
        assert_eq!(subscriber.line()["id"], 1);
        subscriber
    }

    fn line(&mut self) -> Value {
        serde_json::from_str(&self.0.next().unwrap().unwrap()).unwrap()
    }

    /// Reads until it is told of this, and of what on the way.
    fn told(&mut self, method: &str) {
        while self.line()["method"] != method {}
    }
}

#[test]
fn a_locked_daemon_tells_nothing_of_its_person_until_it_is_unlocked_by_the_right_secret() {
    let (home, mut daemon) = home_with_a_request();
    let mut subscriber = Subscriber::new(&home);
    assert_eq!(
        ends(&home, "nowhere", &["lock"]).0,
        0,
        "no secret is needed"
    );
    assert_eq!(ends(&home, "nowhere", &["lock"]).0, 0);
    subscriber.told("event.locked");
    for line in OF_THE_PERSON {
        let args: Vec<&str> = line.split(' ').collect();
        let (code, said) = ends(&home, "right", &args);
        let told = said.contains("the vault is locked: whist unlock");
        assert_eq!((code, told), (3, true), "{line}: {said}");
    }
    let locked = status(&home);
    assert_eq!(
        (&locked["locked"], &locked["outbox"]),
        (&true.into(), &0.into())
    );
    let text = String::from_utf8(home.run("right", &["status"]).stdout).unwrap();
    assert!(text.contains("the vault is locked"), "{text}");
    let (code, said) = ends(&home, "wrong", &["unlock"]);
    assert_eq!(
        (code, said.contains("wrong passphrase")),
        (3, true),
        "{said}"
    );
    assert_eq!(status(&home)["locked"], true);
    assert_eq!(ends(&home, "right", &["unlock"]).0, 0);
    subscriber.told("event.unlocked");
    let open = status(&home);
    assert_eq!(
        (&open["locked"], &open["outbox"]),
        (&false.into(), &1.into())
    );
    assert_eq!(ends(&home, "right", &["unlock"]).0, 0, "it is open already");
    assert_eq!(ends(&home, "wrong", &["unlock"]).0, 3);
    assert_eq!(status(&home)["locked"], false);
    // What a locked daemon ends with is there at the next start.
    assert_eq!(ends(&home, "right", &["lock"]).0, 0);
    assert_eq!(ends(&home, "right", &["stop"]).0, 0);
    assert!(daemon.0.wait().unwrap().success());
    let _daemon = home.daemon();
    assert_eq!(status(&home)["outbox"], 1);
}

#[test]
fn a_duress_secret_at_unlock_opens_the_decoy_and_ends_what_was_there() {
    for locked in [true, false] {
        let (home, mut daemon) = home_with_a_request();
        secret(&home, "duress");
        let file = home.path("duress");
        let set = ["passwd", "--duress", "--new-passphrase-file"];
        let set = [&set[..], &[file.to_str().unwrap()]].concat();
        assert_eq!(ends(&home, "right", &set).0, 0);
        let mut subscriber = Subscriber::new(&home);
        if locked {
            assert_eq!(ends(&home, "right", &["lock"]).0, 0);
            subscriber.told("event.locked");
        }
        let right = home.run("duress", &["unlock", "--json"]);
        assert!(right.status.success(), "{right:?}");
        if !locked {
            subscriber.told("event.locked");
        }
        subscriber.told("event.unlocked");
        let decoy = status(&home);
        assert_eq!(decoy["locked"], false);
        assert_eq!(
            (&decoy["outbox"], &decoy["contacts"]),
            (&0.into(), &0.into())
        );
        for gone in ["right", "wrong"] {
            assert_eq!(ends(&home, gone, &["unlock"]).0, 3, "{gone}");
        }
        assert_eq!(ends(&home, "duress", &["unlock"]).0, 0);
        assert_eq!(ends(&home, "duress", &["stop"]).0, 0);
        assert!(daemon.0.wait().unwrap().success());
        drop(home.daemon_by("duress"));
        assert_eq!(ends(&home, "right", &["daemon", "--debug-build"]).0, 3);
    }
}

/// A home over whose daemon one may come with either secret, and what `passwd` needs.
fn home_with_a_duress_secret() -> (Home, home::Daemon) {
    let (home, daemon) = home_with_a_request();
    for name in ["duress", "other"] {
        secret(&home, name);
    }
    let file = home.path("duress");
    let set = ["passwd", "--duress", "--new-passphrase-file"];
    let set = [&set[..], &[file.to_str().unwrap()]].concat();
    assert_eq!(ends(&home, "right", &set).0, 0);
    (home, daemon)
}

fn passwd_to(home: &Home) -> [String; 3] {
    let file = home.path("other").to_str().unwrap().to_owned();
    [
        "passwd".to_owned(),
        "--new-passphrase-file".to_owned(),
        file,
    ]
}

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn a_change_by_the_duress_secret_looks_like_any_other_and_a_daemon_gives_way_to_the_decoy() {
    let (home, mut daemon) = home_with_a_duress_secret();
    let show = ["recovery", "show", "--json"];
    // Open, by a phrase; the person's own secret first, to compare.
    let usual = home.run("right", &show);
    assert_eq!(
        status(&home)["outbox"],
        1,
        "the person's secret ends nothing"
    );
    let forced = home.run("duress", &show);
    assert_eq!(forced.status.code(), usual.status.code());
    assert_eq!(forced.stderr, usual.stderr);
    let decoy = status(&home);
    assert_eq!(
        (&decoy["locked"], &decoy["outbox"]),
        (&false.into(), &0.into())
    );
    assert_eq!(ends(&home, "right", &["unlock"]).0, 3);
    let shown: Value = serde_json::from_slice(&forced.stdout).unwrap();
    let phrase = home.path("phrase");
    std::fs::write(&phrase, shown["phrase"].as_str().unwrap()).unwrap();
    std::fs::set_permissions(&phrase, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(ends(&home, "duress", &["stop"]).0, 0);
    assert!(daemon.0.wait().unwrap().success());
    drop(home.daemon_by("duress"));
    assert_eq!(ends(&home, "phrase", &["recovery", "test"]).0, 0);
    // Locked: it stays so, and is over the decoy's rows.
    let (home, _daemon) = home_with_a_duress_secret();
    assert_eq!(ends(&home, "right", &["lock"]).0, 0);
    assert_eq!(ends(&home, "duress", &words(&passwd_to(&home))).0, 0);
    assert_eq!(status(&home)["locked"], true);
    assert_eq!(ends(&home, "right", &["unlock"]).0, 3);
    assert_eq!(ends(&home, "other", &["unlock"]).0, 0);
    assert_eq!(status(&home)["outbox"], 0);
    // One that cannot be asked is ended, whichever secret is given.
    for secret in ["right", "duress"] {
        let (home, mut daemon) = home_with_a_duress_secret();
        let nowhere = home.path("nowhere");
        let args = passwd_to(&home);
        let args = [&["--socket", nowhere.to_str().unwrap()][..], &words(&args)].concat();
        assert_eq!(ends(&home, secret, &args).0, 0);
        assert!(!daemon.0.wait().unwrap().success(), "{secret}");
        drop(home.daemon_by("other"));
    }
}

#[test]
fn a_vault_locks_itself_when_nobody_gives_a_command() {
    let home = Home::new();
    assert!(home.init().status.success());
    let args = ["--lock-after", "1s"];
    let _daemon = home.daemon_with("right", &args);
    let mut subscriber = Subscriber::new(&home);
    // It may have been locked before anybody subscribed.
    assert_eq!(ends(&home, "right", &["unlock"]).0, 0);
    subscriber.told("event.locked");
    // And again, after somebody was there.
    assert_eq!(ends(&home, "right", &["unlock"]).0, 0);
    subscriber.told("event.unlocked");
    subscriber.told("event.locked");
    let locked = status(&home);
    assert_eq!(locked["locked"], true);
    assert_eq!(locked["locks_after_s"], 1);
}

#[test]
fn nobody_is_started_to_be_locked_and_unlock_starts_a_daemon_that_is_open() {
    let home = Home::new();
    assert!(home.init().status.success());
    for args in [["lock"], ["unlock"]] {
        assert_eq!(ends(&home, "right", &args).0, 4, "{args:?}");
    }
    let lock = home.starting("right", &["lock"]).output().unwrap();
    assert_eq!(lock.status.code(), Some(4), "{lock:?}");
    let unlock = home.starting("right", &["unlock"]).output().unwrap();
    assert!(unlock.status.success(), "{unlock:?}");
    let open = status(&home);
    assert_eq!(open["locked"], false);
    assert_eq!(open["locks_after_s"], 12 * 3_600, "unless told otherwise");
    assert_eq!(ends(&home, "right", &["stop"]).0, 0);
}
