//! Holds the workspace to docs/architecture.md and the style: who may depend on whom, one version
//! of each crypto crate, lengths of files, functions and lines.
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

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Each package with its floor, bottom-up: the dependency table of docs/architecture.md.
const FLOORS: &[(&str, u8)] = &[
    ("whist-types", 0),
    ("whist-packet", 1),
    ("whist-link", 1),
    ("whist-ratchet", 1),
    ("whist-netdoc", 1),
    ("whist-timing", 1),
    ("whist-rt", 2),
    ("whist-node", 3),
    ("whist-mix", 4),
    ("whist-provider", 4),
    ("whist-directory", 4),
    ("whist", 4),
    ("whist-sim", 5),
];

/// Crates that only the named packages may use: the seams and the exceptions of the architecture.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("tokio", &["whist-rt"]),
    ("prometheus", &["whist-rt"]),
    ("memmap2", &["whist-rt"]),
    ("rustix", &["whist-rt"]),
    ("rand", &["whist-rt"]),
    ("tracing-subscriber", &["whist-rt"]),
    ("sphinx-packet", &["whist-packet"]),
    ("rustls", &["whist-link"]),
    ("fjall", &["whist-provider"]),
    ("redb", &["whist"]),
];

/// Crates of which a second version would mean two implementations of one primitive.
const ONE_VERSION: &[&str] = &[
    "aead",
    "argon2",
    "aws-lc-rs",
    "aws-lc-sys",
    "blake2",
    "blake3",
    "chacha20",
    "chacha20poly1305",
    "curve25519-dalek",
    "digest",
    "ed25519-dalek",
    "hkdf",
    "hmac",
    "ml-dsa",
    "ml-kem",
    "poly1305",
    "rand_core",
    "rustls",
    "sha2",
    "sha3",
    "sphinx-packet",
    "subtle",
    "x25519-dalek",
    "zeroize",
];

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;
const README_LINES_MAX: usize = 150;
const MAIN_LINES_MAX: usize = 80;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .exec()
        .unwrap()
}

fn rust_files() -> Vec<PathBuf> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && !name.to_string_lossy().starts_with('.') {
                    walk(&path, out);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root(), &mut files);
    files.sort();
    files
}

#[test]
fn every_package_depends_only_on_the_floors_below_its_own() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let floor = floors
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no floor"));
        for dependency in &package.dependencies {
            let Some(below) = floors.get(dependency.name.as_str()) else {
                continue;
            };
            assert!(
                below < floor,
                "{name} ({floor}) depends on {} ({below})",
                dependency.name
            );
            if dependency.name == "whist-ratchet" {
                assert!(
                    ["whist", "whist-sim"].contains(&name),
                    "{name} could decrypt"
                );
            }
        }
    }
}

#[test]
fn the_members_are_listed_bottom_up() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let listed: Vec<_> = text
        .lines()
        .skip_while(|line| !line.starts_with("members"))
        .skip(1)
        .take_while(|line| !line.starts_with(']'))
        .map(|line| line.trim().trim_matches([',', '"']).to_owned())
        .map(|dir| {
            let manifest = fs::read_to_string(root().join(dir).join("Cargo.toml")).unwrap();
            let name = manifest.lines().find(|l| l.starts_with("name = ")).unwrap();
            name.trim_start_matches("name = ")
                .trim_matches('"')
                .to_owned()
        })
        .collect();
    assert_eq!(
        listed,
        FLOORS.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
}

#[test]
fn the_seams_to_the_world_belong_to_one_crate_each() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            for (crate_name, users) in ONLY_IN {
                assert!(
                    dependency.name != *crate_name || users.contains(&package.name.as_str()),
                    "{} uses {crate_name}, which belongs to {users:?}",
                    package.name
                );
            }
        }
    }
}

#[test]
fn the_tree_of_whist_sim_has_one_version_of_each_crypto_crate() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let sim = metadata
        .packages
        .iter()
        .find(|p| p.name.as_str() == "whist-sim")
        .unwrap();
    let mut seen = BTreeSet::from([&sim.id]);
    let mut queue = vec![&sim.id];
    while let Some(id) = queue.pop() {
        for dep in &nodes[id].deps {
            let normal = dep
                .dep_kinds
                .iter()
                .any(|k| k.kind == DependencyKind::Normal);
            if normal && seen.insert(&dep.pkg) {
                queue.push(&dep.pkg);
            }
        }
    }
    for name in ONE_VERSION {
        let versions: Vec<_> = metadata
            .packages
            .iter()
            .filter(|p| p.name.as_str() == *name && seen.contains(&p.id))
            .map(|p| p.version.to_string())
            .collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn files_functions_and_lines_keep_their_lengths() {
    let mut faults = Vec::new();
    for file in rust_files() {
        let shown = file.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let count = text.lines().count();
        let max = if file.ends_with("src/main.rs") {
            MAIN_LINES_MAX
        } else {
            FILE_LINES_MAX
        };
        if count > max {
            faults.push(format!("{shown}: {count} lines, {max} allowed"));
        }
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > LINE_CHARS_MAX && !line.contains("https://") {
                faults.push(format!(
                    "{shown}:{}: longer than {LINE_CHARS_MAX}",
                    number + 1
                ));
            }
        }
        for (name, start, length) in functions(&text) {
            if length > FUNCTION_LINES_MAX {
                faults.push(format!("{shown}:{start}: fn {name} has {length} lines"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Name, first line and number of lines of each function that has a body: rustfmt closes it with a
/// brace as far in as its `fn` stands. One without a body ends in a semicolon.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<_> = line.split_whitespace().collect();
        let Some(at) = words.iter().position(|w| *w == "fn").filter(|at| *at <= 5) else {
            continue;
        };
        if words[0].starts_with("//") {
            continue;
        }
        let (close, end) = (
            format!("{}}}", " ".repeat(indent)),
            format!("{};", line.trim_end()),
        );
        let length = lines[start..]
            .iter()
            .position(|l| *l == close || **l == end);
        if let Some(length) = length {
            let name = words
                .get(at + 1)
                .unwrap_or(&"")
                .split(['(', '<'])
                .next()
                .unwrap();
            found.push((name.to_owned(), start + 1, length + 1));
        }
    }
    found
}

#[test]
fn the_function_counter_counts() {
    let body = "    x();\n".repeat(80);
    let text = format!("fn short() {{\n}}\n\npub fn long(\n    a: u8,\n) {{\n{body}}}\n");
    assert_eq!(
        functions(&text),
        [("short".to_owned(), 1, 2), ("long".to_owned(), 4, 84)]
    );
}

#[test]
fn the_readme_is_short() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.lines().count() < README_LINES_MAX);
}
