//! Runs a role on real sockets: one task for each link, one loop for the role.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use whist_link::{Frame, Input, LinkId, LinkIdentity, Output, Role, Target};
use whist_types::Now;

use crate::links::{self, Event, Listener, Local};
use crate::{Clock, LinkMetrics, RtError, Shutdown, limits};

/// What a role's effects are for. Called inside the driver's loop: it must not block. Work that
/// takes time is spawned ([`Shutdown::spawn`], [`Shutdown::spawn_blocking`]) and its result comes
/// back as a command through a [`Handle`].
pub trait Effects<R: Role> {
    /// The role put out `effect` at `now`.
    fn effect(&mut self, now: Now, effect: R::Effect);
}

impl<R: Role, F: FnMut(Now, R::Effect)> Effects<R> for F {
    fn effect(&mut self, now: Now, effect: R::Effect) {
        self(now, effect);
    }
}

/// The sending end of a role's commands; clones share one bounded queue.
#[derive(Debug)]
pub struct Handle<C>(mpsc::Sender<C>);

/// The receiving end of a role's commands, for [`Driver::run`].
#[derive(Debug)]
pub struct Commands<C>(mpsc::Receiver<C>);

/// The role has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the role has ended")]
pub struct Ended;

/// A bounded queue of commands ([`limits::COMMANDS`]).
pub fn commands<C>() -> (Handle<C>, Commands<C>) {
    let (sender, receiver) = mpsc::channel(limits::COMMANDS);
    (Handle(sender), Commands(receiver))
}

impl<C> Handle<C> {
    /// Queues a command, waiting while the queue is full.
    ///
    /// # Errors
    /// If the role has ended.
    pub async fn send(&self, command: C) -> Result<(), Ended> {
        self.0.send(command).await.map_err(|_| Ended)
    }

    /// The same from a thread for blocking work.
    ///
    /// # Errors
    /// If the role has ended.
    pub fn blocking_send(&self, command: C) -> Result<(), Ended> {
        self.0.blocking_send(command).map_err(|_| Ended)
    }

    /// Queues a command, or gives it back if the queue is full or the role has ended.
    ///
    /// # Errors
    /// The command.
    pub fn try_send(&self, command: C) -> Result<(), C> {
        self.0.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(command)
            | mpsc::error::TrySendError::Closed(command) => command,
        })
    }
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Commands<C> {
    /// The next command; for shells that handle some themselves. `None` when all handles are gone.
    pub async fn recv(&mut self) -> Option<C> {
        self.0.recv().await
    }
}

/// What a driver needs beside the role.
#[derive(Debug)]
pub struct DriverOptions {
    /// The process's clock.
    pub clock: Clock,
    /// The key of our links: needed to listen and for dials that identify themselves.
    pub identity: Option<LinkIdentity>,
    /// Where to accept links, bound already ([`Listener::bind`]).
    pub listen: Option<Listener>,
    /// Whether to accept links from peers that prove no key.
    pub accept_clients: bool,
    /// Counters of links, to be registered once ([`LinkMetrics::register`]).
    pub metrics: LinkMetrics,
    /// Handshakes under way above which clients are asked for a puzzle.
    pub handshakes_without_puzzle: usize,
}

impl DriverOptions {
    /// No identity, no listener, no clients: a client's options.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            identity: None,
            listen: None,
            accept_clients: false,
            metrics: LinkMetrics::default(),
            handshakes_without_puzzle: limits::HANDSHAKES_WITHOUT_PUZZLE,
        }
    }

    /// A node's: dials and accepts under `identity`.
    pub fn node(clock: Clock, identity: LinkIdentity, listen: Listener) -> Self {
        Self {
            identity: Some(identity),
            listen: Some(listen),
            ..Self::new(clock)
        }
    }

    /// Where links are accepted, if anywhere.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listen.as_ref().map(Listener::local_addr)
    }
}

#[derive(Debug)]
enum Entry {
    Dialing(AbortHandle),
    Up(mpsc::Sender<Frame>),
}

