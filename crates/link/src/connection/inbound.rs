//! Bytes that come in: what may come at all, and what it was.

use std::io::Read as _;

use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};
use whist_types::Now;

use super::{Connection, Entry, First, Stage};
use crate::puzzle::{self, Challenge, Solution};
use crate::{Error, FRAME_BYTES, Frame, RECORD_BYTES, Remote, limits, tls};

/// Bytes of a record's header: type, version, length.
const HEADER_BYTES: usize = 5;

/// An encrypted alert, which close_notify is: header 5, alert 2, content type 1, AEAD tag 16.
const ALERT_RECORD_BYTES: usize = 24;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

impl Connection {
    /// Takes the start of `bytes`, up to the end of a record.
    pub(super) fn take(&mut self, now: Now, bytes: &[u8]) -> Result<usize, Error> {
        if self.partial.is_empty() {
            self.partial_since = now.instant;
        }
        self.received_at = now.instant;
        let mut taken = 0_usize;
        loop {
            // How much is needed may become known, or change, with what has come.
            let needed = self.needed()?;
            let missing = needed.saturating_sub(self.partial.len());
            let rest = bytes.get(taken..).unwrap_or_default();
            let more = rest.get(..missing).unwrap_or(rest);
            self.partial.extend_from_slice(more);
            taken = taken.saturating_add(more.len());
            if more.len() < missing {
                return Ok(taken);
            }
            if self.needed()? <= self.partial.len() {
                self.whole(now)?;
                self.partial.clear();
                return Ok(taken);
            }
        }
    }

    /// How many bytes of the record or clear message that `partial` begins must be there before
    /// more can be said. Refuses what may not come in this stage.
    fn needed(&self) -> Result<usize, Error> {
        let Some(&first) = self.partial.first() else {
            return Ok(1);
        };
        if first == puzzle::VERSION {
            match &self.stage {
                Stage::First(First::Answer) => return Ok(Challenge::BYTES),
                Stage::First(First::Peer(_)) => return Ok(Solution::BYTES),
                _ => {}
            }
        }
        let open = self.is_open();
        let expected = match &self.stage {
            Stage::Open => first == APPLICATION_DATA,
            Stage::Handshake => (20..=APPLICATION_DATA).contains(&first),
            // A server's first record may be an alert, a client's only its ClientHello.
            Stage::First(First::Answer) => first == HANDSHAKE || first == ALERT,
            Stage::First(First::Peer(_)) => first == HANDSHAKE,
            Stage::Closed(_) => false,
        };
        if !expected {
            return Err(Error::PeerMisbehaved("a record of another type"));
        }
        let Some(&[_, _, _, high, low]) = self.partial.first_chunk::<HEADER_BYTES>() else {
            return Ok(HEADER_BYTES);
        };
        let length = usize::from(u16::from_be_bytes([high, low])).saturating_add(HEADER_BYTES);
        let fits = match length {
            RECORD_BYTES | ALERT_RECORD_BYTES if open => true,
            _ => !open && length <= limits::HANDSHAKE_RECORD,
        };
        if !fits {
            return Err(Error::PeerMisbehaved("a record of another length"));
        }
        Ok(length)
    }

    /// Judges what is whole in `partial`.
    fn whole(&mut self, now: Now) -> Result<(), Error> {
        let clear = self.partial.first() == Some(&puzzle::VERSION);
        match &self.stage {
            Stage::Open => self.open_record(),
            Stage::First(First::Answer) if clear => {
                let bytes = self.partial.first_chunk().ok_or(Error::Bug("challenge"))?;
                self.challenge = Some(Challenge::from_bytes(bytes)?);
                Err(Error::PuzzleAsked)
            }
            Stage::First(First::Peer(entry)) if clear => {
                let bytes = self.partial.first_chunk().ok_or(Error::Bug("solution"))?;
                let solution = Solution::from_bytes(bytes)?;
                if let Entry::Puzzle { gate, source, .. } = entry {
                    gate.check(now.wall, *source, &solution)
                        .map_err(Error::PuzzleRefused)?;
                }
                self.stage = Stage::Handshake;
                Ok(())
            }
            Stage::First(First::Peer(Entry::Puzzle {
                gate,
                source,
                effort,
            })) => {
                // The whole ClientHello has been read, so that closing does not reset the
                // connection under the answer; none of it has been looked at.
                let challenge = gate.challenge(now.wall, *source, *effort);
                self.clear.extend_from_slice(&challenge.to_bytes());
                self.stage = Stage::Closed(None);
                Ok(())
            }
            _ => self.handshake_record(),
        }
    }

