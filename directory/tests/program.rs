//! The program as an operator meets it: one clear line, an exit code, nothing lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use whist_netdoc::testing::{entries, entry};
use whist_netdoc::{Bootstrap, Network, NodeRole, Parameters};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whist-directory"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = program(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Fails with this code and one line that holds `part`.
fn refused(arguments: &[&str], code: i32, part: &str) {
    let (exit, _, stderr) = run(arguments);
    assert_eq!(exit, Some(code), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with("whist-directory: ") && stderr.contains(part),
        "{stderr}"
    );
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.text(name)
    }

    /// Configuration of the `n`-th authority.
    fn config(&self, n: usize, port: u16) -> String {
        let at = |name: &str| self.text(name);
        let text = format!(
            "state_dir = \"{}\"\nlisten = \"127.0.0.1:{port}\"\nadvertise = \"127.0.0.1:{port}\"\n\
             network = \"{}\"\nadmit = \"{}\"\ndemo = true\n",
            at(&format!("state-{n}")),
            at("network.toml"),
            at("admit.toml"),
        );
        self.write(&format!("directory-{n}.toml"), &text)
    }

    fn providers(&self) -> Vec<String> {
        (0..3)
            .map(|n| {
                let node = entry(n, NodeRole::Provider, n, 10);
                let snippet = toml::to_string(&Bootstrap {
                    identity: node.identity,
                    link: node.link,
                    address: format!("127.0.0.1:{}", 9_000 + n),
                    family: node.family,
                });
                // The id may stand beside the key that it comes from.
                let text = format!("id = \"{}\"\n{}", node.id, snippet.unwrap());
                self.write(&format!("provider-{n}.toml"), &text)
            })
            .collect()
    }

    /// Four authorities initialised, `network.toml` and `admit.toml` made; their configurations.
    fn network(&self) -> Vec<String> {
        let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
        let configs: Vec<_> = (0..4).map(|n| self.config(n, ports[n])).collect();
        let mut arguments = vec!["network".to_owned(), "--demo".to_owned()];
        for (n, config) in configs.iter().enumerate() {
            let (exit, public, stderr) = run(&["init", "--config", config]);
            assert_eq!(exit, Some(0), "{stderr}");
            let path = self.write(&format!("authority-{n}.toml"), &public);
            arguments.extend(["--authority".to_owned(), path]);
        }
        for provider in self.providers() {
            arguments.extend(["--provider".to_owned(), provider]);
        }
        arguments.extend(["--out".to_owned(), self.text("network.toml")]);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (exit, _, stderr) = run(&arguments);
        assert_eq!(exit, Some(0), "{stderr}");
        let admitted: Vec<_> = entries(1, 1, 0)
            .iter()
            .map(|e| e.identity.to_string())
            .collect();
        self.write("admit.toml", &format!("admit = {admitted:?}\n"));
        configs
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn init_makes_keys_that_are_the_owners_alone_and_never_makes_them_again() {
    let folder = Folder::new();
    let config = folder.config(0, 9_700);
    let (exit, public, _) = run(&["init", "--config", &config]);
    assert_eq!(exit, Some(0));
    assert_eq!(
        public,
        fs::read_to_string(folder.path("state-0/authority.toml")).unwrap()
    );
    assert_eq!(mode(&folder.path("state-0")), 0o700);
    for key in ["authority.key", "link.key"] {
        assert_eq!(mode(&folder.path("state-0").join(key)), 0o600);
    }
    let key = fs::read(folder.path("state-0/authority.key")).unwrap();
    refused(&["init", "--config", &config], 8, "already initialised");
    assert_eq!(fs::read(folder.path("state-0/authority.key")).unwrap(), key);
}

#[test]
fn a_network_is_made_of_four_authorities_and_three_providers_and_of_no_fewer() {
    let folder = Folder::new();
    folder.network();
    let text = fs::read_to_string(folder.path("network.toml")).unwrap();
    let network = Network::parse(&text).unwrap();
    assert_eq!((network.authorities.len(), network.quorum), (4, 3));
    assert_eq!(network.schedule.epoch_ms, Parameters::demo().epoch_ms);
    assert_eq!(network.schedule.genesis_ms % 10_000, 0);
    let (a, p) = (
        folder.text("authority-0.toml"),
        folder.text("provider-0.toml"),
    );
    let out = folder.text("other.toml");
    let few = [
        "network",
        "--authority",
        &a,
        "--provider",
        &p,
        "--out",
        &out,
    ];
    refused(&few, 2, "authority: 1, not 4 to 31");
    assert!(!folder.path("other.toml").exists());
}

#[test]
fn wrong_usage_and_wrong_files_are_one_line_and_code_two() {
    let folder = Folder::new();
    refused(&[], 2, "--help");
    refused(&["fly"], 2, "unrecognized subcommand 'fly'");
    refused(&["run", "--debug-build"], 2, "--config");
    refused(
        &["init", "--config", "/nonexistent.toml"],
        2,
        "/nonexistent.toml",
    );
    let unknown = folder.write("unknown.toml", "speed = 3\n");
    refused(&["init", "--config", &unknown], 2, "unknown field `speed`");
    let value = folder.write("value.toml", "advertise = \"nowhere\"\n");
    refused(&["init", "--config", &value], 2, "advertise: not host:port");
    let (exit, help, stderr) = run(&["--help"]);
    assert_eq!((exit, stderr.as_str()), (Some(0), ""));
    assert!(help.contains("Examples:") && help.contains("Exit codes:"));
}

#[test]
fn a_program_that_cannot_run_says_why_in_one_line() {
    let folder = Folder::new();
    let configs = folder.network();
    let start = |config: &str, code, part: &str| {
        refused(&["run", "--config", config, "--debug-build"], code, part);
    };
    if cfg!(debug_assertions) {
        refused(&["run", "--config", &configs[0]], 8, "--debug-build");
    }
    let fresh = folder.config(7, free_port());
    start(&fresh, 1, "state-7");
    let key = folder.path("state-0/authority.key");
    fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    start(&configs[0], 8, "mend it with: chmod 600");
    fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&configs[0]).unwrap();
    let slow = folder.write(
        "slow.toml",
        &format!("{text}[parameters]\nepoch_ms = 20000\n"),
    );
    start(
        &slow,
        2,
        "epoch_ms or key_window_ms is not that of network.toml",
    );
    fs::write(folder.path("state-0/signed"), b"garbage").unwrap();
    start(&configs[0], 8, "a record does not check out: malformed");
    fs::remove_file(folder.path("state-0/signed")).unwrap();
    let public = folder.write("public.toml", &format!("metrics = \"0.0.0.0:1\"\n{text}"));
    start(&public, 8, "metrics are for loopback only");
    fs::write(folder.path("admit.toml"), "admit = [\"zz\"]\n").unwrap();
    start(&configs[0], 2, "expected 64 hexadecimal digits");
    fs::write(folder.path("admit.toml"), "admit = []\n").unwrap();
    let port: u16 = text
        .split("127.0.0.1:")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let busy = TcpListener::bind(("127.0.0.1", port)).unwrap();
    start(&configs[0], 1, "cannot listen on port");
    drop(busy);
    // The wrong network: this authority is not in it.
    let other = Folder::new();
    other.network();
    fs::copy(other.path("network.toml"), folder.path("network.toml")).unwrap();
    start(
        &configs[0],
        2,
        "network.toml does not list this authority's keys",
    );
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_authority_runs_until_it_is_told_to_end() {
    let folder = Folder::new();
    let configs = folder.network();
    let mut command = program(&["run", "--config", &configs[0], "--debug-build"]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let mut log = std::io::BufReader::new(running.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("running") {
        line.clear();
        let read = std::io::BufRead::read_line(&mut log, &mut line).unwrap();
        assert!(read > 0, "it ended before it ran");
    }
    let pid = running.0.id().to_string();
    // A second instance on its folder is refused while it runs.
    refused(
        &["run", "--config", &configs[0], "--debug-build"],
        1,
        "another instance",
    );
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}
