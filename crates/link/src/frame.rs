//! Frames: what travels on a link, one TLS record each.

use std::fmt;

use whist_types::{ConsensusHash, Reader, SessionAddress, SurbId, Wall, Writer};

use crate::{Malformed, Part};

/// Bytes of a frame: its type and its body.
pub const FRAME_BYTES: usize = 2414;

/// Bytes of a frame's body. A Sphinx packet fills it.
pub const BODY_BYTES: usize = 2413;

/// Bytes of a frame on the wire: record header 5, frame, content type 1, AEAD tag 16.
pub const RECORD_BYTES: usize = 2436;

/// Bytes of a sealed payload in a reply.
const SEALED_PAYLOAD_BYTES: usize = 2065;

/// Number of profiles that a client may name; the consensus says what they are.
const PROFILES: u8 = 3;

const _: () = assert!(FRAME_BYTES == 1 + BODY_BYTES);
const _: () = assert!(RECORD_BYTES == 5 + FRAME_BYTES + 1 + 16);
const _: () = assert!(Hello::NODE_BYTES == 42 && Hello::CLIENT_BYTES == 67);
const _: () = assert!(Reply::BYTES == 2113 && Reply::BYTES <= BODY_BYTES);
const _: () = assert!(DocGet::BYTES == 16);

/// One frame: `type u8 ‖ body ‖ zeros`, 2,414 bytes in all.
///
/// | type | frame | body |
/// |---|---|---|
/// | 1 | `HELLO` of a node | [`Hello::Node`] |
/// | 2 | `HELLO` of a client | [`Hello::Client`] |
/// | 16 | `PACKET` | a Sphinx packet, 2,413 B |
/// | 17 | `REPLY` | [`Reply`] |
/// | 18 | `DUMMY` | nothing |
/// | 32 | `DOC_GET` | [`DocGet`] |
/// | 33 | `DOC_CHUNK` | [`Part`] of a consensus bundle |
/// | 48 | `DESCRIPTOR` | [`Part`] of a descriptor |
/// | 49 | `VOTE` | [`Part`] of a vote |
/// | 50 | `SIGNATURE` | [`Part`] of a header with signatures |
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of each side.
    Hello(Hello),
    /// A Sphinx packet.
    Packet(Box<[u8; BODY_BYTES]>),
    /// A reply for a client's session.
    Reply(Box<Reply>),
    /// Nothing: keeps a link alive, fills a downlink slot.
    Dummy,
    /// Asks for a consensus.
    DocGet(DocGet),
    /// A piece of a consensus bundle.
    DocChunk(Box<Part>),
    /// A piece of a descriptor.
    Descriptor(Box<Part>),
    /// A piece of an authority's vote.
    Vote(Box<Part>),
    /// A piece of an authority's signature.
    Signature(Box<Part>),
}

/// How a link begins.
///
/// A node's (and so a provider's towards a client):
///
/// | offset | size | field | |
/// |---|---|---|---|
/// | 0 | 2 | version | of the protocol |
/// | 2 | 32 | consensus | hash of the one in use (an authority: its newest), zero for none |
/// | 34 | 8 | time | the sender's, in milliseconds since the Unix epoch |
///
/// A client's, which never tells its time (a clock's skew links sessions):
///
/// | offset | size | field | |
/// |---|---|---|---|
/// | 0 | 2 | version | of the protocol |
/// | 2 | 32 | consensus | hash of the sender's newest, zero for none |
/// | 34 | 32 | session | random for this link, not zero |
/// | 66 | 1 | profile | 0, 1 or 2 |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hello {
    /// From a node.
    Node {
        /// Version of the protocol.
        version: u16,
        /// The consensus that the sender uses (an authority: its newest), zero for none.
        consensus: ConsensusHash,
        /// The sender's clock.
        time: Wall,
    },
    /// From a client.
    Client {
        /// Version of the protocol.
        version: u16,
        /// The sender's newest consensus, zero for none.
        consensus: ConsensusHash,
        /// Where its replies go; fresh for each link.
        session: SessionAddress,
        /// Which rate it sends at.
        profile: u8,
    },
}

impl Hello {
    const NODE_BYTES: usize = 2 + 32 + 8;
    const CLIENT_BYTES: usize = 2 + 32 + 32 + 1;

    /// The version of the protocol that this side speaks.
    pub const VERSION: u16 = 1;

