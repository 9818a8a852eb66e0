//! The project's only stream: TCP without a method that could wait for ever.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use whist_types::Sensitive;

use crate::limits;

/// How long each wait may take. A stream cannot be made without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// From dial or accept to an open link.
    pub(crate) handshake: Duration,
    /// From the queueing of bytes to the moment when the last of them was taken.
    pub(crate) write: Duration,
    /// From a byte that came to the next one.
    pub(crate) idle: Duration,
}

/// Why a stream ended. Says nothing of where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamError {
    /// The name does not resolve, or nobody answers there.
    Unreachable,
    /// A deadline passed.
    TimedOut(&'static str),
    /// The peer closed.
    Closed,
    /// The operating system reported an error, a reset most likely.
    Broken,
}

/// What a step of [`LinkStream::progress`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// This many bytes came.
    Read(usize),
    /// All that was queued has been taken.
    Flushed,
}

/// A TCP connection whose every wait ends: bytes are queued with [`LinkStream::queue`] and move,
/// both ways at once, in [`LinkStream::progress`], the only method that waits. It is not `Debug`:
/// a socket prints both of its addresses.
pub(crate) struct LinkStream {
    tcp: TcpStream,
    deadlines: Deadlines,
    /// Set until the handshake is done.
    handshake: Option<Instant>,
    out: VecDeque<u8>,
    out_since: Instant,
    heard: Instant,
}

impl LinkStream {
    /// Connects to `address` (`host:port`) within the handshake's deadline, resolution included.
    pub(crate) async fn dial(
        address: &Sensitive<String>,
        deadlines: Deadlines,
    ) -> Result<Self, StreamError> {
        let started = Instant::now();
        let by = started.checked_add(deadlines.handshake).unwrap_or(started);
        let connect = async {
            let mut found = lookup_host(address.as_inner())
                .await
                .map_err(|_| StreamError::Unreachable)?
                .collect::<VecDeque<_>>();
            while let Some(at) = found.pop_front() {
                // One that does not answer must not use up the time of the others.
                let shares = u32::try_from(found.len())
                    .unwrap_or(u32::MAX)
                    .saturating_add(1);
                let left = by.saturating_duration_since(Instant::now());
                let share = left.checked_div(shares).unwrap_or(left);
                if let Ok(Ok(tcp)) = tokio::time::timeout(share, TcpStream::connect(at)).await {
                    return Ok(tcp);
                }
            }
            Err(StreamError::Unreachable)
        };
        let tcp = timeout_at(by, connect)
            .await
            .map_err(|_| StreamError::TimedOut("dial"))??;
        Ok(Self::since(tcp, deadlines, started))
    }

    /// Takes an accepted connection over.
    pub(crate) fn accepted(tcp: TcpStream, deadlines: Deadlines) -> Self {
        Self::since(tcp, deadlines, Instant::now())
    }

    fn since(tcp: TcpStream, deadlines: Deadlines, started: Instant) -> Self {
        // Frames are written whole: waiting for more to send would only delay them.
        let _ = tcp.set_nodelay(true);
        // A host that is gone, rather than slow, is found by what it does not acknowledge.
        let unacknowledged = u32::try_from(limits::UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&tcp, unacknowledged);
        Self {
            tcp,
            deadlines,
            handshake: Some(later(started, deadlines.handshake)),
            out: VecDeque::new(),
            out_since: started,
            heard: started,
        }
    }

    /// The handshake is done: from here on, bytes may stay away for the idle time.
    pub(crate) fn open(&mut self) {
        self.handshake = None;
        self.heard = Instant::now();
    }

