//! A person's way from nothing to a first text that is read: four commands.
//!
//! How long it takes is asserted where it depends on nothing but the protocol: in virtual time, for
//! the demo's parameters and for the `standard` profile with those of a network at large. A machine
//! at work may be slow, so that the script of four commands with the real programs is held to the
//! same times in `.ci/full attacks`, alone; and so is the profile.
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

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use people::{introduce_within, send, small, texts, until};
use whist_rt::task::Command;
use whist_rt::time::Instant;
use whist_sim::network::{Blueprint, Who};
use whist_sim::testnet::{Plan, Testnet, within};
use whist_sim::world::Cast;

const TEXT: &str = "the first of many";
/// Only there so that a hang ends.
const HANG: Duration = Duration::from_secs(600);
/// What is asked: with the demo's parameters, and with the `standard` profile and 200 ms of mean
/// delay.
const DEMO: Duration = Duration::from_secs(15);
const STANDARD: Duration = Duration::from_secs(120);
const SEEDS: std::ops::Range<u64> = 300..310;
/// The widest windows that the demo's epochs may have: what a process that was held up sends late
/// still opens.
const WINDOWS: &str = "key_window_ms = 2500";
/// What the demo changes of a network at large, but for its epochs.
const AT_LARGE: &str = "delay_mean_ms = 200\nprofile_mean_ms = [30000, 1000, 250]\n\
                        mix_loop_mean_ms = 200\nrequest_hold_ms = 50\nfirst_poll_mean_ms = 20000\n\
                        rare_mean_ms = 600000\n\
                        retransmit_mean_ms = [10000, 60000, 600000, 3600000, 21600000, 86400000]";

/// The virtual time from two clients that start for the first time to a text that is read, in a
/// network that has stood for a while.
fn first_text(blueprint: Blueprint) -> Duration {
    let mut cast = Cast::new(blueprint).unwrap();
    let epoch = cast.network().schedule.length();
    cast.world.run_for(epoch * 3);
    let begun = cast.world.now().instant;
    cast.start(Who::Client(0)).unwrap();
    cast.start(Who::Client(1)).unwrap();
    introduce_within(&mut cast, HANG);
    send(&mut cast, 1, TEXT);
    let read = until(&mut cast, HANG, |cast| !texts(cast, 0).is_empty());
    assert!(read, "never read");
    assert_eq!(texts(&mut cast, 0), [TEXT]);
    let (at, _) = cast.received(0)[0];
    at.since(begun)
}

fn all_within(bound: Duration, blueprint: impl Fn(u64) -> Blueprint) {
    let mut times: Vec<_> = SEEDS.map(|seed| first_text(blueprint(seed))).collect();
    times.sort();
    println!("from nothing to a text that is read, in virtual time: {times:?}");
    let slowest = times[times.len() - 1];
    assert!(slowest < bound, "{slowest:?} of {times:?}");
}

#[test]
fn with_the_demos_parameters_a_first_text_is_read_within_15_s_of_virtual_time() {
    all_within(DEMO, small);
}

#[test]
#[ignore = "long: run by .ci/full attacks"]
fn with_the_standard_profile_a_first_text_is_read_within_120_s_of_virtual_time() {
    all_within(STANDARD, |seed| {
        let mut blueprint = small(seed);
        let large = whist_netdoc::Parameters::default();
        let demo = &mut blueprint.parameters;
        demo.delay_mean_ms = large.delay_mean_ms;
        demo.profile_mean_ms = large.profile_mean_ms;
        demo.request_hold_ms = large.request_hold_ms;
        demo.first_poll_mean_ms = large.first_poll_mean_ms;
        demo.rare_mean_ms = large.rare_mean_ms;
        demo.retransmit_mean_ms = large.retransmit_mean_ms;
        blueprint
    });
}

/// Somebody who has the program, a file with a passphrase, and `network.toml`.
struct Newcomer {
    binary: PathBuf,
    home: PathBuf,
    passphrase: PathBuf,
}

impl Newcomer {
    fn new(net: &Testnet, name: &str) -> Self {
        let passphrase = net.folder().join(&format!("{name}-passphrase"));
        std::fs::write(&passphrase, "six words or more of it\n").unwrap();
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&passphrase, owner_only).unwrap();
        Self {
            binary: net.binaries().join("whist"),
            home: net.folder().join(&format!("{name}-home")),
            passphrase,
        }
    }

    fn options(&self) -> Vec<String> {
        let [home, phrase] = [&self.home, &self.passphrase].map(|path| path.display().to_string());
        let options = ["--home", &home, "--passphrase-file", &phrase];
        let options = options.into_iter().map(str::to_owned);
        options
            .chain(["--no-input".into(), "--debug-build".into()])
            .collect()
    }

    /// One command, as it would be typed; what it printed.
    async fn types(&self, command: &[&str]) -> String {
        let mut child = Command::new(&self.binary);
        child.args(self.options()).args(command);
        child.env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null());
        let begun = Instant::now();
        let output = within(HANG, command[0], child.output()).await.unwrap();
        let output = output.unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        println!("whist {}: {:?}", command[0], begun.elapsed());
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Newcomer {
    /// The daemon that a command has started.
    fn drop(&mut self) {
        let mut stop = std::process::Command::new(&self.binary);
        let _ = stop
            .args(self.options())
            .args(["--no-daemon", "stop"])
            .output();
    }
}

/// Four commands, and the text is read: how long it took.
async fn script(net: &Testnet) -> Duration {
    let network = net.network().display().to_string();
    let [alice, bob] = ["alice", "bob"].map(|name| Newcomer::new(net, name));
    let begun = Instant::now();
    alice.types(&["init", "--network", &network]).await;
    bob.types(&["init", "--network", &network]).await;
    let wait = ["--wait", "--timeout", "540"];
    let said = alice.types(&[&["invite"], &wait[..]].concat()).await;
    let invitation = said
        .split_whitespace()
        .find(|word| word.starts_with("whist:"));
    let invitation = invitation.unwrap_or_else(|| panic!("no invitation in {said:?}"));
    let said = bob
        .types(&[&["add", "--name", "alice", invitation], &wait[..]].concat())
        .await;
    assert!(!said.is_empty());
    bob.types(&["send", "alice", TEXT]).await;
    let read = alice.types(&[&["receive"], &wait[..]].concat()).await;
    assert!(read.contains(TEXT), "{read:?}");
    begun.elapsed()
}

#[test]
#[ignore = "long: run by .ci/full attacks"]
fn four_commands_by_script_bring_a_first_text_to_be_read() {
    let cases = [
        ("the demo's parameters", "", DEMO),
        ("the standard profile", AT_LARGE, STANDARD),
    ];
    let test = async {
        for (name, parameters, bound) in cases {
            let plan = Plan {
                parameters: format!("{WINDOWS}\n{parameters}"),
                ..Plan::default()
            };
            let net = Testnet::start(&plan, &[]).await.unwrap();
            net.ready().await.unwrap();
            let taken = script(&net).await;
            println!("{name}: read after {taken:?}, asked {bound:?}");
            assert!(taken < bound, "{name}: {taken:?}");
        }
    };
    whist_rt::block_on(test).unwrap();
}
