//! What a shell and `man` know of the commands, from the definitions that the commands are read by.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
use serde_json::json;
use whist_rt::{Exit, Failure};

use super::{Cli, streams};

const PROGRAM: &str = "whist";

#[derive(Debug, Subcommand)]
pub(super) enum Pages {
    /// Print what a shell completes commands by.
    #[command(after_help = "Example: \
        whist completions bash > ~/.local/share/bash-completion/completions/whist")]
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page of whist or of one of its commands, or write all of them.
    #[command(after_help = "Examples: whist man --out ~/.local/share/man/man1
  whist man contact show | man -l -")]
    Man {
        /// The words of one command.
        #[arg(conflicts_with = "out")]
        command: Vec<String>,
        /// Write a page for each command into this folder, which is made if it is missing.
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
}

impl Pages {
    /// Needs neither vault nor daemon nor configuration.
    pub(super) fn run(self, json: bool) -> Result<(), Failure> {
        let (key, text) = match self {
            Self::Completions { shell } => ("completions", completions(shell)),
            Self::Man {
                out: Some(folder), ..
            } => return write_all(&folder, json),
            Self::Man { command, .. } => ("page", page(&command)?),
        };
        match json {
            true => streams::print(&json!({ key: text }).to_string()),
            false => streams::print(text.trim_end_matches('\n')),
        }
    }
}

/// The definitions, as they are read and with each command's whole name.
fn commands() -> Command {
    // `whist help send` is what `whist send --help` is: a page of each would be a second tree.
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    whole
}

fn completions(shell: Shell) -> String {
    let mut written = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut written);
    String::from_utf8_lossy(&written).into_owned()
}

fn page(words: &[String]) -> Result<String, Failure> {
    let whole = commands();
    let mut command = &whole;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let why = "there is no such command: whist --help lists all";
            Failure::new(Exit::Usage, why)
        })?;
    }
    rendered(command).map_err(|error| Failure::new(Exit::Other, format!("no page: {error}")))
}

fn rendered(command: &Command) -> io::Result<String> {
    let mut written = Vec::new();
    Man::new(command.clone()).render(&mut written)?;
    // Long alternatives stand in one word: a line that is to be filled could not hold them.
    let page = String::from_utf8_lossy(&written);
    Ok(page.replacen("\n.SH ", "\n.ad l\n.SH ", 1))
}

fn write_all(folder: &Path, json: bool) -> Result<(), Failure> {
    let cannot = |error: io::Error| {
        let folder = folder.display();
        Failure::new(Exit::Usage, format!("cannot write into {folder}: {error}"))
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let mut names = Vec::new();
    write_tree(folder, &commands(), &mut names).map_err(cannot)?;
    let text = format!("{} pages are in {}", names.len(), folder.display());
    match json {
        true => streams::print(&json!({ "pages": names }).to_string()),
        false => streams::print(&text),
    }
}

fn write_tree(folder: &Path, command: &Command, names: &mut Vec<String>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(PROGRAM);
    let name = format!("{name}.1");
    std::fs::write(folder.join(&name), rendered(command)?)?;
    names.push(name);
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    for sub in shown {
        write_tree(folder, sub, names)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    fn each(command: &Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for sub in command.get_subcommands() {
            let path = [path, &[sub.get_name().to_owned()]].concat();
            found.push(path.clone());
            each(sub, &path, found);
        }
    }

    fn paths() -> Vec<Vec<String>> {
        let mut found = Vec::new();
        each(&Cli::command(), &[], &mut found);
        assert!(found.len() > 40, "{found:?}");
        found
    }

    #[test]
    fn each_shell_completes_every_command_and_the_options_of_all() {
        for shell in Shell::value_variants() {
            let text = completions(*shell);
            for path in paths() {
                let last = path.last().unwrap();
                assert!(text.contains(last.as_str()), "{shell}: {path:?}");
            }
            assert!(text.contains("passphrase-file"), "{shell}");
        }
    }

    #[test]
    fn every_command_has_a_manual_page_with_its_name_its_options_and_an_example() {
        let whole = page(&[]).unwrap();
        assert!(whole.contains(".TH whist 1"), "{whole}");
        for path in paths() {
            let text = page(&path).unwrap();
            let (plain, name) = (text.replace("\\-", "-"), path.join("-"));
            for wanted in [
                ".SH SYNOPSIS",
                "--passphrase-file",
                "Example",
                &path.join(" "),
            ] {
                assert!(plain.contains(wanted), "{path:?} has no {wanted}: {plain}");
            }
            assert!(plain.contains(&format!(".TH whist-{name} 1")), "{plain}");
        }
        assert_eq!(page(&["burn".to_owned()]).unwrap_err().exit, Exit::Usage);
    }
}
