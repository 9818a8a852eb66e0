//! Metrics: a registry, the counters of links, and a port on loopback that shows them.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::{Encoder, IntCounter, IntGauge, Registry, TextEncoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::{Listener, RtError, Shutdown, limits};

/// What happens on links, in sums: no label names a peer.
#[derive(Clone, Debug)]
pub struct LinkMetrics {
    /// Links that are up.
    pub up: IntGauge,
    /// Handshakes that failed or timed out, both ways.
    pub handshake_failed: IntCounter,
    /// Sockets closed at once because a cap was reached.
    pub refused: IntCounter,
    /// Puzzles asked for.
    pub puzzles: IntCounter,
    /// Errors of the accept loop: descriptors that ran out, most likely.
    pub accept_failed: IntCounter,
    /// Frames that came.
    pub frames_in: IntCounter,
    /// Frames that were written.
    pub frames_out: IntCounter,
    /// Frames that a full queue gave back to the role.
    pub full: IntCounter,
    /// Frames that were queued or about to be when their link went down.
    pub unsent: IntCounter,
    /// Links cut because a deadline passed.
    pub timed_out: IntCounter,
    /// Links cut because the peer broke the protocol.
    pub misbehaved: IntCounter,
}

impl Default for LinkMetrics {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "only an invalid name fails")]
        let counter = |name: &str, help: &str| {
            IntCounter::new(format!("whist_link_{name}"), help).expect("names are valid: tested")
        };
        #[expect(clippy::expect_used, reason = "only an invalid name fails")]
        let up = IntGauge::new("whist_link_up", "Links that are up").expect("a valid name: tested");
        Self {
            up,
            handshake_failed: counter("handshake_failed_total", "Handshakes that failed"),
            refused: counter("refused_total", "Sockets refused by a cap"),
            puzzles: counter("puzzles_total", "Puzzles asked for"),
            accept_failed: counter("accept_failed_total", "Errors of the accept loop"),
            frames_in: counter("frames_in_total", "Frames that came"),
            frames_out: counter("frames_out_total", "Frames that were written"),
            full: counter("full_total", "Frames given back by a full queue"),
            unsent: counter("unsent_total", "Frames lost with their link"),
            timed_out: counter("timed_out_total", "Links cut at a deadline"),
            misbehaved: counter("misbehaved_total", "Links cut for a broken protocol"),
        }
    }
}

impl LinkMetrics {
    /// Fresh counters in `registry`; once for each.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn register(registry: &Registry) -> Result<Self, RtError> {
        let metrics = Self::default();
        registry.register(Box::new(metrics.up.clone()))?;
        for counter in [
            &metrics.handshake_failed,
            &metrics.refused,
            &metrics.puzzles,
            &metrics.accept_failed,
            &metrics.frames_in,
            &metrics.frames_out,
            &metrics.full,
            &metrics.unsent,
            &metrics.timed_out,
            &metrics.misbehaved,
        ] {
            registry.register(Box::new(counter.clone()))?;
        }
        Ok(metrics)
    }
}

/// The port that shows a registry as text to `GET /metrics`.
#[derive(Debug)]
pub struct MetricsPort {
    listener: Listener,
}

impl MetricsPort {
    /// Binds `address`, which must be a loopback one.
    ///
    /// # Errors
    /// [`RtError::PublicMetrics`], or [`RtError::Listen`] if the port is busy.
    pub fn bind(address: SocketAddr) -> Result<Self, RtError> {
        if !address.ip().is_loopback() {
            return Err(RtError::PublicMetrics);
        }
        Ok(Self {
            listener: Listener::bind(address)?,
        })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves `registry` until `shutdown` is triggered.
    ///
    /// # Errors
    /// If the runtime cannot take the port over.
    pub async fn serve(self, registry: Registry, shutdown: Shutdown) -> Result<(), RtError> {
        let listener = self.listener.into_tokio()?;
        let at_once = Arc::new(Semaphore::new(limits::METRICS_AT_ONCE));
        loop {
            let accepted = tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            let Ok((tcp, _)) = accepted else {
                tokio::time::sleep(limits::ACCEPT_REST).await;
                continue;
            };
            // More at once than the port serves are closed: the next scrape is soon.
            let Ok(permit) = at_once.clone().try_acquire_owned() else {
                continue;
            };
            let registry = registry.clone();
            shutdown.spawn(async move {
                let answered = answer(tcp, &registry);
                let _ = tokio::time::timeout(limits::METRICS_DEADLINE, answered).await;
                drop(permit);
            });
        }
    }
}

async fn answer(mut tcp: TcpStream, registry: &Registry) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > limits::METRICS_REQUEST_BYTES {
            return reply(&mut tcp, "431 Request Header Fields Too Large", b"").await;
        }
        if tcp.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => {
            let mut body = Vec::new();
            match TextEncoder::new().encode(&registry.gather(), &mut body) {
                Ok(()) => reply(&mut tcp, "200 OK", &body).await,
                Err(_) => reply(&mut tcp, "500 Internal Server Error", b"").await,
            }
        }
        (Some(b"GET"), _) => reply(&mut tcp, "404 Not Found", b"").await,
        _ => reply(&mut tcp, "405 Method Not Allowed", b"").await,
    }
}

async fn reply(tcp: &mut TcpStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    tcp.write_all(head.as_bytes()).await?;
    tcp.write_all(body).await?;
    tcp.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(port: SocketAddr, request: &[u8]) -> String {
        let mut tcp = TcpStream::connect(port).await.unwrap();
        tcp.write_all(request).await.unwrap();
        let mut text = String::new();
        tcp.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn metrics_are_shown_on_loopback() {
        let registry = Registry::new();
        LinkMetrics::register(&registry).unwrap().refused.inc_by(3);
        let port = MetricsPort::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = port.local_addr();
        let stop = Shutdown::new();
        let served = tokio::spawn(port.serve(registry, stop.clone()));
        let text = ask(at, b"GET /metrics HTTP/1.0\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
        assert!(text.contains("\nwhist_link_refused_total 3\n"), "{text}");
        let text = ask(at, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.0 404 "), "{text}");
        let text = ask(at, b"POST /metrics HTTP/1.1\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.0 405 "), "{text}");
        let text = ask(at, &[b'x'; limits::METRICS_REQUEST_BYTES + 1]).await;
        assert!(text.starts_with("HTTP/1.0 431 "), "{text}");
        stop.trigger();
        served.await.unwrap().unwrap();
    }

    #[test]
    fn a_public_or_busy_metrics_port_is_refused() {
        for public in ["0.0.0.0:0", "192.0.2.1:9000", "[::]:0"] {
            let refused = MetricsPort::bind(public.parse().unwrap());
            assert!(matches!(refused, Err(RtError::PublicMetrics)));
        }
        let first = MetricsPort::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let second = MetricsPort::bind(first.local_addr());
        assert!(matches!(second, Err(RtError::Listen { .. })));
    }

    #[test]
    fn counters_are_registered_once() {
        let registry = Registry::new();
        assert!(LinkMetrics::register(&registry).is_ok());
        assert!(LinkMetrics::register(&registry).is_err());
    }
}
