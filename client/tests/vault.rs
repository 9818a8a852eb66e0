//! The vault's commands on the program itself: what opens it, what ends it.
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

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

struct Home(home::Home);

impl Home {
    /// A home with a vault, and a few secrets in files beside it.
    fn new() -> Self {
        let home = Self(home::Home::new());
        for name in ["duress", "other"] {
            home.secret(name, name);
        }
        let output = home.0.init();
        assert!(output.status.success(), "{output:?}");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn secret(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn daemon(&self, secret: &str) -> home::Daemon {
        self.0.daemon_by(secret)
    }

    /// The exit code and what was printed, on either stream.
    fn run(&self, secret: &str, args: &[&str]) -> (i32, String) {
        let output = self.0.run(secret, args);
        let said = if output.status.success() {
            output.stdout
        } else {
            output.stderr
        };
        let said = String::from_utf8(said).unwrap();
        (output.status.code().unwrap(), said.trim().to_owned())
    }

    fn ok(&self, secret: &str, args: &[&str]) -> String {
        let (code, said) = self.run(secret, args);
        assert_eq!(code, 0, "{args:?}: {said}");
        said
    }
}

#[test]
fn passphrase_phrase_and_duress_are_set_beside_a_daemon_and_do_what_they_say() {
    let home = Home::new();
    let mut daemon = home.daemon("right");
    let phrase = home.ok("right", &["recovery", "show"]);
    assert_eq!(phrase.split(' ').count(), 24);
    home.secret("phrase", &phrase);
    home.ok("phrase", &["recovery", "test"]);
    assert_eq!(home.run("right", &["recovery", "test"]).0, 2);
    let file = |name| home.path(name).to_str().unwrap().to_owned();
    let (other, duress) = (file("other"), file("duress"));
    home.ok("right", &["passwd", "--new-passphrase-file", &other]);
    let set = ["passwd", "--duress", "--new-passphrase-file", &duress];
    assert_eq!(home.run("right", &set).0, 3, "the old passphrase is over");
    home.ok("other", &set);
    let right = file("right");
    home.ok("phrase", &["recover", "--new-passphrase-file", &right]);
    assert_eq!(
        home.run("other", &["wipe"]).0,
        3,
        "recovery has set another"
    );
    home.ok("right", &["stop"]);
    assert!(daemon.0.wait().unwrap().success());
    // The secret of the decoy ends the person's vault, and then nothing of it opens.
    let mut daemon = home.daemon("duress");
    home.ok("duress", &["stop"]);
    assert!(daemon.0.wait().unwrap().success());
    for gone in ["right", "phrase"] {
        assert_eq!(home.run(gone, &["wipe"]).0, 3, "{gone}");
    }
    home.ok("duress", &["wipe"]);
    assert!(!home.path("home").exists());
}

#[test]
fn an_init_that_was_cut_short_is_said_to_be_one_and_finished_or_done_again() {
    let home = Home(home::Home::new());
    // As a kill leaves it before the first file has its name, and right after the folder.
    std::fs::create_dir(home.path("home")).unwrap();
    home.secret("home/slots.making", "half");
    std::fs::set_permissions(home.path("home"), PermissionsExt::from_mode(0o700)).unwrap();
    assert!(home.0.init().status.success());
    // As a kill leaves it after the first of them.
    for name in ["shreds", "slots"] {
        let file = home.path("home").join(name);
        std::fs::rename(&file, file.with_extension("making")).unwrap();
    }
    for args in [vec!["daemon", "--debug-build"], vec!["wipe"]] {
        let (code, said) = home.run("right", &args);
        let clear = said.contains("run `whist init` again");
        assert_eq!((code, clear), (2, true), "{said}");
    }
    let said = String::from_utf8(home.0.init().stderr).unwrap();
    assert!(said.contains("the passphrase given then"), "{said}");
    assert!(!home.0.init().status.success(), "one is there");
    let _daemon = home.daemon("right");
    home.ok("right", &["status"]);
}

#[test]
fn panic_destroys_everything_and_ends_a_daemon_that_was_stopped() {
    let home = Home::new();
    let mut daemon = home.daemon("right");
    let before = ["slots", "shreds"].map(|name| std::fs::read(home.path("home").join(name)));
    // Who holds the files open sees what is written to them after their names are gone.
    let open = ["slots", "shreds"].map(|name| home.path("home").join(name));
    let open = open.map(|path| std::fs::File::open(path).unwrap());
    let pid = daemon.0.id().to_string();
    let stopped = Command::new("kill").args(["-STOP", &pid]).status();
    assert!(stopped.unwrap().success());
    home.ok("nowhere", &["panic", "--yes"]);
    assert_eq!(daemon.0.wait().unwrap().signal(), Some(9));
    assert!(!home.path("home").exists());
    for (mut file, before) in open.into_iter().zip(before) {
        let (mut after, before) = (Vec::new(), before.unwrap());
        std::io::Read::read_to_end(&mut file, &mut after).unwrap();
        assert_eq!(after.len(), before.len());
        let kept = |(a, b): &(&[u8], &[u8])| a == b;
        let (a, b) = (after.chunks_exact(16), before.chunks_exact(16));
        assert_eq!(
            a.zip(b).filter(kept).count(),
            0,
            "a part of a key file is left"
        );
    }
    let (code, said) = home.run("right", &["panic", "--yes"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn a_wrong_passphrase_ends_no_daemon_and_changes_nothing() {
    let home = Home::new();
    let _daemon = home.daemon("right");
    let slots = || std::fs::read(home.path("home/slots")).unwrap();
    let before = slots();
    let other = home.path("other").to_str().unwrap().to_owned();
    for args in [
        vec!["wipe"],
        vec!["recovery", "show"],
        vec!["passwd", "--new-passphrase-file", &other],
        vec!["passwd", "--duress", "--new-passphrase-file", &other],
    ] {
        assert_eq!(home.run("wrong", &args).0, 3, "{args:?}");
    }
    home.ok("right", &["status"]);
    assert!(before == slots(), "the slots were changed");
}

#[test]
fn a_folder_that_others_enter_is_refused_before_a_secret_is_asked_for() {
    let home = Home::new();
    let folder = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(home.path("home"), folder).unwrap();
    let asked = home.path("asked");
    let command = format!("touch {}; echo x", asked.display());
    for args in [
        vec!["passwd"],
        vec!["recovery", "show"],
        vec!["recovery", "test"],
        vec!["recover"],
        vec!["wipe"],
        vec!["daemon", "--debug-build"],
    ] {
        let mut whist = Command::new(env!("CARGO_BIN_EXE_whist"));
        whist.arg("--home").arg(home.path("home"));
        whist.args(["--no-input", "--passphrase-command", &command]);
        let output = whist.args(&args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("chmod 700"), "{args:?}: {said}");
        assert!(!asked.exists(), "{args:?}");
    }
}
