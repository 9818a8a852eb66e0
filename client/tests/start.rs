//! The daemon as a process of its own: who starts it, what it learns, when it has ended.
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

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};
use std::time::Duration;

use home::Home;
use whist_rt::local::{Peer, Watched, peer};

/// Only there so that a hang ends.
const LIMIT: Duration = Duration::from_secs(120);

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn done(home: &Home, args: &[&str]) -> Output {
    let output = home.starting("right", args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    output
}

fn init(home: &Home) {
    let network = home.path("network.toml");
    let output = done(home, &["init", "--network", network.to_str().unwrap()]);
    assert!(
        text(&output.stdout).contains("its daemon runs"),
        "{output:?}"
    );
}

/// Whoever listens.
fn listener(home: &Home) -> Peer {
    peer(&UnixStream::connect(home.path("home/daemon.sock")).unwrap()).unwrap()
}

/// Runs `stop`, and holds it to its word.
fn stop(home: &Home) {
    let watched = Watched::new(&listener(home)).unwrap();
    done(home, &["stop"]);
    assert!(
        watched.ended_within(Duration::ZERO).unwrap(),
        "it still runs"
    );
    let lock = File::open(home.path("home/lock")).unwrap();
    lock.try_lock().expect("its folder is free");
    assert!(!home.path("home/daemon.sock").exists());
}

#[test]
fn init_starts_a_daemon_that_outlives_it_and_learns_the_passphrase_from_nobody_else() {
    let home = Home::new();
    init(&home);
    // What `init` read the passphrase from is gone: the daemon has it already.
    std::fs::rename(home.path("right"), home.path("away")).unwrap();
    assert!(home.run("right", &["status"]).status.success());
    std::fs::rename(home.path("away"), home.path("right")).unwrap();
    let pid = listener(&home).pid();
    let told = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(
        !told.contains("right") && !told.contains("horse"),
        "{told:?}"
    );
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    let fields: Vec<&str> = after_name.split(' ').collect();
    assert_eq!(fields[3], pid.to_string(), "it leads a session of its own");
    assert_eq!(fields[4], "0", "it has no terminal");
    stop(&home);
}

#[test]
fn a_command_starts_the_daemon_when_the_vault_can_be_opened_and_says_so() {
    let home = Home::new();
    home.init();
    let refused = home.starting("wrong", &["contacts"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(text(&refused.stderr).contains("passphrase"), "{refused:?}");
    let output = done(&home, &["contacts"]);
    assert_eq!(text(&output.stdout), "");
    assert!(
        text(&output.stderr).contains("one was started"),
        "{output:?}"
    );
    assert_eq!(text(&done(&home, &["contacts"]).stderr), "");
    stop(&home);
    let none = home.run("right", &["contacts"]);
    assert_eq!(none.status.code(), Some(4), "{none:?}");
}

#[test]
fn commands_at_once_start_one_daemon_and_all_are_answered() {
    let home = Home::new();
    home.init();
    let commands: Vec<_> = (0..4)
        .map(|_| {
            let mut command = home.starting("right", &["status"]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut started = 0;
    for command in commands {
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        started += usize::from(text(&output.stderr).contains("one was started"));
    }
    assert_eq!(started, 1);
    stop(&home);
}

#[test]
fn under_systemd_the_daemon_gets_a_scope_and_without_its_help_it_starts_all_the_same() {
    let home = Home::new();
    home.init();
    let bin = home.path("bin");
    std::fs::create_dir_all(home.path("run/systemd")).unwrap();
    std::fs::write(home.path("run/systemd/private"), "").unwrap();
    std::fs::create_dir(&bin).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let log = home.path("asked");
    let helps = "while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"";
    for (rest, helped) in [(helps, true), ("exit 1", false)] {
        let script = format!("#!/bin/sh\necho \"$@\" > {}\n{rest}\n", log.display());
        let tool = bin.join("systemd-run");
        std::fs::write(&tool, script).unwrap();
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = home.starting("right", &["status"]);
        command
            .env("PATH", &path)
            .env("XDG_RUNTIME_DIR", home.path("run"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{helped}: {output:?}");
        let asked = std::fs::read_to_string(&log).unwrap();
        assert!(
            asked.starts_with("--user --scope") && !asked.contains("horse"),
            "{asked}"
        );
        stop(&home);
    }
}

#[test]
fn an_end_by_a_signal_is_an_end_like_that_by_stop() {
    let home = Home::new();
    init(&home);
    let found = listener(&home);
    let watched = Watched::new(&found).unwrap();
    let told = std::process::Command::new("kill")
        .arg(found.pid().to_string())
        .status();
    assert!(told.unwrap().success());
    assert!(watched.ended_within(LIMIT).unwrap());
    assert!(!home.path("home/daemon.sock").exists());
}
