//! What takes a call to the client and brings the answer back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use whist_rt::io::{AsyncBufReadExt, BufReader};
use whist_rt::sync::oneshot;
use whist_rt::tracing::info;
use whist_rt::unix::OwnedReadHalf;
use whist_rt::{Handle, Shutdown, task};

use crate::api::{Command, Event};
use crate::call::{Answer, Call};
use crate::rpc::{self, RpcError};

pub(super) type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Answer, RpcError>>>>>;

/// What every connection of the socket shares.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) client: Handle<Command>,
    pub(super) waiting: Waiting,
    pub(super) last: Arc<Mutex<u64>>,
    /// The user that owns the socket: nobody else is answered.
    pub(super) uid: u32,
    pub(super) shutdown: Shutdown,
}

/// Shows what happened: answers to who asked, the rest as log lines that name nobody.
pub(super) fn happened(waiting: &Waiting, event: Event) {
    match event {
        Event::Answer { tag, answer } => {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(asker) = waiting.remove(&tag) {
                let _ = asker.send(*answer);
            }
        }
        Event::Online(true) => info!("on line"),
        Event::Online(false) => info!("off line"),
        Event::Consensus { epoch } => info!(epoch, "a newer consensus"),
        Event::Skew { seconds } => info!(seconds, "the clock differs from the provider's"),
        Event::Stale => info!("the consensus is too old: nothing is sent"),
        Event::Equivocation => info!("the authorities signed two documents for one epoch"),
        // Nothing of a message, a contact or an invitation in any log.
        Event::Received { .. }
        | Event::Added { .. }
        | Event::AddFailed { .. }
        | Event::State { .. }
        | Event::Unsafe { .. } => {}
    }
}

/// The answer to a line, and the tag of the call if the client was asked.
pub(super) async fn answer(line: &[u8], desk: &Desk, rest: &mut Lines) -> (Option<u64>, String) {
    let request = match rpc::parse(line) {
        Ok(request) => request,
        Err((id, error)) => return (None, rpc::response(&id, Err(error))),
    };
    if request.call == (Call::Stop {}) {
        desk.shutdown.trigger();
        return (None, rpc::response(&request.id, Ok(Value::Null)));
    }
    let tag = {
        let mut last = desk.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = last.saturating_add(1);
        *last
    };
    let result = ask(desk, tag, request.call, rest).await;
    let result = result.and_then(|answer| {
        serde_json::to_value(&answer).map_err(|error| RpcError::new(1, error.to_string()))
    });
    (Some(tag), rpc::response(&request.id, result))
}

type Lines = BufReader<OwnedReadHalf>;

/// Ends when the other side has closed. With a further request on its way nothing is known of
/// that: then a failing write tells.
async fn closed(rest: &mut Lines) {
    match rest.fill_buf().await {
        Ok([]) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}

async fn ask(desk: &Desk, tag: u64, call: Call, rest: &mut Lines) -> Result<Answer, RpcError> {
    let gone = || RpcError::new(4, "the daemon is ending");
    let (sender, mut receiver) = oneshot::channel();
    desk.waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(tag, sender);
    let asked = desk.client.send(Command::Ask { tag, call }).await;
    asked.map_err(|_| gone())?;
    task::select! {
        biased;
        answer = &mut receiver => return answer.unwrap_or_else(|_| Err(gone())),
        () = desk.shutdown.triggered() => return Err(gone()),
        () = closed(rest) => {}
    }
    // Nothing that comes later may be taken for it. The answer is still waited for: it may have
    // been made already, and then the failing write tells that nobody got it; and who closed only
    // its own direction is there to read it.
    let told = desk.client.send(Command::Gone { tag }).await;
    told.map_err(|_| gone())?;
    task::select! {
        biased;
        answer = &mut receiver => answer.unwrap_or_else(|_| Err(gone())),
        () = desk.shutdown.triggered() => Err(gone()),
    }
}
