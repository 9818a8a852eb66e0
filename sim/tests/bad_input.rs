//! Bad input to the real programs: one clear line on stderr, the documented exit code, and nothing
//! lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use whist_sim::testnet::{Ended, Person, Plan, Testnet, run};

const OTHER: i32 = 1;
const USAGE: i32 = 2;
const LOCKED: i32 = 3;
const NO_DAEMON: i32 = 4;
const UNKNOWN_CONTACT: i32 = 5;
const TIMED_OUT: i32 = 7;
const REFUSED: i32 = 8;

const NODES: [(&str, &str, &str); 3] = [
    ("authority-1", "whist-directory", "authority.key"),
    ("mix-1", "whist-mix", "identity.key"),
    ("provider-1", "whist-provider", "identity.key"),
];

async fn files() -> Testnet {
    let plan = Plan {
        mixes: 1,
        providers: 3,
        ..Plan::default()
    };
    Testnet::prepare(&plan, &[]).await.unwrap()
}

/// One line that names the program and contains `words`, and this code.
#[track_caller]
fn refused(ended: &Ended, code: i32, words: &str) {
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{ended:?}");
    assert!(lines[0].starts_with("whist"), "{ended:?}");
    assert!(lines[0].contains(words), "{words:?} is not in {ended:?}");
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
}

/// Everything in a folder: modes and hashes of the contents by path.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (u32, blake3::Hash)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            let mode = metadata.permissions().mode();
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            let bytes = if metadata.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            found.insert(path, (mode, blake3::hash(&bytes)));
        }
    }
    found
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A node with its file, and what its state folder held.
struct Node<'a> {
    net: &'a Testnet,
    name: &'static str,
    binary: PathBuf,
    state: PathBuf,
    before: BTreeMap<PathBuf, (u32, blake3::Hash)>,
}

impl<'a> Node<'a> {
    fn new(net: &'a Testnet, name: &'static str, program: &str) -> Self {
        let state = net.state_dir(name).unwrap().to_owned();
        Self {
            net,
            name,
            binary: net.binaries().join(program),
            before: contents(&state),
            state,
        }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.net.config(self.name).unwrap()).unwrap()
    }

    async fn with(&self, command: &[&str], config: &Path) -> Ended {
        let config = config.display().to_string();
        let arguments = [&command[..1], &["--config", &config], &command[1..]].concat();
        run(&self.binary, &arguments).await.unwrap()
    }

    /// `run` with the node's own file.
    async fn run(&self) -> Ended {
        let config = self.net.config(self.name).unwrap();
        self.with(&["run", "--debug-build"], config).await
    }

    /// `run` with another text in its file.
    async fn run_text(&self, text: &str) -> Ended {
        let config = self.net.folder().join("changed.toml");
        fs::write(&config, text).unwrap();
        self.with(&["run", "--debug-build"], &config).await
    }

    #[track_caller]
    fn lost_nothing(&self) {
        let after = contents(&self.state);
        for (path, held) in &self.before {
            assert_eq!(after.get(path), Some(held), "{}", path.display());
        }
    }
}

#[test]
fn a_node_refuses_a_file_that_is_missing_or_not_understood() {
    let test = async {
        let net = files().await;
        for (name, program, _) in NODES {
            let node = Node::new(&net, name, program);
            let nowhere = net.folder().join("nowhere.toml");
            for command in [&["run", "--debug-build"][..], &["init"]] {
                refused(&node.with(command, &nowhere).await, USAGE, "nowhere.toml");
            }
            let unknown = format!("surprise = 1\n{}", node.text());
            refused(&node.run_text(&unknown).await, USAGE, "surprise");
            let broken = format!("{}\nlisten = \n", node.text());
            refused(&node.run_text(&broken).await, USAGE, "changed.toml:");

            let network = net.network().display().to_string();
            let missing = node.text().replace(&network, "/nowhere/network.toml");
            refused(
                &node.run_text(&missing).await,
                USAGE,
                "/nowhere/network.toml",
            );
            let bad = net.folder().join("bad-network.toml");
            let text = fs::read_to_string(net.network()).unwrap();
            fs::write(&bad, format!("surprise = 1\n{text}")).unwrap();
            let changed = node.text().replace(&network, &bad.display().to_string());
            refused(&node.run_text(&changed).await, USAGE, "surprise");
            node.lost_nothing();
        }
    };
    whist_rt::block_on(test).unwrap();
}

#[test]
fn a_node_refuses_keys_that_others_may_read_and_says_how_to_mend_it() {
    let test = async {
        let net = files().await;
        for (name, program, key) in NODES {
            let node = Node::new(&net, name, program);
            for key in [key, "link.key"] {
                let path = node.state.join(key);
                set_mode(&path, 0o644);
                let mend = format!("chmod 600 {}", path.display());
                refused(&node.run().await, REFUSED, &mend);
                set_mode(&path, 0o600);
                let bytes = fs::read(&path).unwrap();
                fs::write(&path, "no key").unwrap();
                refused(&node.run().await, OTHER, "damaged");
                fs::write(&path, bytes).unwrap();
            }
            set_mode(&node.state, 0o755);
            refused(&node.run().await, REFUSED, "chmod 700");
            set_mode(&node.state, 0o700);
            // Keys are never made twice.
            let config = net.config(name).unwrap();
            refused(&node.with(&["init"], config).await, REFUSED, "already");
            node.lost_nothing();
        }
    };
    whist_rt::block_on(test).unwrap();
}

