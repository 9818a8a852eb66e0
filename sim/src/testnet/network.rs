//! A network of processes.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use whist_netdoc::Network;
use whist_rt::sync::Semaphore;
use whist_rt::{Clock, wall};
use whist_types::{EpochSchedule, Family, IdentityKey};

use super::plan::{Guest, Kind, Plan};
use super::program::run;
use super::proxy::{Proxy, Recorder};
use super::{Fault, Folder, Metrics, Program, free_port, programs, read_metrics, until};

struct Node {
    kind: Kind,
    program: Program,
    proxy: Proxy,
    config: PathBuf,
    state_dir: PathBuf,
    tag_dir: PathBuf,
    listen: SocketAddr,
    metrics: SocketAddr,
    /// What `init` printed.
    public: String,
}

/// The first lines of what `whist-mix init` and `whist-provider init` print.
#[derive(Deserialize)]
struct Public {
    identity: IdentityKey,
}

/// A network of real programs on loopback, each listener behind a recording proxy. Everything ends
/// when this is dropped, and its folders go.
pub struct Testnet {
    folder: Folder,
    memory: Folder,
    binaries: PathBuf,
    recorder: Recorder,
    nodes: BTreeMap<String, Node>,
    schedule: EpochSchedule,
    /// Held until everything else is gone.
    _turn: Turn,
}

/// One network at a time in each process: tests run on several threads, and a machine that is too
/// busy shows nothing.
type Turn = Box<dyn Any + Send + Sync>;

async fn turn() -> Result<Turn, Fault> {
    static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1)));
    let permit = Arc::clone(&TURNS).acquire_owned().await;
    permit
        .map(|permit| -> Turn { Box::new(permit) })
        .map_err(|error| Fault::new(error.to_string()))
}

impl Testnet {
    /// Builds the programs, makes their keys and files, and starts them all. The test's own nodes
    /// (`guests`) are admitted and may come up later.
    ///
    /// # Errors
    /// [`Fault`], with the words of the program that failed.
    pub async fn start(plan: &Plan, guests: &[Guest]) -> Result<Self, Fault> {
        let mut net = Self::prepare(plan, guests).await?;
        net.start_all().await?;
        Ok(net)
    }

    /// The start alone, after [`Testnet::prepare`].
    ///
    /// # Errors
    /// [`Fault`], with the words of the program that failed.
    pub async fn start_all(&mut self) -> Result<(), Fault> {
        let names: Vec<_> = self.nodes.keys().cloned().collect();
        for name in &names {
            self.program(name)?.start()?;
        }
        for name in &names {
            self.up(name).await?;
        }
        Ok(())
    }

    /// All of [`Testnet::start`] but the start: keys, files, and nothing that runs.
    ///
    /// # Errors
    /// [`Fault`], with the words of the program that failed.
    pub async fn prepare(plan: &Plan, guests: &[Guest]) -> Result<Self, Fault> {
        let mut net = Self {
            _turn: turn().await?,
            folder: Folder::new(&std::env::temp_dir())?,
            memory: Folder::new(Path::new("/dev/shm"))?,
            binaries: programs()?,
            recorder: Recorder::new(Clock::start()),
            nodes: BTreeMap::new(),
            schedule: EpochSchedule {
                genesis_ms: 0,
                epoch_ms: 1,
                key_window_ms: 0,
            },
        };
        let counts = [
            (Kind::Authority, plan.authorities),
            (Kind::Mix, plan.mixes),
            (Kind::Provider, plan.providers),
        ];
        for (kind, count) in counts {
            for number in 1..=count {
                net.init(kind, number, plan).await?;
            }
        }
        net.admit(guests)?;
        net.found(plan, guests).await?;
        Ok(net)
    }

