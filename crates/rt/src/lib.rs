#![doc = include_str!("../README.md")]

mod clock;
pub mod config;
mod driver;
mod error;
mod exit;
pub mod files;
pub mod in_place;
pub mod keys;
pub mod limits;
mod links;
pub mod local;
pub mod logs;
pub mod metrics;
pub mod process;
pub mod sealed;
mod shutdown;
pub mod state;
pub mod swap;
pub mod tmpfs;

pub use clock::{Clock, seed, wall};
pub use driver::{Commands, Driver, DriverOptions, Effects, Ended, Handle, commands};
pub use error::RtError;
pub use exit::{Exit, Failure, block_on, main};
pub use links::Listener;
pub use metrics::{LinkMetrics, MetricsPort};
pub use shutdown::{Shutdown, Signals};

pub use prometheus;
pub use tracing;

/// Tokio's pieces that shells need. TCP is not among them: links are the driver's.
pub mod io {
    pub use tokio::io::{
        AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter, Lines, split,
    };
}

/// Unix sockets, for the daemon's control socket.
pub mod unix {
    pub use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, UCred};
    pub use tokio::net::{UnixListener, UnixStream};
}

/// Plain TCP, for test rigs alone: the simulator's recording proxies stand between links and see
/// bytes. No program of the network uses it.
pub mod raw {
    pub use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
    pub use tokio::net::{TcpListener, TcpStream};
}

/// Channels and locks; the channels are the bounded ones.
pub mod sync {
    pub use tokio::sync::{Mutex, Notify, RwLock, Semaphore, broadcast, oneshot, watch};

    /// Bounded queues of many senders and one receiver.
    pub mod mpsc {
        pub use tokio::sync::mpsc::error;
        pub use tokio::sync::mpsc::{Receiver, Sender, WeakSender, channel};
    }
}

/// Timers of shells. Roles have none: they name a time-out.
pub mod time {
    pub use tokio::time::{
        Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at,
    };
}

/// Tasks and child processes.
pub mod task {
    pub use tokio::process::{Child, Command};
    pub use tokio::runtime::Handle as RuntimeHandle;
    pub use tokio::task::{JoinError, JoinHandle, JoinSet, spawn_blocking, yield_now};
    pub use tokio::{join, select, spawn, try_join};
}
