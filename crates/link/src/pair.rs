//! Two ends of a link and a clock in one value, for tests that are ten lines long.

use std::sync::Arc;
use std::time::Duration;

use whist_types::{LinkKey, Now, Secret, Wall};

use crate::puzzle::{Gate, Solution, Source};
use crate::{ClientSetup, Clients, Connection, Entry, Error, Frame, LinkIdentity, ServerSetup};

/// One record as an observer of the wire sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// The outer content type: 20 to 23.
    pub kind: u8,
    /// Bytes on the wire, header included.
    pub bytes: usize,
}

/// Two ends, a clock, and all that went over the wire.
#[derive(Debug)]
pub struct Pair {
    /// The clock of both.
    pub now: Now,
    /// The end that dialled.
    pub client: Connection,
    /// The end that accepted.
    pub server: Connection,
    /// Bytes that the client put on the wire.
    pub client_wire: Vec<u8>,
    /// Bytes that the server put on the wire.
    pub server_wire: Vec<u8>,
    /// Frames that reached the client.
    pub client_frames: Vec<Frame>,
    /// Frames that reached the server.
    pub server_frames: Vec<Frame>,
}

/// What a [`Pair`] is made of.
#[derive(Debug)]
pub struct Setup {
    /// The dialler's key, if it proves one.
    pub client: Option<LinkIdentity>,
    /// The server's key.
    pub server: LinkIdentity,
    /// The key that the dialler expects; the server's, unless a test wants another.
    pub expected: LinkKey,
    /// Whether the server takes peers without a key.
    pub clients: Clients,
    /// How the server meets the dialler.
    pub entry: Entry,
    /// What the dialler presents.
    pub solution: Option<Solution>,
}

impl Setup {
    /// Two nodes that prove their keys.
    pub fn nodes() -> Self {
        let server = LinkIdentity::from_secret(&Secret::new([2; 32]));
        Self {
            client: Some(LinkIdentity::from_secret(&Secret::new([1; 32]))),
            expected: server.public(),
            server,
            clients: Clients::Refused,
            entry: Entry::Free,
            solution: None,
        }
    }

    /// A client at a provider.
    pub fn client() -> Self {
        Self {
            client: None,
            clients: Clients::Allowed,
            ..Self::nodes()
        }
    }

    /// The same under load, with this gate.
    #[must_use]
    pub fn under_load(self, gate: &Arc<Gate>, effort: u8) -> Self {
        Self {
            entry: Entry::Puzzle {
                gate: Arc::clone(gate),
                source: Source::UNKNOWN,
                effort,
            },
            ..self
        }
    }
}

impl Pair {
    /// Two ends that have not spoken.
    ///
    /// # Errors
    /// As the connections' constructors.
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let now = Now {
            wall: Wall::from_secs(1_800_000_000),
            ..Now::default()
        };
        let client = ClientSetup::new(setup.client.as_ref());
        let server = ServerSetup::new(&setup.server, setup.clients)?;
        Ok(Self {
            now,
            client: Connection::client(now, &client, setup.expected, setup.solution.as_ref())?,
            server: Connection::server(now, &server, setup.entry.clone())?,
            client_wire: Vec::new(),
            server_wire: Vec::new(),
            client_frames: Vec::new(),
            server_frames: Vec::new(),
        })
    }

    /// Two ends after their handshake.
    ///
    /// # Errors
    /// As the connections' constructors. A handshake that fails shows in the ends.
    pub fn connected(setup: &Setup) -> Result<Self, Error> {
        let mut pair = Self::new(setup)?;
        pair.drive();
        Ok(pair)
    }

    /// Carries bytes both ways until neither end says more. An end that is closed has its bytes
    /// carried, then ends the other's stream.
    pub fn drive(&mut self) {
        loop {
            let moved = self.client_to_server(|_| {}) | self.server_to_client(|_| {});
            if !moved {
                break;
            }
        }
        let over = (self.client.is_closed(), self.server.is_closed());
        if over.0 {
            self.server.receive_end();
        }
        if over.1 {
            self.client.receive_end();
        }
    }

    /// Carries what the client has to say, after `tamper` has seen it. Whether it said anything.
    pub fn client_to_server(&mut self, tamper: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut bytes = Vec::new();
        self.client.transmit(&mut bytes);
        self.client_wire.extend_from_slice(&bytes);
        tamper(&mut bytes);
        deliver(self.now, &bytes, &mut self.server, &mut self.server_frames);
        !bytes.is_empty()
    }

    /// Carries what the server has to say, after `tamper` has seen it. Whether it said anything.
    pub fn server_to_client(&mut self, tamper: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut bytes = Vec::new();
        self.server.transmit(&mut bytes);
        self.server_wire.extend_from_slice(&bytes);
        tamper(&mut bytes);
        deliver(self.now, &bytes, &mut self.client, &mut self.client_frames);
        !bytes.is_empty()
    }

    /// Lets time pass, and lets both ends know.
    pub fn advance(&mut self, time: Duration) {
        self.now.instant = self.now.instant.after(time);
        self.now.wall = self.now.wall.after(time);
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
    }

    /// Whether both ends are open.
    pub const fn is_open(&self) -> bool {
        self.client.is_open() && self.server.is_open()
    }
}

fn deliver(now: Now, bytes: &[u8], to: &mut Connection, frames: &mut Vec<Frame>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let taken = to.receive(now, rest);
        while let Some(frame) = to.poll_frame() {
            frames.push(frame);
        }
        match taken {
            Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
            // The end is closed; its `error` says why.
            Err(_) => break,
        }
    }
}

/// Cuts what went over a wire into records. A rest that is no whole record counts as type 0.
pub fn records(wire: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut rest = wire;
    while let Some(&[kind, _, _, high, low]) = rest.first_chunk() {
        let bytes = usize::from(u16::from_be_bytes([high, low])).saturating_add(5);
        let Some(after) = rest.get(bytes..) else {
            break;
        };
        records.push(Record { kind, bytes });
        rest = after;
    }
    if !rest.is_empty() {
        records.push(Record {
            kind: 0,
            bytes: rest.len(),
        });
    }
    records
}