    /// Gives the record in `partial` to the library: how many bytes of plaintext it held, and
    /// whether it was close_notify.
    fn give(&mut self) -> Result<rustls::IoState, Error> {
        let mut record = self.partial.as_slice();
        while !record.is_empty() {
            if !matches!(self.tls.read_tls(&mut record), Ok(1..)) {
                return Err(Error::Bug("a record was not taken whole"));
            }
        }
        self.tls.process_new_packets().map_err(|error| match error {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                Error::WrongKey
            }
            _ => Error::PeerMisbehaved("TLS"),
        })
    }

    fn handshake_record(&mut self) -> Result<(), Error> {
        self.stage = Stage::Handshake;
        self.handshake_bytes = self.handshake_bytes.saturating_add(self.partial.len());
        if self.handshake_bytes > limits::HANDSHAKE_BYTES {
            return Err(Error::PeerMisbehaved("a handshake too long"));
        }
        let state = self.give()?;
        if state.peer_has_closed() || state.plaintext_bytes_to_read() != 0 {
            return Err(Error::PeerMisbehaved("not a handshake"));
        }
        if !self.tls.is_handshaking() {
            self.remote = Some(self.opened()?);
            self.stage = Stage::Open;
        }
        Ok(())
    }

    /// Who is there. What was negotiated is checked again where it is read.
    fn opened(&self) -> Result<Remote, Error> {
        let group = self.tls.negotiated_key_exchange_group().map(|g| g.name());
        if self.tls.protocol_version() != Some(ProtocolVersion::TLSv1_3)
            || group != Some(NamedGroup::X25519MLKEM768)
            || self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
        {
            return Err(Error::Bug("something else was negotiated"));
        }
        let proven = match self.tls.peer_certificates() {
            None | Some([]) => None,
            Some([spki]) => Some(tls::key_of(spki).ok_or(Error::WrongKey)?),
            Some(_) => return Err(Error::WrongKey),
        };
        match (self.expected, proven) {
            (Some(expected), Some(proven)) if expected == proven => Ok(Remote::Node(proven)),
            (Some(_), _) => Err(Error::WrongKey),
            (None, Some(proven)) => Ok(Remote::Node(proven)),
            (None, None) => Ok(Remote::Anonymous),
        }
    }

    /// A record on an open link is one frame, or the shorter one is close_notify. Whatever else
    /// the library would take (key updates, tickets, padding instead of data) gives no frame.
    fn open_record(&mut self) -> Result<(), Error> {
        let state = self.give()?;
        if self.partial.len() == ALERT_RECORD_BYTES {
            if !state.peer_has_closed() || state.plaintext_bytes_to_read() != 0 {
                return Err(Error::PeerMisbehaved("a record that is no frame"));
            }
            self.close();
            return Ok(());
        }
        if state.plaintext_bytes_to_read() != FRAME_BYTES || state.peer_has_closed() {
            return Err(Error::PeerMisbehaved("a record that is no frame"));
        }
        let mut bytes = [0; FRAME_BYTES];
        self.tls
            .reader()
            .read_exact(&mut bytes)
            .map_err(|_| Error::Bug("plaintext was announced"))?;
        self.frames.push_back(Frame::decode(&bytes)?);
        Ok(())
    }
}
