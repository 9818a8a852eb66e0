//! The way to the daemon: one line to its socket, one back.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;
use whist_rt::{Exit, Failure};

use crate::call::Call;
use crate::daemon;
use crate::rpc;

fn no_daemon(home: &Path) -> Failure {
    let home = home.display();
    Failure::new(
        Exit::NoDaemon,
        format!("no daemon serves {home}: start one with `whist daemon`"),
    )
}

pub(super) fn connect(home: &Path) -> Result<UnixStream, Failure> {
    UnixStream::connect(daemon::socket_path(home)).map_err(|_| no_daemon(home))
}

pub(super) fn ask(home: &Path, call: &Call) -> Result<Value, Failure> {
    let mut stream = connect(home)?;
    let no_daemon = |_: std::io::Error| no_daemon(home);
    let line = format!("{}\n", rpc::request(1, call));
    stream.write_all(line.as_bytes()).map_err(no_daemon)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream);
    let got = reader.read_until(b'\n', &mut answer).map_err(no_daemon)?;
    if got == 0 {
        return Err(Failure::new(Exit::NoDaemon, "the daemon ended meanwhile"));
    }
    rpc::parse_response(&answer).map_err(|error| {
        let exit = match error.code {
            2 | rpc::INVALID_PARAMS => Exit::Usage,
            3 => Exit::Locked,
            4 => Exit::NoDaemon,
            5 => Exit::UnknownContact,
            6 => Exit::KeyChanged,
            7 => Exit::TimedOut,
            8 => Exit::Refused,
            _ => Exit::Other,
        };
        Failure::new(exit, error.message)
    })
}
