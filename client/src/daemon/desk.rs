//! What takes a call to the client and brings the answer back, and tells who subscribed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use whist_rt::sync::{Notify, mpsc, oneshot, watch};
use whist_rt::tracing::info;
use whist_rt::{Handle, Shutdown, task, time};

use super::gate::Gate;
use super::hook::Hook;
use crate::api::{Command, Event};
use crate::call::{Answer, Call, Hidden, Notice};
use crate::limits::{IDLE_LOOK, RPC_NOTICES_MAX};
use crate::rpc::{self, RpcError};

type Told = Result<Answer, RpcError>;
/// A line for subscribers, and the era in which it was written.
type Noted = (u64, Arc<str>);

/// What every connection of the socket shares.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) client: Handle<Command>,
    /// The user that owns the socket: nobody else is answered.
    pub(super) uid: u32,
    pub(super) shutdown: Shutdown,
    /// Time without a command after which the vault is locked.
    pub(super) idle: Option<Duration>,
    /// Whether what is in memory may be written to swap.
    pub(super) swaps: bool,
    gate: Gate,
    board: Board,
    last: Arc<AtomicU64>,
    /// Told at each command: somebody is there.
    called: Arc<Notify>,
}

/// A call that the client was asked.
pub(super) struct Asked {
    pub(super) tag: u64,
    /// The era in which it was asked: see [`Board`].
    pub(super) era: u64,
    answer: oneshot::Receiver<Told>,
}

impl Desk {
    pub(super) fn new(
        client: Handle<Command>,
        board: Board,
        uid: u32,
        gate: Gate,
        idle: Option<Duration>,
    ) -> Self {
        Self {
            shutdown: gate.shutdown(),
            client,
            uid,
            idle,
            swaps: false,
            gate,
            board,
            last: Arc::default(),
            called: Arc::default(),
        }
    }

    /// Asks the client. Calls reach it in the order of these.
    pub(super) async fn ask(&self, call: Call) -> Result<Asked, RpcError> {
        let tag = self.last.fetch_add(1, Ordering::Relaxed);
        let era = self.era();
        let (sender, answer) = oneshot::channel();
        self.board.waiting().insert(tag, sender);
        let asked = self.client.send(Command::Ask { tag, call }).await;
        asked.map_err(|_| ending())?;
        Ok(Asked { tag, era, answer })
    }

    /// Returns when the client has done everything that it was told until now.
    pub(super) async fn settled(&self) -> Result<(), RpcError> {
        let asked = self.ask(Call::Status {}).await?;
        task::select! {
            answer = asked.answer => answer.map(drop).map_err(|_| ending()),
            () = self.shutdown.triggered() => Err(ending()),
        }
    }

    /// Somebody gave a command. Asking how things stand is none: programs do it by themselves.
    pub(super) fn somebody_called(&self, call: &Call) {
        if !matches!(call, Call::Status {} | Call::Subscribe {} | Call::Lock {}) {
            self.called.notify_one();
        }
    }

    /// The person leaves.
    pub(super) async fn lock(&self) -> Result<(), RpcError> {
        self.gate.lock(self).await
    }

    /// A person comes.
    pub(super) async fn unlock(
        &self,
        passphrase: &Hidden,
        key: Option<&Hidden>,
    ) -> Result<(), RpcError> {
        let done = self.gate.unlock(passphrase, key, self).await;
        self.called.notify_one();
        done
    }

    /// Whether a secret opens the vault.
    pub(super) async fn check(
        &self,
        passphrase: &Hidden,
        key: Option<&Hidden>,
    ) -> Result<(), RpcError> {
        self.gate.check(passphrase, key, self).await
    }

    /// Locks when nobody has given a command for this long, by either clock: a machine that slept
    /// was left alone too.
    pub(super) async fn lock_when_idle(self, idle: Duration) {
        loop {
            let (mut waited, since) = (Duration::ZERO, whist_rt::wall());
            let alone = loop {
                let left = idle.saturating_sub(waited.max(whist_rt::wall().since(since)));
                if left.is_zero() {
                    break true;
                }
                let look = left.min(IDLE_LOOK);
                task::select! {
                    () = self.called.notified() => break false,
                    () = self.shutdown.triggered() => return,
                    () = time::sleep(look) => waited = waited.saturating_add(look),
                }
            };
            if alone && self.lock().await.is_ok() {
                // Nothing changes until somebody calls again.
                task::select! {
                    () = self.called.notified() => {}
                    () = self.shutdown.triggered() => return,
                }
            }
        }
    }

    /// In which era it is.
    pub(super) fn era(&self) -> u64 {
        *self.board.era.borrow()
    }

    /// Returns when that era is over.
    pub(super) async fn over(&self, era: u64) {
        let _ = self.board.era.subscribe().wait_for(|now| *now != era).await;
    }

    /// Nothing that was not read yet is handed to anybody any more. Who subscribed is told.
    pub(super) fn turn_over(&self, notice: &Notice) {
        self.board.era.send_modify(|era| *era = era.wrapping_add(1));
        self.tell(notice);
    }

    /// Tells who subscribed.
    pub(super) fn tell(&self, notice: &Notice) {
        self.board.tell(notice);
    }

    /// The answer. When whoever asked has closed, nothing that comes later may be taken for it; the
    /// answer is still waited for: it may have been made already, and then a failing write tells
    /// that nobody got it; and who closed only its own direction is there to read it.
    pub(super) async fn answer(&self, mut asked: Asked, closed: &Shutdown) -> Told {
        task::select! {
            biased;
            answer = &mut asked.answer => return answer.unwrap_or_else(|_| Err(ending())),
            () = self.shutdown.triggered() => return Err(ending()),
            () = closed.triggered() => {}
        }
        let told = self.client.send(Command::Gone { tag: asked.tag }).await;
        told.map_err(|_| ending())?;
        task::select! {
            biased;
            answer = &mut asked.answer => answer.unwrap_or_else(|_| Err(ending())),
            () = self.shutdown.triggered() => Err(ending()),
        }
    }

