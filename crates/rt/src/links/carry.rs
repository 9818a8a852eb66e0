//! Carries an open link: frames both ways, until either side ends it.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use whist_link::{Connection, Frame, LinkId};

use super::open::DEADLINES;
use super::stream::{LinkStream, Progress, StreamError};
use super::{Event, Local};
use crate::limits;

/// A link that is open.
pub(super) struct Open {
    link: LinkId,
    stream: LinkStream,
    connection: Connection,
    local: Arc<Local>,
    events: mpsc::Sender<Event>,
    /// Whether both ends proved a key.
    between_nodes: bool,
    /// Until the peer's first frame: when it is too late. Both sides of every link begin with a
    /// frame, and a peer that says nothing holds a socket no longer than one that stalls in its
    /// handshake.
    greeting: Option<Instant>,
    /// Frames that came and that the driver has no room for yet. Nothing is read meanwhile.
    incoming: VecDeque<Frame>,
    out: Vec<u8>,
}

impl Open {
    pub(super) fn new(
        link: LinkId,
        mut stream: LinkStream,
        connection: Connection,
        local: Arc<Local>,
        events: mpsc::Sender<Event>,
        between_nodes: bool,
    ) -> Self {
        stream.open();
        Self {
            link,
            stream,
            connection,
            local,
            events,
            between_nodes,
            greeting: link
                .is_accepted()
                .then(|| Instant::now().checked_add(DEADLINES.handshake))
                .flatten(),
            incoming: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// Carries the link to its end, with room for this many frames to be sent.
    pub(super) async fn carry(mut self, room: usize) {
        let Some(remote) = self.connection.remote() else {
            return;
        };
        let (sender, mut queue) = mpsc::channel(room);
        let up = Event::Up {
            link: self.link,
            remote,
            queue: sender,
        };
        if self.events.send(up).await.is_ok() {
            self.local.metrics.up.inc();
            self.flow(&mut queue).await;
            self.local.metrics.up.dec();
        }
        if let Some(error) = self.connection.error() {
            self.local.failed(error);
        }
        queue.close();
        while queue.try_recv().is_ok() {
            self.local.metrics.unsent.inc();
        }
        // What came before the end still counts.
        for frame in self.incoming {
            let link = self.link;
            let _ = self.events.send(Event::Frame { link, frame }).await;
        }
        if self.connection.error().is_none() {
            self.stream.finish().await;
        }
    }

    async fn flow(&mut self, queue: &mut mpsc::Receiver<Frame>) {
        let clock = self.local.clock;
        let events = self.events.clone();
        let mut buffer = vec![0u8; 16 * 1024];
        let mut timer = pin!(tokio::time::sleep_until(Instant::now()));
        loop {
            self.take();
            self.out.clear();
            self.connection.transmit(&mut self.out);
            self.stream.queue(&self.out);
            let Some(at) = self.connection.poll_timeout() else {
                // Closed: what is queued is written by `finish`.
                return;
            };
            let at = clock.deadline(at);
            let at = self.greeting.map_or(at, |by| at.min(by));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            tokio::select! {
                permit = events.reserve(), if !self.incoming.is_empty() => {
                    let (Ok(permit), Some(frame)) = (permit, self.incoming.pop_front()) else {
                        self.connection.close();
                        continue;
                    };
                    permit.send(Event::Frame { link: self.link, frame });
                }
                frame = queue.recv(), if !self.stream.is_writing() => match frame {
                    Some(frame) => self.seal(frame, queue),
                    None => self.connection.close(),
                },
                moved = self.stream.progress(&mut buffer, self.incoming.is_empty()) => match moved {
                    Ok(Progress::Read(count)) => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        // All is taken: a buffer holds fewer frames than a connection.
                        let _ = self.connection.receive(clock.now(), bytes);
                    }
                    Ok(Progress::Flushed) => {}
                    Err(StreamError::TimedOut(_)) => self.too_slow(),
                    Err(_) => self.connection.receive_end(),
                },
                () = &mut timer => {
                    self.connection.handle_timeout(clock.now());
                    if self.greeting.is_some_and(|by| by <= Instant::now()) {
                        self.too_slow();
                    }
                }
            }
        }
    }

    fn too_slow(&mut self) {
        self.local.metrics.timed_out.inc();
        self.connection.receive_end();
    }

    /// Seals `frame` and those that wait behind it, for one write.
    fn seal(&mut self, frame: Frame, queue: &mut mpsc::Receiver<Frame>) {
        let now = self.local.clock.now();
        let mut next = Some(frame);
        let mut sealed = 0usize;
        while let Some(frame) = next {
            if self.connection.send(now, frame).is_err() {
                self.local.metrics.unsent.inc();
                return;
            }
            self.local.metrics.frames_out.inc();
            sealed = sealed.saturating_add(1);
            next = if sealed < limits::BATCH {
                queue.try_recv().ok()
            } else {
                None
            };
        }
    }

    /// Takes the frames that came. A node's `DUMMY` only kept the link alive; a client's link has
    /// them as cover, and the role counts them.
    fn take(&mut self) {
        while let Some(frame) = self.connection.poll_frame() {
            self.local.metrics.frames_in.inc();
            self.greeting = None;
            if !(self.between_nodes && matches!(frame, Frame::Dummy)) {
                self.incoming.push_back(frame);
            }
        }
    }
}
