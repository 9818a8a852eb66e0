//! A command of the person's own that is run when texts came. It gets their count, and nothing
//! else: no name, no text, no passphrase.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use whist_rt::sync::Notify;
use whist_rt::{Shutdown, task, time};

use crate::limits::HOOK_MAX;

/// Counts texts for the hook.
#[derive(Clone, Default)]
pub(super) struct Hook {
    texts: Arc<AtomicU64>,
    grown: Arc<Notify>,
}

impl Hook {
    /// A text came. Waits for nothing.
    pub(super) fn text(&self) {
        self.texts.fetch_add(1, Ordering::Relaxed);
        self.grown.notify_one();
    }
}

/// Runs the command, one at a time, with what came meanwhile in one count.
pub(super) async fn run(command: String, hook: Hook, shutdown: Shutdown) {
    loop {
        task::select! {
            () = hook.grown.notified() => {}
            () = shutdown.triggered() => return,
        }
        let texts = hook.texts.swap(0, Ordering::Relaxed);
        if texts == 0 {
            continue;
        }
        let running = task::Command::new("sh")
            .args(["-c", &command])
            .env("WHIST_TEXTS", texts.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status();
        // What does not end is ended; how it ended is its own affair.
        task::select! {
            _ = time::timeout(HOOK_MAX, running) => {}
            () = shutdown.triggered() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_gets_the_count_of_what_came_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (told, done) = (folder.path().join("told"), folder.path().join("done"));
        let mkfifo = std::process::Command::new("mkfifo")
            .arg(&done)
            .status()
            .unwrap();
        assert!(mkfifo.success());
        let command = format!(
            "echo \"$WHIST_TEXTS $#\" >> {}; : > {}",
            told.display(),
            done.display()
        );
        let hook = Hook::default();
        for _ in 0..3 {
            hook.text();
        }
        let shutdown = Shutdown::new();
        let running = run(command, hook.clone(), shutdown.clone());
        whist_rt::block_on(async {
            let running = task::spawn(running);
            // Opening the other end waits for the command.
            let end = task::spawn_blocking(move || std::fs::read(done))
                .await
                .unwrap();
            assert_eq!(end.unwrap(), b"");
            shutdown.trigger();
            running.await.unwrap();
        })
        .unwrap();
        assert_eq!(std::fs::read_to_string(told).unwrap(), "3 0\n");
    }
}
