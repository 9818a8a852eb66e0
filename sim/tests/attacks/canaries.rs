//! Row 17: no secret, address, id or text is in a log, in metrics, on a disk in clear, in a core
//! file or on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand_core::SeedableRng as _;
use whist::rows::Table;
use whist::vault::{Credential, Vault};
use whist_rt::io::{AsyncReadExt, AsyncWriteExt};
use whist_rt::raw::{TcpListener, TcpStream};
use whist_rt::task;
use whist_sim::testnet::canary::{Hunt, forms};
use whist_sim::testnet::{Kind, Person, Plan, Program, Testnet, metrics_text, until};
use whist_timing::Rng;

/// A piece of a row that is looked for. What is twice as long holds one wherever it begins.
const PIECE_BYTES: usize = 16;
/// Fewer different bytes than this are a counter or padding, and no secret.
const DIFFERENT: usize = 11;
/// Rows of these hold what nobody else may learn: keys, addresses, ids, texts, names.
const SECRET: [Table; 11] = [
    Table::Contact,
    Table::Session,
    Table::Outbox,
    Table::Message,
    Table::Fragment,
    Table::Inbox,
    Table::History,
    Table::Mailbox,
    Table::Invitation,
    Table::Pending,
    Table::Early,
];
const TEXTS: [&str; 2] = [
    "a text: kvintillion-quahog-7d1f",
    "another: zephyr-gnomon-5b2e",
];
const NAMES: [&str; 2] = ["contact-bob-nonpareil-91", "contact-alice-umlaut-37"];

/// Where programs would leave their core files, in the network's folder.
const CORES: &str = "cores";

fn everybody(net: &Testnet) -> Vec<String> {
    let kinds = [Kind::Authority, Kind::Mix, Kind::Provider];
    kinds.map(|kind| net.names(kind)).concat()
}

/// A folder's files with their contents, folder for folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// What the vault of a person holds now, while no daemon has it open.
fn pieces(person: &Person, passphrase: &str, nodes: &[u8]) -> BTreeSet<Vec<u8>> {
    let by = Credential::from(passphrase.as_bytes());
    let vault = Vault::open(person.home(), &by, Rng::seed_from_u64(17)).unwrap();
    let rows = vault.load().unwrap();
    let of = |tables: &[Table]| {
        let rows = rows.all().filter(|(table, ..)| tables.contains(table));
        rows.flat_map(|(_, key, value)| [key.to_vec(), value.to_vec()])
            .collect::<Vec<_>>()
    };
    // Ids and keys of nodes, which everybody knows, stand in the documents.
    let public = [of(&[Table::Documents]).concat(), nodes.to_vec()].concat();
    let public: BTreeSet<_> = public.windows(PIECE_BYTES).collect();
    let secret = of(&SECRET);
    let pieces = secret.iter().flat_map(|row| row.chunks_exact(PIECE_BYTES));
    let telling = |piece: &&[u8]| piece.iter().collect::<BTreeSet<_>>().len() >= DIFFERENT;
    let pieces = pieces
        .filter(telling)
        .filter(|piece| !public.contains(*piece));
    pieces.map(<[u8]>::to_vec).collect()
}

/// One place where nothing may be, as bytes.
type Places = BTreeMap<&'static str, Vec<Vec<u8>>>;

fn logs(programs: &[&Program]) -> Vec<Vec<u8>> {
    let all = programs
        .iter()
        .map(|program| program.all_lines().join("\n"));
    all.map(String::into_bytes).collect()
}

async fn all_metrics(net: &Testnet, also: &[std::net::SocketAddr]) -> Vec<Vec<u8>> {
    let names = everybody(net);
    let of = |name: &String| net.shows_metrics(name).unwrap();
    let mut texts = Vec::new();
    for address in names.iter().map(of).chain(also.iter().copied()) {
        texts.push(metrics_text(address).await.unwrap().into_bytes());
    }
    texts
}

/// Serves one text to whoever asks for metrics.
async fn serve(text: Vec<u8>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 256];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(&text).await;
        }
    });
    address
}

struct Scene {
    net: Testnet,
    people: [Person; 2],
    hunt: Hunt,
    own: BTreeMap<Vec<u8>, PathBuf>,
}

