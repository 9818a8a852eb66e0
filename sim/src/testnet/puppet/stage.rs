//! What the puppets of one test see together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whist_netdoc::Consensus;
use whist_packet::{PAYLOAD_BYTES, Packet};
use whist_rt::Handle;
use whist_rt::sync::Notify;
use whist_types::{Epoch, NodeId, Wall};

use super::act::Command;
use crate::testnet::{Fault, LIMIT, within};

/// Marks the payload of a test's packet; its number follows.
const MARK: [u8; 8] = *b"testmark";

/// What the puppets of one test have seen together.
#[derive(Default)]
pub struct Seen {
    /// Every consensus that came, by its epoch.
    pub consensuses: BTreeMap<Epoch, Arc<Consensus>>,
    /// How often each marked packet arrived.
    pub arrivals: BTreeMap<u64, u32>,
    /// Packets that arrived and bear no mark: loops of the programs.
    pub strangers: u64,
    /// Packets that the program sent more than once, marked or not, byte for byte.
    pub twice: u64,
    came: BTreeSet<[u8; 32]>,
    /// Everything that was handed to the program, but for replays.
    pub tape: Vec<Taped>,
    /// Puppets whose link to the program under test is up.
    pub linked: BTreeSet<NodeId>,
}

/// A packet that reached the program under test.
#[derive(Clone)]
pub struct Taped {
    /// Who handed it over.
    pub from: NodeId,
    /// When.
    pub at: Wall,
    /// Its bytes.
    pub packet: Packet,
}

impl Seen {
    /// The consensus by which packets under the keys of `epoch` are made.
    pub fn ruling(&self, epoch: Epoch) -> Option<Arc<Consensus>> {
        let (_, ruling) = self.consensuses.range(..=epoch).next_back()?;
        Some(Arc::clone(ruling))
    }

    /// Packets that arrived more than once.
    pub fn doubled(&self) -> usize {
        self.arrivals.values().filter(|count| **count > 1).count()
    }
}

/// Where the puppets of one test play.
#[derive(Clone, Default)]
pub struct Stage {
    seen: Arc<Mutex<Seen>>,
    cast: Arc<Mutex<BTreeMap<NodeId, Handle<Command>>>>,
    changed: Arc<Notify>,
}

impl Stage {
    /// What was seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `probe` finds what it looks for.
    ///
    /// # Errors
    /// If it does not come; `what` says what.
    pub async fn until<T>(
        &self,
        what: &str,
        mut probe: impl FnMut(&Seen) -> Option<T>,
    ) -> Result<T, Fault> {
        let looking = async {
            loop {
                let changed = self.changed.notified();
                let found = probe(&self.seen());
                match found {
                    Some(found) => return found,
                    None => changed.await,
                }
            }
        };
        within(LIMIT, what, looking).await
    }

    /// A puppet to whom others may pass packets.
    pub(super) fn enter(&self, puppet: NodeId, handle: Handle<Command>) {
        let mut cast = self.cast.lock().unwrap_or_else(PoisonError::into_inner);
        cast.insert(puppet, handle);
    }

    fn pass(&self, next: NodeId, packet: Packet) {
        let cast = self.cast.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = cast.get(&next) {
            // A puppet with a full queue loses it, as a node would.
            let _ = handle.try_send(Command::Open(packet));
        }
    }

    pub(super) fn note(&self, puppet: NodeId, note: Note) {
        let mut seen = self.seen();
        match note {
            Note::Consensus(consensus) => {
                seen.consensuses.insert(consensus.epoch(), consensus);
            }
            Note::Linked(true) => {
                seen.linked.insert(puppet);
            }
            Note::Linked(false) => {
                seen.linked.remove(&puppet);
            }
            Note::Arrived(Some(mark)) => {
                let count = seen.arrivals.entry(mark).or_default();
                *count = count.saturating_add(1);
            }
            Note::Arrived(None) => seen.strangers = seen.strangers.saturating_add(1),
            Note::Came(packet) => {
                let known = !seen
                    .came
                    .insert(*blake3::hash(packet.as_bytes()).as_bytes());
                seen.twice = seen.twice.saturating_add(known.into());
            }
            Note::Handed(at, packet) => {
                let from = puppet;
                seen.tape.push(Taped { from, at, packet });
            }
            Note::Passed(next, packet) => self.pass(next, packet),
        }
        drop(seen);
        self.changed.notify_waiters();
    }
}

/// Something that one puppet saw.
pub(super) enum Note {
    Consensus(Arc<Consensus>),
    Linked(bool),
    Arrived(Option<u64>),
    /// This packet came over a link, from the program under test.
    Came(Packet),
    /// This packet was handed to it.
    Handed(Wall, Packet),
    /// This packet is another puppet's.
    Passed(NodeId, Packet),
}

/// The payload of the test's packet of this number.
pub fn marked(mark: u64) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    for (place, byte) in payload
        .iter_mut()
        .zip(MARK.into_iter().chain(mark.to_be_bytes()))
    {
        *place = byte;
    }
    payload
}

/// The number of a test's packet.
pub(super) fn mark_of(payload: &[u8]) -> Option<u64> {
    let rest = payload.strip_prefix(&MARK)?;
    rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
