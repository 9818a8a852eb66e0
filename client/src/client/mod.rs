//! The client as a value: the role that the daemon and the simulator run.

mod ask;
mod clock;
mod hear;
mod hold;
mod items;
mod keep;
mod link;
mod lock;
mod net;
mod renew;
mod replies;
mod say;
mod secret;
mod send;
mod status;
mod upkeep;
mod warn;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_core::SeedableRng as _;
use whist_link::{Input, Output, Role};
use whist_netdoc::{Consensus, Follower, Network, Parameters};
use whist_ratchet::{IdentitySecret, Item};
use whist_timing::{LossLimits, LossTest, Rng, exponential, forget_past};
use whist_types::{Epoch, Instant, MailboxAddress, NodeId, Now, Secret, SurbId};

use crate::account::Account;
use crate::api::{Command, Effect, Event, Ticket};
use crate::askers::Askers;
use crate::call::{Answer, Stats, Until};
use crate::contacts::{People, old_session_key};
use crate::emission::{Emission, Law};
use crate::ids::{ContactId, InvitationId, MessageId, PendingId, RequestId};
use crate::limits::{LOSS_PENDING_MAX, LOSS_WINDOW};
use crate::mailbox::Mailbox;
use crate::numbers::Numbers;
use crate::outbox::{Job, Outbox, OutboxFull, RepeatLaw};
use crate::own::Own;
use crate::rows::{Batch, Rows, Table};
use crate::rpc::RpcError;
use crate::surbs::Surbs;
use crate::texts::{TextRow, Texts};
use ask::texts::Search;
use clock::Clock;
use hold::Holding;
use keep::Expiry;
use link::EntryLink;
use upkeep::Rumour;

/// The stored rows are not those of a client, or not of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the vault's rows cannot be read: {0}")]
pub struct BadState(&'static str);

/// What happens when the batch that is being gathered has become durable.
enum After {
    /// A request may leave.
    Eligible(RequestId),
    /// A number may be acknowledged.
    Finished(u64),
    /// A text may be read.
    Arrived(MessageId),
    /// Something is shown.
    Event(Event),
}

/// Somebody who waits for an answer.
struct Waiter {
    tag: u64,
    deadline: Instant,
    wish: Wish,
}

enum Wish {
    Invitation { name: String },
    Added { pending: PendingId, name: String },
    Came { message: MessageId, until: Until },
    Texts { contact: Option<ContactId> },
    Search(Search),
    Secret { contact: ContactId, salt: [u8; 32] },
}

/// A client: one send clock, one link, one mailbox, any number of contacts.
///
/// After each `handle` the caller takes `poll_output` until `None` and then asks `poll_timeout`.
/// Outputs of kind `Commit` must be made durable in their order; until the client hears so, nothing
/// that depends on them leaves or is acknowledged. The clock goes on meanwhile: it waits for
/// nothing.
pub struct Client {
    account: Account,
    network: Network,
    follower: Follower,
    people: People,
    mailbox: Option<Mailbox>,
    numbers: Numbers,
    outbox: Outbox,
    texts: Texts,
    own: Own,
    askers: Askers,
    expiry: Expiry,
    holding: Holding,
    early: BTreeMap<(MailboxAddress, u64), Item>,
    surbs: Surbs,
    emission: Emission,
    entry: EntryLink,
    rng: Rng,
    batch: Batch,
    after: Vec<After>,
    committing: VecDeque<(Ticket, Vec<After>)>,
    last_ticket: u64,
    outputs: VecDeque<Output<Effect>>,
    waiters: Vec<Waiter>,
    /// Texts of answers that are not known to be handed over, by the call's tag, in case one turns
    /// out to be unheard.
    handed: VecDeque<(u64, Vec<(MessageId, TextRow)>)>,
    losses: LossTest<SurbId, NodeId>,
    stats: Stats,
    clock: Clock,
    stale: bool,
    equivocation_told: bool,
    rumour: Option<Rumour>,
    /// Since which epoch it has held each epoch's consensus, with none missed.
    following: Option<Epoch>,
    /// The epoch in which skipped keys were looked through last.
    swept: Option<Epoch>,
    /// Whether it was handled once; the first call, which dials, is due at once.
    started: bool,
    /// Whether nobody is in: then it is a line and no more.
    locked: bool,
    #[cfg(any(test, feature = "control"))]
    control: Option<crate::control::Misbehaviour>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client([redacted])")
    }
}

