//! Completions and manual pages, as shells and `man` take them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// On a machine without home, configuration, vault or daemon.
fn whist(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whist"));
    command
        .env("HOME", "/nowhere")
        .env("XDG_DATA_HOME", "/nowhere");
    let output = command
        .env("XDG_CONFIG_HOME", "/nowhere")
        .args(args)
        .output();
    output.unwrap()
}

fn text(args: &[&str]) -> String {
    let output = whist(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null());
    let there = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    there.is_ok_and(|status| status.success())
}

/// What this program says of a file, if it is not content.
fn refused(program: &str, args: &[&str], file: &Path) -> Option<String> {
    let output = Command::new(program).args(args).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success() || !said.is_empty()).then(|| format!("{file:?}: {said}"))
}

#[test]
fn each_shell_that_is_there_takes_its_completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&["completions", shell]);
        assert!(script.contains("accept-key"), "{shell}");
        let file = dir.path().join(shell);
        std::fs::write(&file, script).unwrap();
        if is_there(shell) {
            assert_eq!(refused(shell, &["-n"], &file), None);
        } else {
            eprintln!("SKIPPED: there is no {shell} here");
        }
    }
    assert_eq!(whist(&["completions", "csh"]).status.code(), Some(2));
}

/// Asks the completion itself, as bash does when a tab is typed.
#[test]
fn a_tab_in_bash_completes_a_command_and_an_option() {
    if !is_there("bash") {
        eprintln!("SKIPPED: there is no bash here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("whist");
    std::fs::write(&file, text(&["completions", "bash"])).unwrap();
    let completed = |words: &[&str]| {
        let last = words.len() - 1;
        let (word, before) = (words[last], words[last - 1]);
        let line = words.join(" ");
        let script = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD={last}; \
             _whist whist '{word}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(completed(&["whist", "compl"]), "completions");
    assert_eq!(completed(&["whist", "contact", "ren"]), "rename");
    assert_eq!(completed(&["whist", "send", "--reply"]), "--reply-to");
}

#[test]
fn every_page_is_written_and_the_formatter_finds_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("man/man1");
    let args = ["man", "--json", "--out", folder.to_str().unwrap()];
    let said: serde_json::Value = serde_json::from_str(&text(&args)).unwrap();
    let names = said["pages"].as_array().unwrap().iter();
    let names: BTreeSet<&str> = names.map(|name| name.as_str().unwrap()).collect();
    assert!(names.len() > 40, "{names:?}");
    let wanted = ["whist.1", "whist-send.1", "whist-contact-accept-key.1"];
    for name in wanted {
        assert!(names.contains(name), "{name}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), names.len());
    let page = text(&["man", "contact", "accept-key"]);
    let written = std::fs::read_to_string(folder.join("whist-contact-accept-key.1")).unwrap();
    assert_eq!(page.trim_end(), written.trim_end());
    if is_there("groff") {
        for name in names {
            let file = folder.join(name);
            assert_eq!(
                refused("groff", &["-k", "-man", "-ww", "-z", "-Tutf8"], &file),
                None
            );
        }
    } else {
        eprintln!("SKIPPED: there is no groff here");
    }
    assert_eq!(whist(&["man", "burn"]).status.code(), Some(2));
    let not_a_folder = ["man", "--out", "/dev/null/pages"];
    assert_eq!(whist(&not_a_folder).status.code(), Some(2));
}