    /// The answer to this call was written.
    pub(super) async fn heard(&self, tag: u64) {
        let _ = self.client.send(Command::Heard { tag }).await;
    }

    /// Nobody got the answer to this call.
    pub(super) async fn unheard(&self, tag: u64) {
        let _ = self.client.send(Command::Unheard { tag }).await;
    }

    /// The notifications from now on, as lines.
    pub(super) fn subscribe(&self) -> Subscription {
        let (sender, notices) = mpsc::channel(RPC_NOTICES_MAX);
        let mut subscribers = self.board.subscribers();
        subscribers.retain(|subscriber| !subscriber.is_closed());
        subscribers.push(sender);
        Subscription {
            notices,
            desk: self.clone(),
        }
    }
}

/// What one connection is told.
pub(super) struct Subscription {
    notices: mpsc::Receiver<Noted>,
    desk: Desk,
}

impl Subscription {
    /// The next line and its era; `None` when one did not fit into the queue. What is of an era
    /// that is over is dropped unread.
    pub(super) async fn next(&mut self) -> Option<(u64, Arc<str>)> {
        loop {
            let (era, line) = self.notices.recv().await?;
            if era == self.desk.era() {
                return Some((era, line));
            }
        }
    }
}

fn ending() -> RpcError {
    RpcError::new(4, "the daemon is ending")
}

/// Who waits for what: answers by their tags, notifications by connection. Each lock begins an era,
/// and what was written in an earlier one and not handed over yet never is.
#[derive(Clone, Default)]
pub(super) struct Board {
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Told>>>>,
    subscribers: Arc<Mutex<Vec<mpsc::Sender<Noted>>>>,
    era: watch::Sender<u64>,
    pub(super) hook: Hook,
}

impl Board {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Told>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Noted>>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, notice: &Notice) {
        let line: Arc<str> = rpc::notification(notice).into();
        let era = *self.era.borrow();
        let mut subscribers = self.subscribers();
        subscribers.retain(|subscriber| subscriber.try_send((era, Arc::clone(&line))).is_ok());
    }

    /// Shows what happened: answers to who asked, the rest to who subscribed, and as log lines that
    /// name nobody. Waits for nobody: a subscriber whose queue is full is one no more.
    pub(super) fn show(&self, event: Event) {
        log(&event);
        if matches!(event, Event::Received { .. }) {
            self.hook.text();
        }
        if let Some(notice) = Notice::of(&event) {
            self.tell(&notice);
        }
        if let Event::Answer { tag, answer } = event
            && let Some(asker) = self.waiting().remove(&tag)
        {
            let _ = asker.send(*answer);
        }
    }
}

fn log(event: &Event) {
    match event {
        Event::Online(true) => info!("on line"),
        Event::Online(false) => info!("off line"),
        Event::Consensus { epoch } => info!(epoch, "a newer consensus"),
        Event::Skew { seconds } => info!(seconds, "the clock differs from the provider's"),
        Event::Stale => info!("the consensus is too old: nothing is sent"),
        Event::Equivocation => info!("the authorities signed two documents for one epoch"),
        // Nothing of a message, a contact or an invitation in any log.
        Event::Answer { .. }
        | Event::Received { .. }
        | Event::Revised { .. }
        | Event::Timer { .. }
        | Event::KeyChanged { .. }
        | Event::Banner { .. }
        | Event::Added { .. }
        | Event::Asked { .. }
        | Event::AddFailed { .. }
        | Event::State { .. }
        | Event::Unsafe { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whist_rt::commands;

    fn desk() -> Desk {
        let (client, _commands) = commands();
        let (tasks, _queue) = mpsc::channel(1);
        let gate = Gate::new("/nowhere".into(), client.clone(), tasks, Shutdown::new());
        Desk::new(client, Board::default(), 0, gate, None)
    }

    #[test]
    fn a_subscriber_that_does_not_read_is_dropped_and_the_others_miss_nothing() {
        let desk = desk();
        let mut slow = desk.subscribe().notices;
        let mut quick = desk.subscribe().notices;
        for epoch in 0..u64::try_from(RPC_NOTICES_MAX).unwrap() + 5 {
            desk.board.show(Event::Consensus { epoch });
            let (_, line) = quick.try_recv().unwrap();
            assert!(line.contains(&format!("{{\"epoch\":{epoch}}}")), "{line}");
        }
        for _ in 0..RPC_NOTICES_MAX {
            slow.try_recv().unwrap();
        }
        assert!(slow.try_recv().is_err() && slow.is_closed());
        // Who has gone is forgotten at the next subscription at the latest.
        drop(quick);
        let _third = desk.subscribe();
        assert_eq!(desk.board.subscribers().len(), 1);
    }

    #[test]
    fn what_a_subscriber_did_not_read_before_a_lock_it_never_reads() {
        let desk = desk();
        let mut subscription = desk.subscribe();
        let added = |contact: &str| Event::Added {
            contact: contact.to_owned(),
        };
        desk.board.show(added("eve"));
        desk.board.show(added("mallory"));
        desk.turn_over(&Notice::Locked {});
        desk.board.show(Event::Online(true));
        let read = whist_rt::block_on(async {
            [subscription.next().await, subscription.next().await].map(|line| line.unwrap().1)
        });
        let [locked, online] = read.unwrap();
        assert!(locked.contains("event.locked"), "{locked}");
        assert!(online.contains("event.online"), "{online}");
    }
}
