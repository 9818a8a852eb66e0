//! What every process of Whist does to itself before it reads a secret.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit, Signal};

use crate::RtError;
use crate::local::Watched;

/// Files of this process are its owner's alone (umask 077), it leaves no core dump and cannot be
/// attached to by its own user's other processes, and a panic of any thread ends it with exit
/// code 1 after one line that names the place and never the message, which may quote a secret.
pub fn harden() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // Both may be forbidden in a sandbox, which then forbids core dumps itself.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = rustix::process::setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map(|at| format!(" at {}:{}", at.file(), at.line()))
            .unwrap_or_default();
        eprintln!("{}: bug: panicked{place}", name());
        std::process::exit(i32::from(crate::Exit::Other.code()));
    }));
}

/// Keeps all memory of this process from swap, each page from when it is first used. Done only
/// where there is no limit: under one a later allocation would fail, and end the process. `false`
/// if it was not done.
pub fn lock_memory() -> bool {
    let limit = rustix::process::getrlimit(Resource::Memlock);
    if limit.current.is_some() && limit.maximum.is_none() {
        // Of the two limits the one that the process may raise itself.
        let none = Rlimit {
            current: None,
            maximum: None,
        };
        let _ = rustix::process::setrlimit(Resource::Memlock, none);
    }
    if rustix::process::getrlimit(Resource::Memlock)
        .current
        .is_some()
    {
        return false;
    }
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    rustix::mm::mlockall(all).is_ok()
}

/// Whether core dumps are off, for tests of the programs.
pub fn core_dumps_are_off() -> bool {
    rustix::process::getrlimit(Resource::Core).current == Some(0)
}

/// Memory of this process that is resident, in bytes, for a gauge.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages = text.split(' ').nth(1)?.parse::<u64>().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

/// CPU time that this process has used, all threads together: what it did, not how long it waited
/// for its turn.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    u64::try_from(time.tv_sec).map_or(Duration::ZERO, |secs| Duration::new(secs, nanos))
}

/// The file name that this program was started by.
pub fn name() -> String {
    std::env::args_os()
        .next()
        .and_then(|path| {
            Path::new(&path)
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "whist".to_owned())
}

/// Ends the process that holds the lock on the file at `path` by SIGKILL, which a process that
/// hangs or was stopped does not outlive either. It may still be ending when this returns: it is
/// given back to be watched. `None` if none was found or the kernel refuses.
pub fn kill_holder(path: &Path) -> Option<Watched> {
    let pid = holder(path)?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // The number may have passed to another process before it was opened.
    if holder(path) != Some(pid) {
        return None;
    }
    rustix::process::pidfd_send_signal(&process, Signal::KILL).ok()?;
    Some(Watched(process))
}

/// The process of our own user that holds the lock on a file, from the kernel's list of locks.
fn holder(path: &Path) -> Option<Pid> {
    let file = std::fs::metadata(path).ok()?;
    let device = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let mut pids = locks.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = fields.as_slice() else {
            return None;
        };
        let mut place = place.split(':');
        let major = u32::from_str_radix(place.next()?, 16).ok()?;
        let minor = u32::from_str_radix(place.next()?, 16).ok()?;
        let inode = place.next()?.parse::<u64>().ok()?;
        let pid = Pid::from_raw(pid.parse().ok()?)?;
        let found = inode == file.ino() && (device == (major, minor) || is_named_like_us(pid));
        (found && is_own(pid)).then_some(pid)
    });
    pids.next()
}

fn status_field(pid: Pid, name: &str) -> Option<String> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next().map(str::to_owned)
}

fn is_own(pid: Pid) -> bool {
    let uid = rustix::process::geteuid().as_raw().to_string();
    status_field(pid, "Uid:") == Some(uid)
}

/// Some file systems show one device to `stat` and another in the list of locks.
fn is_named_like_us(pid: Pid) -> bool {
    let ours = status_field(rustix::process::getpid(), "Name:");
    ours.is_some() && status_field(pid, "Name:") == ours
}

/// The guard against builds with debug assertions: some dependencies have assertions that a peer
/// could trip. `allowed` is the program's `--debug-build`.
///
/// # Errors
/// In a build with debug assertions, unless `allowed`.
pub const fn refuse_debug_build(allowed: bool) -> Result<(), RtError> {
    if cfg!(debug_assertions) && !allowed {
        return Err(RtError::Refused(
            "built with debug assertions, which a peer could trip: build with --release, \
             or pass --debug-build on a test network",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_memory() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let begun = cpu_time();
        let mut sum = 0_u64;
        while cpu_time() == begun {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        assert!(cpu_time() > begun);
    }

    #[test]
    fn a_debug_build_runs_only_when_told_to() {
        assert_eq!(refuse_debug_build(false).is_err(), cfg!(debug_assertions));
        assert!(refuse_debug_build(true).is_ok());
    }
}
