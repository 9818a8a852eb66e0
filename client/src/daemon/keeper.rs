//! The vault's thread.

use whist_rt::sync::{mpsc, oneshot};
use whist_rt::{Handle, Shutdown};

use crate::api::{Command, Ticket};
use crate::limits::VAULT_GROUP_MAX;
use crate::rows::{Batch, Rows};
use crate::vault::{Opened, Vault, VaultError};

/// What the vault's thread is asked for; done in the order of asking.
pub(super) enum Task {
    /// Make a batch durable and say so.
    Commit(Ticket, Batch),
    /// Forget the person's key.
    Lock(oneshot::Sender<()>),
    /// Open the rows that a secret leads to.
    Take(Opened, oneshot::Sender<Result<Rows, VaultError>>),
    /// Close the files: nothing comes after this.
    End(oneshot::Sender<()>),
}

/// Batches in their order, each durable before it is reported. What waits becomes durable
/// together: a sync of a slow disk costs the same for one batch and for all.
pub(super) fn keep(
    mut vault: Vault,
    mut queue: mpsc::Receiver<Task>,
    client: &Handle<Command>,
    shutdown: &Shutdown,
) {
    let mut next = None;
    while let Some(task) = next.take().or_else(|| queue.blocking_recv()) {
        match task {
            Task::Commit(ticket, batch) => {
                let mut last = ticket;
                let mut group = vec![batch];
                while group.len() < VAULT_GROUP_MAX && next.is_none() {
                    match queue.try_recv() {
                        Ok(Task::Commit(ticket, batch)) => {
                            last = ticket;
                            group.push(batch);
                        }
                        Ok(other) => next = Some(other),
                        Err(_) => break,
                    }
                }
                match whist_rt::seed() {
                    Ok(seed) => vault.refresh(&seed),
                    Err(error) => return shutdown.fail(error.to_string()),
                }
                if let Err(error) = vault.apply_all(&group) {
                    shutdown.fail(error.to_string());
                    return;
                }
                // The client may have ended meanwhile; what it put out is still written.
                let _ = client.blocking_send(Command::Committed { ticket: last });
            }
            Task::Lock(done) => {
                vault.lock();
                let _ = done.send(());
            }
            Task::Take(opened, answer) => {
                let taken = vault.unlock(opened).and_then(|()| vault.load());
                let _ = answer.send(taken);
            }
            Task::End(done) => {
                drop(vault);
                let _ = done.send(());
                return;
            }
        }
    }
}
