//! The program itself: what it prints, with which code it ends, and what stands on the disk.
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

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

use home::Home;

/// The code and the one line of a failure.
fn failed(output: &Output) -> (i32, String) {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    (output.status.code().unwrap(), line)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_makes_a_closed_home_and_never_replaces_one() {
    let home = Home::new();
    let output = home.init();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(mode(&home.path("home")), 0o700);
    assert_eq!(mode(&home.path("home/vault.redb")), 0o600);
    let vault = std::fs::read(home.path("home/vault.redb")).unwrap();
    assert!(
        !vault
            .windows(9)
            .any(|w| w == b"127.0.0.1" || w == b"authority")
    );
    let before = vault.len();
    assert_eq!(failed(&home.init()).0, 1);
    assert_eq!(
        std::fs::read(home.path("home/vault.redb")).unwrap().len(),
        before
    );
}

#[test]
fn bad_input_gets_one_line_and_its_code() {
    let home = Home::new();
    let cases: [(&str, &[&str], i32); 4] = [
        ("right", &["init", "--network", "/nowhere/network.toml"], 2),
        ("right", &["status"], 4),
        ("right", &["send", "bob", "x"], 4),
        ("nowhere", &["daemon", "--debug-build"], 1),
    ];
    for (passphrase, args, code) in cases {
        let (found, line) = failed(&home.run(passphrase, args));
        assert_eq!(found, code, "{args:?}: {line}");
    }
    std::fs::write(home.path("network.toml"), "version = 1\nsurprise = 2\n").unwrap();
    assert_eq!(failed(&home.init()).0, 2);
    assert!(!home.path("home").exists());
}

#[test]
fn a_wrong_passphrase_ends_with_code_3_and_loses_nothing() {
    let home = Home::new();
    home.init();
    let (code, line) = failed(&home.run("wrong", &["daemon", "--debug-build"]));
    assert_eq!(code, 3, "{line}");
    drop(home.daemon());
}

#[test]
fn the_socket_is_its_owners_and_answers_every_line() {
    let home = Home::new();
    home.init();
    let daemon = home.daemon();
    let path = home.path("home/daemon.sock");
    assert_eq!(mode(&path), 0o600);
    let stream = UnixStream::connect(&path).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut ask = |line: &str| {
        (&stream).write_all(format!("{line}\n").as_bytes()).unwrap();
        lines.next().unwrap().unwrap()
    };
    assert!(ask("nonsense").contains("-32700"));
    assert!(ask("[]").contains("-32600"));
    assert!(ask(r#"{"jsonrpc":"2.0","id":1,"method":"burn"}"#).contains("-32601"));
    assert!(ask(r#"{"jsonrpc":"2.0","id":1,"method":"send"}"#).contains("-32602"));
    let answer = ask(r#"{"jsonrpc":"2.0","id":"a","method":"status"}"#);
    assert!(
        answer.contains("\"id\":\"a\"") && answer.contains("\"online\":false"),
        "{answer}"
    );
    drop(daemon);
}

#[test]
fn commands_reach_the_daemon_and_end_with_the_documented_codes() {
    let home = Home::new();
    home.init();
    let mut daemon = home.daemon();
    let second = home.run("right", &["daemon", "--debug-build"]);
    assert_ne!(failed(&second).0, 0, "a second instance is refused");
    let status = home.run("right", &["status"]);
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(
        text.contains("off line") && text.contains("no consensus yet"),
        "{text}"
    );
    let json = home.run("right", &["contacts", "--json"]);
    assert_eq!(String::from_utf8(json.stdout).unwrap(), "");
    let cases: [(&[&str], i32); 4] = [
        (&["send", "eve", "x"], 5),
        (&["receive", "--from", "eve"], 5),
        (&["receive", "--wait", "--timeout", "1"], 7),
        (&["invite", "--name", "bob"], 7),
    ];
    for (args, code) in cases {
        let (found, line) = failed(&home.run("right", args));
        assert_eq!(found, code, "{args:?}: {line}");
    }
    let add = home.run("right", &["add", "whist:nonsense", "--name", "bob"]);
    assert_eq!(failed(&add).0, 2);
    assert!(home.run("right", &["stop"]).status.success());
    assert!(daemon.0.wait().unwrap().success());
    assert!(!home.path("home/daemon.sock").exists());
}

/// Each asks for somebody who is not there.
const OF_EVE: [&str; 15] = [
    "contact show eve",
    "contact rename eve bob",
    "contact set eve --timer 8h --receipts read --retention 7 --key-change accept",
    "contact block eve",
    "contact unblock eve",
    "contact remove eve",
    "contact accept-key eve 30035 44776",
    "contact refuse-key eve",
    "verify eve",
    "verify eve --equal 30035 44776",
    "verify eve --undo",
    "session reset eve",
    "history eve --before 9 --limit 3",
    "search x --with eve",
    "send eve x --reply-to 1 --wait delivered --timeout 1",
];

/// Each asks for what cannot be meant.
const USAGE: [&str; 24] = [
    "contact set eve",
    "contact set eve --timer 8",
    "contact set eve --receipts sometimes",
    "contact accept-key eve",
    "verify eve --equal 1 --undo",
    "history --keep 0d",
    "history --keep 7d --limit 3",
    "message status x",
    "message status 99",
    "message cancel 99",
    "message delete 99",
    "message delete 99 --everybody",
    "message edit 99 x",
    "dismiss 99",
    "net check --clock-is-wrong",
    "address show",
    "address rotate --now",
    "address delete",
    "accept 9 --name carol",
    "accept 9",
    "reject 9",
    "add whist-address:aeca --name carol",
    "identity rotate",
    "session",
];

#[test]
fn each_command_about_people_and_texts_ends_with_its_code_and_its_shape() {
    let home = Home::new();
    home.init();
    let _daemon = home.daemon();
    let ends = |line: &str, wanted: i32| {
        let args: Vec<&str> = line.split(' ').collect();
        let output = home.run("right", &args);
        assert_eq!(output.status.code(), Some(wanted), "{line}: {output:?}");
        assert!(output.stdout.is_empty(), "{line}: {output:?}");
        assert!(!output.stderr.is_empty(), "{line}");
    };
    OF_EVE.iter().for_each(|line| ends(line, 5));
    USAGE.iter().for_each(|line| ends(line, 2));
    ends("identity rotate --yes", 1);
    ends("address create", 7);
    for line in [
        "invites",
        "outbox",
        "history",
        "search x",
        "contacts",
        "receive",
        "net nodes",
        "requests",
    ] {
        for json in ["", "--json"] {
            let args = line.split(' ').chain(Some(json).filter(|j| !j.is_empty()));
            let output = home.run("right", &args.collect::<Vec<_>>());
            assert!(output.status.success(), "{line}: {output:?}");
            assert!(output.stdout.is_empty(), "{line}: {output:?}");
        }
    }
    let json = |args: &[&str]| {
        let output = home.run("right", args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let identity = json(&["identity", "show", "--json"]);
    assert!(identity["fingerprint"].is_string(), "{identity}");
    let done = json(&["history", "--keep", "7d", "--json"]);
    assert_eq!(done, serde_json::json!({}));
    let net = json(&["net", "status", "--json"]);
    assert_eq!(
        (&net["online"], &net["tor"]),
        (&false.into(), &false.into())
    );
    let check = home.run("right", &["net", "check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    let lines = String::from_utf8(check.stdout).unwrap();
    assert!(
        lines.contains("!  link: off line") && lines.contains("ok clock:"),
        "{lines}"
    );
    let status = json(&["status", "--json"]);
    assert_eq!(status["banners"], serde_json::json!([]));
}

#[test]
fn a_configuration_says_what_the_command_line_does_not() {
    let home = Home::new();
    let run = |text: &str, args: &[&str]| {
        std::fs::write(home.path("whist.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_whist"));
        command.arg("--config").arg(home.path("whist.toml"));
        command
            .args(["--no-input", "--no-daemon"])
            .args(args)
            .output()
            .unwrap()
    };
    let quoted = |name| format!("{:?}", home.path(name).to_str().unwrap());
    let text = format!(
        "home = {}\nnetwork = {}\npassphrase_file = {}\nrate = \"low\"\n",
        quoted("home"),
        quoted("network.toml"),
        quoted("right")
    );
    let output = run(&text, &["init"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(mode(&home.path("home")), 0o700);
    let (code, line) = failed(&run(&text, &["status"]));
    assert_eq!((code, line.contains("no daemon")), (4, true), "{line}");
    let (code, line) = failed(&run("cover = false\n", &["status"]));
    assert_eq!(
        (code, line.contains("unknown field `cover`")),
        (2, true),
        "{line}"
    );
    let (code, _) = failed(&run("", &["init"]));
    assert_eq!(code, 2, "no network is named");
}
