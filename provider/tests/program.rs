//! `whist-provider` as a process: what an operator sees.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use whist_netdoc::testing::{Authorities, entries};
use whist_netdoc::{Bootstrap, Parameters};

struct Place {
    disk: tempfile::TempDir,
    memory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            disk: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            memory: tempfile::tempdir_in("/dev/shm").unwrap(),
        };
        // An epoch that began two seconds ago and outlasts any test here: what a start finds and
        // makes does not depend on when it runs. Rate × key life is what the table holds.
        let parameters = Parameters {
            epoch_ms: 598_000,
            ..Parameters::demo()
        };
        let genesis = whist_rt::wall().before(Duration::from_secs(2));
        let mut authorities = Authorities::new(3, 4, parameters, genesis);
        authorities.set_providers(&entries(0, 0, 3));
        let network = authorities.network().to_toml();
        fs::write(place.disk.path().join("network.toml"), network).unwrap();
        place.configure(&[]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    /// Writes the configuration, with these lines in place of those of the same key.
    fn configure(&self, other: &[(&str, &str)]) {
        let quote = |path: PathBuf| format!("{:?}", path.to_str().unwrap());
        let mut lines = vec![
            ("state_dir", quote(self.path("state"))),
            ("tag_dir", quote(self.memory.path().join("tags"))),
            ("listen", "\"127.0.0.1:0\"".to_owned()),
            ("advertise", "\"127.0.0.1:7200\"".to_owned()),
            ("network", quote(self.path("network.toml"))),
            ("family", format!("\"{}\"", "ab".repeat(32))),
            ("packets_per_s", "100".to_owned()),
            ("table_tags", "60000".to_owned()),
        ];
        for (key, value) in other {
            lines.retain(|(known, _)| known != key);
            lines.push((key, (*value).to_owned()));
        }
        let text: String = lines.iter().map(|(k, v)| format!("{k} = {v}\n")).collect();
        fs::write(self.path("provider.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whist-provider"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path("provider.toml"));
        command
    }

    fn init(&self) -> Output {
        self.command(&["init"]).output().unwrap()
    }

    /// Runs to its end, which must be a refusal: the exit code and the one line.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("whist-provider: "))
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(output.stdout.is_empty());
        (output.status.code().unwrap(), lines[0].to_owned())
    }

    fn start(&self) -> Running {
        let mut child = self
            .command(&["run", "--debug-build"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("started") {
            assert!(lines.read_line(&mut text).unwrap() > 0, "{text}");
        }
        Running { child, lines, text }
    }
}

struct Running {
    child: Child,
    lines: BufReader<ChildStderr>,
    text: String,
}

impl Running {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Reads the log up to a line with this text.
    fn until(&mut self, text: &str) {
        while !self.text.contains(text) {
            assert!(self.lines.read_line(&mut self.text).unwrap() > 0);
        }
    }

    /// Waits for the end: the exit code and all that was logged.
    fn end(mut self) -> (Option<i32>, String) {
        self.lines.read_to_string(&mut self.text).unwrap();
        (self.child.wait().unwrap().code(), self.text.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn init_makes_keys_that_only_the_owner_reads_and_prints_what_others_need() {
    let place = Place::new();
    let output = place.init();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let printed: Bootstrap = toml::from_str(&text).unwrap();
    assert_eq!(printed.address, "127.0.0.1:7200");
    assert_eq!(printed.family.to_string(), "ab".repeat(32));
    assert!(text.starts_with(&format!("# id {}\n", printed.id())));
    let kept = fs::read_to_string(place.path("state/public.toml")).unwrap();
    assert_eq!(kept, text);
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("state"), 0o700);
    for name in ["state/identity.key", "state/link.key", "state/seal.key"] {
        assert_eq!(mode(name), 0o600);
    }
    let (code, line) = place.refused(&["init"]);
    assert_eq!(
        (code, line.contains("already initialised")),
        (8, true),
        "{line}"
    );
}

#[test]
fn bad_configuration_gets_one_line_and_its_exit_code() {
    let place = Place::new();
    place.init();
    type Case<'a> = (&'a [(&'a str, &'a str)], i32, &'a str);
    let cases: [Case<'_>; 12] = [
        (&[("speed", "3")], 2, "unknown field `speed`"),
        (&[("listen", "\"nowhere\"")], 2, "listen"),
        (&[("family", "\"ab\"")], 2, "64 hexadecimal digits"),
        (
            &[("advertise", "\"no port\"")],
            2,
            "`advertise` is not host:port",
        ),
        (
            &[("network", "\"/nonexistent/network.toml\"")],
            2,
            "network.toml",
        ),
        (&[("packets_per_s", "0")], 2, "no line rate"),
        (&[("packets_per_s", "nan")], 2, "u32"),
        (&[("packets_per_s", "1000000001")], 2, "no line rate"),
        (&[("table_tags", "599")], 2, "600 tags"),
        (&[("metrics", "\"0.0.0.0:0\"")], 8, "loopback"),
        (&[("state_dir", "\"/nonexistent/state\"")], 1, "state"),
        (&[("log", "\"info=loud=1\"")], 2, "log filter"),
    ];
    for (lines, code, what) in cases {
        place.configure(lines);
        let (exit, line) = place.refused(&["run", "--debug-build"]);
        assert_eq!((exit, line.contains(what)), (code, true), "{line}");
    }
    fs::remove_file(place.path("provider.toml")).unwrap();
    assert_eq!(place.refused(&["run", "--debug-build"]).0, 2);
}

#[test]
fn exposed_keys_a_busy_port_and_tags_on_a_disk_are_refused() {
    let place = Place::new();
    place.init();
    let key = place.path("state/link.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let (code, line) = place.refused(&["run", "--debug-build"]);
    assert_eq!((code, line.contains("chmod 600")), (8, true), "{line}");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();

    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("\"{}\"", busy.local_addr().unwrap());
    for key in ["listen", "metrics"] {
        place.configure(&[(key, &address)]);
        let (code, line) = place.refused(&["run", "--debug-build"]);
        assert_eq!((code, line.contains("cannot listen")), (1, true), "{line}");
    }

    let disk = place.path("tags");
    place.configure(&[("tag_dir", &format!("{:?}", disk.to_str().unwrap()))]);
    let (code, line) = place.refused(&["run", "--debug-build"]);
    // Where the target folder itself is memory-backed, there is no disk to refuse.
    if whist_rt::tmpfs::check_memory_backed(place.disk.path()).is_err() {
        assert_eq!(
            (code, line.contains("not memory-backed")),
            (8, true),
            "{line}"
        );
    }
}

#[test]
fn a_build_with_debug_assertions_is_refused_unless_allowed() {
    let place = Place::new();
    place.init();
    if cfg!(debug_assertions) {
        let (code, line) = place.refused(&["run"]);
        assert_eq!((code, line.contains("--debug-build")), (8, true), "{line}");
    }
}

#[test]
fn a_provider_serves_metrics_refuses_a_second_instance_and_ends_in_order() {
    let place = Place::new();
    place.init();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    place.configure(&[("metrics", &format!("\"{free}\""))]);
    let running = place.start();

    let (code, line) = place.refused(&["run", "--debug-build"]);
    assert_eq!(
        (code, line.contains("another instance")),
        (1, true),
        "{line}"
    );

    let mut tcp = TcpStream::connect(free).unwrap();
    tcp.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    tcp.read_to_string(&mut text).unwrap();
    for name in [
        "whist_provider_received_total 0",
        "whist_provider_held 0",
        "whist_link_up 0",
    ] {
        assert!(text.contains(name), "{text}");
    }
    assert!(!text.contains("127.0.0.1"));

    running.signal("HUP");
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("draining") && log.contains("ended"), "{log}");
    assert!(!log.contains("127.0.0.1"), "{log}");
}

#[test]
fn a_killed_provider_starts_again_with_the_keys_that_it_had() {
    let place = Place::new();
    place.init();
    let mut running = place.start();
    running.until("no key for epoch");
    running.signal("KILL");
    assert_eq!(running.end().0, None);
    let keys = || {
        let mut names: Vec<_> = fs::read_dir(place.path("state/sphinx"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert!(
        keys().len() >= 4,
        "keys for four epochs are on disk before any is published"
    );
    let running = place.start();
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}
