//! What only a process of its own can show: each test runs this very binary again, with the name
//! of the part that it plays in `PART`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process};
use whist_link::{Input, LinkIdentity, Output, Role, Target};
use whist_rt::{
    Clock, Driver, DriverOptions, Exit, Failure, LinkMetrics, Listener, RtError, Shutdown, Signals,
    commands, config, keys, prometheus, state::StateDir,
};
use whist_types::{Instant, Now, Secret};

/// Only there so that a hang ends.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

/// Plays the part that `PART` names; a test of its own only in the second process.
#[test]
fn part() {
    let Ok(part) = std::env::var("PART") else {
        return;
    };
    let code = whist_rt::main(|| -> Result<(), Failure> {
        match part.as_str() {
            "fails" => Err(Failure::new(Exit::UnknownContact, "nobody\nof that name")),
            "panics" => {
                let _ = std::thread::spawn(|| panic!("the secret is 4711")).join();
                Ok(())
            }
            "config" => {
                config::load::<std::collections::BTreeMap<String, u8>>(&path("FILE"))?;
                Ok(())
            }
            "hardened" => {
                let file = path("FILE");
                std::fs::write(&file, "x").unwrap();
                assert!(whist_rt::process::core_dumps_are_off());
                Ok(())
            }
            "locks" => {
                let folder = path("FILE");
                let _state = if folder.exists() {
                    StateDir::open_current(&folder, "whist-test", 1)?
                } else {
                    StateDir::create(&folder, "whist-test", 1)?
                };
                say("locked");
                wait();
                Ok(())
            }
            "drains" => whist_rt::block_on(async {
                let signals = Signals::install()?;
                say("ready");
                signals.drain().triggered().await;
                say("draining");
                if std::env::var("FOREVER").is_ok() {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })?,
            "few" => few(),
            "memory" => {
                let done = whist_rt::process::lock_memory();
                let text = std::fs::read_to_string("/proc/self/status").unwrap();
                let locked = text.lines().find_map(|line| line.strip_prefix("VmLck:"));
                let nothing = locked.unwrap().trim() == "0 kB";
                assert_eq!(done, !nothing, "{locked:?}");
                let limit = rustix::process::getrlimit(Resource::Memlock).current;
                assert!(!done || limit.is_none(), "an allocation would fail");
                // As much as the key of a passphrase takes.
                assert!(std::hint::black_box(vec![1_u8; 64 << 20]).len() > 1);
                Ok(())
            }
            other => panic!("no part is called {other}"),
        }
    });
    std::process::exit(if code == std::process::ExitCode::SUCCESS {
        0
    } else {
        // `ExitCode` cannot be read; it prints as its number.
        let text = format!("{code:?}");
        let digits = text.chars().filter(char::is_ascii_digit);
        digits.collect::<String>().parse().unwrap()
    });
}

fn path(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap().into()
}

fn say(text: &str) {
    // Not `println!`, which the test harness captures.
    let mut out = std::io::stdout();
    writeln!(out, "\n{text}").unwrap();
    out.flush().unwrap();
}

fn wait() {
    let _ = std::io::stdin().read(&mut [0]);
}

fn play(part: &str, env: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "part", "--nocapture", "--test-threads=1"])
        .env("PART", part)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Exit code and stderr of a part that is played to its end.
fn played(part: &str, env: &[(&str, &str)]) -> (i32, String) {
    let output = play(part, env).wait_with_output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Reads the part's stdout up to the line that begins with `text`.
fn until(out: &mut impl BufRead, text: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "no line `{text}`");
        if line.starts_with(text) {
            return line.trim_end().to_owned();
        }
    }
}