/// Runs a role; see [`Driver::run`].
#[derive(Debug)]
pub struct Driver<R: Role, E> {
    role: R,
    effects: E,
    clock: Clock,
    local: Arc<Local>,
    links: HashMap<LinkId, Entry>,
    events: mpsc::Sender<Event>,
    tasks: JoinSet<Result<(), RtError>>,
    /// Inputs that the role's own outputs caused: handled before anything else happens.
    owed: VecDeque<Input<R::Command>>,
}

impl<R, E> Driver<R, E>
where
    R: Role + Send,
    R::Command: Send,
    R::Effect: Send,
    E: Effects<R> + Send,
{
    /// Runs `role` until `shutdown` is triggered, then closes all links in order and gives the
    /// role back. Sockets, deadlines and queues are bounded by [`limits`]; a link whose peer is
    /// slow costs its own queue and nothing else.
    ///
    /// # Errors
    /// [`RtError::Failed`] if the token was failed, [`RtError::Panicked`] if a link's task
    /// panicked, [`RtError::NoIdentity`] if a listener has no key.
    pub async fn run(
        role: R,
        options: DriverOptions,
        effects: E,
        commands: Commands<R::Command>,
        shutdown: Shutdown,
    ) -> Result<R, RtError> {
        if options.listen.is_some() && options.identity.is_none() {
            return Err(RtError::NoIdentity);
        }
        let (sender, mut events) = mpsc::channel(limits::EVENTS);
        let mut driver = Self {
            role,
            effects,
            clock: options.clock,
            local: Arc::new(Local::new(
                options.clock,
                options.identity.as_ref(),
                options.accept_clients,
                options.metrics,
            )?),
            links: HashMap::new(),
            events: sender,
            tasks: JoinSet::new(),
            owed: VecDeque::new(),
        };
        if let Some(listener) = options.listen {
            driver.tasks.spawn(links::accept(
                listener,
                driver.local.clone(),
                driver.events.clone(),
                options.handshakes_without_puzzle,
            ));
        }
        let ended = driver.drive(&mut events, commands, &shutdown).await;
        // Queues close, and with them the links: each sends what it holds and says good-bye.
        driver.links.clear();
        driver.local.stop.trigger();
        drop(events);
        let rest = tokio::time::timeout(limits::DRAIN, driver.join_all()).await;
        driver.tasks.shutdown().await;
        ended?;
        // Links that were too slow to say good-bye are cut: no error of ours.
        rest.unwrap_or(Ok(()))?;
        Ok(driver.role)
    }

    async fn drive(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        mut commands: Commands<R::Command>,
        shutdown: &Shutdown,
    ) -> Result<(), RtError> {
        let mut timer = std::pin::pin!(tokio::time::sleep_until(tokio::time::Instant::now()));
        let mut stopped = std::pin::pin!(shutdown.triggered());
        let mut commanded = true;
        loop {
            self.settle();
            let timeout = self.role.poll_timeout();
            if let Some(at) = timeout {
                let at = self.clock.deadline(at);
                if timer.deadline() != at {
                    timer.as_mut().reset(at);
                }
            }
            tokio::select! {
                () = &mut stopped => return shutdown.outcome(),
                () = &mut timer, if timeout.is_some() => {
                    let now = self.clock.now();
                    // Far deadlines are approached in steps of a day.
                    if timeout.is_some_and(|at| at <= now.instant) {
                        self.role.handle(now, Input::Timeout);
                    }
                }
                command = commands.recv(), if commanded => match command {
                    Some(command) => self.handle(Input::Command(command)),
                    None => commanded = false,
                },
                // The driver holds a sender, so the channel stays open.
                Some(event) = events.recv() => self.event(event),
                Some(ended) = self.tasks.join_next() => task_result(ended)?,
            }
        }
    }

    fn handle(&mut self, input: Input<R::Command>) {
        self.role.handle(self.clock.now(), input);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Up {
                link,
                remote,
                queue,
            } => {
                let known = self.links.contains_key(&link);
                // A dial that the role gave up in the meantime: dropping its queue closes it.
                if known || link.is_accepted() {
                    self.links.insert(link, Entry::Up(queue));
                    self.handle(Input::Up { link, remote });
                }
            }
            Event::Frame { link, frame } => {
                if self.links.contains_key(&link) {
                    self.handle(Input::Frame { link, frame });
                }
            }
            Event::Down { link } => {
                if self.links.remove(&link).is_some() {
                    self.handle(Input::Down { link });
                }
            }
        }
    }

    /// Takes the role's outputs until there are none, with the inputs that they cause.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.role.poll_output() {
                self.output(output);
            }
            match self.owed.pop_front() {
                Some(input) => self.handle(input),
                None => return,
            }
        }
    }

    fn output(&mut self, output: Output<R::Effect>) {
        match output {
            Output::Dial { link, target } => self.dial(link, target),
            Output::Send { link, frame } => self.send(link, frame),
            Output::Close { link } => {
                // An open link ends when its queue is dropped, after what is queued.
                if let Some(Entry::Dialing(task)) = self.links.remove(&link) {
                    task.abort();
                }
                self.owed.retain(|input| owner(input) != Some(link));
            }
            Output::Effect(effect) => self.effects.effect(self.clock.now(), effect),
        }
    }

    fn dial(&mut self, link: LinkId, target: Target) {
        if target.identify && !self.local.identifies() {
            tracing::error!("an identified dial without a link key");
            self.owed.push_back(Input::Down { link });
            return;
        }
        let task = self.tasks.spawn(links::dial(
            link,
            target,
            self.local.clone(),
            self.events.clone(),
        ));
        self.links.insert(link, Entry::Dialing(task));
    }

    fn send(&mut self, link: LinkId, frame: Frame) {
        let frame = match self.links.get(&link) {
            Some(Entry::Up(queue)) => match queue.try_send(frame) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(frame)) => frame,
                // The task has ended and its `Down` is on the way.
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    self.local.metrics.unsent.inc();
                    return;
                }
            },
            Some(Entry::Dialing(_)) => frame,
            None => {
                self.local.metrics.unsent.inc();
                return;
            }
        };
        self.local.metrics.full.inc();
        self.owed.push_back(Input::Full { link, frame });
    }

    async fn join_all(&mut self) -> Result<(), RtError> {
        while let Some(ended) = self.tasks.join_next().await {
            task_result(ended)?;
        }
        Ok(())
    }
}

