//! Runs every fuzz function on the committed corpus and on mutations of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_types,
    missing_docs
)]

use std::fs;
use std::path::PathBuf;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use whist_netdoc::fuzzing::{self, TARGETS};
use whist_netdoc::testing::entries;
use whist_netdoc::{
    Descriptor, Extension, Follower, IdentitySecret, Kind, LinkSecret, LoopReport, LoopSegment,
    Parameters,
};
use whist_types::{Epoch, Family, Secret, SphinxKey, Wall};

/// Mutations of each seed; `.ci/full` runs cargo-fuzz for hours instead.
const MUTATIONS: usize = 2_000;

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "corpus", target]
        .iter()
        .collect()
}

/// The documents that the corpus holds, made again.
fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut authorities = fuzzing::authorities();
    let nodes = entries(3, 1, 3);
    authorities.set_providers(&nodes);
    let first = authorities.make(Epoch::new(0), nodes.clone()).unwrap();
    let second = authorities.make(Epoch::new(1), nodes.clone()).unwrap();
    let mut follower = Follower::new(authorities.trusted());
    follower
        .offer(Wall::from_millis(5_000), &first.to_bytes())
        .unwrap();
    let hash = follower.hash();
    let proof = Extension::proof(authorities.range(), &hash, 1);
    let identity = IdentitySecret::from_seed(&Secret::new([1; 32]));
    let link = LinkSecret::from_seed(&Secret::new([2; 32]));
    let descriptor = Descriptor {
        epoch: Epoch::new(1),
        identity: identity.public(),
        link: link.public(),
        keys: [SphinxKey::from_bytes([3; 32]); 4],
        address: "mix.example:9000".into(),
        kind: Kind::Mix,
        family: Family::from_bytes([4; 32]),
        capacity: 100,
        load: 5,
        loops: LoopReport::alarm(vec![
            LoopSegment::rounded(nodes[0].id, nodes[1].id, 300, 100).unwrap(),
        ]),
    };
    let tagged = |tag: u8, bytes: Vec<u8>| [vec![tag], bytes].concat();
    let Extension::Proof(inner) = &proof else {
        panic!("the first header is in the range");
    };
    vec![
        ("bundle", "first", first.to_bytes()),
        ("bundle", "second", second.to_bytes()),
        (
            "bundle",
            "proof",
            second.with_extension(proof.clone()).to_bytes(),
        ),
        ("signed_header", "second", second.signed_bytes().to_vec()),
        (
            "descriptor",
            "mix",
            descriptor.sign(&identity, &link).as_bytes().to_vec(),
        ),
        (
            "details",
            "parameters",
            tagged(0, borsh::to_vec(&Parameters::demo()).unwrap()),
        ),
        (
            "details",
            "nodes",
            tagged(1, borsh::to_vec(&nodes).unwrap()),
        ),
        ("details", "proof", tagged(2, borsh::to_vec(inner).unwrap())),
        (
            "network",
            "network.toml",
            authorities.network().to_toml().into_bytes(),
        ),
        ("follower", "one", follower.to_bytes()),
        (
            "parameters",
            "demo.toml",
            toml::to_string(&Parameters::demo()).unwrap().into_bytes(),
        ),
    ]
}

#[test]
fn the_corpus_is_what_the_code_makes_today() {
    for (target, name, bytes) in seeds() {
        let path = folder(target).join(name);
        if std::env::var_os("WHIST_WRITE_CORPUS").is_some() {
            fs::create_dir_all(folder(target)).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let committed = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // A change of a form is a change of the wire: it must be meant, and docs/wire.md with it.
        assert!(committed == bytes, "{} differs", path.display());
    }
}

#[test]
fn no_parser_panics_on_the_corpus_or_on_mutations_of_it() {
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    for (target, run) in TARGETS {
        let mut files = 0;
        for file in fs::read_dir(folder(target)).unwrap() {
            let seed = fs::read(file.unwrap().path()).unwrap();
            run(&seed);
            files += 1;
            for _ in 0..MUTATIONS {
                run(&mutate(&seed, &mut rng));
            }
        }
        assert!(files > 0, "{target} has no corpus");
    }
}

fn mutate(seed: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let below = |rng: &mut ChaCha20Rng, n: usize| (rng.next_u64() % n.max(1) as u64) as usize;
    for _ in 0..=below(rng, 3) {
        let at = below(rng, bytes.len());
        match rng.next_u32() % 5 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.next_u32() as u8),
            2 if at + 4 <= bytes.len() => bytes[at..at + 4].fill(0xff),
            3 if at + 4 <= bytes.len() => bytes[at..at + 4].fill(0),
            _ if !bytes.is_empty() => {
                let at = at.min(bytes.len() - 1);
                bytes[at] ^= 1 << (rng.next_u32() % 8);
            }
            _ => bytes.push(0),
        }
    }
    bytes
}