impl Client {
    /// A client over what its vault holds (a new one: [`crate::first_rows`]).
    ///
    /// `seed` must be fresh for each start: the send clock draws from generators keyed by it and
    /// the number of the tick, and those begin at zero.
    pub fn new(now: Now, seed: &Secret<32>, rows: &Rows) -> Result<Self, BadState> {
        let account: Account = rows
            .find(Table::Account, &[])
            .and_then(|row| borsh::from_slice(row).ok())
            .ok_or(BadState("account"))?;
        let network = account.network().ok_or(BadState("network"))?;
        let follower = match rows.find(Table::Documents, &[]) {
            None => Follower::light(network.trusted()),
            Some(row) => {
                Follower::from_bytes(network.trusted(), row).map_err(|_| BadState("documents"))?
            }
        };
        let mut outbox = Outbox::new();
        for (key, value) in rows.of(Table::Outbox) {
            outbox.restore(now, key, value).ok_or(BadState("outbox"))?;
        }
        let people = People::load(rows).ok_or(BadState("contacts"))?;
        let texts = Texts::load(rows).ok_or(BadState("texts"))?;
        let mut own: Own = one(rows, Table::Own)?.unwrap_or_default();
        let sent = people.messages.last_key_value();
        own.saw_text(sent.map_or(0, |(id, _)| id.number()));
        own.saw_text(texts.last());
        let derive = |label| Secret::new(blake3::derive_key(label, seed.expose()));
        let contents = derive("whist 2026 client contents v1");
        let mut client = Self {
            people,
            mailbox: one(rows, Table::Mailbox)?,
            numbers: one(rows, Table::Numbers)?.unwrap_or_default(),
            early: load_early(rows)?,
            emission: Emission::new(derive("whist 2026 client send clock v1")),
            rng: Rng::from_seed(*contents.expose()),
            account,
            network,
            follower,
            outbox,
            texts,
            own,
            askers: Askers::load(rows).ok_or(BadState("requests"))?,
            expiry: Expiry::default(),
            holding: Holding::default(),
            surbs: Surbs::default(),
            entry: EntryLink::new(),
            batch: Batch::new(),
            after: Vec::new(),
            committing: VecDeque::new(),
            last_ticket: 0,
            outputs: VecDeque::new(),
            waiters: Vec::new(),
            handed: VecDeque::new(),
            losses: LossTest::new(loss_limits(Duration::from_secs(60))),
            stats: Stats::default(),
            clock: Clock::default(),
            stale: false,
            equivocation_told: false,
            rumour: None,
            following: None,
            swept: None,
            started: false,
            locked: false,
            #[cfg(any(test, feature = "control"))]
            control: None,
        };
        client.resume(now);
        Ok(client)
    }

    /// What a restart has to begin again: waits that are not in the vault, and times of texts.
    fn resume(&mut self, now: Now) {
        self.look_at_times();
        let contacts: Vec<ContactId> = self.people.contacts.keys().copied().collect();
        for id in contacts {
            self.owe_receipt(now, id);
            self.tend_secret(now, id, false);
        }
    }

    /// What was counted since the start.
    pub fn stats(&self) -> Stats {
        Stats {
            skipped: self.emission.skipped(),
            ..self.stats
        }
    }

    /// Requests that wait or are not answered yet.
    pub fn outbox_len(&self) -> usize {
        self.outbox.len()
    }

    /// The test-only client that breaks the rule that the clock waits for nothing.
    #[cfg(any(test, feature = "control"))]
    pub const fn dangerously_misbehave(&mut self, how: crate::control::Misbehaviour) {
        self.control = Some(how);
    }

    /// Fresh randomness, for what is drawn from now on.
    fn refresh(&mut self, fresh: &Secret<32>) {
        let mut hasher = blake3::Hasher::new_derive_key("whist 2026 client fresh contents v1");
        hasher.update(Secret::<32>::random(&mut self.rng).expose());
        hasher.update(fresh.expose());
        self.rng = Rng::from_seed(*hasher.finalize().as_bytes());
        zeroize::Zeroize::zeroize(&mut hasher);
        let clock = blake3::derive_key("whist 2026 client fresh send clock v1", fresh.expose());
        self.emission.refresh(&Secret::new(clock));
    }

    fn identity(&self) -> IdentitySecret {
        self.account.identity()
    }

    /// The parameters in force, or the defaults before the first consensus.
    fn parameters(&self) -> Parameters {
        self.follower
            .newest()
            .map(|newest| newest.parameters().clone())
            .unwrap_or_default()
    }

