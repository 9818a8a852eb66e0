//! One connection of the socket: lines in, answers and notifications out.
//!
//! Calls reach the client in their order and are answered as the answers come. Reading never waits
//! for an answer, so a connection that was closed is noticed at once.

use std::sync::Arc;

use whist_rt::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use whist_rt::sync::{Semaphore, mpsc};
use whist_rt::unix::{OwnedReadHalf, OwnedWriteHalf, UnixStream};
use whist_rt::{Shutdown, task, time};

use super::desk::{Asked, Desk};
use crate::call::{Answer, Call, Notice};
use crate::limits::{RPC_CALLS_MAX, RPC_LINE_BYTES_MAX, RPC_LINES_MAX, RPC_WRITE_MAX};
use crate::rpc::{self, RpcError};

/// A line to write.
struct Line {
    text: String,
    /// The call that it answers, if the client was asked.
    tag: Option<u64>,
    /// Whether the daemon ends when it is written.
    last: bool,
}

impl Line {
    const fn new(text: String) -> Self {
        Self {
            text,
            tag: None,
            last: false,
        }
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

async fn read_calls(read: OwnedReadHalf, desk: &Desk, lines: &Lines, closed: &Shutdown) {
    let limit = u64::try_from(RPC_LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let places = Arc::new(Semaphore::new(RPC_CALLS_MAX));
    let mut reader = BufReader::new(read);
    let mut subscribed = false;
    loop {
        let mut line = Vec::new();
        let got = (&mut reader).take(limit).read_until(b'\n', &mut line).await;
        if !got.is_ok_and(|bytes| bytes > 0) {
            return;
        }
        let (id, refused) = match rpc::parse(&line) {
            Err((id, error)) => (id, error),
            Ok(request) => match request.call {
                Call::Stop {} => {
                    let text = rpc::response(&request.id, Ok(done()));
                    let last = Line {
                        last: true,
                        ..Line::new(text)
                    };
                    let _ = lines.send(last).await;
                    continue;
                }
                Call::Subscribe {} => {
                    let text = rpc::response(&request.id, Ok(done()));
                    let _ = lines.send(Line::new(text)).await;
                    if !subscribed {
                        task::spawn(notify(desk.subscribe(), lines.clone(), closed.clone()));
                        subscribed = true;
                    }
                    continue;
                }
                call => match places.clone().try_acquire_owned() {
                    Err(_) => (request.id, RpcError::new(1, "too many calls at once")),
                    Ok(place) => match desk.ask(call).await {
                        Err(error) => (request.id, error),
                        Ok(asked) => {
                            let (desk, closed, lines) =
                                (desk.clone(), closed.clone(), lines.clone());
                            task::spawn(async move {
                                answer(&desk, request.id, asked, &closed, &lines).await;
                                drop(place);
                            });
                            continue;
                        }
                    },
                },
            },
        };
        let text = rpc::response(&id, Err(refused));
        let _ = lines.send(Line::new(text)).await;
        // The rest of a line that is too long cannot be told from a new one.
        if !line.ends_with(b"\n") {
            return;
        }
    }
}

fn done() -> serde_json::Value {
    serde_json::to_value(Answer::Done {}).unwrap_or_default()
}

async fn answer(
    desk: &Desk,
    id: serde_json::Value,
    asked: Asked,
    closed: &Shutdown,
    lines: &Lines,
) {
    let tag = asked.tag;
    let result = desk.answer(asked, closed).await.and_then(|answer| {
        serde_json::to_value(&answer).map_err(|error| RpcError::new(1, error.to_string()))
    });
    let line = Line {
        tag: Some(tag),
        ..Line::new(rpc::response(&id, result))
    };
    if lines.send(line).await.is_err() {
        desk.unheard(tag).await;
    }
}

/// Hands notifications on until the connection is closed or one did not fit into its queue.
async fn notify(mut notices: mpsc::Receiver<Arc<str>>, lines: Lines, closed: Shutdown) {
    loop {
        let line = task::select! {
            line = notices.recv() => line,
            () = closed.triggered() => return,
        };
        let text = match &line {
            Some(line) => line.to_string(),
            None => rpc::notification(&Notice::Gap {}),
        };
        if lines.send(Line::new(text)).await.is_err() || line.is_none() {
            return;
        }
    }
}

/// Writes until nothing more can come, or until the other side takes nothing any more.
async fn write_lines(mut write: OwnedWriteHalf, mut queue: mpsc::Receiver<Line>, desk: Desk) {
    let mut broken = false;
    while let Some(mut line) = queue.recv().await {
        if !broken {
            line.text.push('\n');
            let written = time::timeout(RPC_WRITE_MAX, write.write_all(line.text.as_bytes()));
            broken = !matches!(written.await, Ok(Ok(())));
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
        }
    }
}
