//! The options that every command takes, and lines for programs.
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

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use home::Home;
use serde_json::Value;

/// Only there so that a hang ends.
const LIMIT: Duration = Duration::from_secs(120);
const NOBODY: u32 = 65_534;
const PROGRAM: &str = env!("CARGO_BIN_EXE_whist");
/// How something that matters begins where colour is wished.
const MARK: &str = "\u{1b}[1;31m";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn made() -> Home {
    let home = Home::new();
    let output = home.init();
    assert!(output.status.success(), "{output:?}");
    home
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}
/// Runs the program on a terminal of its own, on which nobody types; nothing if there is none.
fn on_a_terminal(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Option<Output> {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no `script` to make a terminal with");
        return None;
    }
    let line = format!("{PROGRAM} --home {} {}", folder.display(), args.join(" "));
    let mut command = Command::new("timeout");
    command.args(["120", "script", "-q", "-e", "-c", &line, "/dev/null"]);
    command.env_remove("NO_COLOR").envs(env.iter().copied());
    Some(command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn colour_is_for_a_terminal_unless_it_is_wished_or_not() {
    let home = made();
    let _daemon = home.daemon();
    let printed = |when: &[&str], variable: Option<&str>| {
        let args = [&["status"], when].concat();
        let mut command = home.command("right", &args);
        command.env_remove("NO_COLOR");
        if let Some(said) = variable {
            command.env("NO_COLOR", said);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let has = |when: &[&str], variable| printed(when, variable).contains(MARK);
    assert!(printed(&[], None).contains("warning: no consensus yet"));
    assert!(!has(&[], None), "this is no terminal");
    assert!(has(&["--color", "always"], None));
    assert!(has(&["--color", "always"], Some("1")), "said by a person");
    assert!(!has(&["--color", "never"], None));
    let odd = home.run("right", &["status", "--color", "sometimes"]);
    assert_eq!(code(&odd), 2);
    let status = ["--no-input", "--no-daemon", "status"];
    let shown = |more: &[&str], env: &[(&str, &str)]| {
        let args = [&status[..], more].concat();
        let output = on_a_terminal(&home.path("home"), &args, env)?;
        assert!(output.status.success(), "{output:?}");
        Some(text(&output.stdout))
    };
    let Some(plain) = shown(&[], &[]) else {
        return;
    };
    assert!(plain.contains(MARK), "{plain}");
    for (more, env) in [
        (&["--color", "never"][..], &[][..]),
        (&[], &[("NO_COLOR", "1")]),
        (&["--color", "auto"], &[("NO_COLOR", "1")]),
        (&["--json"], &[]),
    ] {
        let shown = shown(more, env).unwrap();
        assert!(!shown.contains('\u{1b}'), "{more:?} {env:?}: {shown}");
    }
    // Set to nothing it says nothing (no-color.org).
    assert!(shown(&[], &[("NO_COLOR", "")]).unwrap().contains(MARK));
}

#[test]
fn with_no_input_nothing_is_ever_asked_for_on_a_terminal() {
    let home = made();
    let [network, right, fresh] = ["network.toml", "right", "fresh"].map(|name| home.path(name));
    let [network, right] = [&network, &right].map(|path| path.to_str().unwrap());
    let commands: [(&[&str], i32); 11] = [
        (&["init", "--network", network], 2),
        (&["daemon", "--debug-build"], 2),
        (&["status"], 4),
        (&["send", "bob", "x"], 4),
        (&["unlock"], 2),
        (&["passwd"], 2),
        (&["passwd", "--passphrase-file", right], 2),
        (&["passwd", "--duress", "--passphrase-file", right], 2),
        (&["recovery", "test"], 2),
        (&["recover"], 2),
        (&["wipe"], 2),
    ];
    let said = |args: &[&str]| {
        // A vault is made where none is.
        let folder = match args.first() {
            Some(&"init") => fresh.clone(),
            _ => home.path("home"),
        };
        let output = on_a_terminal(&folder, args, &[])?;
        Some((code(&output), text(&output.stdout)))
    };
    for (args, wanted) in commands {
        let args = [args, &["--no-input"]].concat();
        let Some((code, line)) = said(&args) else {
            return;
        };
        // One line, which says why, and no question, which ends without one.
        assert_eq!(code, wanted, "{args:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{args:?}: {line}");
        assert!(
            line.ends_with('\n') && !line.contains("six words"),
            "{args:?}: {line}"
        );
        assert!(!line.contains("word: "), "{args:?}: {line}");
    }
    assert!(!fresh.exists());
    // Without it they do ask: the check above can fail.
    let (_, asked) = said(&["wipe"]).unwrap();
    assert!(asked.contains("Passphrase: "), "{asked}");
}

#[test]
fn quiet_leaves_answers_and_errors_and_verbose_says_which_socket_is_asked() {
    let home = made();
    let run = |args: &[&str]| {
        let output = home.starting("right", args).output().unwrap();
        (code(&output), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run(&["contacts", "-q"]), (0, String::new(), String::new()));
    assert_eq!(run(&["stop", "--quiet"]).0, 0);
    let (_, _, said) = run(&["contacts"]);
    assert!(said.contains("one was started"), "{said}");
    let (code, answer, said) = run(&["status", "-q"]);
    assert!(code == 0 && answer.contains("off line"), "{answer}");
    assert_eq!(said, "");
    let (code, _, said) = run(&["send", "eve", "x", "-q"]);
    assert_eq!((code, said.lines().count()), (5, 1), "{said}");
    let (code, phrase, said) = run(&["recovery", "show", "-q"]);
    assert_eq!((code, phrase.split(' ').count()), (0, 24));
    assert_eq!(said, "");
    assert_eq!(run(&["status", "-q", "-v"]).0, 2);
    let socket = home.path("home/daemon.sock");
    let asking = format!("asking at {}\n", socket.display());
    for command in ["status", "lock", "unlock", "stop"] {
        let (code, _, said) = run(&[command, "-v"]);
        assert_eq!(
            (code, said.starts_with(&asking)),
            (0, true),
            "{command}: {said}"
        );
    }
}

#[test]
fn a_verbose_daemon_logs_what_it_does_to_its_error_stream() {
    let home = made();
    let mut command = home.command("right", &["daemon", "--debug-build", "-v"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = lines.any(|line| line.unwrap().contains("ready"));
    let _ = child.kill();
    child.wait().unwrap();
    assert!(ready);
}

#[test]
fn a_socket_elsewhere_is_served_and_asked_there_in_a_folder_of_its_owners_alone() {
    let home = made();
    let folder = home.path("run");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("elsewhere.sock");
    let socket = ["--socket", path.to_str().unwrap()];
    set_mode(&folder, 0o755);
    let daemon = [&["daemon", "--debug-build"][..], &socket].concat();
    let open = home.run("right", &daemon);
    assert_eq!(code(&open), 8, "{open:?}");
    assert!(!path.exists());
    set_mode(&folder, 0o700);
    let _daemon = home.daemon_with("right", &socket);
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let asked = home.run("right", &[&["status"][..], &socket].concat());
    assert_eq!(code(&asked), 0, "{asked:?}");
    assert_eq!(code(&home.run("right", &["status"])), 4, "not there");
}

#[test]
fn a_passphrase_may_come_from_a_command_and_from_one_place_alone() {
    let home = made();
    let file = |name: &str| home.path(name).display().to_string();
    let run = |args: &[&str]| {
        let mut whist = Command::new(PROGRAM);
        whist.arg("--home").arg(home.path("home"));
        whist.args(["--no-input", "--debug-build"]).args(args);
        whist.env_remove("XDG_RUNTIME_DIR").output().unwrap()
    };
    let by = |command: &str| code(&run(&["--passphrase-command", command, "wipe"]));
    assert_eq!(by("echo battery staple"), 3);
    assert_eq!(by("exit 1"), 2);
    assert_eq!(by("true"), 2, "an empty one");
    let place = file("right");
    let right = format!("cat {place}");
    let both = ["--passphrase-command", &right, "--passphrase-file"];
    let both = [&both[..], &[&place, "status"]].concat();
    assert_eq!(code(&run(&both)), 2);
    let started = run(&["--passphrase-command", &right, "status"]);
    assert!(started.status.success(), "{started:?}");
    assert_eq!(code(&run(&["stop"])), 0);
    assert_eq!(by(&right), 0);
    assert!(!home.path("home").exists());
}

#[test]
fn a_vault_made_with_a_key_file_opens_with_it_alone() {
    let home = Home::new();
    let paths = ["key", "another"].map(|name| home.path(name));
    let [key, another] = paths.each_ref().map(|path| path.to_str().unwrap());
    let network = home.path("network.toml");
    let network = network.to_str().unwrap();
    let ends = |args: &[&str]| code(&home.run("right", args));
    assert_eq!(ends(&["init", "--network", network, "--key-file", key]), 0);
    let made = std::fs::metadata(key).unwrap();
    // In hexadecimal, and a line's end.
    assert_eq!((made.len(), made.mode() & 0o777), (65, 0o600));
    std::fs::write(another, "09".repeat(32) + "\n").unwrap();
    set_mode(Path::new(another), 0o600);
    let daemon = ["daemon", "--debug-build"];
    assert_eq!(ends(&daemon), 3, "without it");
    assert_eq!(ends(&[&daemon[..], &["--key-file", another]].concat()), 3);
    assert_eq!(ends(&["recovery", "show"]), 3);
    // The recovery phrase is what is left to who has lost it.
    let phrase = home.run("right", &["recovery", "show", "--key-file", key]);
    std::fs::write(home.path("phrase"), phrase.stdout).unwrap();
    set_mode(&home.path("phrase"), 0o600);
    assert_eq!(code(&home.run("phrase", &["recovery", "test"])), 0);
    let _daemon = home.daemon_with("right", &["--key-file", key]);
    assert_eq!(ends(&["lock"]), 0);
    assert_eq!(ends(&["unlock"]), 3, "without it");
    assert_eq!(ends(&["unlock", "--key-file", another]), 3);
    assert_eq!(ends(&["contacts"]), 3, "it is locked");
    assert_eq!(ends(&["unlock", "--key-file", key]), 0);
    assert_eq!(ends(&["contacts"]), 0);
}

/// Each answers a daemon without people and without a network.
const ANSWERED: [&str; 29] = [
    "status",
    "contacts",
    "invites",
    "requests",
    "receive",
    "history",
    "history --keep 7d",
    "search x",
    "outbox",
    "net status",
    "net nodes",
    "identity show",
    "add --name carol INVITATION",
    "rpc",
    "completions bash",
    "man",
    "man --out PAGES",
    "daemon --print-schema",
    "lock",
    "unlock",
    "recovery show",
    "passwd --new-passphrase-file OTHER",
    "recovery test",
    "recover --new-passphrase-file RIGHT",
    "passwd --duress --new-passphrase-file DURESS",
    "stop",
    "panic --yes",
    "init --network NETWORK",
    "wipe",
];

/// Each needs people or a network, or ends what is there.
const REFUSED: [&str; 26] = [
    "invite",
    "verify eve",
    "contact show eve",
    "contact rename eve bob",
    "contact set eve --timer 8h",
    "contact block eve",
    "contact unblock eve",
    "contact remove eve",
    "contact accept-key eve 30035",
    "contact refuse-key eve",
    "session reset eve",
    "send eve x",
    "message status 99",
    "message cancel 99",
    "message delete 99",
    "message edit 99 x",
    "dismiss 99",
    "address create",
    "address show",
    "address rotate",
    "address delete",
    "accept 9 --name carol",
    "reject 9",
    "net check --clock-is-wrong",
    "identity rotate --yes",
    "receive --from eve",
];

/// The words of a line, up to what is no command.
fn command_of(line: &str, names: &BTreeSet<String>) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let mut joined = (1..=words.len()).map(|count| format!("whist-{}", words[..count].join("-")));
    joined.rfind(|name| names.contains(name)).unwrap()
}

/// A home with secrets for each command that needs one.
fn furnished() -> Home {
    let home = made();
    for name in ["other", "duress", "phrase"] {
        std::fs::write(home.path(name), format!("{name}\n")).unwrap();
        set_mode(&home.path(name), 0o600);
    }
    home
}

fn words(home: &Home, line: &str) -> Vec<String> {
    let word = |word: &str| match word {
        "INVITATION" => home::invitation(),
        "PAGES" | "OTHER" | "RIGHT" | "DURESS" => {
            home.path(&word.to_lowercase()).display().to_string()
        }
        "NETWORK" => home.path("network.toml").display().to_string(),
        word => word.to_owned(),
    };
    line.split(' ').map(word).collect()
}

/// Runs a line with `--json`; a call goes to stdin, for the bridge.
fn json(home: &Home, secret: &str, line: &str) -> Output {
    let words = words(home, line);
    let args: Vec<&str> = words.iter().map(String::as_str).chain(["--json"]).collect();
    let mut command = home.command(secret, &args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;
    // Who reads nothing has closed it.
    let _ = writeln!(child.stdin.take().unwrap(), "{call}");
    child.wait_with_output().unwrap()
}

/// What was printed, each line of it an object.
fn objects(line: &str, output: &Output) -> Vec<Value> {
    let printed = text(&output.stdout);
    let objects = printed.lines().map(serde_json::from_str);
    let objects: Vec<Value> = objects.collect::<Result<_, _>>().unwrap();
    assert!(objects.iter().all(Value::is_object), "{line}: {printed}");
    objects
}

#[test]
fn every_command_answers_with_json_lines_or_with_one_line_of_error_and_none_on_stdout() {
    let home = furnished();
    let pages = home.run(
        "right",
        &[
            "man",
            "--json",
            "--out",
            home.path("pages").to_str().unwrap(),
        ],
    );
    let pages: Value = serde_json::from_slice(&pages.stdout).unwrap();
    let names = pages["pages"].as_array().unwrap().iter();
    let name = |name: &Value| name.as_str().unwrap().trim_end_matches(".1").to_owned();
    let names: BTreeSet<String> = names.map(name).collect();
    let mut daemon = home.daemon();
    let mut tried = BTreeSet::new();
    for line in REFUSED {
        let output = json(&home, "right", line);
        assert!(!output.status.success(), "{line}");
        assert!(output.stdout.is_empty(), "{line}: {output:?}");
        assert!(!output.stderr.is_empty(), "{line}");
        tried.insert(command_of(line, &names));
    }
    // It answers, and ends with code 1 where something is wrong.
    let check = json(&home, "right", "net check");
    assert_eq!(code(&check), 1, "{check:?}");
    assert!(objects("net check", &check).len() > 1);
    for line in ANSWERED {
        let secret = match line.split(' ').next().unwrap() {
            "recover" => "phrase",
            _ if line == "recovery test" => "phrase",
            _ => "right",
        };
        let output = json(&home, secret, line);
        assert!(output.status.success(), "{line}: {output:?}");
        let lines = objects(line, &output);
        if line == "recovery show" {
            let phrase = lines[0]["phrase"].as_str().unwrap();
            std::fs::write(home.path("phrase"), phrase).unwrap();
        }
        if line == "stop" {
            assert_eq!(lines.len(), 1);
            assert!(daemon.0.wait().unwrap().success());
        }
        tried.insert(command_of(line, &names));
    }
    let groups = ["whist", "whist-contact", "whist-message", "whist-recovery"];
    let more = [
        "whist-net",
        "whist-address",
        "whist-identity",
        "whist-session",
    ];
    let mut missing = names;
    missing.retain(|name| !tried.contains(name));
    groups
        .iter()
        .chain(&more)
        .for_each(|group| assert!(missing.remove(*group)));
    assert_eq!(missing, BTreeSet::new(), "no line above tries these");
}

/// Run by the test below as another user, with the socket to try.
#[test]
fn another_user_played_by_this_program_says_what_a_socket_answers() {
    let Some(socket) = std::env::var_os("WHIST_TEST_SOCKET") else {
        return;
    };
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let _ = writeln!(stream, r#"{{"jsonrpc":"2.0","id":1,"method":"status"}}"#);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    // A reset is silence too.
    let _ = stream.read_to_end(&mut answer);
    let (count, uid) = (answer.len(), whist_rt::local::uid());
    println!("answered {count} bytes to {uid}");
}

#[test]
fn another_user_gets_silence_from_the_socket_even_where_its_folder_is_open() {
    if whist_rt::local::uid() != 0 {
        eprintln!("SKIPPED: only root can be two users");
        return;
    }
    let home = made();
    let _daemon = home.daemon();
    let (folder, socket) = (home.path("home"), home.path("home/daemon.sock"));
    set_mode(folder.parent().unwrap(), 0o755);
    set_mode(&folder, 0o755);
    set_mode(&socket, 0o666);
    let program = home.path("other");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    set_mode(&program, 0o755);
    let asked = |uid: u32| {
        let mut other = Command::new(&program);
        other.args(["--exact", "--nocapture"]);
        other.arg("another_user_played_by_this_program_says_what_a_socket_answers");
        other.env("WHIST_TEST_SOCKET", &socket).uid(uid).gid(uid);
        let output = other.current_dir("/").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let said = asked(NOBODY);
    assert!(said.contains("answered 0 bytes to 65534"), "{said}");
    let said = asked(0);
    assert!(said.contains("bytes to 0"), "{said}");
    assert!(!said.contains("answered 0"), "{said}");
}
