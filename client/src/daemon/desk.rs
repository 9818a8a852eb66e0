//! What takes a call to the client and brings the answer back, and tells who subscribed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whist_rt::sync::{mpsc, oneshot};
use whist_rt::tracing::info;
use whist_rt::{Handle, Shutdown, task};

use super::hook::Hook;
use crate::api::{Command, Event};
use crate::call::{Answer, Call, Notice};
use crate::limits::RPC_NOTICES_MAX;
use crate::rpc::{self, RpcError};

type Told = Result<Answer, RpcError>;

/// What every connection of the socket shares.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) client: Handle<Command>,
    /// The user that owns the socket: nobody else is answered.
    pub(super) uid: u32,
    pub(super) shutdown: Shutdown,
    board: Board,
    last: Arc<AtomicU64>,
}

/// A call that the client was asked.
pub(super) struct Asked {
    pub(super) tag: u64,
    answer: oneshot::Receiver<Told>,
}

impl Desk {
    pub(super) fn new(client: Handle<Command>, board: Board, uid: u32, shutdown: Shutdown) -> Self {
        Self {
            client,
            uid,
            shutdown,
            board,
            last: Arc::default(),
        }
    }

    /// Asks the client. Calls reach it in the order of these.
    pub(super) async fn ask(&self, call: Call) -> Result<Asked, RpcError> {
        let tag = self.last.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.board.waiting().insert(tag, sender);
        let asked = self.client.send(Command::Ask { tag, call }).await;
        asked.map_err(|_| ending())?;
        Ok(Asked { tag, answer })
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

    /// Nobody got the answer to this call.
    pub(super) async fn unheard(&self, tag: u64) {
        let _ = self.client.send(Command::Unheard { tag }).await;
    }

    /// The notifications from now on, as lines.
    pub(super) fn subscribe(&self) -> mpsc::Receiver<Arc<str>> {
        let (sender, notices) = mpsc::channel(RPC_NOTICES_MAX);
        let mut subscribers = self.board.subscribers();
        subscribers.retain(|subscriber| !subscriber.is_closed());
        subscribers.push(sender);
        notices
    }
}

fn ending() -> RpcError {
    RpcError::new(4, "the daemon is ending")
}

/// Who waits for what: answers by their tags, notifications by connection.
#[derive(Clone, Default)]
pub(super) struct Board {
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Told>>>>,
    subscribers: Arc<Mutex<Vec<mpsc::Sender<Arc<str>>>>>,
    pub(super) hook: Hook,
}

impl Board {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Told>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Arc<str>>>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what happened: answers to who asked, the rest to who subscribed, and as log lines that
    /// name nobody. Waits for nobody: a subscriber whose queue is full is one no more.
    pub(super) fn show(&self, event: Event) {
        log(&event);
        if matches!(event, Event::Received { .. }) {
            self.hook.text();
        }
        if let Some(notice) = Notice::of(&event) {
            let line: Arc<str> = rpc::notification(&notice).into();
            let mut subscribers = self.subscribers();
            subscribers.retain(|subscriber| subscriber.try_send(Arc::clone(&line)).is_ok());
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

    #[test]
    fn a_subscriber_that_does_not_read_is_dropped_and_the_others_miss_nothing() {
        let (client, _commands) = commands();
        let board = Board::default();
        let desk = Desk::new(client, board.clone(), 0, Shutdown::new());
        let mut slow = desk.subscribe();
        let mut quick = desk.subscribe();
        for epoch in 0..u64::try_from(RPC_NOTICES_MAX).unwrap() + 5 {
            board.show(Event::Consensus { epoch });
            let line = quick.try_recv().unwrap();
            assert!(line.contains(&format!("{{\"epoch\":{epoch}}}")), "{line}");
        }
        for _ in 0..RPC_NOTICES_MAX {
            slow.try_recv().unwrap();
        }
        assert!(slow.try_recv().is_err() && slow.is_closed());
        // Who has gone is forgotten at the next subscription at the latest.
        drop(quick);
        let _third = desk.subscribe();
        assert_eq!(board.subscribers().len(), 1);
    }
}
