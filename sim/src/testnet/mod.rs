//! Networks on loopback: the recording proxy, and the real programs as processes.
//!
//! [`Testnet`] starts `whist-directory`, `whist-mix`, `whist-provider` and `whist` as separate
//! processes from TOML files, each listener behind a [`proxy::Proxy`] that records. A test may put
//! nodes of its own among them: a [`puppet`] speaks the real protocol with keys that the test made.
//! Nothing here sleeps blindly: everything waits for an event, with a limit.

mod build;
pub mod canary;
mod folder;
mod metrics;
mod network;
mod person;
mod plan;
mod ports;
mod program;
pub mod proxy;
pub mod puppet;
pub mod records;
mod wait;

pub use build::programs;
pub use folder::Folder;
pub use metrics::{Metrics, read as read_metrics, text as metrics_text};
pub use network::Testnet;
pub use person::Person;
pub use plan::{Guest, Kind, Plan};
pub use ports::free_port;
pub use program::{Ended, Program, run};
pub use wait::{Fault, LIMIT, until, within};