    /// Writes the node's file, runs its `init`, and puts a proxy before it.
    async fn init(&mut self, kind: Kind, number: usize, plan: &Plan) -> Result<(), Fault> {
        let name = format!("{}-{number}", kind.name());
        let (listen, metrics) = (free_port()?, free_port()?);
        let (listener, advertise) = Proxy::bind().await?;
        let proxy = Proxy::start(listener, listen, &name, self.recorder.clone())?;
        let config = self.folder.join(&format!("{name}.toml"));
        let (state_dir, tag_dir) = (self.folder.join(&name), self.memory.join(&name));
        let mut text = format!(
            "state_dir = {state_dir:?}\nlisten = \"{listen}\"\nadvertise = \"{advertise}\"\n\
             network = {:?}\nmetrics = \"{metrics}\"\nlog = {:?}\n",
            self.network(),
            plan.log
        );
        text.push_str(&match kind {
            Kind::Authority => format!(
                "admit = {:?}\ndemo = true\n[parameters]\n{}\n",
                self.folder.join("admit.toml"),
                plan.parameters
            ),
            Kind::Mix | Kind::Provider => format!(
                "tag_dir = {tag_dir:?}\nfamily = \"{}\"\npackets_per_s = {}\ntable_tags = {}\n",
                Self::family(&name),
                plan.packets_per_s,
                plan.table_tags
            ),
        });
        std::fs::write(&config, text)?;
        let binary = self.binaries.join(kind.program());
        let path = config.display().to_string();
        let ended = run(&binary, &["init", "--config", &path]).await?;
        if ended.code != Some(0) {
            return Err(Fault::new(format!("{name}: init: {}", ended.stderr)));
        }
        std::fs::write(self.folder.join(&format!("{name}.public")), &ended.stdout)?;
        let arguments = ["run", "--config", &path, "--debug-build"];
        let node = Node {
            kind,
            program: Program::new(&name, binary, &arguments),
            proxy,
            config,
            state_dir,
            tag_dir,
            listen,
            metrics,
            public: ended.stdout,
        };
        self.nodes.insert(name, node);
        Ok(())
    }

    /// The family of a node of this name: everybody is an operator of his own.
    pub fn family(name: &str) -> Family {
        Family::from_bytes(blake3::derive_key(
            "whist 2026 testnet family v1",
            name.as_bytes(),
        ))
    }

    fn admit(&self, guests: &[Guest]) -> Result<(), Fault> {
        let own = self
            .nodes
            .values()
            .filter(|node| node.kind != Kind::Authority)
            .map(Node::identity)
            .collect::<Result<Vec<_>, _>>()?;
        let identities = own
            .into_iter()
            .chain(guests.iter().map(|guest| guest.identity));
        let quoted: Vec<_> = identities
            .map(|identity| format!("\"{identity}\""))
            .collect();
        let text = format!("admit = [{}]\n", quoted.join(", "));
        Ok(std::fs::write(self.folder.join("admit.toml"), text)?)
    }

    /// Runs `whist-directory network`. Epoch 0 starts now, so that descriptors are in time for 1.
    async fn found(&mut self, plan: &Plan, guests: &[Guest]) -> Result<(), Fault> {
        let mut arguments = vec!["network".to_owned(), "--demo".to_owned()];
        for (name, node) in &self.nodes {
            let option = match node.kind {
                Kind::Authority => "--authority",
                Kind::Provider => "--provider",
                Kind::Mix => continue,
            };
            let public = self.folder.join(&format!("{name}.public"));
            arguments.extend([option.to_owned(), public.display().to_string()]);
        }
        for (number, bootstrap) in guests
            .iter()
            .filter_map(|g| g.bootstrap.as_ref())
            .enumerate()
        {
            let path = self.folder.join(&format!("guest-{number}.public"));
            let text = toml::to_string(bootstrap).map_err(|e| Fault::new(e.to_string()))?;
            std::fs::write(&path, text)?;
            arguments.extend(["--provider".to_owned(), path.display().to_string()]);
        }
        let changes = self.folder.join("parameters.toml");
        std::fs::write(&changes, &plan.parameters)?;
        for (option, value) in [
            ("--parameters", changes.display().to_string()),
            ("--out", self.network().display().to_string()),
            ("--genesis-ms", wall().as_millis().to_string()),
        ] {
            arguments.extend([option.to_owned(), value]);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let ended = run(&self.binaries.join("whist-directory"), &arguments).await?;
        if ended.code != Some(0) {
            return Err(Fault::new(format!("network: {}", ended.stderr)));
        }
        self.schedule = self.trusted()?.schedule;
        Ok(())
    }

    // What is where.

    /// The path of `network.toml`.
    pub fn network(&self) -> PathBuf {
        self.folder.join("network.toml")
    }

    /// What stands in it.
    ///
    /// # Errors
    /// If it does not parse.
    pub fn trusted(&self) -> Result<Network, Fault> {
        let text = std::fs::read_to_string(self.network())?;
        Network::parse(&text).map_err(|error| Fault::new(error.to_string()))
    }

    /// The schedule of the epochs.
    pub const fn schedule(&self) -> &EpochSchedule {
        &self.schedule
    }

    /// What the proxies saw.
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The folder of the programs.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// A folder of the network's, on a disk.
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The names of all programs of a kind.
    pub fn names(&self, kind: Kind) -> Vec<String> {
        let of_kind = self.nodes.iter().filter(|(_, node)| node.kind == kind);
        of_kind.map(|(name, _)| name.clone()).collect()
    }

    fn node(&self, name: &str) -> Result<&Node, Fault> {
        let missing = || Fault::new(format!("no node {name}"));
        self.nodes.get(name).ok_or_else(missing)
    }

    /// A program by its name.
    ///
    /// # Errors
    /// If there is none.
    pub fn program(&mut self, name: &str) -> Result<&mut Program, Fault> {
        let missing = || Fault::new(format!("no node {name}"));
        let node = self.nodes.get_mut(name).ok_or_else(missing)?;
        Ok(&mut node.program)
    }

    /// The identity key of a mix or provider.
    ///
    /// # Errors
    /// If there is none.
    pub fn identity(&self, name: &str) -> Result<IdentityKey, Fault> {
        self.node(name)?.identity()
    }

    /// The TOML file of a program.
    ///
    /// # Errors
    /// If there is none.
    pub fn config(&self, name: &str) -> Result<&Path, Fault> {
        Ok(&self.node(name)?.config)
    }

    /// The state folder of a program.
    ///
    /// # Errors
    /// If there is none.
    pub fn state_dir(&self, name: &str) -> Result<&Path, Fault> {
        Ok(&self.node(name)?.state_dir)
    }

    /// The folder of a program's keys in service.
    ///
    /// # Errors
    /// If there is none.
    pub fn tag_dir(&self, name: &str) -> Result<&Path, Fault> {
        Ok(&self.node(name)?.tag_dir)
    }

    /// Where a program listens, behind its proxy.
    ///
    /// # Errors
    /// If there is none.
    pub fn listens(&self, name: &str) -> Result<SocketAddr, Fault> {
        Ok(self.node(name)?.listen)
    }

    /// Where a program shows its metrics.
    ///
    /// # Errors
    /// If there is none.
    pub fn shows_metrics(&self, name: &str) -> Result<SocketAddr, Fault> {
        Ok(self.node(name)?.metrics)
    }

    /// The proxy before a program, to delay and to cut.
    ///
    /// # Errors
    /// If there is none.
    pub fn proxy(&self, name: &str) -> Result<&Proxy, Fault> {
        Ok(&self.node(name)?.proxy)
    }

    // What happens.

    /// Starts a program again that was killed or has ended.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart(&mut self, name: &str) -> Result<(), Fault> {
        self.program(name)?.start()?;
        self.up(name).await
    }

