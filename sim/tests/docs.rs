//! Holds the documents to the code: byte tables, sizes, names of tests, links, commands, metrics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use whist_sim::testnet::programs;

/// Every file whose byte tables are the format of something that travels.
const WIRE_SOURCES: [&str; 13] = [
    "crates/link/src/frame.rs",
    "crates/link/src/part.rs",
    "crates/link/src/puzzle/mod.rs",
    "crates/packet/src/packet.rs",
    "crates/packet/src/surb.rs",
    "crates/packet/src/request/codec.rs",
    "crates/packet/src/request/commands.rs",
    "crates/packet/src/request/reply.rs",
    "crates/packet/src/request/signing.rs",
    "crates/netdoc/src/header.rs",
    "crates/ratchet/README.md",
    "client/src/conversation/mod.rs",
    "client/src/conversation/word.rs",
];

/// Files whose byte tables are on disk or in memory; `docs/wire.md` may show them too.
const STORE_SOURCES: [&str; 5] = [
    "crates/packet/src/replay/mod.rs",
    "crates/packet/src/replay/header.rs",
    "crates/rt/src/sealed.rs",
    "provider/src/store/seal.rs",
    "client/src/vault/slots.rs",
];

const SIZES: [(&str, usize); 24] = [
    ("whist_link::FRAME_BYTES", whist_link::FRAME_BYTES),
    ("whist_link::BODY_BYTES", whist_link::BODY_BYTES),
    ("whist_link::RECORD_BYTES", whist_link::RECORD_BYTES),
    ("whist_link::PART_BYTES", whist_link::PART_BYTES),
    ("whist_link::Part::BYTES", whist_link::Part::BYTES),
    (
        "whist_link::puzzle::Challenge::BYTES",
        whist_link::puzzle::Challenge::BYTES,
    ),
    (
        "whist_link::puzzle::Solution::BYTES",
        whist_link::puzzle::Solution::BYTES,
    ),
    ("whist_packet::PACKET_BYTES", whist_packet::PACKET_BYTES),
    ("whist_packet::HEADER_BYTES", whist_packet::HEADER_BYTES),
    (
        "whist_packet::SEALED_PAYLOAD_BYTES",
        whist_packet::SEALED_PAYLOAD_BYTES,
    ),
    ("whist_packet::PAYLOAD_BYTES", whist_packet::PAYLOAD_BYTES),
    ("whist_packet::SURB_BYTES", whist_packet::SURB_BYTES),
    (
        "whist_packet::request::ITEM_BYTES",
        whist_packet::request::ITEM_BYTES,
    ),
    (
        "whist_packet::request::BLOB_BYTES",
        whist_packet::request::BLOB_BYTES,
    ),
    (
        "whist_packet::request::DOC_CHUNK_BYTES",
        whist_packet::request::DOC_CHUNK_BYTES,
    ),
    ("whist_netdoc::HEADER_BYTES", whist_netdoc::HEADER_BYTES),
    (
        "whist_netdoc::SIGNATURE_BYTES",
        whist_netdoc::SIGNATURE_BYTES,
    ),
    (
        "whist_netdoc::LONE_SIGNATURE_BYTES",
        whist_netdoc::LONE_SIGNATURE_BYTES,
    ),
    (
        "whist_netdoc::DESCRIPTOR_BYTES_MAX",
        whist_netdoc::DESCRIPTOR_BYTES_MAX,
    ),
    (
        "whist_netdoc::BUNDLE_BYTES_MAX",
        whist_netdoc::BUNDLE_BYTES_MAX,
    ),
    (
        "whist_ratchet::INVITATION_BYTES",
        whist_ratchet::INVITATION_BYTES,
    ),
    ("whist_ratchet::BUNDLE_BYTES", whist_ratchet::BUNDLE_BYTES),
    ("whist_ratchet::BODY_MAX", whist_ratchet::BODY_MAX),
    (
        "whist_ratchet::FIRST_PAYLOAD_MAX",
        whist_ratchet::FIRST_PAYLOAD_MAX,
    ),
];

const PROGRAMS: [&str; 5] = [
    "whist",
    "whist-mix",
    "whist-provider",
    "whist-directory",
    "whist-sim",
];

fn root() -> PathBuf {
    let sim = Path::new(env!("CARGO_MANIFEST_DIR"));
    sim.parent().unwrap().to_path_buf()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &Path, extension: &str, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, extension, out);
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            out.push(path);
        }
    }
}

/// README.md, what is in docs/, and the page on fuzzing.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join("README.md"), root().join("fuzz/README.md")];
    files(&root().join("docs"), "md", &mut paths);
    paths.sort();
    let text = |path: PathBuf| {
        let text = read(&path);
        (path, text)
    };
    paths.into_iter().map(text).collect()
}

