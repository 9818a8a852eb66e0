//! A role in the world: the value itself, its disk, and what it reported.

use std::any::Any;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use whist_link::{Input, Output, Role};
use whist_types::{Instant, Now};

use super::Heap;

/// What the world sees of a role: links, outputs, a deadline.
pub trait Actor: Any {
    /// Something happened on a link.
    fn input(&mut self, now: Now, input: Input<Infallible>);
    /// The deadline has come.
    fn wake(&mut self, now: Now);
    /// The next thing that the role wants of the network.
    fn output(&mut self, now: Now) -> Option<Output<Infallible>>;
    /// When to wake it.
    fn deadline(&self) -> Option<Instant>;
}

/// Carries out a role's effects: its disk, its shell.
pub trait Environment<R: Role>: 'static {
    /// Time has passed: writes that were under way and are done by `now` become durable; gives the
    /// commands that say so. Called before other commands reach the role, and before a kill.
    fn settle(&mut self, _now: Now) -> Vec<R::Command> {
        Vec::new()
    }

    /// When [`settle`](Self::settle) has a command to give next.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Carries out `effect`; commands that it returns reach the role after their delay.
    fn effect(&mut self, now: Now, role: &mut R, effect: R::Effect) -> Vec<(Duration, R::Command)>;
}

/// A role with its environment and the commands that are on their way to it.
pub struct Host<R: Role, E> {
    /// The role value, the same as in the daemon.
    pub role: R,
    /// Its disk and shell.
    pub environment: E,
    pending: Heap<R::Command>,
    due: VecDeque<R::Command>,
}

impl<R: Role, E: Environment<R>> Host<R, E> {
    /// Puts a role into its environment.
    pub fn new(role: R, environment: E) -> Self {
        Self {
            role,
            environment,
            pending: Heap::default(),
            due: VecDeque::new(),
        }
    }

    /// Gives the role a command now.
    pub fn command(&mut self, now: Now, command: R::Command) {
        self.role.handle(now, Input::Command(command));
    }
}

impl<R: Role + 'static, E: Environment<R>> Actor for Host<R, E>
where
    R::Command: 'static,
{
    fn input(&mut self, now: Now, input: Input<Infallible>) {
        let input = match input {
            Input::Up { link, remote } => Input::Up { link, remote },
            Input::Down { link } => Input::Down { link },
            Input::Frame { link, frame } => Input::Frame { link, frame },
            Input::Full { link, frame } => Input::Full { link, frame },
            Input::Timeout => Input::Timeout,
            Input::Command(never) => match never {},
        };
        self.role.handle(now, input);
    }

    fn wake(&mut self, now: Now) {
        self.due.extend(self.environment.settle(now));
        while self
            .pending
            .next_time()
            .is_some_and(|time| time <= now.instant)
        {
            if let Some((_, command)) = self.pending.pop() {
                self.due.push_back(command);
            }
        }
        while let Some(command) = self.due.pop_front() {
            self.role.handle(now, Input::Command(command));
        }
        if self
            .role
            .poll_timeout()
            .is_some_and(|time| time <= now.instant)
        {
            self.role.handle(now, Input::Timeout);
        }
    }

    fn output(&mut self, now: Now) -> Option<Output<Infallible>> {
        loop {
            match self.role.poll_output()? {
                Output::Dial { link, target } => return Some(Output::Dial { link, target }),
                Output::Send { link, frame } => return Some(Output::Send { link, frame }),
                Output::Close { link } => return Some(Output::Close { link }),
                Output::Effect(effect) => {
                    for (delay, command) in self.environment.effect(now, &mut self.role, effect) {
                        self.pending.push(now.instant.after(delay), command);
                    }
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.role.poll_timeout(),
            self.pending.next_time(),
            self.environment.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }
}
