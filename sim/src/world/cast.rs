//! A whole network in the world, from a [`Blueprint`].

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::SeedableRng as _;
use whist::call::Call;
use whist::rows::Rows;
use whist::{Answer, Client, Command, Event, first_rows};
use whist_directory::{Authority, Saved};
use whist_mix::MixNode;
use whist_netdoc::{Follower, Network};
use whist_packet::keyring::MemoryKeyStore;
use whist_provider::Provider;
use whist_provider::clerk::Clerk;
use whist_provider::store::Memory;
use whist_timing::{Rng, tick_rng};
use whist_types::Instant;

use crate::network::{Blueprint, TABLE_TAGS, Who};
use crate::testnet::Fault;

use super::machines::{
    AuthorityDisk, AuthorityHost, ClientDisk, ClientHost, MixHost, NodeDisk, ProviderHost, downcast,
};
use super::memory::Tmpfs;
use super::{Actor, ActorId, LinkLaw, Place, World};

/// How long a write of the world's disks takes, unless a test says otherwise.
const DISK: Duration = Duration::from_millis(2);
/// The wire of the world, unless a test says otherwise.
const WIRE: Duration = Duration::from_millis(1);

/// What one machine keeps while its program does not run.
#[derive(Default)]
struct Machine {
    tmpfs: Tmpfs,
    keys: Option<MemoryKeyStore>,
    store: Memory,
    directory: Option<Vec<u8>>,
    saved: Saved,
    rows: Option<Rows>,
    starts: u64,
}

/// A network in the world.
pub struct Cast {
    /// Its world.
    pub world: World,
    /// Its plan.
    pub blueprint: Blueprint,
    /// How long a write takes.
    pub disk_delay: Duration,
    network: Network,
    machines: BTreeMap<Who, Machine>,
    ids: BTreeMap<Who, ActorId>,
    asked: u64,
}

impl Cast {
    /// Authorities, mixes and providers, started at genesis.
    ///
    /// # Errors
    /// If one of them does not start with this blueprint.
    pub fn new(blueprint: Blueprint) -> Result<Self, Fault> {
        let network = blueprint.network(|who| format!("{who}:1"));
        let seed = blueprint.secret(Who::Authority(0), "world");
        let world = World::new(seed, blueprint.genesis, LinkLaw::after(WIRE));
        let mut cast = Self {
            world,
            network,
            disk_delay: DISK,
            machines: BTreeMap::new(),
            ids: BTreeMap::new(),
            asked: 0,
            blueprint,
        };
        for who in cast.blueprint.listeners().collect::<Vec<_>>() {
            cast.start(who)?;
        }
        Ok(cast)
    }

    /// The actor of `who`.
    pub fn id(&self, who: Who) -> Option<ActorId> {
        self.ids.get(&who).copied()
    }

    /// What everybody was given as `network.toml`.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Starts (again) the program of `who` with what its machine kept.
    ///
    /// # Errors
    /// If it refuses to start.
    pub fn start(&mut self, who: Who) -> Result<(), Fault> {
        let mut machine = self.machines.remove(&who).unwrap_or_default();
        machine.starts = machine.starts.saturating_add(1);
        let actor = self.build(who, &mut machine);
        self.machines.insert(who, machine);
        let actor = actor?;
        if let Some(id) = self.id(who) {
            self.world.start(id, actor);
            return Ok(());
        }
        let client = matches!(who, Who::Client(_));
        let place = Place {
            name: who.to_string(),
            address: (!client).then(|| format!("{who}:1")),
            key: (!client).then(|| self.blueprint.link_key(who)),
        };
        let id = self.world.add(place, actor);
        self.ids.insert(who, id);
        Ok(())
    }