impl Scene {
    async fn start() -> Self {
        let plan = Plan {
            mixes: 3,
            // Fewer loops, so that less is written down.
            parameters: "mix_loop_mean_ms = 1000".to_owned(),
            log: "trace".to_owned(),
            ..Plan::default()
        };
        let mut net = Testnet::prepare(&plan, &[]).await.unwrap();
        net.recorder().keep_bytes();
        let cores = net.folder().join(CORES);
        std::fs::create_dir(&cores).unwrap();
        for name in everybody(&net) {
            net.program(&name).unwrap().set_folder(&cores);
        }
        net.start_all().await.unwrap();
        net.ready().await.unwrap();
        let mut people = Vec::new();
        for name in ["alice", "bob"] {
            let mut person = Person::init(&net, name).await.unwrap();
            person.daemon().set_option("--log", "trace");
            person.daemon().set_folder(&cores);
            person.start().await.unwrap();
            people.push(person);
        }
        let people = people.try_into().ok().unwrap();
        let mut scene = Self {
            net,
            people,
            hunt: Hunt::default(),
            own: BTreeMap::new(),
        };
        scene.look_for_what_is_known();
        scene
    }

    /// Secrets of nodes, in files of their own, and what people know.
    fn look_for_what_is_known(&mut self) {
        for text in TEXTS.into_iter().chain(NAMES) {
            self.hunt.add(text, text.as_bytes());
        }
        for name in ["alice", "bob"] {
            self.hunt.add(
                "a passphrase",
                format!("the passphrase of {name}").as_bytes(),
            );
        }
        for name in everybody(&self.net) {
            for (path, bytes) in files(self.net.state_dir(&name).unwrap()) {
                let is_key = path.extension().is_some_and(|extension| extension == "key");
                if is_key && bytes.len() >= PIECE_BYTES {
                    let secret = bytes[bytes.len() - PIECE_BYTES..].to_vec();
                    self.hunt.add(&format!("a key of {name}"), &secret);
                    self.own.insert(secret, path);
                }
            }
        }
        assert!(self.own.len() >= 8, "{:?}", self.own.values());
    }

    async fn talk(&mut self) -> String {
        let [alice, bob] = &mut self.people;
        let invitation = alice.invite(NAMES[0]).await.unwrap();
        bob.add(NAMES[1], &invitation).await.unwrap();
        bob.send(NAMES[1], TEXTS[0]).await.unwrap();
        assert_eq!(alice.receive().await.unwrap()[0].1, TEXTS[0]);
        alice.send(NAMES[0], TEXTS[1]).await.unwrap();
        invitation
    }

    /// Ends programs as a crash does, in the way that writes a core file where one may be, and
    /// looks at what they would take up again.
    async fn crash(&mut self) {
        for name in ["mix-1", "provider-1", "authority-1"] {
            let program = self.net.program(name).unwrap();
            assert!(!program.crash().await.unwrap(), "{name} left a core");
            self.net.restart(name).await.unwrap();
        }
        let nodes = [Kind::Mix, Kind::Provider]
            .map(|kind| self.net.names(kind))
            .concat();
        let id = |name: &String| *self.net.identity(name).unwrap().node_id().as_bytes();
        let nodes: Vec<u8> = nodes.iter().flat_map(id).collect();
        for (person, name) in self.people.iter_mut().zip(["alice", "bob"]) {
            let core = person.daemon().crash().await.unwrap();
            assert!(!core, "{name} left a core");
            let found = pieces(person, &format!("the passphrase of {name}"), &nodes);
            assert!(found.len() > 50, "{} pieces of {name}'s vault", found.len());
            for piece in found {
                self.hunt.add(&format!("{name}'s vault"), &piece);
            }
            person.start().await.unwrap();
        }
        assert_eq!(self.people[1].receive().await.unwrap()[0].1, TEXTS[1]);
    }

