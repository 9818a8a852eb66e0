//! Nodes that a test plays itself, with keys that it made and that the authorities admitted. They
//! speak the real protocol to the programs: they upload descriptors, follow the consensus, hold
//! links, pass on what is for others, answer requests, and hand in exactly the packets that the
//! test gives them, as often as it wants. Whatever they hand to the program under test is on the
//! stage's tape.

mod act;
mod relay;
mod stage;

use std::net::{Ipv4Addr, SocketAddr};

use whist_link::LinkIdentity;
use whist_netdoc::{Bootstrap, IdentitySecret, Kind, LinkSecret, TrustedAuthorities};
use whist_packet::Packet;
use whist_rt::task::{self, JoinHandle};
use whist_rt::{Clock, Commands, Driver, DriverOptions, Handle, Listener, RtError, Shutdown};
use whist_types::{NodeId, Now, Secret};

use super::{Fault, Guest, Testnet};
use act::{Act, Command, Keys};
use stage::Note;

pub use stage::{Seen, Stage, Taped, marked};

/// A node that the test will play: it has keys and an address, and no network yet.
pub struct Puppet {
    kind: Kind,
    name: String,
    keys: Keys,
    address: SocketAddr,
    listener: Listener,
}

impl Puppet {
    /// A mix or provider of this name; its keys follow from the name.
    ///
    /// # Errors
    /// If no port is free.
    pub fn new(name: &str, kind: Kind) -> Result<Self, Fault> {
        let key = |label| Secret::new(blake3::derive_key(label, name.as_bytes()));
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .map_err(|error| Fault::new(error.to_string()))?;
        Ok(Self {
            kind,
            name: name.to_owned(),
            keys: Keys {
                identity: key("whist 2026 puppet identity v1"),
                link: key("whist 2026 puppet link v1"),
                sphinx: key("whist 2026 puppet sphinx v1"),
            },
            address: listener.local_addr(),
            listener,
        })
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        IdentitySecret::from_seed(&self.keys.identity)
            .public()
            .node_id()
    }

    /// As which it is admitted.
    pub fn guest(&self) -> Guest {
        let identity = IdentitySecret::from_seed(&self.keys.identity).public();
        let bootstrap = (self.kind == Kind::Provider).then(|| Bootstrap {
            identity,
            link: LinkSecret::from_seed(&self.keys.link).public(),
            address: self.address.to_string(),
            family: Testnet::family(&self.name),
        });
        Guest {
            identity,
            bootstrap,
        }
    }

    /// Begins to play: with the network, beside the program `target`, which it dials if it stands
    /// in the layer before it.
    pub fn play(self, trusted: TrustedAuthorities, target: NodeId, stage: &Stage) -> Playing {
        let id = self.id();
        let identity = LinkIdentity::from_secret(&self.keys.link);
        let options = DriverOptions::node(Clock::start(), identity, self.listener);
        let act = Act::new(
            self.keys,
            self.kind,
            Testnet::family(&self.name),
            self.address.to_string(),
            trusted,
            target,
        );
        let (handle, commands): (Handle<Command>, Commands<Command>) = whist_rt::commands();
        let (stop, stage) = (Shutdown::new(), stage.clone());
        stage.enter(id, handle.clone());
        let effects = move |_: Now, note: Note| stage.note(id, note);
        let task = task::spawn(Driver::run(act, options, effects, commands, stop.clone()));
        Playing {
            id,
            handle,
            stop,
            task,
        }
    }
}

/// A puppet on stage; it leaves when this is dropped.
pub struct Playing {
    id: NodeId,
    handle: Handle<Command>,
    stop: Shutdown,
    task: JoinHandle<Result<Act, RtError>>,
}

impl Playing {
    /// Its id.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Hands these packets to the program under test, in this order, as soon as there is a link.
    ///
    /// # Errors
    /// If the puppet has ended.
    pub async fn send(&self, packets: Vec<Packet>) -> Result<(), Fault> {
        self.tell(Command::Send(packets)).await
    }

    /// The same with packets that were handed in before: the tape does not take them down again.
    ///
    /// # Errors
    /// If the puppet has ended.
    pub async fn replay(&self, packets: Vec<Packet>) -> Result<(), Fault> {
        self.tell(Command::Again(packets)).await
    }

    async fn tell(&self, command: Command) -> Result<(), Fault> {
        let sent = self.handle.send(command).await;
        sent.map_err(|_| Fault::new("a puppet has ended"))
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.stop.trigger();
        self.task.abort();
    }
}