#[test]
fn a_node_refuses_a_busy_port_public_metrics_and_a_state_of_another_version() {
    let test = async {
        let net = files().await;
        for (name, program, _) in NODES {
            let node = Node::new(&net, name, program);
            for address in [net.listens(name).unwrap(), net.shows_metrics(name).unwrap()] {
                let busy = TcpListener::bind(address).unwrap();
                let words = format!("port {}", address.port());
                refused(&node.run().await, OTHER, &words);
                drop(busy);
            }
            let metrics = net.shows_metrics(name).unwrap();
            let public = node.text().replace(&metrics.to_string(), "0.0.0.0:9999");
            refused(&node.run_text(&public).await, REFUSED, "loopback");

            let version = node.state.join("version");
            let held = fs::read(&version).unwrap();
            for other in [format!("{program} 0\n"), format!("{program} 99\n")] {
                fs::write(&version, &other).unwrap();
                refused(&node.run().await, REFUSED, "version");
            }
            fs::write(&version, held).unwrap();
            if cfg!(debug_assertions) {
                let config = net.config(name).unwrap();
                refused(&node.with(&["run"], config).await, REFUSED, "--debug-build");
            }
            node.lost_nothing();
        }
    };
    whist_rt::block_on(test).unwrap();
}

#[test]
fn a_client_refuses_wrong_files_and_a_wrong_passphrase() {
    let test = async {
        let net = files().await;
        let nobody = Person::without_vault(net.binaries(), net.folder().path(), "nobody").unwrap();
        let ended = nobody.run(&["init", "--network", "/nowhere/n.toml"]).await;
        refused(&ended.unwrap(), USAGE, "/nowhere/n.toml");
        let bad = net.folder().join("bad-network.toml").display().to_string();
        let text = fs::read_to_string(net.network()).unwrap();
        fs::write(&bad, format!("surprise = 1\n{text}")).unwrap();
        let ended = nobody.run(&["init", "--network", &bad]).await.unwrap();
        refused(&ended, USAGE, "surprise");
        refused(&nobody.run(&["status"]).await.unwrap(), NO_DAEMON, "daemon");
        assert!(!nobody.home().exists());

        let mut carol = Person::init(&net, "carol").await.unwrap();
        let before = contents(carol.home());
        let network = net.network().display().to_string();
        let ended = carol.run(&["init", "--network", &network]).await.unwrap();
        refused(&ended, OTHER, "already there");
        let daemon = ["daemon", "--debug-build"];
        let phrase = net.folder().join("carol-passphrase");
        let right = fs::read(&phrase).unwrap();
        fs::write(&phrase, "something else\n").unwrap();
        refused(&carol.run(&daemon).await.unwrap(), LOCKED, "passphrase");
        fs::remove_file(&phrase).unwrap();
        refused(
            &carol.run(&daemon).await.unwrap(),
            USAGE,
            "carol-passphrase",
        );
        fs::write(&phrase, right).unwrap();
        set_mode(&phrase, 0o600);
        let vault = carol.home().join("vault.redb");
        set_mode(&vault, 0o644);
        refused(&carol.run(&daemon).await.unwrap(), REFUSED, "chmod 600");
        set_mode(&vault, 0o600);
        set_mode(carol.home(), 0o755);
        refused(&carol.run(&daemon).await.unwrap(), REFUSED, "chmod 700");
        set_mode(carol.home(), 0o700);
        // The database keeps books of who opened it; what it holds opens as before.
        let after = contents(carol.home());
        for (path, held) in before.iter().filter(|(path, _)| **path != vault) {
            assert_eq!(after.get(path), Some(held), "{}", path.display());
        }
        carol.start().await.unwrap();
        let status = carol.ask(&["status"]).await.unwrap();
        assert_eq!(status["contacts"], 0);
    };
    whist_rt::block_on(test).unwrap();
}

#[test]
fn a_daemon_answers_what_it_cannot_do_with_one_line_and_goes_on() {
    let test = async {
        let net = files().await;
        let mut dave = Person::init(&net, "dave").await.unwrap();
        dave.start().await.unwrap();
        let cases: [(&[&str], i32, &str); 8] = [
            (&["send", "eve", "hello"], UNKNOWN_CONTACT, "contact"),
            (&["receive", "--from", "eve"], UNKNOWN_CONTACT, "contact"),
            (&["add", "whist:none", "--now"], USAGE, "invitation"),
            (&["add", "whist:none", "--name", "eve"], USAGE, "invitation"),
            (&["add", "", "--now"], USAGE, "invitation"),
            (&["invite"], TIMED_OUT, "invitation"),
            (
                &["receive", "--wait", "--timeout", "1"],
                TIMED_OUT,
                "nothing",
            ),
            (&["daemon", "--debug-build"], OTHER, "another instance"),
        ];
        for (arguments, code, words) in cases {
            refused(&dave.run(arguments).await.unwrap(), code, words);
        }
        let status = dave.ask(&["status"]).await.unwrap();
        assert_eq!(status["contacts"], 0);
        dave.stop().await.unwrap();
        refused(&dave.run(&["status"]).await.unwrap(), NO_DAEMON, "daemon");
        // What was killed instead of stopped leaves its socket, and starts again.
        dave.start().await.unwrap();
        dave.daemon().kill().await.unwrap();
        refused(&dave.run(&["status"]).await.unwrap(), NO_DAEMON, "daemon");
        dave.start().await.unwrap();
        dave.ask(&["status"]).await.unwrap();
    };
    whist_rt::block_on(test).unwrap();
}