/// The tables with offsets in doc comments or Markdown, without the brackets of intra-doc links.
fn byte_tables(text: &str) -> Vec<Vec<String>> {
    let mut tables = Vec::new();
    let mut table: Vec<String> = Vec::new();
    for line in text.lines().chain([""]) {
        let line = line.trim();
        let comment = line.strip_prefix("///").or(line.strip_prefix("//!"));
        let line = comment.unwrap_or(line).trim();
        if line.starts_with('|') {
            table.push(line.replace("[`", "`").replace("`]", "`"));
        } else if !table.is_empty() {
            let table = std::mem::take(&mut table);
            if table[0].starts_with("| offset") {
                tables.push(table);
            }
        }
    }
    tables
}

fn numbers(text: &str) -> Option<usize> {
    text.trim().replace(',', "").parse().ok()
}

/// What stands between single backticks, outside of fenced blocks.
fn code_spans(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut spans = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    spans
}

#[test]
fn byte_tables_of_the_wire_document_are_those_of_the_code() {
    let documented = byte_tables(&read("docs/wire.md"));
    let of = |path: &&str| {
        let tables = byte_tables(&read(path));
        assert!(!tables.is_empty(), "{path} has lost its byte tables");
        tables
    };
    let travels: Vec<_> = WIRE_SOURCES.iter().flat_map(of).collect();
    let stored: Vec<_> = STORE_SOURCES.iter().flat_map(of).collect();
    for table in &travels {
        assert!(documented.contains(table), "not in wire.md: {table:#?}");
    }
    for table in &documented {
        let known = travels.contains(table) || stored.contains(table);
        assert!(known, "in wire.md and in no doc comment: {table:#?}");
    }
}

#[test]
fn fields_of_byte_tables_follow_each_other_without_gaps() {
    for table in byte_tables(&read("docs/wire.md")) {
        let mut at = Some(0);
        for row in &table[2..] {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            if let (Some(expected), Some(offset)) = (at, numbers(cells[1])) {
                assert_eq!(offset, expected, "{row}");
            }
            at = numbers(cells[1]).zip(numbers(cells[2])).map(|(o, s)| o + s);
        }
    }
}

#[test]
fn sizes_of_the_wire_document_are_the_constants_of_the_code() {
    let text = read("docs/wire.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let name = cells.get(3)?.strip_prefix("`whist_")?.strip_suffix('`')?;
        Some((format!("whist_{name}"), numbers(cells[2])?))
    });
    let rows: BTreeMap<_, _> = rows.collect();
    let sizes = SIZES.map(|(name, size)| (name.to_owned(), size));
    assert_eq!(rows, BTreeMap::from(sizes));
}

fn test_names() -> BTreeSet<String> {
    let mut paths = Vec::new();
    files(&root(), "rs", &mut paths);
    let mut names = BTreeSet::new();
    for path in paths {
        let mut is_test = false;
        for line in read(path).lines().map(str::trim) {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            let head = line.strip_prefix("async ").unwrap_or(line);
            if let Some(name) = head.strip_prefix("fn ")
                && std::mem::take(&mut is_test)
            {
                names.insert(name.split('(').next().unwrap().to_owned());
            }
        }
    }
    names
}

/// Test names are sentences: four words or more. Parameters and metrics are named elsewhere.
fn reads_like_a_test(span: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    span.matches('_').count() >= 3 && span.chars().all(word) && !span.starts_with("whist_")
}

#[test]
fn every_test_that_a_document_names_exists() {
    let tests = test_names();
    let mut named = 0;
    for (path, text) in documents() {
        if path.ends_with("parameters.md") {
            continue;
        }
        for span in code_spans(&text) {
            if reads_like_a_test(&span) {
                assert!(tests.contains(&span), "{}: no test {span}", path.display());
                named += 1;
            }
        }
    }
    assert!(named > 100, "{named} names of tests: the search is broken");
}

#[test]
fn every_relative_link_resolves() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let there = path.parent().unwrap().join(target);
            assert!(there.exists(), "{}: no {target}", path.display());
        }
    }
}

#[test]
fn every_file_that_a_document_names_exists() {
    let folders = ["crates/", "client/", "provider/", "mix-node/", "directory/"];
    let more = ["sim/", "docs/", "fuzz/", ".ci/"];
    for (path, text) in documents() {
        for span in code_spans(&text) {
            let named = folders.iter().chain(&more).any(|f| span.starts_with(f));
            if named && !span.contains(['*', '<', ' ']) {
                let there = root().join(&span).exists();
                assert!(there, "{}: no {span}", path.display());
            }
        }
    }
}

/// Lines of blocks fenced as `sh` or `console`, or as nothing, with continued lines joined.
fn shell_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut fenced, mut shell) = (false, false);
    let mut whole = String::new();
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            fenced = !fenced;
            shell = fenced && ["sh", "console", ""].contains(&language);
        } else if shell {
            let line = line.trim();
            match line.strip_suffix('\\') {
                Some(part) => whole.push_str(part),
                None => lines.push(std::mem::take(&mut whole) + line),
            }
        }
    }
    lines
}

