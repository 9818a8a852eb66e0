//! A peer that puts on the wire what no program of the network would.

use std::net::SocketAddr;
use std::time::Duration;

use whist_link::{ClientSetup, Connection, Frame, LinkIdentity};
use whist_rt::Clock;
use whist_rt::io::{AsyncReadExt, AsyncWriteExt};
use whist_rt::raw::TcpStream;
use whist_rt::time;
use whist_sim::testnet::{LIMIT, within};
use whist_timing::Rng;
use whist_types::LinkKey;

/// An open link whose bytes the test writes itself.
pub struct Raw {
    stream: TcpStream,
    connection: Connection,
    clock: Clock,
}

impl Raw {
    /// Dials and shakes hands, with a puzzle if one is asked for; `None` if the other side ends it.
    pub async fn open(
        address: SocketAddr,
        expected: LinkKey,
        identity: Option<&LinkIdentity>,
        rng: &mut Rng,
    ) -> Option<Self> {
        let setup = ClientSetup::new(identity);
        let clock = Clock::start();
        let mut solution = None;
        loop {
            let stream = TcpStream::connect(address).await.ok()?;
            stream.set_nodelay(true).unwrap();
            let now = clock.now();
            let connection = Connection::client(now, &setup, expected, solution.as_ref()).unwrap();
            let mut raw = Self {
                stream,
                connection,
                clock,
            };
            if raw.shake().await {
                return Some(raw);
            }
            let challenge = raw.connection.challenge()?;
            assert!(solution.is_none(), "a solution was not taken");
            solution = challenge.solve(u32::MAX, rng);
        }
    }

    async fn shake(&mut self) -> bool {
        let shaking = async {
            loop {
                self.flush().await?;
                if self.connection.is_open() || self.connection.is_closed() {
                    return Some(self.connection.is_open());
                }
                self.read().await?;
            }
        };
        let shaken = within(LIMIT, "a handshake or its end", shaking).await;
        shaken.unwrap().unwrap_or(false)
    }

    /// `None` when the other side has closed.
    async fn read(&mut self) -> Option<()> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).await.ok()?;
        let mut bytes = &buffer[..count];
        while !bytes.is_empty() {
            let taken = self.connection.receive(self.clock.now(), bytes).ok()?;
            bytes = &bytes[taken..];
            while self.connection.poll_frame().is_some() {}
        }
        (count > 0).then_some(())
    }

    async fn flush(&mut self) -> Option<()> {
        let mut out = Vec::new();
        self.connection.transmit(&mut out);
        self.stream.write_all(&out).await.ok()
    }

    /// The record of a frame, not written yet.
    pub fn seal(&mut self, frame: Frame) -> Vec<u8> {
        let mut out = Vec::new();
        let sent = self.connection.send(self.clock.now(), frame);
        sent.expect("an open link takes a frame");
        self.connection.transmit(&mut out);
        out
    }

    /// Writes bytes as they are; whether the other side took them.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Seals and writes a frame.
    pub async fn send(&mut self, frame: Frame) -> bool {
        let record = self.seal(frame);
        self.write(&record).await
    }

    /// Takes what has come, so that the other side can go on writing.
    pub async fn drain(&mut self) {
        while let Ok(Some(())) = time::timeout(Duration::ZERO, self.read()).await {}
    }

    /// Waits until the other side has closed the connection.
    pub async fn is_closed(&mut self) {
        let reading = async { while self.read().await.is_some() {} };
        within(LIMIT, "the end of a link", reading).await.unwrap();
    }
}
