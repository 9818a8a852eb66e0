//! Ports of loopback that programs can be told to listen on, and get again after a restart.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Fault;

/// Below the range that Linux gives to sockets that name no port: nobody takes one by chance while
/// a program is down.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An address of loopback on which nobody listens now.
///
/// # Errors
/// If all are taken.
pub fn free_port() -> Result<SocketAddr, Fault> {
    // Tests in several processes start far from each other.
    let start = std::process::id().wrapping_mul(131);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = start.wrapping_add(step).checked_rem(COUNT).unwrap_or(0);
        let port = u16::try_from(FIRST.saturating_add(place)).unwrap_or(u16::MAX);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Fault::new("no free port"))
}