    fn usable(&self, now: Now) -> Option<Arc<Consensus>> {
        self.follower.usable(now.wall).cloned()
    }

    fn law(&self, consensus: &Consensus) -> Law {
        Law::new(consensus.parameters(), self.account.profile)
    }

    fn repeat_law(&self) -> RepeatLaw {
        RepeatLaw::new(&self.parameters(), self.account.profile)
    }

    /// What a command that would stand out waits (protocol.md §4).
    fn rare_wait(&mut self, now: Now) -> Duration {
        let parameters = self.parameters();
        if self.account.age(now) > parameters.rare_after() {
            exponential(parameters.rare_mean(), &mut self.rng)
        } else {
            Duration::ZERO
        }
    }

    /// Puts a request into the outbox and into the batch; it may leave when that is durable.
    fn push(
        &mut self,
        now: Now,
        exit: NodeId,
        job: Job,
        wait: Duration,
    ) -> Result<RequestId, OutboxFull> {
        let id = self.outbox.push(now, exit, job, wait)?;
        self.save_request(now, id);
        self.after.push(After::Eligible(id));
        Ok(id)
    }

    fn save_request(&mut self, now: Now, id: RequestId) {
        match self.outbox.row(now, id) {
            Some(row) => self.batch.put(Table::Outbox, id.key(), row),
            None => self.batch.delete(Table::Outbox, id.key()),
        }
    }

    fn save<T: borsh::BorshSerialize>(&mut self, table: Table, key: Vec<u8>, value: &T) {
        // Writing into memory: the only error is a length above 32 bits.
        if let Ok(row) = borsh::to_vec(value) {
            self.batch.put(table, key, row);
        }
    }

    fn save_invitation(&mut self, id: InvitationId) {
        if let Some(mut row) = self.people.invitations.get(&id).cloned() {
            if let Some(given) = row.given.as_mut().filter(|_| !self.own.keeps_texts()) {
                *given = format!("invitation {id}");
            }
            self.save(Table::Invitation, id.key(), &row);
        }
    }

    fn save_pending(&mut self, id: PendingId) {
        if let Some(mut row) = self.people.pending.get(&id).cloned() {
            if !self.own.keeps_texts() {
                row.name = format!("invited {id}");
                row.note = row.note.as_ref().map(|_| String::new());
            }
            self.save(Table::Pending, id.key(), &row);
        }
    }

    fn save_mailbox(&mut self) {
        if let Some(mailbox) = &self.mailbox
            && let Ok(row) = borsh::to_vec(mailbox)
        {
            self.batch.put(Table::Mailbox, Vec::new(), row);
        }
    }

    fn save_contact(&mut self, id: ContactId) {
        // What is held comes again after a crash, and must not be taken for a repeat then.
        let held = self.holding.first(id).unwrap_or(u64::MAX);
        if let Some(contact) = self.people.contacts.get_mut(&id) {
            contact.row.next_in = contact.incoming.next().min(held);
            contact.row.lost_in = contact.incoming.lost_from(contact.row.next_in);
            let session = contact.session.to_bytes().to_vec();
            match &contact.old {
                Some(old) => {
                    let row = old.to_bytes().to_vec();
                    self.batch.put(Table::Session, old_session_key(id), row);
                }
                None => self.batch.delete(Table::Session, old_session_key(id)),
            }
            let mut row = contact.row.clone();
            if !self.own.keeps_texts() {
                row.name = format!("contact {id}");
            }
            let row = borsh::to_vec(&row).unwrap_or_default();
            self.batch.put(Table::Contact, id.key(), row);
            self.batch.put(Table::Session, id.key(), session);
        }
    }

    /// Shown when what was done is durable, or now if nothing was changed.
    fn show(&mut self, event: Event) {
        self.after.push(After::Event(event));
    }

    fn answer(&mut self, tag: u64, answer: Result<Answer, RpcError>) {
        let answer = Box::new(answer);
        self.show(Event::Answer { tag, answer });
    }

    fn name_of(&self, id: ContactId) -> String {
        self.people
            .contacts
            .get(&id)
            .map_or_else(String::new, |contact| contact.row.name.clone())
    }