const fn owner<C>(input: &Input<C>) -> Option<LinkId> {
    match input {
        Input::Up { link, .. }
        | Input::Down { link }
        | Input::Frame { link, .. }
        | Input::Full { link, .. } => Some(*link),
        Input::Timeout | Input::Command(_) => None,
    }
}

pub(crate) fn task_result(ended: Result<Result<(), RtError>, JoinError>) -> Result<(), RtError> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(RtError::Panicked),
        // Aborted: by ourselves.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use whist_types::Secret;

    use super::*;

    #[test]
    fn options_print_neither_the_key_nor_the_address() {
        let identity = LinkIdentity::from_secret(&Secret::new([0xab; 32]));
        let key = identity.public().to_string();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().port().to_string();
        let options = DriverOptions::node(Clock::start(), identity, listener);
        let text = format!("{:?} {:?}", options.identity, options.listen);
        assert_eq!(text, "Some([redacted]) Some(Listener { .. })");
        let text = format!("{options:?}");
        assert!(
            !text.contains(&key) && !text.contains("127.0.0.1"),
            "{text}"
        );
        assert!(!text.contains(&format!(":{port}")), "{text}");
    }

    #[tokio::test]
    async fn a_command_that_does_not_fit_comes_back() {
        let (handle, mut commands) = commands();
        for n in 0..limits::COMMANDS {
            assert_eq!(handle.try_send(n), Ok(()));
        }
        assert_eq!(handle.try_send(7), Err(7));
        assert_eq!(commands.recv().await, Some(0));
        assert_eq!(handle.send(8).await, Ok(()));
        drop(commands);
        assert_eq!(handle.send(9).await, Err(Ended));
    }
}
