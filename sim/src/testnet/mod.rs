//! Networks on loopback: the recording proxy, and the real programs as processes.

pub mod proxy;
pub mod records;
