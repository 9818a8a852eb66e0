//! The thread on which the desk works in the program.

use whist_rt::sync::mpsc;
use whist_rt::{Handle, Shutdown};

use crate::clerk::{Clerk, Job};
use crate::store::{Store, StoreFault};
use crate::ticket::Ticket;
use crate::{Command, limits};

enum Event {
    Job(Job),
    Synced(Ticket, bool),
}

/// The way to the desk's thread. The thread ends when this is dropped or the token is triggered.
#[derive(Debug)]
pub struct DeskThread {
    events: mpsc::Sender<Event>,
    stop: Shutdown,
}

impl DeskThread {
    /// Starts the thread. `sync` makes durable what was applied before it was called; it runs
    /// beside the thread, so that polls do not wait for it. What is done is told to `handle`.
    ///
    /// A write or a sync that fails ends the process: the store takes nothing more, and a restart
    /// finds what was durable.
    pub fn start<S>(
        clerk: Clerk<S>,
        sync: impl Fn() -> Result<(), StoreFault> + Clone + Send + 'static,
        handle: Handle<Command>,
        stop: Shutdown,
    ) -> Self
    where
        S: Store + Send + 'static,
    {
        // The provider bounds what it has here: one that is full is a thread that has ended.
        let (events, queue) = mpsc::channel(limits::DESK_QUEUE);
        let thread = Thread {
            clerk,
            sync,
            handle,
            events: events.clone().downgrade(),
            stop: stop.clone(),
        };
        stop.spawn_blocking(move || thread.run(queue));
        Self { events, stop }
    }

    /// Gives the desk a job. Never blocks.
    pub fn give(&self, job: Job) {
        if self.events.try_send(Event::Job(job)).is_err() {
            self.stop.fail("the store's thread does not take jobs");
        }
    }
}

struct Thread<S, F> {
    clerk: Clerk<S>,
    sync: F,
    handle: Handle<Command>,
    events: mpsc::WeakSender<Event>,
    stop: Shutdown,
}

impl<S, F> Thread<S, F>
where
    S: Store,
    F: Fn() -> Result<(), StoreFault> + Clone + Send + 'static,
{
    fn run(mut self, mut queue: mpsc::Receiver<Event>) {
        while let Some(event) = queue.blocking_recv() {
            if self.stop.is_triggered() {
                return;
            }
            match event {
                Event::Job(job) => self.clerk.handle(job),
                Event::Synced(ticket, ok) => self.clerk.synced(ticket, ok),
            }
            if self.clerk.is_ended() {
                self.stop
                    .fail("a write to the store failed: is its disk full or broken?");
                return;
            }
            if let Some(ticket) = self.clerk.poll_sync() {
                self.sync(ticket);
            }
            while let Some(done) = self.clerk.poll_done() {
                // The provider has ended: nobody waits.
                let _ = self.handle.blocking_send(Command::Desk(done));
            }
        }
    }

    fn sync(&self, ticket: Ticket) {
        let (sync, events, stop) = (self.sync.clone(), self.events.clone(), self.stop.clone());
        self.stop.spawn_blocking(move || {
            let synced = sync();
            if let Err(error) = &synced {
                stop.fail(error.to_string());
            }
            if let Some(events) = events.upgrade() {
                let _ = events.blocking_send(Event::Synced(ticket, synced.is_ok()));
            }
        });
    }
}