    /// Closes the batch that was gathered during one input.
    fn flush(&mut self) {
        if self.locked {
            // Nobody is in: there is nothing of a person to write, and no key to write it under.
            self.batch.keep_only(Table::is_line);
        }
        if self.batch.is_empty() {
            for after in std::mem::take(&mut self.after) {
                self.happen(after);
            }
            return;
        }
        self.last_ticket = self.last_ticket.saturating_add(1);
        let ticket = Ticket(self.last_ticket);
        let batch = std::mem::take(&mut self.batch);
        let after = std::mem::take(&mut self.after);
        self.committing.push_back((ticket, after));
        let commit = Effect::Commit { ticket, batch };
        self.outputs.push_back(Output::Effect(commit));
    }

    fn committed(&mut self, ticket: Ticket) {
        while self
            .committing
            .front()
            .is_some_and(|(waiting, _)| *waiting <= ticket)
        {
            let Some((_, after)) = self.committing.pop_front() else {
                return;
            };
            for after in after {
                self.happen(after);
            }
        }
    }

    fn happen(&mut self, after: After) {
        match after {
            After::Eligible(id) => self.outbox.stored(id),
            After::Finished(number) => self.numbers.finish(number),
            After::Arrived(id) => self.texts.reveal(id),
            After::Event(event) => {
                self.outputs.push_back(Output::Effect(Effect::Event(event)));
            }
        }
    }
}

impl Role for Client {
    type Command = Command;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input<Command>) {
        self.started = true;
        let now = self.clock.read(now);
        match input {
            Input::Up { link, .. } => self.link_up(now, link),
            Input::Down { link } => self.link_down(now, link),
            Input::Frame { link, frame } => self.frame(now, link, frame),
            // The link's queue is full: its peer is stalled, and the packet is lost like any
            // other. The clock does not wait for it.
            Input::Full { .. } | Input::Timeout => {}
            Input::Command(Command::Committed { ticket }) => self.committed(ticket),
            Input::Command(Command::Fresh { seed }) => self.refresh(&seed),
            Input::Command(Command::Ask { tag, call }) => {
                if !self.refuse_locked(tag, &call) {
                    self.ask(now, tag, call);
                }
            }
            Input::Command(Command::Stretched { tag, secret }) => {
                self.stretched(now, tag, secret.as_deref());
            }
            Input::Command(Command::Gone { tag }) => self.gone(tag),
            Input::Command(Command::Heard { tag }) => self.handed_over(tag),
            Input::Command(Command::Unheard { tag }) => self.unheard(now, tag),
            Input::Command(Command::Lock) => self.lock(now),
            Input::Command(Command::Unlock { rows }) => self.unlock(now, &rows),
        }
        self.upkeep(now);
        self.run_clock(now);
        self.serve_waiters(now);
        self.flush();
        while let Some(output) = self.entry.poll_output(now) {
            self.outputs.push_back(output);
        }
        // Keys were drawn that are erased when they have served.
        forget_past(&mut self.rng);
    }

    fn poll_output(&mut self) -> Option<Output<Effect>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if !self.started {
            return Some(Instant::ZERO);
        }
        let waiters = self.waiters.iter().map(|w| w.deadline);
        waiters
            .chain(self.emission.next())
            .chain(self.entry.poll_timeout())
            .chain(self.expiry.poll_timeout())
            .chain(self.receipts_due())
            .chain(self.secrets_due())
            .chain(self.holding_due())
            .min()
    }
}

fn loss_limits(timeout: Duration) -> LossLimits {
    LossLimits {
        timeout,
        window: LOSS_WINDOW,
        pending_max: LOSS_PENDING_MAX,
    }
}

fn one<T: borsh::BorshDeserialize>(rows: &Rows, table: Table) -> Result<Option<T>, BadState> {
    rows.find(table, &[])
        .map(|row| borsh::from_slice(row).map_err(|_| BadState("mailbox")))
        .transpose()
}

fn load_early(rows: &Rows) -> Result<BTreeMap<(MailboxAddress, u64), Item>, BadState> {
    rows.of(Table::Early)
        .map(|(key, value)| {
            let (address, number) = key.split_first_chunk::<32>()?;
            let number = <[u8; 8]>::try_from(number).ok().map(u64::from_be_bytes)?;
            let item = Box::<[u8]>::from(value).try_into().ok()?;
            let key = (MailboxAddress::from_bytes(*address), number);
            Some((key, Item::from_bytes(item)))
        })
        .collect::<Option<_>>()
        .ok_or(BadState("early items"))
}

#[cfg(test)]
mod asked;
#[cfg(test)]
mod invited;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod manners;
#[cfg(test)]
mod networks;
#[cfg(test)]
mod past;
#[cfg(test)]
mod quiet;
#[cfg(test)]
mod resets;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wedges;