/// Program, subcommand and long options of each call in a line.
fn calls(line: &str) -> Vec<(String, String, Vec<String>)> {
    let line = line.split(" #").next().unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    let mut calls = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let package = at >= 2 && words[0] == "cargo" && words[at - 1] == "-p";
        let rest = match words[at..].iter().position(|w| *w == "--") {
            Some(dashes) if package => &words[at + dashes + 1..],
            _ if package => continue,
            _ => &words[at + 1..],
        };
        // A folder such as /etc/whist or an argument is no call; a call begins a command.
        let begins = at == 0 || ["|", "&&", "$"].contains(&words[at - 1]) || words[0] == "sudo";
        if !PROGRAMS.contains(word) || !(begins || package) {
            continue;
        }
        let stop = |w: &&str| ["|", "&", "&&", ">", "<", ";"].contains(w);
        let rest: Vec<_> = rest.iter().copied().take_while(|w| !stop(w)).collect();
        let options = rest.iter().filter(|w| w.starts_with("--"));
        let options = options.map(|w| w.split('=').next().unwrap().to_owned());
        let command = rest
            .iter()
            .find(|w| !w.starts_with('-') && !w.contains('/'));
        let command = command.copied().unwrap_or_default().to_owned();
        calls.push(((*word).to_owned(), command, options.collect()));
    }
    calls
}

fn help(folder: &Path, program: &str, command: &str) -> String {
    let path = match program {
        "whist-sim" => PathBuf::from(env!("CARGO_BIN_EXE_whist-sim")),
        _ => folder.join(program),
    };
    let mut call = Command::new(path);
    if !command.is_empty() {
        call.arg(command);
    }
    let output = call.arg("--help").output().unwrap();
    assert!(output.status.success(), "no `{program} {command}`");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_and_option_in_the_documents_exists() {
    let folder = programs().unwrap();
    let mut helps = BTreeMap::new();
    let mut seen = 0;
    for (path, text) in documents() {
        let mut lines = shell_lines(&text);
        lines.extend(code_spans(&text));
        for line in lines {
            for (program, command, options) in calls(&line) {
                let help = helps
                    .entry((program.clone(), command.clone()))
                    .or_insert_with(|| help(&folder, &program, &command));
                for option in options {
                    let known = help.contains(&option);
                    assert!(known, "{}: {option} in {line}", path.display());
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen} calls: the search is broken");
}

#[test]
fn the_readme_gives_exactly_the_two_commands() {
    let readme = read("README.md");
    let block = readme.split("```").nth(1).unwrap().trim();
    let commands: Vec<_> = block
        .lines()
        .map(|line| line.split('#').next().unwrap().trim())
        .collect();
    let expected = [
        "cargo run --release -p whist-sim -- demo",
        "cargo test --workspace",
    ];
    assert_eq!(commands, expected);
}

#[test]
fn every_metric_that_a_document_names_exists() {
    let sources = [
        "crates/rt/src/metrics.rs",
        "crates/node/src/shell.rs",
        "mix-node/src/metrics.rs",
        "provider/src/metrics.rs",
        "directory/src/metrics.rs",
    ];
    let code: String = sources.iter().map(read).collect();
    let roles = ["mix_", "provider_", "directory_", "link_", "links_", ""];
    for (path, text) in documents() {
        for span in code_spans(&text) {
            let Some(metric) = span.strip_prefix("whist_") else {
                continue;
            };
            let name = metric.split(['{', ' ']).next().unwrap();
            if name.contains(':') {
                continue;
            }
            let known = roles.iter().filter_map(|role| name.strip_prefix(role));
            let known = known.into_iter().any(|rest| {
                let quoted = code.contains(&format!("\"{rest}\""));
                quoted || code.contains(&format!("\"whist_{name}\""))
            });
            assert!(known, "{}: no metric {span}", path.display());
        }
    }
}

#[test]
fn every_fuzz_function_has_a_shell() {
    let crates = ["packet", "link", "netdoc", "ratchet"].map(|c| (c, format!("crates/{c}")));
    let roles = ["provider", "client"].map(|c| (c, c.to_owned()));
    for (name, folder) in crates.into_iter().chain(roles) {
        let source = read(format!("{folder}/src/fuzzing.rs"));
        let functions = source.lines().filter_map(|line| {
            let signature = line.strip_prefix("pub fn ")?;
            let (function, rest) = signature.split_once('(')?;
            rest.contains(": &[u8])").then_some(function)
        });
        for function in functions {
            let target = function.strip_prefix("fuzz_").unwrap_or(function);
            let shell = read(format!("fuzz/fuzz_targets/{name}_{target}.rs"));
            assert!(
                shell.contains(&format!("::fuzzing::{function}(data)")),
                "{name}"
            );
            let listed = format!("name = \"{name}_{target}\"");
            assert!(read("fuzz/Cargo.toml").contains(&listed), "{listed}");
        }
    }
}
