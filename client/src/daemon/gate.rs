//! Who is in: locking and unlocking, one at a time.

use std::path::PathBuf;
use std::sync::Arc;

use whist_rt::sync::{Mutex, mpsc, oneshot};
use whist_rt::{Failure, Handle, Shutdown, task};
use whist_types::Secret;
use zeroize::Zeroizing;

use super::desk::Desk;
use super::keeper::Task;
use crate::api::Command;
use crate::call::{Hidden, Notice};
use crate::rows::Rows;
use crate::rpc::RpcError;
use crate::vault::{Credential, Factor, Opened, Vault, VaultError};

/// The way in and out. Clones are the same gate.
#[derive(Clone)]
pub(super) struct Gate {
    home: PathBuf,
    client: Handle<Command>,
    keeper: mpsc::Sender<Task>,
    shutdown: Shutdown,
    /// Whether a person is in.
    open: Arc<Mutex<bool>>,
}

fn ending() -> RpcError {
    RpcError::new(4, "the daemon is ending")
}

impl From<VaultError> for RpcError {
    fn from(error: VaultError) -> Self {
        let failure = Failure::from(error);
        Self::new(i64::from(failure.exit.code()), failure.message)
    }
}

impl Gate {
    /// The gate of a daemon that begins with its person in.
    pub(super) fn new(
        home: PathBuf,
        client: Handle<Command>,
        keeper: mpsc::Sender<Task>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            home,
            client,
            keeper,
            shutdown,
            open: Arc::new(Mutex::new(true)),
        }
    }

    /// What ends the daemon.
    pub(super) fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    async fn keeper<T>(
        &self,
        task: impl FnOnce(oneshot::Sender<T>) -> Task,
    ) -> Result<T, RpcError> {
        let (sender, receiver) = oneshot::channel();
        let sent = self.keeper.send(task(sender)).await;
        sent.map_err(|_| ending())?;
        receiver.await.map_err(|_| ending())
    }

    /// The person leaves. Returns when neither the client nor the vault nor a queue of a subscriber
    /// has anything of theirs.
    pub(super) async fn lock(&self, desk: &Desk) -> Result<(), RpcError> {
        let mut open = self.open.lock().await;
        self.leave(&mut open, desk).await
    }

    async fn leave(&self, open: &mut bool, desk: &Desk) -> Result<(), RpcError> {
        if !*open {
            return Ok(());
        }
        let told = self.client.send(Command::Lock).await;
        told.map_err(|_| ending())?;
        // When the client has answered one more question, its last batch is in the vault's queue,
        // before the word to forget the key; and when it has answered another one after that, who
        // had asked for something that the batch does has an answer too.
        desk.settled().await?;
        self.keeper(Task::Lock).await?;
        desk.settled().await?;
        *open = false;
        desk.turn_over(&Notice::Locked {});
        Ok(())
    }

    /// A person comes, if the secret opens a slot; a wrong one changes nothing. In an open vault
    /// nothing but the secret of the decoy does anything.
    pub(super) async fn unlock(
        &self,
        passphrase: &Hidden,
        key: Option<&Hidden>,
        desk: &Desk,
    ) -> Result<(), RpcError> {
        let by = credential(passphrase, key)?;
        let mut open = self.open.lock().await;
        let opened = self.probe(by).await?;
        if *open && !opened.is_duress() {
            return Ok(());
        }
        self.enter(&mut open, opened, desk).await
    }

    /// Whether a secret opens a slot. One of the decoy ends the person's vault, as everywhere: who
    /// is in makes room for it, and what is locked stays locked, over the decoy's rows.
    pub(super) async fn check(
        &self,
        passphrase: &Hidden,
        key: Option<&Hidden>,
        desk: &Desk,
    ) -> Result<(), RpcError> {
        let by = credential(passphrase, key)?;
        let mut open = self.open.lock().await;
        let opened = self.probe(by).await?;
        match (opened.is_duress(), *open) {
            (false, _) => Ok(()),
            (true, true) => self.enter(&mut open, opened, desk).await,
            (true, false) => {
                self.take(opened).await?;
                self.keeper(Task::Lock).await
            }
        }
    }

    /// Apart from the vault's thread: guessing must not hold up what is to become durable.
    async fn probe(&self, by: Credential) -> Result<Opened, RpcError> {
        let home = self.home.clone();
        let opened = task::spawn_blocking(move || Vault::probe(&home, &by)).await;
        Ok(opened.map_err(|_| ending())??)
    }

    async fn enter(&self, open: &mut bool, opened: Opened, desk: &Desk) -> Result<(), RpcError> {
        // Nothing of whoever is in may reach the rows of who comes.
        self.leave(open, desk).await?;
        let rows = self.take(opened).await?;
        let told = self.client.send(Command::Unlock { rows }).await;
        told.map_err(|_| ending())?;
        desk.settled().await?;
        *open = true;
        desk.tell(&Notice::Unlocked {});
        Ok(())
    }

    async fn take(&self, opened: Opened) -> Result<Rows, RpcError> {
        match self.keeper(|answer| Task::Take(opened, answer)).await? {
            Ok(rows) => Ok(rows),
            Err(error) => {
                // Half of a vault is none: what is on the disk decides at the next start.
                self.shutdown.fail(error.to_string());
                Err(error.into())
            }
        }
    }
}

fn credential(passphrase: &Hidden, key: Option<&Hidden>) -> Result<Credential, RpcError> {
    let known = Zeroizing::new(passphrase.expose().as_bytes().to_vec());
    let Some(key) = key else {
        return Ok(Credential::new(known));
    };
    let wrong = || RpcError::new(2, "the key is not 32 bytes in hexadecimal");
    let mut bytes = Zeroizing::new([0; 32]);
    if key.expose().len() != 64 {
        return Err(wrong());
    }
    data_encoding::HEXLOWER
        .decode_mut(key.expose().as_bytes(), &mut *bytes)
        .map_err(|_| wrong())?;
    Ok(Credential::new(known).with(Factor::KeyFile(Secret::new(*bytes))))
}
