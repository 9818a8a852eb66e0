//! Transcripts, both ways: what the Python peer sealed is sealed and opened here to the byte, and
//! the Python peer does the same with what was sealed here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_macros,
    missing_docs
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use whist_ratchet::{
    Bundle, Error, IdentitySecret, Invitation, Item, Plaintext, PrekeySecrets, Session,
    open_bundle, seal_bundle,
};
use whist_types::{ConsensusHash, MailboxAddress, NodeId, Secret, Wall};

const NOW: Wall = Wall::from_secs(1_800_000_000);

#[derive(Serialize, Deserialize, PartialEq)]
struct Transcript {
    name: String,
    written_by: String,
    alice: String,
    bob: String,
    provider: NodeId,
    address: MailboxAddress,
    bundle_rng: String,
    bundle: String,
    k: String,
    blob: String,
    drop_id: String,
    invitation: String,
    steps: Vec<Step>,
    items: Vec<Text>,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Step {
    #[serde(rename = "do")]
    verb: String,
    who: String,
    item: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    rng: String,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Text {
    device: u8,
    consensus: ConsensusHash,
    body: String,
    bytes: String,
}

impl Text {
    fn plaintext(&self) -> Plaintext {
        Plaintext {
            device: self.device,
            consensus: self.consensus,
            body: unhex(&self.body),
        }
    }

    fn item(&self) -> Item {
        Item::from_bytes(unhex(&self.bytes).try_into().unwrap())
    }
}

fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// Either the recorded bytes of one step, or fresh ones that are recorded.
struct Draws {
    source: Source,
    drawn: Vec<u8>,
}

enum Source {
    Script(Vec<u8>),
    Fresh(Box<ChaCha20Rng>),
}

impl Draws {
    fn script(text: &str) -> Self {
        Self {
            source: Source::Script(unhex(text)),
            drawn: Vec::new(),
        }
    }

    fn fresh(seed: u64) -> Self {
        Self {
            source: Source::Fresh(Box::new(ChaCha20Rng::seed_from_u64(seed))),
            drawn: Vec::new(),
        }
    }

    fn take(&mut self) -> String {
        HEXLOWER.encode(&std::mem::take(&mut self.drawn))
    }

    fn assert_used_up(&self) {
        match &self.source {
            Source::Script(bytes) => assert_eq!(self.drawn, *bytes, "draws as recorded"),
            Source::Fresh(_) => panic!("not a script"),
        }
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("whole byte strings are drawn, never words")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("whole byte strings are drawn, never words")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        match &mut self.source {
            Source::Script(bytes) => {
                let from = self.drawn.len();
                out.copy_from_slice(&bytes[from..from + out.len()]);
            }
            Source::Fresh(rng) => rng.fill_bytes(out),
        }
        self.drawn.extend_from_slice(out);
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

struct Rig {
    people: BTreeMap<String, IdentitySecret>,
    sessions: BTreeMap<String, Session>,
    prekeys: PrekeySecrets,
    bundle: Bundle,
}

/// What a step gave: an item, a text, or a refusal.
#[derive(Debug, PartialEq)]
enum Gave {
    Item(Item),
    Text(Plaintext),
    Nothing(Error),
}

impl Rig {
    fn new(t: &Transcript, rng: &mut Draws) -> Self {
        let person =
            |seed: &str| IdentitySecret::from_seed(Secret::new(unhex(seed).try_into().unwrap()));
        let bob = person(&t.bob);
        let (prekeys, bundle) = PrekeySecrets::generate(&bob, t.provider, t.address, rng);
        Self {
            people: [("alice".into(), person(&t.alice)), ("bob".into(), bob)].into(),
            sessions: BTreeMap::new(),
            prekeys,
            bundle,
        }
    }

    fn perform(&mut self, step: &Step, text: &Text, rng: &mut Draws) -> Gave {
        let identity = &self.people[&step.who];
        let key = self.bundle.invitation_key();
        match step.verb.as_str() {
            "initiate" => {
                let text = text.plaintext();
                let (session, item) =
                    Session::initiate(identity, &self.bundle, &key, &text, rng).unwrap();
                self.sessions.insert(step.who.clone(), session);
                Gave::Item(item.into_item())
            }
            "accept" => {
                let item = text.item();
                let (session, text, peer) =
                    Session::accept(identity, &self.prekeys, &key, &item, rng).unwrap();
                assert_eq!(peer, self.people["alice"].public());
                self.sessions.insert(step.who.clone(), session);
                Gave::Text(text)
            }
            "seal" => {
                let sealed = self.session(step).seal(&text.plaintext(), rng);
                Gave::Item(sealed.unwrap().into_item())
            }
            _ => match self.session(step).open(&text.item(), NOW, rng) {
                Ok(text) => Gave::Text(text),
                Err(error) => Gave::Nothing(error),
            },
        }
    }

    /// The session as it comes back from the store: it must not differ.
    fn session(&mut self, step: &Step) -> &mut Session {
        let session = self.sessions.get_mut(&step.who).unwrap();
        *session = Session::from_bytes(&session.to_bytes()).unwrap();
        session
    }
}

fn assert_bundle(t: &Transcript, bundle: &Bundle) {
    let key = bundle.invitation_key();
    assert_eq!(HEXLOWER.encode(&bundle.to_bytes()), t.bundle);
    assert_eq!(HEXLOWER.encode(key.expose()), t.k);
    assert_eq!(HEXLOWER.encode(key.drop_id().as_bytes()), t.drop_id);
    assert_eq!(HEXLOWER.encode(seal_bundle(bundle).as_slice()), t.blob);
    let blob = unhex(&t.blob).try_into().unwrap();
    assert!(open_bundle(&key, &blob).unwrap() == *bundle);
    let invitation = Invitation {
        provider: t.provider,
        key,
    };
    assert_eq!(invitation.to_string(), t.invitation);
    assert!(t.invitation.parse::<Invitation>().unwrap() == invitation);
}

fn replay(t: &Transcript) {
    let mut rng = Draws::script(&t.bundle_rng);
    let mut rig = Rig::new(t, &mut rng);
    rng.assert_used_up();
    assert_bundle(t, &rig.bundle);
    for (number, step) in t.steps.iter().enumerate() {
        let context = format!("{}, step {number}", t.name);
        let text = &t.items[step.item];
        let mut rng = Draws::script(&step.rng);
        let want = match step.verb.as_str() {
            "initiate" | "seal" => Gave::Item(text.item()),
            "accept" | "open" => Gave::Text(text.plaintext()),
            _ => Gave::Nothing(Error::Replayed),
        };
        match (want, rig.perform(step, text, &mut rng)) {
            (Gave::Nothing(_), Gave::Nothing(error)) => {
                assert!(
                    matches!(error, Error::Replayed | Error::NotForUs),
                    "{context}"
                );
            }
            (want, gave) => {
                assert!(want == gave, "{context}");
                rng.assert_used_up();
            }
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn read(name: &str) -> Transcript {
    let path = folder().join("transcripts").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn what_the_python_peer_sealed_is_sealed_and_opened_here_to_the_byte() {
    for name in ["in_order", "out_of_order", "lost", "late_chains", "wild"] {
        let transcript = read(&format!("python_{name}.json"));
        assert_eq!(transcript.written_by, "peer.py");
        replay(&transcript);
    }
}

/// A walk of 120 steps: seal, lose, open in any order, open twice.
fn walk() -> Transcript {
    let mut dice = ChaCha20Rng::seed_from_u64(7);
    let mut rng = Draws::fresh(8);
    let mut t = Transcript {
        name: "rust_walk".into(),
        written_by: "tests/transcripts.rs".into(),
        alice: HEXLOWER.encode(&[0xa1; 32]),
        bob: HEXLOWER.encode(&[0xb0; 32]),
        provider: NodeId::from_bytes([3; 32]),
        address: MailboxAddress::from_bytes([4; 32]),
        bundle_rng: String::new(),
        bundle: String::new(),
        k: String::new(),
        blob: String::new(),
        drop_id: String::new(),
        invitation: String::new(),
        steps: Vec::new(),
        items: Vec::new(),
    };
    let mut rig = Rig::new(&t, &mut rng);
    let key = rig.bundle.invitation_key();
    t.bundle_rng = rng.take();
    t.bundle = HEXLOWER.encode(&rig.bundle.to_bytes());
    t.k = HEXLOWER.encode(key.expose());
    t.blob = HEXLOWER.encode(seal_bundle(&rig.bundle).as_slice());
    t.drop_id = HEXLOWER.encode(key.drop_id().as_bytes());
    let provider = t.provider;
    t.invitation = Invitation { provider, key }.to_string();

    let mut flying: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut plan = vec![("initiate", "alice", 0), ("accept", "bob", 0)];
    for _ in 0..120 {
        let (who, other) = [("alice", "bob"), ("bob", "alice")][(dice.next_u32() % 2) as usize];
        let waiting = flying.entry(who).or_default();
        if dice.next_u32() % 100 < 38 || waiting.is_empty() {
            let number = 1 + plan.iter().filter(|step| step.0 == "seal").count();
            plan.push(("seal", who, number));
            flying.entry(other).or_default().push(number);
        } else {
            let item = waiting.swap_remove(dice.next_u32() as usize % waiting.len());
            match dice.next_u32() % 6 {
                0 => {}
                1 => plan.extend([("open", who, item), ("refuse", who, item)]),
                _ => plan.push(("open", who, item)),
            }
        }
    }
    for (verb, who, item) in plan {
        run(&mut rig, &mut t, verb, who, item, &mut rng);
    }
    t
}

fn run(rig: &mut Rig, t: &mut Transcript, verb: &str, who: &str, item: usize, rng: &mut Draws) {
    let mut step = Step {
        verb: verb.into(),
        who: who.into(),
        item,
        error: None,
        rng: String::new(),
    };
    if item == t.items.len() {
        let length = if item == 0 { 207 } else { item * 97 % 1361 };
        t.items.push(Text {
            device: 9,
            consensus: ConsensusHash::from_bytes([item as u8; 32]),
            body: HEXLOWER.encode(&vec![item as u8; length]),
            bytes: String::new(),
        });
    }
    match rig.perform(&step, &t.items[item], rng) {
        Gave::Item(sealed) => t.items[item].bytes = HEXLOWER.encode(sealed.as_bytes()),
        Gave::Text(text) => assert!(verb != "refuse" && text == t.items[item].plaintext()),
        Gave::Nothing(error) => {
            assert_eq!(verb, "refuse");
            step.error = Some(error.to_string());
        }
    }
    step.rng = rng.take();
    t.steps.push(step);
}

#[test]
fn the_committed_transcript_is_what_this_crate_writes_and_replays() {
    let transcript = walk();
    if std::env::var_os("WHIST_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&transcript).unwrap() + "\n";
        std::fs::write(folder().join("transcripts/rust_walk.json"), text).unwrap();
    }
    let opened = transcript
        .steps
        .iter()
        .filter(|step| step.verb == "open")
        .count();
    assert!(opened > 30, "{opened}");
    assert!(transcript == read("rust_walk.json"));
    replay(&transcript);
}

#[test]
fn the_python_peer_accepts_what_this_crate_wrote() {
    let python = |arguments: &[&str]| {
        Command::new("python3")
            .args(arguments)
            .current_dir(folder())
            .output()
    };
    let usable = python(&["-c", "import blake3, cryptography, kyber_py, nacl"]);
    if !usable.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: python3 with tests/peer/requirements.txt is not installed");
        return;
    }
    let check = |file: &str| python(&["peer/peer.py", "check", file]).unwrap();
    let output = check("transcripts/rust_walk.json");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");

    // The control: one flipped bit of one item, and the peer objects.
    let mut altered = read("rust_walk.json");
    let last = altered.items.len() - 1;
    let mut item = unhex(&altered.items[last].bytes);
    item[700] ^= 1;
    altered.items[last].bytes = HEXLOWER.encode(&item);
    let file = std::env::temp_dir().join(format!("whist-altered-{}.json", std::process::id()));
    std::fs::write(&file, serde_json::to_string(&altered).unwrap()).unwrap();
    let refused = check(file.to_str().unwrap());
    std::fs::remove_file(&file).unwrap();
    assert!(!refused.status.success());
}
