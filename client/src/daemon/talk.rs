//! One connection of the socket: lines in, answers and notifications out.
//!
//! Calls reach the client in their order and are answered as the answers come. Reading never waits
//! for an answer, so a connection that was closed is noticed at once.

use std::sync::Arc;

use serde_json::Value;
use whist_rt::io::{AsyncReadExt, AsyncWriteExt};
use whist_rt::sync::{Semaphore, mpsc};
use whist_rt::unix::{OwnedReadHalf, OwnedWriteHalf, UnixStream};
use whist_rt::{Shutdown, task, time};
use zeroize::{Zeroize as _, Zeroizing};

use super::desk::{Asked, Desk, Subscription};
use crate::call::{Answer, Call, Notice};
use crate::limits::{RPC_CALLS_MAX, RPC_LINE_BYTES_MAX, RPC_LINES_MAX, RPC_WRITE_MAX};
use crate::rpc::{self, Request, RpcError};

const SWAPS: &str = "keys and texts in the daemon's memory may be written to swap: \
    switch swap off, or let the daemon lock its memory (LimitMEMLOCK=infinity)";

/// Bytes that are read at once.
const PIECE_BYTES: usize = 4_096;

/// A line to write.
struct Line {
    text: Zeroizing<String>,
    /// Under which id it answers; null if it does not.
    id: Value,
    /// The call that it answers, if the client was asked.
    tag: Option<u64>,
    /// Whether there are texts in it, which the client keeps until it is written.
    texts: bool,
    /// The era of which it may tell; `None` if it tells of nobody.
    era: Option<u64>,
    /// Whether the daemon ends when it is written.
    last: bool,
}

impl Line {
    const fn new(text: Zeroizing<String>) -> Self {
        Self {
            text,
            id: Value::Null,
            tag: None,
            texts: false,
            era: None,
            last: false,
        }
    }

    fn answer(id: &Value, result: Result<Answer, RpcError>) -> Self {
        Self {
            id: id.clone(),
            ..Self::new(rpc::response(id, result))
        }
    }

    /// What is written in its place when its era is over: who asked is told, who subscribed knows.
    fn overtaken(&self) -> Option<Zeroizing<String>> {
        let error = "the vault was locked before this was answered: whist unlock";
        let told = || rpc::response(&self.id, Err::<Answer, _>(RpcError::new(3, error)));
        (!self.id.is_null()).then(told)
    }
}

type Lines = mpsc::Sender<Line>;

/// Serves one connection until it is closed.
pub(super) async fn talk(stream: UnixStream, desk: Desk) {
    let (read, write) = stream.into_split();
    let (lines, queue) = mpsc::channel(RPC_LINES_MAX);
    let writer = task::spawn(write_lines(write, queue, desk.clone()));
    let closed = Shutdown::new();
    task::select! {
        () = read_calls(read, &desk, &lines, &closed) => {}
        () = lines.closed() => {}
    }
    closed.trigger();
    // Answers that are still owed hold the queue open; the writer ends after the last of them.
    drop(lines);
    let _ = writer.await;
}

/// What comes in, by lines; it is erased behind them.
struct Incoming {
    read: OwnedReadHalf,
    piece: Zeroizing<Vec<u8>>,
    come: Zeroizing<Vec<u8>>,
    /// So much of what has come has no line's end in it.
    seen: usize,
}

impl Incoming {
    fn new(read: OwnedReadHalf) -> Self {
        Self {
            read,
            piece: Zeroizing::new(vec![0; PIECE_BYTES]),
            // What grows is copied, and not erased where it was.
            come: Zeroizing::new(Vec::with_capacity(RPC_LINE_BYTES_MAX)),
            seen: 0,
        }
    }

    /// The next line with its end, or as much as there is when nothing more comes, or as may be.
    async fn line(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        loop {
            let new = self.come.get(self.seen..)?;
            if let Some(at) = new.iter().position(|byte| *byte == b'\n') {
                return Some(self.cut(self.seen.saturating_add(at).saturating_add(1)));
            }
            self.seen = self.come.len();
            let room = RPC_LINE_BYTES_MAX.saturating_sub(self.seen);
            if room == 0 {
                return Some(self.cut(RPC_LINE_BYTES_MAX));
            }
            let piece = self.piece.get_mut(..room.min(PIECE_BYTES))?;
            let bytes = self.read.read(piece).await.ok()?;
            if bytes == 0 {
                let all = self.come.len();
                return (all > 0).then(|| self.cut(all));
            }
            self.come.extend_from_slice(piece.get(..bytes)?);
            piece.zeroize();
        }
    }

    fn cut(&mut self, bytes: usize) -> Zeroizing<Vec<u8>> {
        let (line, rest) = self.come.split_at_checked(bytes).unwrap_or_default();
        let (line, rest) = (Zeroizing::new(line.to_vec()), Zeroizing::new(rest.to_vec()));
        self.come.as_mut_slice().zeroize();
        self.come.clear();
        self.come.extend_from_slice(&rest);
        self.seen = 0;
        line
    }
}

