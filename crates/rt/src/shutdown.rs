//! How things end: a token that everybody watches, the signals that pull it, and tasks whose
//! panic pulls it too.

use std::future::Future;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::{Exit, RtError, process};

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopped,
    Failed(String),
}

/// A token that is triggered once and stays so. Clones are the same token.
#[derive(Clone, Debug)]
pub struct Shutdown {
    state: Arc<watch::Sender<State>>,
}

impl Shutdown {
    /// A token that is not triggered.
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::Running)),
        }
    }

    /// Tells everybody to end in order.
    pub fn trigger(&self) {
        self.end(State::Stopped);
    }

    /// Tells everybody to end because something of ours broke; [`crate::Driver::run`] then
    /// returns [`RtError::Failed`]. `why` is one line without anything that names anybody.
    pub fn fail(&self, why: impl Into<String>) {
        self.end(State::Failed(why.into()));
    }

    fn end(&self, end: State) {
        self.state.send_if_modified(|state| {
            let first = *state == State::Running;
            if first {
                *state = end;
            }
            first
        });
    }

    /// Whether it was triggered.
    pub fn is_triggered(&self) -> bool {
        *self.state.borrow() != State::Running
    }

    /// Returns when it is triggered, at once if it is.
    pub async fn triggered(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self
            .state
            .subscribe()
            .wait_for(|state| *state != State::Running)
            .await;
    }

    /// How it ended: `Ok` unless [`Shutdown::fail`] came first.
    ///
    /// # Errors
    /// [`RtError::Failed`] with the reason.
    pub fn outcome(&self) -> Result<(), RtError> {
        match &*self.state.borrow() {
            State::Running | State::Stopped => Ok(()),
            State::Failed(why) => Err(RtError::Failed(why.clone())),
        }
    }

    /// Spawns a task whose panic fails this token: never half alive.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(task);
        self.watch(task);
    }

    /// Runs `work` on a thread for blocking work; its panic fails this token.
    pub fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.watch(tokio::task::spawn_blocking(work));
    }

    fn watch(&self, task: tokio::task::JoinHandle<()>) {
        let token = self.clone();
        tokio::spawn(async move {
            if task.await.is_err_and(|error| error.is_panic()) {
                token.fail(RtError::Panicked.to_string());
            }
        });
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// The signals of an operator: the first SIGTERM or SIGINT asks for a drain, a second one ends the
/// process at once, SIGHUP asks to read the configuration again.
#[derive(Debug)]
pub struct Signals {
    drain: Shutdown,
    hangup: Signal,
}

impl Signals {
    /// Catches the signals; call inside the runtime.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn install() -> Result<Self, RtError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(RtError::Start)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RtError::Start)?;
        let hangup = signal(SignalKind::hangup()).map_err(RtError::Start)?;
        let drain = Shutdown::new();
        let token = drain.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if token.is_triggered() {
                    eprintln!("{}: told twice to end, ending at once", process::name());
                    std::process::exit(i32::from(Exit::Other.code()));
                }
                token.trigger();
            }
        });
        Ok(Self { drain, hangup })
    }

    /// The token that the first SIGTERM or SIGINT triggers.
    pub fn drain(&self) -> Shutdown {
        self.drain.clone()
    }

    /// Returns at the next SIGHUP.
    pub async fn hangup(&mut self) {
        if self.hangup.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_triggered_once_and_stays_so() {
        let token = Shutdown::new();
        assert!(!token.is_triggered());
        let clone = token.clone();
        clone.trigger();
        clone.fail("too late to matter");
        token.triggered().await;
        assert!(token.outcome().is_ok());
    }

    #[tokio::test]
    async fn a_panic_of_a_task_fails_the_token() {
        let token = Shutdown::new();
        token.spawn(async { panic!("on purpose") });
        token.triggered().await;
        assert!(matches!(token.outcome(), Err(RtError::Failed(_))));
        let token = Shutdown::new();
        token.spawn_blocking(|| panic!("on purpose"));
        token.triggered().await;
        assert!(token.outcome().is_err());
    }

    #[tokio::test]
    async fn a_first_sigterm_asks_for_a_drain() {
        let signals = Signals::install().unwrap();
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::TERM).unwrap();
        signals.drain().triggered().await;
    }
}