    fn build(&self, who: Who, machine: &mut Machine) -> Result<Box<dyn Actor>, Fault> {
        let now = self.world.now();
        let seed = self
            .blueprint
            .secret(who, &format!("run {}", machine.starts));
        let address = format!("{who}:1");
        let refused =
            |error: &dyn std::fmt::Display| Fault::new(format!("{who} does not start: {error}"));
        let node_disk = |machine: &mut Machine| NodeDisk {
            delay: self.disk_delay,
            directory: machine.directory.clone(),
            keys: machine.keys.take().unwrap_or_default(),
            store: machine.store.clone(),
            ..NodeDisk::default()
        };
        Ok(match who {
            Who::Authority(i) => {
                let setup = self.blueprint.authority(i, &self.network);
                let saved = std::mem::take(&mut machine.saved);
                let role = Authority::new(setup, &saved, &seed).map_err(|error| refused(&error))?;
                let disk = AuthorityDisk {
                    delay: self.disk_delay,
                    saved,
                    ..Default::default()
                };
                Box::new(AuthorityHost::new(role, disk))
            }
            Who::Mix(i) => {
                let len = whist_mix::region_bytes(TABLE_TAGS);
                let regions = [machine.tmpfs.region(0, len), machine.tmpfs.region(1, len)];
                let (follower, mut disk) = (self.follower(machine), node_disk(machine));
                let config = self.blueprint.mix(i, address);
                let keys = &mut disk.keys;
                let role = MixNode::new(config, follower, regions, keys, &seed, now)
                    .map_err(|error| refused(&error))?;
                Box::new(MixHost::new(role, disk))
            }
            Who::Provider(i) => {
                let len = whist_provider::region_bytes(TABLE_TAGS);
                let regions = [machine.tmpfs.region(0, len), machine.tmpfs.region(1, len)];
                let (follower, mut disk) = (self.follower(machine), node_disk(machine));
                let config = self.blueprint.provider(i, address);
                let quota = self
                    .blueprint
                    .secret(who, &format!("desk {}", machine.starts));
                let mut rng = Rng::from_seed(*quota.expose());
                let store = machine.store.clone();
                let desk = Clerk::new(store, config.store_rows, &mut rng);
                disk.desk = Some(desk.map_err(|error| refused(&error))?);
                let keys = &mut disk.keys;
                let role = Provider::new(config, follower, regions, keys, &seed, now)
                    .map_err(|error| refused(&error))?;
                Box::new(ProviderHost::new(role, disk))
            }
            Who::Client(_) => {
                let rows = machine.rows.take().unwrap_or_else(|| self.first_rows(who));
                let role = Client::new(now, &seed, &rows).map_err(|error| refused(&error))?;
                let disk = ClientDisk {
                    delay: self.disk_delay,
                    rows,
                    ..Default::default()
                };
                Box::new(ClientHost::new(role, disk))
            }
        })
    }

    fn first_rows(&self, who: Who) -> Rows {
        let mut rng = tick_rng(&self.blueprint.secret(who, "first rows"), "sim", 0);
        first_rows(&self.network, 1, self.world.now().wall, &mut rng)
    }

    fn follower(&self, machine: &Machine) -> Follower {
        let trusted = self.network.trusted();
        let kept = machine.directory.as_deref();
        kept.and_then(|bytes| Follower::from_bytes(trusted.clone(), bytes).ok())
            .unwrap_or_else(|| Follower::new(trusted))
    }