    /// Everything that was written anywhere.
    async fn places(&mut self, planted: &Plants) -> Places {
        let names = everybody(&self.net);
        let mut places = Places::new();
        let mut written = Vec::new();
        for name in &names {
            written.extend(logs(&[self.net.program(name).unwrap()]));
        }
        for person in &mut self.people {
            written.extend(logs(&[person.daemon()]));
        }
        written.extend(logs(&planted.log.iter().collect::<Vec<_>>()));
        places.insert("logs", written);
        places.insert("metrics", all_metrics(&self.net, &planted.metrics).await);
        let disks = names
            .iter()
            .flat_map(|name| files(self.net.state_dir(name).unwrap()));
        let own: BTreeSet<_> = self.own.values().cloned().collect();
        let disks = disks.filter(|(path, _)| !own.contains(path));
        places.insert("disks of nodes", disks.map(|(_, bytes)| bytes).collect());
        let homes = self.people.iter().flat_map(|person| files(person.home()));
        places.insert("disks of clients", homes.map(|(_, bytes)| bytes).collect());
        let cores = files(&self.net.folder().join(CORES));
        places.insert("core files", cores.into_values().collect());
        places.insert("recordings", self.net.recorder().bytes());
        places
    }
}

/// Canaries that the test itself puts into each place, to see that they are found there.
#[derive(Default)]
struct Plants {
    log: Option<Program>,
    metrics: Vec<std::net::SocketAddr>,
}

const PLANTED: [u8; 20] = *b"planted canary \x07\x80\xfe\xff!";

async fn plant(scene: &Scene) -> Plants {
    let mut all = Vec::new();
    for (_, form) in forms(&PLANTED) {
        all.extend([&b"<"[..], &form, &b">\n"[..]].concat());
    }
    let cores = scene.net.folder().join(CORES);
    for folder in [
        scene.net.state_dir("provider-1").unwrap(),
        scene.net.state_dir("mix-1").unwrap(),
        scene.people[0].home(),
        &cores,
    ] {
        std::fs::write(folder.join("planted"), &all).unwrap();
    }
    let flows = scene.net.recorder().bytes().len();
    let near = scene.net.proxy("mix-1").unwrap().address();
    let mut stream = TcpStream::connect(near).await.unwrap();
    stream.write_all(&all).await.unwrap();
    let recorded = || async { (scene.net.recorder().bytes().len() > flows).then_some(()) };
    until("a planted recording", recorded).await.unwrap();
    // Lines of a log and metrics are text: what is raw in them is seen as lossy as it is there.
    let mut text = all.clone();
    text.retain(u8::is_ascii);
    let (head, planted) = (
        b"HTTP/1.0 200 OK\r\n\r\n".to_vec(),
        scene.net.folder().join("planted"),
    );
    std::fs::write(&planted, &text).unwrap();
    let path = planted.display().to_string();
    let mut log = Program::new(
        "planter",
        "/bin/sh".into(),
        &["-c", &format!("cat {path} >&2")],
    );
    log.start().unwrap();
    log.ended().await.unwrap();
    Plants {
        log: Some(log),
        metrics: vec![serve([head, text].concat()).await],
    }
}

#[test]
#[ignore = "long: run by .ci/full attacks"]
fn no_secret_address_id_or_text_is_in_logs_metrics_disks_core_files_or_recordings() {
    let test = async {
        let mut scene = Scene::start().await;
        let invitation = scene.talk().await;
        let secret = invitation.rsplit(':').next().unwrap().as_bytes().to_vec();
        scene.hunt.add("an invitation", &secret);
        scene.crash().await;
        let lines = scene.net.program("authority-1").unwrap().all_lines();
        let deep = lines.iter().any(|line| line.contains("took a descriptor"));
        assert!(deep, "it does not log what it logs below info: {lines:?}");
        for (place, contents) in scene.places(&Plants::default()).await {
            let empty = contents.iter().all(Vec::is_empty);
            assert_eq!(empty, place == "core files", "{place}");
            for bytes in contents {
                let hits = scene.hunt.hits(&bytes);
                assert!(hits.is_empty(), "{place}: {hits:?}");
            }
        }

        let planted = plant(&scene).await;
        let mut control = Hunt::default();
        control.add("planted", &PLANTED);
        let all = forms(&PLANTED);
        for (place, contents) in scene.places(&planted).await {
            let hits: BTreeSet<_> = contents
                .iter()
                .flat_map(|bytes| control.hits(bytes))
                .collect();
            let text = ["logs", "metrics"].contains(&place);
            for (form, _) in all.iter().filter(|(form, _)| !(text && *form == "raw")) {
                let name = format!("planted, {form}");
                assert!(hits.contains(name.as_str()), "{form} in {place}: {hits:?}");
            }
        }
    };
    whist_rt::block_on(test).unwrap();
}
