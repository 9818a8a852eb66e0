//! The vault's thread.

use whist_rt::sync::mpsc;
use whist_rt::{Handle, Shutdown};

use crate::api::{Command, Ticket};
use crate::limits::VAULT_GROUP_MAX;
use crate::rows::Batch;
use crate::vault::Vault;

/// Batches in their order, each durable before it is reported. What waits becomes durable
/// together: a sync of a slow disk costs the same for one batch and for all.
pub(super) fn keep(
    mut vault: Vault,
    mut queue: mpsc::Receiver<(Ticket, Batch)>,
    client: &Handle<Command>,
    shutdown: &Shutdown,
) {
    while let Some(first) = queue.blocking_recv() {
        let mut last = first.0;
        let mut group = vec![first.1];
        while group.len() < VAULT_GROUP_MAX
            && let Ok((ticket, batch)) = queue.try_recv()
        {
            last = ticket;
            group.push(batch);
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
}