    /// The sender's version.
    pub const fn version(&self) -> u16 {
        match self {
            Self::Node { version, .. } | Self::Client { version, .. } => *version,
        }
    }

    /// The sender's newest consensus.
    pub const fn consensus(&self) -> &ConsensusHash {
        match self {
            Self::Node { consensus, .. } | Self::Client { consensus, .. } => consensus,
        }
    }
}

/// A reply that reached its final hop, on its way to a client's session.
///
/// | offset | size | field | |
/// |---|---|---|---|
/// | 0 | 32 | session | the client's address of this link |
/// | 32 | 16 | surb | which SURB came back |
/// | 48 | 2065 | payload | sealed for the SURB's maker |
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The session it is for.
    pub session: SessionAddress,
    /// The SURB it came by.
    pub surb: SurbId,
    /// The sealed payload.
    pub payload: [u8; SEALED_PAYLOAD_BYTES],
}

impl Reply {
    const BYTES: usize = 32 + 16 + SEALED_PAYLOAD_BYTES;
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// Asks for a consensus bundle.
///
/// | offset | size | field | |
/// |---|---|---|---|
/// | 0 | 8 | epoch | 0 for the newest |
/// | 8 | 8 | leaves from | first leaf of the range wanted; all ones for an inclusion proof only |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DocGet {
    /// Which epoch's; 0 for the newest.
    pub epoch: u64,
    /// First leaf of the Merkle mountain range that is wanted; `u64::MAX` for none.
    pub leaves_from: u64,
}

impl DocGet {
    const BYTES: usize = 16;
}

impl Frame {
    /// The frame's type byte.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello(Hello::Node { .. }) => 1,
            Self::Hello(Hello::Client { .. }) => 2,
            Self::Packet(_) => 16,
            Self::Reply(_) => 17,
            Self::Dummy => 18,
            Self::DocGet(_) => 32,
            Self::DocChunk(_) => 33,
            Self::Descriptor(_) => 48,
            Self::Vote(_) => 49,
            Self::Signature(_) => 50,
        }
    }

    /// The frame's name, for a counter's label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Packet(_) => "packet",
            Self::Reply(_) => "reply",
            Self::Dummy => "dummy",
            Self::DocGet(_) => "doc_get",
            Self::DocChunk(_) => "doc_chunk",
            Self::Descriptor(_) => "descriptor",
            Self::Vote(_) => "vote",
            Self::Signature(_) => "signature",
        }
    }

    /// The frame's bytes, padded with zeros.
    pub fn encode(&self) -> Box<[u8; FRAME_BYTES]> {
        let mut w = Writer::with_capacity(FRAME_BYTES);
        w.u8(self.kind());
        match self {
            Self::Hello(hello) => hello.write(&mut w),
            Self::Packet(packet) => {
                w.put(packet.as_slice());
            }
            Self::Reply(reply) => {
                w.put(reply.session.as_bytes()).put(reply.surb.as_bytes());
                w.put(&reply.payload);
            }
            Self::Dummy => {}
            Self::DocGet(get) => {
                w.u64(get.epoch).u64(get.leaves_from);
            }
            Self::DocChunk(part)
            | Self::Descriptor(part)
            | Self::Vote(part)
            | Self::Signature(part) => part.write(&mut w),
        }
        let mut bytes = w.into_bytes();
        bytes.resize(FRAME_BYTES, 0);
        #[expect(clippy::expect_used, reason = "an invariant of the line above")]
        bytes
            .into_boxed_slice()
            .try_into()
            .expect("the bytes were just made FRAME_BYTES long")
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// An unknown type, a field with a value that is not allowed, padding that is not zero.
    pub fn decode(bytes: &[u8; FRAME_BYTES]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let kind = r.u8()?;
        let frame = match kind {
            1 => Self::Hello(Hello::read_node(&mut r)?),
            2 => Self::Hello(Hello::read_client(&mut r)?),
            16 => Self::Packet(Box::new(r.array()?)),
            17 => Self::Reply(Box::new(Reply {
                session: SessionAddress::from_bytes(r.array()?),
                surb: SurbId::from_bytes(r.array()?),
                payload: r.array()?,
            })),
            18 => Self::Dummy,
            32 => Self::DocGet(DocGet {
                epoch: r.u64()?,
                leaves_from: r.u64()?,
            }),
            33 => Self::DocChunk(Box::new(Part::read(&mut r)?)),
            48 => Self::Descriptor(Box::new(Part::read(&mut r)?)),
            49 => Self::Vote(Box::new(Part::read(&mut r)?)),
            50 => Self::Signature(Box::new(Part::read(&mut r)?)),
            unknown => return Err(Malformed::UnknownType(unknown)),
        };
        if r.rest().iter().any(|&b| b != 0) {
            return Err(Malformed::Padding);
        }
        Ok(frame)
    }
}

