//! Leaving in a hurry: everything of a home is gone, whatever the daemon is doing.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand_core::{Rng as _, SeedableRng as _};
use whist_rt::{Exit, Failure, process};
use whist_timing::Rng;

/// What opens the vault: the slots first, they are few.
const KEYS: [&str; 4] = ["slots", "shreds", "slots.making", "shreds.making"];
/// Everything else that is ever in a home.
const REST: [&str; 5] = [
    "vault.redb",
    "vault.redb.making",
    "start.lock",
    "version",
    "lock",
];
/// How long the end of a killed daemon is awaited. One that the kernel does not let go of must not
/// hinder what comes after.
const KILLED: Duration = Duration::from_millis(1_500);
/// The service that a person may have for the daemon.
const UNIT: &str = "systemd/user/whist.service";

/// Destroys a home: the keys are overwritten, the daemon is ended and cannot write again, the keys
/// are overwritten once more, and then the files go. Needs no secret and no answer of the daemon.
/// Each step is tried whatever became of those before it, and none waits for a daemon that the
/// kernel itself holds.
///
/// # Errors
/// One line that says what is still there.
pub fn destroy(home: &Path, socket: &Path) -> Result<(), Failure> {
    destroy_counted(home, socket, &mut Work::default())
}

/// What is written and waited for: all that takes time here, beside the end of a daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Work {
    bytes: u64,
    syncs: u32,
}

fn destroy_counted(home: &Path, socket: &Path, work: &mut Work) -> Result<(), Failure> {
    if !home.join("version").exists() && !home.join("slots").exists() {
        let text = format!("{}: nothing of whist is there", home.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    let _ = overwrite(home, work);
    let lock = home.join("lock");
    end_daemon(home);
    // Free when the daemon is gone; held, no other one starts meanwhile.
    let held = hold(&lock);
    // What was killed may have written between the first time and its end.
    let second = overwrite(home, work);
    let removed = remove(home, socket);
    let failure = |error: io::Error| {
        let text = format!("{}: not all is gone: {error}", home.display());
        Failure::new(Exit::Other, text)
    };
    let done = second.and(removed);
    done.and(held.map(drop)).map_err(failure)
}

/// Ends the daemon of a home, even one that hangs.
pub(crate) fn end_daemon(home: &Path) {
    if let Some(daemon) = process::kill_holder(&home.join("lock")) {
        let _ = daemon.ended_within(KILLED);
    }
}

fn hold(lock: &Path) -> io::Result<Option<File>> {
    let file = match File::open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(_) => Err(io::Error::other(
            "a daemon could not be ended, and has keys in memory: switch the machine off",
        )),
    }
}

fn overwrite(home: &Path, work: &mut Work) -> io::Result<()> {
    let mut rng = Rng::from_seed(*whist_rt::seed().map_err(io::Error::other)?.expose());
    let mut done = Ok(());
    for name in KEYS {
        let overwritten = overwrite_one(&home.join(name), &mut rng, work);
        done = done.and(overwritten);
    }
    done
}

fn overwrite_one(path: &Path, rng: &mut Rng, work: &mut Work) -> io::Result<()> {
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut noise = vec![0; 1 << 16];
    let mut at = 0;
    while at < length {
        rng.fill_bytes(&mut noise);
        let rest = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
        let piece = noise.get(..rest.min(noise.len())).unwrap_or_default();
        file.write_all_at(piece, at)?;
        at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
    }
    work.bytes = work.bytes.saturating_add(length);
    work.syncs = work.syncs.saturating_add(1);
    file.sync_all()
}

fn remove(home: &Path, socket: &Path) -> io::Result<()> {
    let mut done = Ok(());
    // It may stand elsewhere, and a file of the person's own may have been named for it.
    if std::fs::symlink_metadata(socket).is_ok_and(|file| file.file_type().is_socket()) {
        done = gone(std::fs::remove_file(socket));
    }
    for path in KEYS.iter().chain(&REST).map(|name| home.join(name)) {
        done = done.and(gone(std::fs::remove_file(path)));
    }
    for unit in unit_of(home) {
        done = done.and(gone(std::fs::remove_file(unit)));
    }
    // A folder with anything else in it is the person's.
    let _ = std::fs::remove_dir(home);
    done
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The service of this home, and the link that starts it with the session.
fn unit_of(home: &Path) -> Vec<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    let Some(unit) = config.map(|config| config.join(UNIT)) else {
        return Vec::new();
    };
    let text = std::fs::read_to_string(&unit).unwrap_or_default();
    let usual = home.ends_with("whist") && !text.contains("--home") && !text.contains("--profile");
    let ours = usual || text.contains(&home.display().to_string());
    if text.is_empty() || !ours {
        return Vec::new();
    }
    let link = unit.with_file_name("default.target.wants/whist.service");
    vec![link, unit]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CONTACTS_MAX, HISTORY_TEXTS_MAX, MESSAGES_MAX, OUTBOX_MAX};

    /// More than there are rows of texts, of words that are followed, of requests, of contacts and
    /// of both their sessions.
    const ROWS: u64 = 1 << 17;
    const SLOTS_BYTES: u64 = 886;

    #[test]
    fn the_end_of_the_largest_history_costs_four_syncs_and_less_than_nine_megabytes() {
        let rows = HISTORY_TEXTS_MAX + MESSAGES_MAX + OUTBOX_MAX + 3 * CONTACTS_MAX;
        assert!(u64::try_from(rows).unwrap() < ROWS);
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: u64| {
            let file = File::create(home.path().join(name)).unwrap();
            file.set_len(bytes).unwrap();
        };
        file("slots", SLOTS_BYTES);
        file("shreds", 32 * ROWS);
        // None of it is read or written, however large it is.
        file("vault.redb", 1 << 40);
        file("version", 2);
        let mut work = Work::default();
        let socket = home.path().join("daemon.sock");
        destroy_counted(home.path(), &socket, &mut work).unwrap();
        let bytes = 2 * (SLOTS_BYTES + 32 * ROWS);
        assert_eq!(work, Work { bytes, syncs: 4 });
        assert!(work.bytes < 9_000_000);
        assert!(!home.path().exists());
    }

    #[test]
    fn what_opens_the_vault_is_overwritten_before_anything_else_whatever_stands_in_the_way() {
        assert_eq!(KEYS[0], "slots");
        let home = tempfile::tempdir().unwrap();
        let slots = home.path().join("slots");
        std::fs::write(&slots, [7; 886]).unwrap();
        let held = File::open(&slots).unwrap();
        // A folder can neither be overwritten nor be removed as a file.
        std::fs::create_dir(home.path().join("shreds")).unwrap();
        let socket = home.path().join("daemon.sock");
        let failure = destroy(home.path(), &socket).unwrap_err();
        assert!(failure.message.contains("not all is gone"), "{failure:?}");
        let mut left = [0; 886];
        held.read_exact_at(&mut left, 0).unwrap();
        let kept = left.chunks(6).filter(|chunk| *chunk == [7; 6]).count();
        assert_eq!((kept, slots.exists()), (0, false));
    }
}
