//! Locking: the person leaves, and the line stays as it is.
//!
//! What stays is what whoever watches the wire knows anyway: clock, link, entry guard, profile,
//! documents. Everything else is dropped and built anew from rows, so that nothing can be forgotten
//! here: what is not named below does not stay.

use std::sync::Arc;

use whist_netdoc::Consensus;
use whist_timing::LossTest;
use whist_types::{Now, Secret};

use super::{After, BadState, Client, loss_limits};
use crate::api::Event;
use crate::call::Call;
use crate::rows::{Rows, Table};
use crate::rpc::RpcError;

impl Client {
    /// Drops the person. Who waits for an answer gets one. Batches that are on their way to the
    /// vault become durable, and nothing comes of it here but the answers to who asked for them.
    pub(super) fn lock(&mut self, now: Now) {
        for waiter in std::mem::take(&mut self.waiters) {
            self.answer(waiter.tag, Err(locked()));
        }
        self.flush();
        let mut rows = Rows::new();
        rows.put(Table::Account, Vec::new(), self.account.vacant().row());
        // The rows are those of an account alone, which this client had until now.
        if self.replace(now, &rows).is_ok() {
            self.locked = true;
        }
    }

    /// Takes a person in: the one that left, or another one on the same line.
    pub(super) fn unlock(&mut self, now: Now, rows: &Rows) {
        if self.replace(now, rows).is_err() {
            return;
        }
        self.locked = false;
        // What was found while nobody was in is told now.
        self.equivocation_told = false;
        self.save_evidence(now);
    }

    /// What a locked client says to most calls.
    pub(super) fn refuse_locked(&mut self, tag: u64, call: &Call) -> bool {
        let refused = self.locked && !matches!(call, Call::Status {});
        if refused {
            self.answer(tag, Err(locked()));
        }
        refused
    }

    /// What must be there whoever is in: a consensus, which is given back, and a guard.
    pub(super) fn keep_line(&mut self, now: Now) -> Option<Arc<Consensus>> {
        let epoch = self.network.schedule.epoch_at(now.wall);
        let newest = self.follower.newest().map(|newest| newest.epoch());
        self.following = match self.following {
            _ if newest < Some(epoch.previous()) => None,
            since => since.or(Some(epoch)),
        };
        let consensus = self.usable(now);
        if let Some(consensus) = &consensus {
            self.stale = false;
            // With nobody in it is not known whose operators a new guard must not have: then one
            // that is gone is not replaced, and nothing is sent.
            if !self.locked {
                self.keep_guard(consensus);
            }
        } else if self.follower.newest().is_some() && !self.stale {
            self.stale = true;
            self.show(Event::Stale);
        }
        consensus
    }

    fn replace(&mut self, now: Now, rows: &Rows) -> Result<(), BadState> {
        // One way: who has the new generator cannot run the old one backwards.
        let seed = Secret::<32>::random(&mut self.rng);
        let old = std::mem::replace(self, Self::new(now, &seed, rows)?);
        self.emission = old.emission;
        self.entry = old.entry;
        self.follower = old.follower;
        self.following = old.following;
        self.clock = old.clock;
        self.stale = old.stale;
        self.equivocation_told = old.equivocation_told;
        self.started = old.started;
        self.outputs = old.outputs;
        self.last_ticket = old.last_ticket;
        // What was under way is not remembered, and its loss tells nothing of the mixes.
        self.losses = LossTest::new(loss_limits(self.repeat_law().round_trip));
        let answers = |after: &After| matches!(after, After::Event(Event::Answer { .. }));
        self.committing = old.committing;
        for (_, after) in &mut self.committing {
            after.retain(answers);
        }
        #[cfg(any(test, feature = "control"))]
        {
            self.control = old.control;
        }
        Ok(())
    }
}

fn locked() -> RpcError {
    RpcError::new(3, "the vault is locked: whist unlock")
}
