//! One link: TLS 1.3 as a state machine over bytes.
//!
//! Records are cut out of the stream here and given to the TLS library one at a time, so that
//! what a record may be is decided before it is opened and what it held is known exactly after.

mod deadline;
mod inbound;

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;

use whist_types::{Instant, LinkKey, Now};

use crate::puzzle::{Challenge, Gate, Solution, Source};
use crate::{ClientSetup, Error, FRAME_BYTES, Frame, Remote, ServerSetup, limits, tls};

/// How a server meets a peer that it has accepted.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Without a puzzle. A solution asked for under an earlier load is read and not judged.
    Free,
    /// Under load: with a puzzle before any key work.
    Puzzle {
        /// The listener's gate.
        gate: Arc<Gate>,
        /// Who came.
        source: Source,
        /// Zero bits to ask for ([`Load::arrived`](crate::puzzle::Load::arrived)).
        effort: u8,
    },
}

#[derive(Debug)]
enum Stage {
    /// Nothing of the peer's first bytes has been judged.
    First(First),
    /// TLS is talking.
    Handshake,
    /// Frames flow.
    Open,
    /// Over: why, if not in good order. What is in `out` may still be sent.
    Closed(Option<Error>),
}

#[derive(Debug)]
enum First {
    /// A dialler waits for TLS or a challenge.
    Answer,
    /// A server waits for TLS or a solution.
    Peer(Entry),
}

/// One link, as a value: bytes in by [`Connection::receive`], bytes out by
/// [`Connection::transmit`], frames in by [`Connection::send`], frames out by
/// [`Connection::poll_frame`], time by [`Connection::poll_timeout`] and
/// [`Connection::handle_timeout`].
///
/// After `receive`, `handle_timeout`, `send` and `close`, take `poll_frame` until `None`, then
/// `transmit`, then ask `poll_timeout` and [`Connection::is_closed`]. A closed link's socket is
/// shut down for writing once what `transmit` gave is written.
///
/// Every frame is one record of 2,436 bytes. An error closes the link in silence: no alert is sent.
#[derive(Debug)]
pub struct Connection {
    tls: rustls::Connection,
    stage: Stage,
    remote: Option<Remote>,
    /// The key that a dialler pinned.
    expected: Option<LinkKey>,
    /// Keep-alives are for links between nodes: a client's clock alone says when it sends.
    keeps_alive: bool,
    challenge: Option<Challenge>,
    /// What has come of the next record, or of the clear bytes before TLS.
    partial: Vec<u8>,
    partial_since: Instant,
    handshake_bytes: usize,
    frames: VecDeque<Frame>,
    /// Frames sealed since the last `transmit`.
    unsent: usize,
    /// Bytes that go out before anything that TLS says.
    clear: Vec<u8>,
    started: Instant,
    received_at: Instant,
    sent_at: Instant,
}

impl Connection {
    /// A dialled link: its first bytes are ready to be transmitted. The link opens only if the
    /// server proves `expected`. `solution` answers the challenge of an earlier dial.
    ///
    /// # Errors
    /// [`Error::Bug`] if the TLS library refuses the fixed configuration.
    pub fn client(
        now: Now,
        setup: &ClientSetup,
        expected: LinkKey,
        solution: Option<&Solution>,
    ) -> Result<Self, Error> {
        let config = Arc::new(setup.expecting(&expected)?);
        let tls = rustls::ClientConnection::new(config, tls::no_name())
            .map_err(|_| Error::Bug("TLS configuration"))?;
        let mut connection = Self::new(now, tls.into(), Stage::First(First::Answer));
        connection.expected = Some(expected);
        connection.keeps_alive = setup.identifies();
        if let Some(solution) = solution {
            connection.clear.extend_from_slice(&solution.to_bytes());
        }
        Ok(connection)
    }

    /// An accepted link.
    ///
    /// # Errors
    /// [`Error::Bug`] if the TLS library refuses the fixed configuration.
    pub fn server(now: Now, setup: &ServerSetup, entry: Entry) -> Result<Self, Error> {
        let tls = rustls::ServerConnection::new(Arc::clone(&setup.config))
            .map_err(|_| Error::Bug("TLS configuration"))?;
        Ok(Self::new(now, tls.into(), Stage::First(First::Peer(entry))))
    }

    fn new(now: Now, mut tls: rustls::Connection, stage: Stage) -> Self {
        // Bounded by `FRAMES_HELD` instead: the library's limit would cut a frame in two.
        tls.set_buffer_limit(None);
        Self {
            tls,
            stage,
            remote: None,
            expected: None,
            keeps_alive: false,
            challenge: None,
            partial: Vec::new(),
            partial_since: now.instant,
            handshake_bytes: 0,
            frames: VecDeque::new(),
            unsent: 0,
            clear: Vec::new(),
            started: now.instant,
            received_at: now.instant,
            sent_at: now.instant,
        }
    }