    /// Queues bytes for writing; [`LinkStream::progress`] writes them.
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.out.is_empty() {
            self.out_since = Instant::now();
        }
        self.out.extend(bytes);
    }

    /// Whether queued bytes wait to be taken.
    pub(crate) fn is_writing(&self) -> bool {
        !self.out.is_empty()
    }

    /// Moves bytes until some came (if `read`) or all queued ones were taken. Cancelling it loses
    /// nothing. With nothing to do it waits for ever, which only a caller with other business in
    /// its `select!` asks for.
    pub(crate) async fn progress(
        &mut self,
        incoming: &mut [u8],
        read: bool,
    ) -> Result<Progress, StreamError> {
        loop {
            let interest = match (read, self.is_writing()) {
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (true, false) => Interest::READABLE,
                (false, true) => Interest::WRITABLE,
                (false, false) => return std::future::pending().await,
            };
            let (by, what) = self.deadline(read);
            let ready = timeout_at(by, self.tcp.ready(interest))
                .await
                .map_err(|_| StreamError::TimedOut(what))?
                .map_err(|_| StreamError::Broken)?;
            if self.is_writing() && ready.is_writable() && self.write()? {
                return Ok(Progress::Flushed);
            }
            if read && ready.is_readable() {
                match self.tcp.try_read(incoming) {
                    Ok(0) => return Err(StreamError::Closed),
                    Ok(count) => {
                        self.heard = Instant::now();
                        return Ok(Progress::Read(count));
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return Err(StreamError::Broken),
                }
            }
        }
    }

    /// Writes what is queued, ends our direction and waits for the peer to end its own: closing
    /// with unread bytes would take back what the peer has not read yet. All within the write
    /// deadline and [`limits::LINGER`].
    pub(crate) async fn finish(mut self) {
        while self.is_writing() {
            if self.progress(&mut [], false).await.is_err() {
                return;
            }
        }
        let by = later(Instant::now(), limits::LINGER);
        let rest = async {
            let mut unread = [0; 4096];
            tokio::io::AsyncWriteExt::shutdown(&mut self.tcp).await.ok();
            while self.progress(&mut unread, true).await.is_ok() {}
        };
        let _ = timeout_at(by, rest).await;
    }

    /// Writes as much as is taken; whether that was all.
    fn write(&mut self) -> Result<bool, StreamError> {
        while self.is_writing() {
            let (head, _) = self.out.as_slices();
            match self.tcp.try_write(head) {
                Ok(0) => return Err(StreamError::Broken),
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(_) => return Err(StreamError::Broken),
            }
        }
        Ok(true)
    }

    fn deadline(&self, read: bool) -> (Instant, &'static str) {
        if let Some(by) = self.handshake {
            return (by, "handshake");
        }
        let write = self
            .is_writing()
            .then(|| (later(self.out_since, self.deadlines.write), "write"));
        let idle = read.then(|| (later(self.heard, self.deadlines.idle), "idle"));
        [write, idle]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| (later(Instant::now(), self.deadlines.write), "write"))
    }
}

/// `at` plus `by`; a deadline that far away that it cannot be said is now, which is safe.
fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const DEADLINES: Deadlines = Deadlines {
        handshake: Duration::from_secs(10),
        write: Duration::from_secs(20),
        idle: Duration::from_secs(60),
    };

    async fn pair() -> (LinkStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Sensitive::new(listener.local_addr().unwrap().to_string());
        let (dialed, accepted) =
            tokio::join!(LinkStream::dial(&address, DEADLINES), listener.accept());
        (dialed.ok().unwrap(), accepted.unwrap().0)
    }

    /// Runs `stream` against a silent peer and says after how many seconds it gave up, and why.
    async fn gives_up(stream: &mut LinkStream, started: Instant) -> (u64, StreamError) {
        tokio::time::pause();
        let error = loop {
            if let Err(error) = stream.progress(&mut [0; 4096], true).await {
                break error;
            }
        };
        tokio::time::resume();
        (started.elapsed().as_secs(), error)
    }

    #[tokio::test]
    async fn a_handshake_that_stalls_ends_at_its_deadline() {
        let started = Instant::now();
        let (mut stream, _silent) = pair().await;
        let (after, why) = gives_up(&mut stream, started).await;
        assert_eq!((after, why), (10, StreamError::TimedOut("handshake")));
    }

    #[tokio::test]
    async fn a_silent_peer_ends_at_the_idle_deadline() {
        let started = Instant::now();
        let (mut stream, _silent) = pair().await;
        stream.open();
        let (after, why) = gives_up(&mut stream, started).await;
        assert_eq!((after, why), (60, StreamError::TimedOut("idle")));
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_ends_at_the_write_deadline() {
        let started = Instant::now();
        let (mut stream, _silent) = pair().await;
        stream.open();
        stream.queue(&vec![0; 64 << 20]);
        let (after, why) = gives_up(&mut stream, started).await;
        assert_eq!((after, why), (20, StreamError::TimedOut("write")));
    }

    #[tokio::test]
    async fn a_dial_that_nobody_answers_fails_without_saying_where() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Sensitive::new(closed.local_addr().unwrap().to_string());
        drop(closed);
        let error = LinkStream::dial(&address, DEADLINES).await.err().unwrap();
        assert_eq!(error, StreamError::Unreachable);
        assert!(!format!("{error:?} {address:?}").contains("127"));
    }
}
