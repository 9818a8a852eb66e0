//! What tests of the program share.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use whist_netdoc::{Parameters, testing};
use whist_ratchet::{Invitation, InvitationKey};
use whist_types::{NodeId, Wall};

/// An invitation that nobody made.
pub fn invitation() -> String {
    let invitation = Invitation {
        provider: NodeId::from_bytes([7; 32]),
        key: InvitationKey::from_bytes([8; 32]),
    };
    invitation.to_string()
}

/// A home folder with what a vault is made from, over a network where nobody listens.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let genesis = Wall::from_secs(1_700_000_000);
        let mut authorities = testing::Authorities::new(1, 4, Parameters::default(), genesis);
        // Nobody listens there: the daemon stays off line.
        let mut nodes = testing::entries(3, 2, 4);
        for node in &mut nodes {
            node.address = "127.0.0.1:9".to_owned();
        }
        authorities.set_providers(&nodes);
        let network = authorities.network().to_toml();
        std::fs::write(dir.path().join("network.toml"), network).unwrap();
        std::fs::write(dir.path().join("right"), "correct horse\n").unwrap();
        std::fs::write(dir.path().join("wrong"), "battery staple\n").unwrap();
        for name in ["right", "wrong"] {
            let owner_only = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(dir.path().join(name), owner_only).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, passphrase: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whist"));
        command.arg("--home").arg(self.path("home"));
        command.arg("--passphrase-file").arg(self.path(passphrase));
        command.args(["--no-input", "--no-daemon"]).args(args);
        command
    }

    /// The same, with leave to start a daemon.
    pub fn starting(&self, passphrase: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whist"));
        command.arg("--home").arg(self.path("home"));
        command.arg("--passphrase-file").arg(self.path(passphrase));
        command.env_remove("XDG_RUNTIME_DIR");
        command.args(["--no-input", "--debug-build"]).args(args);
        command
    }

    pub fn run(&self, passphrase: &str, args: &[&str]) -> Output {
        self.command(passphrase, args).output().unwrap()
    }

    pub fn init(&self) -> Output {
        let network = self.path("network.toml");
        let args = ["init", "--network", network.to_str().unwrap()];
        self.run("right", &args)
    }

    pub fn daemon(&self) -> Daemon {
        self.daemon_by("right")
    }

    pub fn daemon_by(&self, passphrase: &str) -> Daemon {
        self.daemon_with(passphrase, &[])
    }

    pub fn daemon_with(&self, passphrase: &str, more: &[&str]) -> Daemon {
        let args = ["daemon", "--debug-build", "--log", "info"];
        let mut command = self.command(passphrase, &args);
        command.args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.any(|line| line.unwrap().contains("ready"));
        assert!(ready, "the daemon ended: {:?}", child.wait());
        // Somebody must read on, or the daemon's log blocks.
        std::thread::spawn(move || lines.count());
        Daemon(child)
    }
}

/// A daemon in the foreground, killed when this is dropped.
pub struct Daemon(pub Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