    /// Ends the program of `who` as `kill -9` does. Its tmpfs and what was durable stay.
    pub fn kill(&mut self, who: Who) {
        let now = self.world.now();
        let Some(actor) = self.id(who).and_then(|id| self.world.kill(id)) else {
            return;
        };
        let machine = self.machines.entry(who).or_default();
        match who {
            Who::Authority(_) => {
                let Some(mut host) = downcast::<AuthorityHost>(actor) else {
                    return;
                };
                super::Environment::settle(&mut host.environment, now);
                machine.saved = host.environment.saved;
            }
            Who::Mix(_) => {
                let Some(mut host) = downcast::<MixHost>(actor) else {
                    return;
                };
                type Role = MixNode<super::memory::TmpfsRegion>;
                super::Environment::<Role>::settle(&mut host.environment, now);
                machine.directory = host.environment.directory;
                machine.keys = Some(host.environment.keys);
            }
            Who::Provider(_) => {
                let Some(mut host) = downcast::<ProviderHost>(actor) else {
                    return;
                };
                type Role = Provider<super::memory::TmpfsRegion>;
                super::Environment::<Role>::settle(&mut host.environment, now);
                machine.directory = host.environment.directory;
                machine.keys = Some(host.environment.keys);
                machine.store.crash();
            }
            Who::Client(_) => {
                let Some(mut host) = downcast::<ClientHost>(actor) else {
                    return;
                };
                super::Environment::settle(&mut host.environment, now);
                machine.rows = Some(host.environment.rows);
            }
        }
    }

    /// Kills and loses what was in memory, as a power cut does; `start` brings the machine back.
    pub fn reboot(&mut self, who: Who) {
        self.kill(who);
        if let Some(machine) = self.machines.get_mut(&who) {
            machine.tmpfs.wipe();
        }
    }

    /// The mix, while it runs.
    pub fn mix(&mut self, index: u8) -> Option<&mut MixHost> {
        self.world.actor(self.ids.get(&Who::Mix(index)).copied()?)
    }

    /// The provider, while it runs.
    pub fn provider(&mut self, index: u8) -> Option<&mut ProviderHost> {
        self.world
            .actor(self.ids.get(&Who::Provider(index)).copied()?)
    }

    /// The authority, while it runs.
    pub fn authority(&mut self, index: u8) -> Option<&mut AuthorityHost> {
        self.world
            .actor(self.ids.get(&Who::Authority(index)).copied()?)
    }

    /// The client, while it runs.
    pub fn client(&mut self, index: u8) -> Option<&mut ClientHost> {
        self.world
            .actor(self.ids.get(&Who::Client(index)).copied()?)
    }

    /// Gives a client a command, as its daemon does.
    pub fn tell(&mut self, index: u8, command: Command) {
        if let Some(id) = self.id(Who::Client(index)) {
            self.world
                .with::<ClientHost, ()>(id, |host, now| host.command(now, command));
        }
    }

    /// Asks a client for something; the answer comes as an event under the tag returned.
    pub fn ask(&mut self, index: u8, call: Call) -> u64 {
        self.asked = self.asked.saturating_add(1);
        let tag = self.asked;
        if let Some(id) = self.id(Who::Client(index)) {
            self.world.with::<ClientHost, ()>(id, |host, now| {
                host.command(now, Command::Ask { tag, call });
            });
        }
        tag
    }

    /// Asks and waits for the answer, for at most `limit` of virtual time.
    pub fn ask_and_wait(&mut self, index: u8, call: Call, limit: Duration) -> Option<Answer> {
        let tag = self.ask(index, call);
        let until = self.world.now().instant.after(limit);
        loop {
            let events = &self.client(index)?.environment.events;
            let answer = events.iter().rev().find_map(|(_, event)| match event {
                Event::Answer { tag: t, answer } if *t == tag => Some(answer.as_ref().clone().ok()),
                _ => None,
            });
            if let Some(answer) = answer {
                return answer;
            }
            if self.world.now().instant >= until {
                return None;
            }
            self.world.run_for(Duration::from_millis(50));
        }
    }

    /// Texts that a client received, with their times.
    pub fn received(&mut self, index: u8) -> Vec<(Instant, String)> {
        let Some(host) = self.client(index) else {
            return Vec::new();
        };
        let texts = host
            .environment
            .events
            .iter()
            .filter_map(|(at, event)| match event {
                Event::Received { text, .. } => Some((*at, text.to_string())),
                _ => None,
            });
        texts.collect()
    }
}
