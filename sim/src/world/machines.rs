//! The machines of a network in the world: what each role's shell does with its effects, and what
//! a kill or a reboot leaves.

use std::any::Any;
use std::collections::VecDeque;
use std::time::Duration;

use whist::rows::{Batch, Rows};
use whist::{Client, Event};
use whist_directory::{Authority, Record, Saved};
use whist_mix::{KeyDone, KeyJob, MixNode};
use whist_packet::keyring::MemoryKeyStore;
use whist_provider::Provider;
use whist_provider::clerk::Clerk;
use whist_provider::store::{Memory, SyncPoint};
use whist_provider::ticket::Ticket;
use whist_types::{Instant, Now, Secret};

use super::memory::TmpfsRegion;
use super::{Environment, Host};

/// A mix of the world.
pub type MixHost = Host<MixNode<TmpfsRegion>, NodeDisk>;
/// A provider of the world.
pub type ProviderHost = Host<Provider<TmpfsRegion>, NodeDisk>;
/// An authority of the world.
pub type AuthorityHost = Host<Authority, AuthorityDisk>;
/// A client of the world.
pub type ClientHost = Host<Client, ClientDisk>;

/// Writes that are under way, in their order.
#[derive(Debug)]
pub(super) struct Pending<T> {
    writes: VecDeque<(Instant, T)>,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            writes: VecDeque::new(),
        }
    }
}

impl<T> Pending<T> {
    fn push(&mut self, due: Instant, write: T) {
        self.writes.push_back((due, write));
    }

    fn pop_done(&mut self, now: Instant) -> Option<T> {
        let (due, _) = self.writes.front()?;
        if *due > now {
            return None;
        }
        self.writes.pop_front().map(|(_, write)| write)
    }

    fn next_due(&self) -> Option<Instant> {
        self.writes.front().map(|(due, _)| *due)
    }
}

/// The disk of a mix or a provider: its consensuses, and (a provider's) its store.
#[derive(Default)]
pub struct NodeDisk {
    /// How long a write takes to be durable.
    pub delay: Duration,
    /// The consensuses, as last written.
    pub directory: Option<Vec<u8>>,
    /// The keys of epochs to come.
    pub keys: MemoryKeyStore,
    pub(super) key_jobs: Pending<KeyJob>,
    /// A provider's store; clones share one disk.
    pub store: Memory,
    /// Notes that the role made, as its log would show them.
    pub notes: Vec<String>,
    /// Whether the role said that it is drained.
    pub drained: bool,
    /// A provider's desk, over its store.
    pub(super) desk: Option<Clerk<Memory>>,
    pub(super) syncs: Pending<(Ticket, SyncPoint)>,
}

impl NodeDisk {
    /// The keys' jobs that are done by now.
    fn key_jobs_done(&mut self, now: Now) -> Vec<KeyDone> {
        let mut done = Vec::new();
        while let Some(job) = self.key_jobs.pop_done(now.instant) {
            done.push(job.run(&mut self.keys));
        }
        done
    }
}

impl Environment<MixNode<TmpfsRegion>> for NodeDisk {
    fn settle(&mut self, now: Now) -> Vec<whist_mix::Command> {
        let done = self.key_jobs_done(now).into_iter();
        done.map(whist_mix::Command::Keys).collect()
    }

    fn deadline(&self) -> Option<Instant> {
        self.key_jobs.next_due()
    }

    fn effect(
        &mut self,
        now: Now,
        _: &mut MixNode<TmpfsRegion>,
        effect: whist_mix::Effect,
    ) -> Vec<(Duration, whist_mix::Command)> {
        match effect {
            whist_mix::Effect::Keys(job) => {
                self.key_jobs.push(now.instant.after(self.delay), job);
            }
            whist_mix::Effect::Directory(bytes) => self.directory = Some(bytes),
            whist_mix::Effect::Note(note) => self.notes.push(format!("{note:?}")),
            whist_mix::Effect::Drained => self.drained = true,
            whist_mix::Effect::Report(_) => {}
        }
        Vec::new()
    }
}

impl NodeDisk {
    /// Takes what the desk has to say, and begins the sync that it wants.
    fn tend_desk(&mut self, now: Now) -> Vec<whist_provider::Command> {
        let Some(desk) = &mut self.desk else {
            return Vec::new();
        };
        if let Some(ticket) = desk.poll_sync() {
            let sync = (ticket, self.store.begin_sync());
            self.syncs.push(now.instant.after(self.delay), sync);
        }
        std::iter::from_fn(|| desk.poll_done())
            .map(whist_provider::Command::Desk)
            .collect()
    }
}