impl Hello {
    fn write(&self, w: &mut Writer) {
        w.u16(self.version()).put(self.consensus().as_bytes());
        match self {
            Self::Node { time, .. } => {
                w.u64(time.as_millis());
            }
            Self::Client {
                session, profile, ..
            } => {
                w.put(session.as_bytes()).u8(*profile);
            }
        }
    }

    fn read_node(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self::Node {
            version: r.u16()?,
            consensus: ConsensusHash::from_bytes(r.array()?),
            time: Wall::from_millis(r.u64()?),
        })
    }

    fn read_client(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let version = r.u16()?;
        let consensus = ConsensusHash::from_bytes(r.array()?);
        let session = SessionAddress::from_bytes(r.array()?);
        let profile = r.u8()?;
        // The zero address means "a request" in a packet's last hop: no session may claim it.
        if session.is_zero() || profile >= PROFILES {
            return Err(Malformed::Field);
        }
        Ok(Self::Client {
            version,
            consensus,
            session,
            profile,
        })
    }
}

/// Prints the name alone: contents could identify somebody.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Box<Part> {
        Box::new(Part {
            stream: 0x0102_0304,
            index: 5,
            count: 0x0607,
            data: [8; 2400],
        })
    }

    #[test]
    fn every_frame_survives_its_bytes() {
        let consensus = ConsensusHash::from_bytes([1; 32]);
        let frames = [
            Frame::Hello(Hello::Node {
                version: Hello::VERSION,
                consensus,
                time: Wall::from_millis(u64::MAX),
            }),
            Frame::Hello(Hello::Client {
                version: 0xabcd,
                consensus,
                session: SessionAddress::from_bytes([2; 32]),
                profile: 2,
            }),
            Frame::Packet(Box::new([0xff; BODY_BYTES])),
            Frame::Reply(Box::new(Reply {
                session: SessionAddress::from_bytes([3; 32]),
                surb: SurbId::from_bytes([4; 16]),
                payload: [5; SEALED_PAYLOAD_BYTES],
            })),
            Frame::Dummy,
            Frame::DocGet(DocGet {
                epoch: 6,
                leaves_from: u64::MAX,
            }),
            Frame::DocChunk(part()),
            Frame::Descriptor(part()),
            Frame::Vote(part()),
            Frame::Signature(part()),
        ];
        let mut kinds: Vec<u8> = frames.iter().map(Frame::kind).collect();
        for frame in &frames {
            let bytes = frame.encode();
            assert_eq!(bytes.first(), Some(&frame.kind()));
            assert_eq!(Frame::decode(&bytes).as_ref(), Ok(frame));
        }
        kinds.dedup();
        assert_eq!(kinds.len(), frames.len());
    }

    #[test]
    fn fields_stand_where_the_tables_say() {
        let bytes = Frame::Descriptor(part()).encode();
        assert_eq!(bytes[..10], [48, 1, 2, 3, 4, 0, 5, 6, 7, 8]);
        assert_eq!(bytes[2408..], [8, 0, 0, 0, 0, 0]);
        let hello = Frame::Hello(Hello::Client {
            version: 1,
            consensus: ConsensusHash::from_bytes([2; 32]),
            session: SessionAddress::from_bytes([3; 32]),
            profile: 1,
        });
        let bytes = hello.encode();
        assert_eq!((bytes[2], bytes[3], bytes[34], bytes[35]), (1, 2, 2, 3));
        assert_eq!((bytes[66], bytes[67], bytes[68]), (3, 1, 0));
    }

    #[test]
    fn contents_of_a_frame_are_never_printed() {
        assert_eq!(
            format!("{:?}", Frame::Packet(Box::new([7; 2413]))),
            "packet"
        );
        assert_eq!(format!("{:?}", Frame::DocChunk(part())), "doc_chunk");
    }
}
