//! The control socket: its owner's alone.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use whist_rt::sync::Semaphore;
use whist_rt::unix::UnixListener;
use whist_rt::{Exit, Failure, files, task, time};

use super::desk::Desk;
use super::talk::talk;
use crate::limits::RPC_CONNECTIONS_MAX;

/// How long no connection is taken after one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Binds the socket for its owner alone. A socket that a kill left behind is replaced: the lock on
/// the folder shows that nobody serves it.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, u32), Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Other,
            format!("cannot bind {}: {error}", path.display()),
        )
    };
    files::remove(path)?;
    let listener = UnixListener::bind(path).map_err(|error| failure(&error))?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, owner_only).map_err(|error| failure(&error))?;
    let uid = std::fs::symlink_metadata(path)
        .map_err(|error| failure(&error))?
        .uid();
    Ok((listener, uid))
}

pub(super) async fn accept(listener: UnixListener, desk: Desk) {
    // More than this many at once wait in the socket's own backlog.
    let places = Arc::new(Semaphore::new(RPC_CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = task::select! {
            accepted = listener.accept() => accepted,
            () = desk.shutdown.triggered() => return,
        };
        // Without descriptors every attempt fails at once: a pause keeps that from a busy loop.
        let Ok((stream, _)) = stream else {
            task::select! {
                () = time::sleep(ACCEPT_PAUSE) => continue,
                () = desk.shutdown.triggered() => return,
            }
        };
        // Other users get silence, root too.
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == desk.uid) {
            continue;
        }
        let desk = desk.clone();
        task::spawn(async move {
            talk(stream, desk).await;
            drop(place);
        });
    }
}