#[test]
fn a_failure_is_one_line_on_stderr_and_an_exit_code() {
    let (code, stderr) = played("fails", &[]);
    assert_eq!(code, 5);
    assert!(stderr.starts_with("process-"), "{stderr}");
    assert!(stderr.ends_with(": nobody; of that name\n"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

#[test]
fn a_panic_of_any_thread_ends_the_process_without_its_message() {
    let (code, stderr) = played("panics", &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("bug: panicked at "), "{stderr}");
    assert!(!stderr.contains("4711"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

#[test]
fn a_bad_configuration_is_usage() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mix.toml");
    std::fs::write(&file, "a = 1\nb = \"x\"\n").unwrap();
    let (code, stderr) = played("config", &[("FILE", file.to_str().unwrap())]);
    assert_eq!(code, 2);
    assert!(stderr.contains("mix.toml:2: "), "{stderr}");
}

#[test]
fn a_process_writes_for_its_owner_alone_and_dumps_no_core() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    assert_eq!(played("hardened", &[("FILE", file.to_str().unwrap())]).0, 0);
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_second_process_on_one_state_folder_is_refused_until_the_first_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    // Made by the first process: a lock of this one would be seen by every process that another
    // test forks just then.
    let env = [("FILE", path.to_str().unwrap())];
    let mut first = play("locks", &env);
    until(&mut BufReader::new(first.stdout.take().unwrap()), "locked");
    let (code, stderr) = played("locks", &env);
    assert_eq!(code, 1);
    assert!(stderr.contains("another instance is running"), "{stderr}");
    first.kill().unwrap();
    first.wait().unwrap();
    let state = StateDir::open_current(&path, "whist-test", 1).unwrap();
    keys::create(&state.file("link.key"), &Secret::new([1; 32])).unwrap();
}

#[test]
fn one_sigterm_drains_and_a_second_ends_at_once() {
    for (env, signals, wanted) in [(&[][..], 1, 0), (&[("FOREVER", "1")][..], 2, 1)] {
        let mut child = play("drains", env);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        until(&mut out, "ready");
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::TERM).unwrap();
        until(&mut out, "draining");
        if signals == 2 {
            kill_process(pid, Signal::TERM).unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(wanted));
    }
}

#[test]
fn memory_is_locked_where_there_is_no_limit_and_left_alone_under_one() {
    let output = play("memory", &[]).wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A role that waits for its link to go up.
struct Quiet;

impl Role for Quiet {
    type Command = Output<()>;
    type Effect = ();

    fn handle(&mut self, _: Now, _: Input<Output<()>>) {}

    fn poll_output(&mut self) -> Option<Output<()>> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Serves links with too few descriptors, and tells its counters when asked.
fn few() -> Result<(), Failure> {
    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(40),
            maximum: Some(40),
        },
    )
    .unwrap();
    let registry = prometheus::Registry::new();
    let metrics = LinkMetrics::register(&registry)?;
    let identity = LinkIdentity::from_secret(&Secret::new([7; 32]));
    let stop = Shutdown::new();
    let ended = stop.clone();
    whist_rt::block_on(async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap())?;
        let address = listener.local_addr();
        let mut options = DriverOptions::node(Clock::start(), identity, listener);
        options.metrics = metrics.clone();
        let (_handle, commands) = commands();
        let effects = |_: Now, ()| ();
        say(&format!("address {address}"));
        std::thread::spawn(move || {
            wait();
            stop.trigger();
        });
        Driver::run(Quiet, options, effects, commands, ended).await?;
        say(&format!("failed {}", metrics.accept_failed.get()));
        Ok::<(), RtError>(())
    })??;
    Ok(())
}

#[test]
fn the_accept_loop_outlives_a_shortage_of_descriptors() {
    let mut child = play("few", &[]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let address = until(&mut out, "address ")
        .split_once(' ')
        .unwrap()
        .1
        .to_owned();
    let flood = (0..80)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect::<Vec<_>>();
    // The kernel has them all; the process has descriptors for fewer than half of them.
    drop(flood);
    let key = LinkIdentity::from_secret(&Secret::new([7; 32])).public();
    let target = Target {
        address,
        key,
        identify: true,
    };
    whist_rt::block_on(served(target)).unwrap();
    drop(child.stdin.take());
    let failed = until(&mut out, "failed ");
    assert!(child.wait().unwrap().success());
    let failed = failed.split_once(' ').unwrap().1.parse::<u64>().unwrap();
    assert!(failed > 0, "descriptors did run out");
}

/// Ends when the flood's victim has taken a link, however long the machine takes for it.
async fn served(target: Target) {
    let mut options = DriverOptions::new(Clock::start());
    options.identity = Some(LinkIdentity::from_secret(&Secret::new([8; 32])));
    let (stop, (_handle, commands)) = (Shutdown::new(), commands());
    let (role, up) = (Dialing::new(target), stop.clone());
    let effects = move |_: Now, ()| up.trigger();
    let run = Driver::run(role, options, effects, commands, stop);
    let run = whist_rt::time::timeout(LIMIT, run).await;
    run.expect("served when the flood is over").unwrap();
}

/// Dials as soon as it runs, and again when nobody answered; tells when the link is up.
struct Dialing {
    target: Target,
    next: Option<Output<()>>,
}

impl Dialing {
    fn new(target: Target) -> Self {
        let link = whist_link::LinkId::dialed(0);
        let next = Some(Output::Dial {
            link,
            target: target.clone(),
        });
        Self { target, next }
    }
}

impl Role for Dialing {
    type Command = ();
    type Effect = ();

    fn handle(&mut self, _: Now, input: Input<()>) {
        self.next = match input {
            Input::Down { link } => Some(Output::Dial {
                link: whist_link::LinkId::dialed(link.number() + 1),
                target: self.target.clone(),
            }),
            Input::Up { .. } => Some(Output::Effect(())),
            _ => None,
        };
    }

    fn poll_output(&mut self) -> Option<Output<()>> {
        self.next.take()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