    /// Takes bytes from the peer: how many, which is fewer than given when [`limits::FRAMES_HELD`]
    /// frames wait to be taken. Then take them and give the rest again.
    ///
    /// # Errors
    /// Why the link is closed; the same again for bytes that come later. Frames that came before
    /// the error can still be taken.
    pub fn receive(&mut self, now: Now, bytes: &[u8]) -> Result<usize, Error> {
        let mut rest = bytes;
        while !rest.is_empty() && self.frames.len() < limits::FRAMES_HELD {
            if let Stage::Closed(why) = &self.stage {
                return match why {
                    Some(error) => Err(error.clone()),
                    // Nothing counts after close_notify.
                    None => Ok(bytes.len()),
                };
            }
            let taken = self
                .take(now, rest)
                .inspect_err(|error| self.fail(error.clone()))?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    /// The peer's bytes have ended.
    pub fn receive_end(&mut self) {
        if !self.is_closed() {
            self.fail(Error::Lost);
        }
    }

    /// Appends what is to be written to `out`: how many bytes. Whole records, always.
    pub fn transmit(&mut self, out: &mut Vec<u8>) -> usize {
        let before = out.len();
        out.append(&mut self.clear);
        // A failed link is silent, and one that asked for a puzzle has said all.
        if !matches!(self.stage, Stage::Closed(Some(_))) {
            while self.tls.wants_write() {
                if !matches!(self.tls.write_tls(out), Ok(1..)) {
                    break;
                }
            }
        }
        self.unsent = 0;
        out.len().saturating_sub(before)
    }

    /// Seals a frame. It is given back if the link is not open, or if [`limits::FRAMES_HELD`]
    /// frames wait for `transmit`.
    ///
    /// # Errors
    /// The frame that was not taken.
    pub fn send(&mut self, now: Now, frame: Frame) -> Result<(), Frame> {
        if !self.is_open() || self.unsent >= limits::FRAMES_HELD {
            return Err(frame);
        }
        // Without a limit the library takes all of it, and makes one record of it.
        let written = self.tls.writer().write(frame.encode().as_slice());
        if !matches!(written, Ok(FRAME_BYTES)) {
            self.fail(Error::Bug("a frame was not sealed whole"));
            return Err(frame);
        }
        self.unsent = self.unsent.saturating_add(1);
        self.sent_at = now.instant;
        Ok(())
    }

    /// The next frame that came.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (at, _) = self.deadline()?;
        Some(match self.keep_alive_at() {
            Some(keep_alive) => at.min(keep_alive),
            None => at,
        })
    }

    /// A time that `poll_timeout` named has come: closes a link whose peer is too slow, keeps a
    /// link between nodes alive.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Some((at, what)) = self.deadline()
            && at <= now.instant
        {
            return self.fail(Error::TimedOut(what));
        }
        if self.keep_alive_at().is_some_and(|at| at <= now.instant) {
            // When `FRAMES_HELD` frames wait, the link is not idle; the next is due later.
            self.sent_at = now.instant;
            let _not_needed = self.send(now, Frame::Dummy);
        }
    }

    /// Closes in good order, after the frames that were sent.
    pub fn close(&mut self) {
        if self.is_closed() {
            return;
        }
        if self.is_open() {
            self.tls.send_close_notify();
        }
        self.stage = Stage::Closed(None);
    }

    /// Whether frames flow.
    pub const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Whether it is over.
    pub const fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed(_))
    }

    /// Why it is over; `None` while it is not, and when it ended in good order.
    pub const fn error(&self) -> Option<&Error> {
        match &self.stage {
            Stage::Closed(why) => why.as_ref(),
            _ => None,
        }
    }

    /// Who is there, once the link has opened.
    pub const fn remote(&self) -> Option<Remote> {
        self.remote
    }

    /// What the server asked for, when the link closed with [`Error::PuzzleAsked`]: solve it, dial
    /// again. It is not authenticated.
    pub const fn challenge(&self) -> Option<&Challenge> {
        self.challenge.as_ref()
    }

    fn fail(&mut self, error: Error) {
        self.clear.clear();
        self.partial = Vec::new();
        self.stage = Stage::Closed(Some(error));
    }

    /// The library's connection, for tests and fuzzers that send what no [`Frame`] is.
    pub(crate) const fn tls(&mut self) -> &mut rustls::Connection {
        &mut self.tls
    }
}