    /// Waits until a program serves.
    async fn up(&mut self, name: &str) -> Result<(), Fault> {
        let node = self.nodes.get_mut(name);
        let node = node.ok_or_else(|| Fault::new(format!("no node {name}")))?;
        let (metrics, program) = (node.metrics, &mut node.program);
        let served = until("a metrics port that answers", || {
            let died = program.has_died();
            async move {
                read_metrics(metrics)
                    .await
                    .map(|_| true)
                    .or(died.then_some(false))
            }
        });
        match served.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(program.fault("has ended")),
            Err(fault) => Err(program.fault(&fault.to_string())),
        }
    }

    /// Waits until a metric of a program is at least `value`.
    ///
    /// # Errors
    /// If it does not get there.
    pub async fn reaches(&self, name: &str, metric: &str, value: f64) -> Result<f64, Fault> {
        let node = self.node(name)?;
        let address = node.metrics;
        let what = format!("{metric} of at least {value}");
        let reached = until(&what, || async move {
            let metrics = read_metrics(address).await?;
            metrics.value(metric).filter(|now| *now >= value)
        });
        reached
            .await
            .map_err(|fault| node.program.fault(&fault.to_string()))
    }

    /// A program's metrics.
    ///
    /// # Errors
    /// If its port does not answer.
    pub async fn metrics(&self, name: &str) -> Result<Metrics, Fault> {
        let node = self.node(name)?;
        let metrics = read_metrics(node.metrics).await;
        metrics.ok_or_else(|| node.program.fault("no metrics"))
    }

    /// Waits until every node is listed, holds keys in service, and is linked to the next layer.
    ///
    /// # Errors
    /// If one does not get there.
    pub async fn ready(&self) -> Result<(), Fault> {
        for name in self.names(Kind::Mix) {
            self.reaches(&name, "whist_mix_layer", 1.0).await?;
            self.reaches(&name, "whist_mix_keys_in_service", 1.0)
                .await?;
            self.reaches(&name, "whist_mix_links_out", 1.0).await?;
        }
        for name in self.names(Kind::Provider) {
            self.reaches(&name, "whist_provider_listed", 1.0).await?;
            self.reaches(&name, "whist_provider_keys_in_service", 1.0)
                .await?;
            self.reaches(&name, "whist_provider_links_out", 1.0).await?;
        }
        Ok(())
    }
}

impl Node {
    fn identity(&self) -> Result<IdentityKey, Fault> {
        let public: Public = toml::from_str(&self.public)
            .map_err(|error| Fault::new(format!("what init printed: {error}")))?;
        Ok(public.identity)
    }
}
