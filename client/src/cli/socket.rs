//! The way to the daemon: one line to its socket, one back.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::{io, thread};

use serde_json::Value;
use whist_rt::local::{self, Watched};
use whist_rt::{Exit, Failure};
use zeroize::Zeroizing;

use super::Context;
use crate::call::Call;
use crate::limits::STOP_MAX;
use crate::{rpc, terminal};

fn no_daemon(home: &Path) -> Failure {
    let home = home.display();
    Failure::new(
        Exit::NoDaemon,
        format!("no daemon serves {home}: start one with `whist daemon`"),
    )
}

/// Connects, and says nothing before the kernel has said that it is this user who listens there.
pub(super) fn connect(context: &Context) -> Result<UnixStream, Failure> {
    let home = &context.home;
    let stream = UnixStream::connect(&context.socket).map_err(|_| no_daemon(home))?;
    let peer = local::peer(&stream).map_err(|_| no_daemon(home))?;
    if peer.uid == local::uid() {
        Ok(stream)
    } else {
        let why = "the socket is served by another user: nothing was told to it";
        Err(Failure::new(Exit::Refused, why))
    }
}

/// Asks one thing.
pub(super) fn ask(mut stream: UnixStream, call: &Call) -> Result<Value, Failure> {
    let ended = || Failure::new(Exit::NoDaemon, "the daemon ended meanwhile");
    let mut line = rpc::request(1, call);
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(|_| ended())?;
    let mut answer = Zeroizing::new(Vec::new());
    let mut reader = BufReader::new(&stream);
    let got = reader.read_until(b'\n', &mut answer);
    if !got.is_ok_and(|bytes| bytes > 0) {
        return Err(ended());
    }
    rpc::parse_response(&answer)
        .map_err(|error| Failure::new(exit_of(error.code), terminal::line(&error.message)))
}

/// The exit code that an error's code stands for.
pub(super) const fn exit_of(code: i64) -> Exit {
    match code {
        2 | rpc::INVALID_PARAMS => Exit::Usage,
        3 => Exit::Locked,
        4 => Exit::NoDaemon,
        5 => Exit::UnknownContact,
        6 => Exit::KeyChanged,
        7 => Exit::TimedOut,
        8 => Exit::Refused,
        _ => Exit::Other,
    }
}

/// Ends the daemon, and returns when it has ended: when its process is no more, whoever started it,
/// its files are closed and its folder is free.
pub(super) fn stop(context: &Context) -> Result<(), Failure> {
    let stream = connect(context)?;
    let gone = |error: io::Error| Failure::new(Exit::Other, format!("cannot watch it: {error}"));
    let peer = local::peer(&stream).map_err(gone)?;
    // Watched before it is asked: its answer shows that no other process has its number.
    let watched = Watched::new(&peer).map_err(gone)?;
    ask(stream, &Call::Stop {})?;
    if watched.ended_within(STOP_MAX).map_err(gone)? {
        return Ok(());
    }
    let why = "the daemon was told to end and has not ended yet";
    Err(Failure::new(Exit::TimedOut, why))
}

/// `whist rpc`: stdin to the socket and the socket to stdout, until the daemon has closed.
pub(super) fn bridge(mut stream: UnixStream) -> Result<(), Failure> {
    let broken = |error: io::Error| Failure::new(Exit::Other, format!("rpc: {error}"));
    let mut back = stream.try_clone().map_err(broken)?;
    thread::spawn(move || {
        let _ = hand_over(&mut io::stdin().lock(), &mut stream);
        let _ = stream.shutdown(Shutdown::Write);
    });
    hand_over(&mut back, &mut io::stdout().lock()).map_err(broken)
}

/// Each piece as it comes. `io::copy` would leave it to the kernel, which may hold a piece back
/// until a next one comes.
fn hand_over(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let piece = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(bytes) => buffer.get(..bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(piece)?;
        to.flush()?;
    }
}
