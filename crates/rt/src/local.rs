//! Other processes of this machine: who is at the other end of a Unix socket, when a process has
//! ended, and how a program lets go of whoever started it.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

/// Who is at the other end of a Unix socket, by the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    pid: Pid,
}

impl Peer {
    /// The number of its process, for people and tests; another process may take it later.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }
}

/// The user that this process runs as.
pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Who connected, or who listened when it was connected to (`SO_PEERCRED`).
///
/// # Errors
/// If the kernel does not say.
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let found = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(Peer {
        uid: found.uid.as_raw(),
        pid: found.pid,
    })
}

/// A process that is watched for its end. It names the process, not its number: what takes the
/// number later is another one.
#[derive(Debug)]
pub struct Watched(pub(crate) OwnedFd);

impl Watched {
    /// Watches the process at the other end. Ask it something afterwards and read its answer: then
    /// it was this process that was watched.
    ///
    /// # Errors
    /// If it has ended and been forgotten already, or is not to be seen from here.
    pub fn new(peer: &Peer) -> io::Result<Self> {
        let pidfd = rustix::process::pidfd_open(peer.pid, PidfdFlags::empty())?;
        Ok(Self(pidfd))
    }

    /// Waits until it has ended, at most so long. One that has ended and that nobody has asked how
    /// counts as ended: its files are closed, its locks are free.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub fn ended_within(&self, limit: Duration) -> io::Result<bool> {
        let start = Instant::now();
        loop {
            let left = limit.saturating_sub(start.elapsed());
            let left = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut watched, Some(&left)) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Makes this process the leader of a session of its own, without a terminal: what ends its
/// parent's terminal does not end it.
///
/// # Errors
/// If it leads a group of processes already.
pub fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Puts `/dev/null` in place of the three standard streams.
///
/// # Errors
/// If it cannot be opened.
pub fn let_go_of_streams() -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_other_end_of_a_socket_is_known_by_its_user() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = peer(&one).unwrap();
        assert_eq!(peer.uid, uid());
        assert_eq!(peer.pid, rustix::process::getpid());
    }

    #[test]
    fn an_end_is_seen_though_nobody_has_asked_how() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let watched = Watched::new(&Peer { uid: uid(), pid }).unwrap();
        assert!(!watched.ended_within(Duration::from_millis(1)).unwrap());
        drop(child.stdin.take());
        // The child is not waited for: it has ended all the same.
        assert!(watched.ended_within(Duration::from_secs(60)).unwrap());
        child.wait().unwrap();
    }
}