impl Environment<Provider<TmpfsRegion>> for NodeDisk {
    fn settle(&mut self, now: Now) -> Vec<whist_provider::Command> {
        let done = self.key_jobs_done(now).into_iter();
        let mut told: Vec<_> = done.map(whist_provider::Command::Keys).collect();
        while let Some((ticket, point)) = self.syncs.pop_done(now.instant) {
            self.store.end_sync(point);
            if let Some(desk) = &mut self.desk {
                desk.synced(ticket, true);
            }
            told.extend(self.tend_desk(now));
        }
        told
    }

    fn deadline(&self) -> Option<Instant> {
        let due = [self.syncs.next_due(), self.key_jobs.next_due()];
        due.into_iter().flatten().min()
    }

    fn effect(
        &mut self,
        now: Now,
        _: &mut Provider<TmpfsRegion>,
        effect: whist_provider::Effect,
    ) -> Vec<(Duration, whist_provider::Command)> {
        match effect {
            whist_provider::Effect::Keys(job) => {
                self.key_jobs.push(now.instant.after(self.delay), job);
            }
            whist_provider::Effect::Desk(job) => {
                if let Some(desk) = &mut self.desk {
                    desk.handle(job);
                }
                let told = self.tend_desk(now).into_iter();
                return told.map(|command| (Duration::ZERO, command)).collect();
            }
            whist_provider::Effect::Directory(bytes) => self.directory = Some(bytes),
            whist_provider::Effect::Note(note) => self.notes.push(format!("{note:?}")),
            whist_provider::Effect::Drained => self.drained = true,
            whist_provider::Effect::Report(_) => {}
        }
        Vec::new()
    }
}

/// The disk of an authority.
#[derive(Default)]
pub struct AuthorityDisk {
    /// How long a write takes to be durable.
    pub delay: Duration,
    /// What is durable.
    pub saved: Saved,
    /// Events of its log.
    pub events: Vec<whist_directory::Event>,
    pub(super) writes: Pending<(Record, Vec<u8>)>,
}

impl Environment<Authority> for AuthorityDisk {
    fn settle(&mut self, now: Now) -> Vec<whist_directory::Command> {
        while let Some((record, bytes)) = self.writes.pop_done(now.instant) {
            match record {
                Record::Signed => self.saved.signed = Some(bytes),
                Record::Chain => self.saved.chain = Some(bytes),
                Record::Evidence { .. } => {}
            }
        }
        Vec::new()
    }

    fn effect(
        &mut self,
        now: Now,
        _: &mut Authority,
        effect: whist_directory::Effect,
    ) -> Vec<(Duration, whist_directory::Command)> {
        match effect {
            whist_directory::Effect::Save {
                ticket,
                record,
                bytes,
            } => {
                self.writes
                    .push(now.instant.after(self.delay), (record, bytes));
                vec![(self.delay, whist_directory::Command::Saved { ticket })]
            }
            whist_directory::Effect::Event(event) => {
                self.events.push(event);
                Vec::new()
            }
        }
    }
}

/// The vault of a client, and what its screen showed.
#[derive(Default)]
pub struct ClientDisk {
    /// How long a commit takes to be durable.
    pub delay: Duration,
    /// What is durable.
    pub rows: Rows,
    /// Everything it was told to show, with the time.
    pub events: Vec<(Instant, Event)>,
    pub(super) commits: Pending<Batch>,
}

impl Environment<Client> for ClientDisk {
    fn settle(&mut self, now: Now) -> Vec<whist::Command> {
        while let Some(batch) = self.commits.pop_done(now.instant) {
            self.rows.apply(&batch);
        }
        Vec::new()
    }

    fn effect(
        &mut self,
        now: Now,
        _: &mut Client,
        effect: whist::Effect,
    ) -> Vec<(Duration, whist::Command)> {
        match effect {
            whist::Effect::Commit { ticket, batch } => {
                self.commits.push(now.instant.after(self.delay), batch);
                vec![(self.delay, whist::Command::Committed { ticket })]
            }
            // By the time alone, so that an idle and a busy run of one seed agree.
            whist::Effect::Fresh => {
                let time = now.instant.as_nanos().to_be_bytes();
                let seed = Secret::new(blake3::derive_key("whist 2026 sim fresh v1", &time));
                vec![(Duration::ZERO, whist::Command::Fresh { seed: seed.into() })]
            }
            whist::Effect::Stretch {
                tag,
                passphrase,
                salt,
            } => {
                let secret = whist::stretch(&passphrase, &salt).map(Into::into);
                vec![(self.delay, whist::Command::Stretched { tag, secret })]
            }
            whist::Effect::Event(event) => {
                self.events.push((now.instant, event));
                Vec::new()
            }
        }
    }
}

/// The concrete host behind an actor, if it is an `A`.
pub(super) fn downcast<A: Any>(actor: Box<dyn super::Actor>) -> Option<Box<A>> {
    let actor: Box<dyn Any> = actor;
    actor.downcast().ok()
}