async fn read_calls(read: OwnedReadHalf, desk: &Desk, lines: &Lines, closed: &Shutdown) {
    let places = Arc::new(Semaphore::new(RPC_CALLS_MAX));
    let mut incoming = Incoming::new(read);
    let mut subscribed = false;
    while let Some(line) = incoming.line().await {
        let whole = line.ends_with(b"\n");
        let parsed = rpc::parse(&line);
        drop(line);
        match parsed {
            Err((id, error)) => send(lines, &id, Err(error)).await,
            Ok(request) => {
                if matches!(request.call, Call::Subscribe {}) && !subscribed {
                    send(lines, &request.id, Ok(Answer::Done {})).await;
                    task::spawn(notify(desk.subscribe(), lines.clone(), closed.clone()));
                    subscribed = true;
                } else {
                    serve(request, desk, &places, lines, closed).await;
                }
            }
        }
        // The rest of a line that is too long cannot be told from a new one.
        if !whole {
            return;
        }
    }
}

/// Does what the daemon does itself, and hands everything else to the client.
async fn serve(
    request: Request,
    desk: &Desk,
    places: &Arc<Semaphore>,
    lines: &Lines,
    closed: &Shutdown,
) {
    let Request { id, call } = request;
    desk.somebody_called(&call);
    match &call {
        Call::Stop {} => {
            let last = Line {
                last: true,
                ..Line::answer(&id, Ok(Answer::Done {}))
            };
            let _ = lines.send(last).await;
            return;
        }
        Call::Subscribe {} => return send(lines, &id, Ok(Answer::Done {})).await,
        // In its turn: what is asked after it is asked of a locked client.
        Call::Lock {} => {
            return send(lines, &id, desk.lock().await.map(|()| Answer::Done {})).await;
        }
        _ => {}
    }
    let Ok(place) = places.clone().try_acquire_owned() else {
        let error = RpcError::new(1, "too many calls at once");
        return send(lines, &id, Err(error)).await;
    };
    let (desk, lines, closed) = (desk.clone(), lines.clone(), closed.clone());
    match call {
        Call::Unlock { passphrase, key } => {
            task::spawn(async move {
                let done = desk.unlock(&passphrase, key.as_ref()).await;
                send(&lines, &id, done.map(|()| Answer::Done {})).await;
                drop(place);
            });
        }
        Call::Check { passphrase, key } => {
            task::spawn(async move {
                let done = desk.check(&passphrase, key.as_ref()).await;
                send(&lines, &id, done.map(|()| Answer::Done {})).await;
                drop(place);
            });
        }
        call => match desk.ask(call).await {
            Err(error) => send(&lines, &id, Err(error)).await,
            Ok(asked) => {
                task::spawn(async move {
                    answer(&desk, &id, asked, &closed, &lines).await;
                    drop(place);
                });
            }
        },
    }
}

/// Puts an answer of the daemon's own into the queue.
async fn send(lines: &Lines, id: &Value, answer: Result<Answer, RpcError>) {
    let _ = lines.send(Line::answer(id, answer)).await;
}

async fn answer(desk: &Desk, id: &Value, asked: Asked, closed: &Shutdown, lines: &Lines) {
    let (tag, era) = (asked.tag, asked.era);
    let mut told = desk.answer(asked, closed).await;
    if let Ok(Answer::Status(status)) = &mut told {
        status.locks_after_s = desk.idle.map(|idle| idle.as_secs());
        if desk.swaps {
            status.warnings.push(SWAPS.to_owned());
        }
    }
    let line = Line {
        tag: Some(tag),
        texts: matches!(told, Ok(Answer::Texts { .. })),
        era: Some(era),
        ..Line::answer(id, told)
    };
    if lines.send(line).await.is_err() {
        desk.unheard(tag).await;
    }
}

/// Hands notifications on until the connection is closed or one did not fit into its queue.
async fn notify(mut notices: Subscription, lines: Lines, closed: Shutdown) {
    loop {
        let noted = task::select! {
            noted = notices.next() => noted,
            () = closed.triggered() => return,
        };
        let gap = noted.is_none();
        let line = match noted {
            Some((era, text)) => Line {
                era: Some(era),
                ..Line::new(Zeroizing::new(text.to_string()))
            },
            None => Line::new(Zeroizing::new(rpc::notification(&Notice::Gap {}))),
        };
        if lines.send(line).await.is_err() || gap {
            return;
        }
    }
}

/// Writes until nothing more can come, or until the other side takes nothing any more.
async fn write_lines(mut write: OwnedWriteHalf, mut queue: mpsc::Receiver<Line>, desk: Desk) {
    let mut broken = false;
    while let Some(mut line) = queue.recv().await {
        if !broken {
            broken = !write_line(&mut write, &mut line, &desk).await;
        }
        if line.last {
            desk.shutdown.trigger();
        }
        if broken {
            // Reading ends with the queue; what was answered already is told to nobody.
            queue.close();
            if let Some(tag) = line.tag {
                desk.unheard(tag).await;
            }
        } else if let Some(tag) = line.tag.filter(|_| line.texts) {
            desk.heard(tag).await;
        }
    }
}

/// Whether the line was written. A line whose era ends while a part of it is written is not, and
/// what follows it would be no line: the connection ends.
async fn write_line(write: &mut OwnedWriteHalf, line: &mut Line, desk: &Desk) -> bool {
    if line.era.is_some_and(|era| era != desk.era()) {
        let Some(text) = line.overtaken() else {
            return true;
        };
        (line.text, line.era) = (text, None);
    }
    line.text.push('\n');
    let over = async {
        match line.era {
            Some(era) => desk.over(era).await,
            None => std::future::pending().await,
        }
    };
    let written = time::timeout(RPC_WRITE_MAX, write.write_all(line.text.as_bytes()));
    task::select! {
        biased;
        () = over => false,
        written = written => matches!(written, Ok(Ok(()))),
    }
}
