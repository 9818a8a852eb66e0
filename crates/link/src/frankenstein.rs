//! Peers that no honest program is: other versions, suites and keys, and records and frames that
//! the public surface cannot build.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{
    ConnectionTrafficSecrets, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};
use whist_types::{LinkKey, Now, Secret};

use crate::pair::Setup;
use crate::tls::{self, AnyNode, Key, MaybeKey, NoClock, OneServer};
use crate::{
    ClientSetup, Clients, Connection, Entry, Error, FRAME_BYTES, Frame, LinkIdentity, Malformed,
    Pair, RECORD_BYTES, ServerSetup,
};

fn identity(seed: u8) -> LinkIdentity {
    LinkIdentity::from_secret(&Secret::new([seed; 32]))
}

/// Carries bytes between one of our ends and a bare TLS connection until neither says more.
fn shake(ours: &mut Connection, raw: &mut rustls::Connection) {
    for _ in 0..10 {
        let mut out = Vec::new();
        while raw.wants_write() {
            raw.write_tls(&mut out).unwrap();
        }
        let _closed = ours.receive(Now::default(), &out);
        let mut back = Vec::new();
        if ours.transmit(&mut back) == 0 && out.is_empty() {
            break;
        }
        let mut rest = back.as_slice();
        while !rest.is_empty() && raw.read_tls(&mut rest).is_ok_and(|n| n > 0) {}
        let _failed = raw.process_new_packets();
    }
}

/// One way in which a peer may speak TLS.
#[derive(Clone)]
struct Dialect {
    name: &'static str,
    version: &'static SupportedProtocolVersion,
    suite: SupportedCipherSuite,
    group: &'static dyn SupportedKxGroup,
}

impl Dialect {
    fn all() -> Vec<Self> {
        let (v13, v12) = (&rustls::version::TLS13, &rustls::version::TLS12);
        let chacha = suite::TLS13_CHACHA20_POLY1305_SHA256;
        let ours = kx_group::X25519MLKEM768;
        let dialect = |name, version, suite, group| Self {
            name,
            version,
            suite,
            group,
        };
        vec![
            dialect("ours", v13, chacha, ours),
            dialect("x25519", v13, chacha, kx_group::X25519),
            dialect("p256", v13, chacha, kx_group::SECP256R1),
            dialect("p384", v13, chacha, kx_group::SECP384R1),
            dialect("mlkem768", v13, chacha, kx_group::MLKEM768),
            dialect("mlkem1024", v13, chacha, kx_group::MLKEM1024),
            dialect("p256mlkem768", v13, chacha, kx_group::SECP256R1MLKEM768),
            dialect("aes128", v13, suite::TLS13_AES_128_GCM_SHA256, ours),
            dialect("aes256", v13, suite::TLS13_AES_256_GCM_SHA384, ours),
            dialect(
                "tls12",
                v12,
                suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                kx_group::X25519,
            ),
        ]
    }

    fn provider(&self) -> Arc<CryptoProvider> {
        Arc::new(CryptoProvider {
            cipher_suites: vec![self.suite],
            kx_groups: vec![self.group],
            ..aws_lc_rs::default_provider()
        })
    }

    fn client(&self, expected: &LinkKey) -> rustls::ClientConfig {
        rustls::ClientConfig::builder_with_details(self.provider(), Arc::new(NoClock))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OneServer {
                spki: tls::spki(expected),
            }))
            .with_client_cert_resolver(Arc::new(MaybeKey(Some(tls::certified(&identity(1))))))
    }

    fn server(&self, key: Arc<CertifiedKey>) -> rustls::ServerConfig {
        let mut config =
            rustls::ServerConfig::builder_with_details(self.provider(), Arc::new(NoClock))
                .with_protocol_versions(&[self.version])
                .unwrap()
                .with_client_cert_verifier(Arc::new(AnyNode {
                    clients: Clients::Allowed,
                }))
                .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        config.send_tls13_tickets = 0;
        config
    }
}

fn our_server() -> Connection {
    let setup = ServerSetup::new(&identity(2), Clients::Allowed).unwrap();
    Connection::server(Now::default(), &setup, Entry::Free).unwrap()
}

fn our_client() -> Connection {
    let setup = ClientSetup::new(None);
    Connection::client(Now::default(), &setup, identity(2).public(), None).unwrap()
}

fn raw_client(config: rustls::ClientConfig) -> rustls::Connection {
    rustls::ClientConnection::new(Arc::new(config), tls::no_name())
        .unwrap()
        .into()
}

fn raw_server(config: rustls::ServerConfig) -> rustls::Connection {
    rustls::ServerConnection::new(Arc::new(config))
        .unwrap()
        .into()
}

#[test]
fn of_every_version_suite_and_key_exchange_one_is_spoken() {
    for dialect in Dialect::all() {
        let expected = dialect.name == "ours";
        let mut server = our_server();
        let mut raw = raw_client(dialect.client(&identity(2).public()));
        shake(&mut server, &mut raw);
        assert_eq!(server.is_open(), expected, "server, {}", dialect.name);
        assert_eq!(server.is_closed(), !expected, "server, {}", dialect.name);
        let mut client = our_client();
        let mut raw = raw_server(dialect.server(tls::certified(&identity(2))));
        shake(&mut client, &mut raw);
        assert_eq!(client.is_open(), expected, "client, {}", dialect.name);
    }
}

#[test]
fn a_server_that_shows_the_expected_key_without_holding_its_secret_is_refused() {
    let stolen = CertifiedKey::new(
        vec![tls::spki(&identity(2).public())],
        Arc::new(Key(identity(3).signing_key().clone())),
    );
    let mut raw = raw_server(Dialect::all()[0].server(Arc::new(stolen)));
    let mut client = our_client();
    shake(&mut client, &mut raw);
    assert_eq!(client.error(), Some(&Error::WrongKey));
}

#[test]
fn a_node_that_shows_a_key_without_holding_its_secret_is_refused() {
    let stolen = CertifiedKey::new(
        vec![tls::spki(&identity(1).public())],
        Arc::new(Key(identity(3).signing_key().clone())),
    );
    let mut config = Dialect::all()[0].client(&identity(2).public());
    config.client_auth_cert_resolver = Arc::new(MaybeKey(Some(Arc::new(stolen))));
    let mut server = our_server();
    shake(&mut server, &mut raw_client(config));
    assert_eq!(server.error(), Some(&Error::WrongKey));
}

/// Signs anything for the neutral element as key: R = sB holds for every message.
#[derive(Debug)]
struct Forger;

impl rustls::sign::SigningKey for Forger {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        Some(Box::new(Self))
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::ED25519
    }
}

impl rustls::sign::Signer for Forger {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        // The base point, and one.
        let mut signature = vec![0x66; 64];
        signature[0] = 0x58;
        signature[32..].fill(0);
        signature[32] = 1;
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

#[test]
fn a_small_order_key_proves_nothing() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let spki = tls::spki(&LinkKey::from_bytes(neutral));
    let key = CertifiedKey::new(vec![spki], Arc::new(Forger));
    let mut config = Dialect::all()[0].client(&identity(2).public());
    config.client_auth_cert_resolver = Arc::new(MaybeKey(Some(Arc::new(key))));
    let mut server = our_server();
    shake(&mut server, &mut raw_client(config));
    assert_eq!(server.error(), Some(&Error::WrongKey));
}

#[test]
fn a_server_that_sends_tickets_is_left() {
    let mut config = Dialect::all()[0].server(tls::certified(&identity(2)));
    config.send_tls13_tickets = 1;
    config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    let mut client = our_client();
    shake(&mut client, &mut raw_server(config));
    let length = Error::PeerMisbehaved("a record of another length");
    assert_eq!(client.error(), Some(&length));
}

#[test]
fn nothing_is_resumed_and_no_server_name_is_sent() {
    let setup = ServerSetup::new(&identity(2), Clients::Allowed).unwrap();
    assert_eq!(setup.config.send_tls13_tickets, 0);
    assert!(!setup.config.session_storage.can_cache() && !setup.config.ticketer.enabled());
    let config = ClientSetup::new(None)
        .expecting(&identity(2).public())
        .unwrap();
    assert!(!config.enable_sni && !config.enable_early_data);
    assert_eq!(
        (
            tls::provider().kx_groups.len(),
            tls::provider().cipher_suites.len()
        ),
        (1, 1)
    );
    // A dialler of one setup that comes back makes a full handshake.
    let dialler = ClientSetup::new(None);
    for _ in 0..2 {
        let now = Now::default();
        let mut client = Connection::client(now, &dialler, identity(2).public(), None).unwrap();
        let mut server = Connection::server(now, &setup, Entry::Free).unwrap();
        shake(&mut server, client.tls());
        assert_eq!(
            server.tls().handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
    }
}

/// A peer on an open link that seals whatever it likes.
struct Sealer {
    cipher: ChaCha20Poly1305,
    iv: [u8; 12],
    number: u64,
}

impl Sealer {
    /// A node that has opened a link to one of our servers.
    fn opened() -> (Self, Connection) {
        let mut server = our_server();
        let mut config = Dialect::all()[0].client(&identity(2).public());
        config.enable_secret_extraction = true;
        let mut raw = raw_client(config);
        shake(&mut server, &mut raw);
        assert!(server.is_open());
        let (number, secrets) = raw.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else {
            panic!("another suite");
        };
        let sealer = Self {
            cipher: ChaCha20Poly1305::new_from_slice(key.as_ref()).unwrap(),
            iv: iv.as_ref().try_into().unwrap(),
            number,
        };
        (sealer, server)
    }

    /// A record of `content` of type `kind`, padded inside to `padded` bytes.
    fn record(&mut self, content: &[u8], kind: u8, padded: usize) -> Vec<u8> {
        let mut inner = content.to_vec();
        inner.push(kind);
        inner.resize(padded.max(content.len()) + 1, 0);
        let length = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let mut record = vec![23, 3, 3, length[0], length[1]];
        let mut nonce = self.iv;
        for (n, s) in nonce[4..].iter_mut().zip(self.number.to_be_bytes()) {
            *n ^= s;
        }
        self.number += 1;
        let payload = Payload {
            msg: &inner,
            aad: &record,
        };
        let sealed = self.cipher.encrypt(&nonce.into(), payload).unwrap();
        record.extend(sealed);
        record
    }
}

#[test]
fn the_sealer_of_these_tests_can_seal_a_frame() {
    let (mut sealer, mut server) = Sealer::opened();
    let record = sealer.record(&*Frame::Dummy.encode(), 23, FRAME_BYTES);
    assert_eq!(record.len(), RECORD_BYTES);
    assert_eq!(server.receive(Now::default(), &record), Ok(RECORD_BYTES));
    assert_eq!(server.poll_frame(), Some(Frame::Dummy));
}

#[test]
fn a_record_that_is_not_one_whole_frame_closes_the_link() {
    let key_update = [24, 0, 0, 1, 1];
    let ticket = [4, 0, 0, 14, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0];
    let dummy = Frame::Dummy.encode();
    let cases: [(&str, &[u8], u8, usize); 10] = [
        ("a key update", &key_update, 22, 0),
        (
            "a key update as long as a frame",
            &key_update,
            22,
            FRAME_BYTES,
        ),
        ("a ticket as long as a frame", &ticket, 22, FRAME_BYTES),
        ("nothing, as long as a frame", &[], 23, FRAME_BYTES),
        (
            "a byte too few, as long as a frame",
            &dummy[1..],
            23,
            FRAME_BYTES,
        ),
        ("a byte too few", &dummy[1..], 23, 0),
        ("two bytes, as long as an alert", &[18, 0], 23, 0),
        ("an alert as long as a frame", &[1, 0], 21, FRAME_BYTES),
        ("another alert", &[2, 40], 21, 0),
        ("a record of the largest size", &[0; 16384], 23, 0),
    ];
    for (name, content, kind, padded) in cases {
        let (mut sealer, mut server) = Sealer::opened();
        let record = sealer.record(content, kind, padded);
        let refused = server.receive(Now::default(), &record);
        assert!(
            matches!(refused, Err(Error::PeerMisbehaved(_))),
            "{name}: {refused:?}"
        );
        assert!(server.is_closed() && server.poll_frame().is_none());
        let mut out = Vec::new();
        assert_eq!(server.transmit(&mut out), 0, "{name}: it answered");
    }
}

#[test]
fn close_notify_ends_a_link_in_good_order() {
    let (mut sealer, mut server) = Sealer::opened();
    let mut bytes = sealer.record(&*Frame::Dummy.encode(), 23, 0);
    bytes.extend(sealer.record(&[1, 0], 21, 0));
    bytes.extend_from_slice(b"whatever comes after it");
    assert_eq!(server.receive(Now::default(), &bytes), Ok(bytes.len()));
    assert_eq!(server.poll_frame(), Some(Frame::Dummy));
    assert!(server.is_closed() && server.error().is_none());
    let mut out = Vec::new();
    assert_eq!(server.transmit(&mut out), 24);
}

/// A frame's bytes with public fields: builds what cannot be built.
struct FrankenFrame {
    kind: u8,
    body: Vec<u8>,
}

impl FrankenFrame {
    fn of(frame: &Frame) -> Self {
        let bytes = frame.encode();
        Self {
            kind: bytes[0],
            body: bytes[1..].to_vec(),
        }
    }

    fn bytes(&self) -> [u8; FRAME_BYTES] {
        let mut bytes = vec![self.kind];
        bytes.extend(&self.body);
        bytes.try_into().unwrap()
    }
}

#[test]
fn a_malformed_frame_closes_the_link() {
    let dummy = || FrankenFrame::of(&Frame::Dummy);
    let hello = |kind, at: usize, value| {
        let mut body = vec![0; 2413];
        body[40] = 1;
        body[at] = value;
        FrankenFrame { kind, body }
    };
    let part = |index: u8, count: u8| {
        let mut body = vec![0; 2413];
        (body[5], body[7]) = (index, count);
        FrankenFrame { kind: 33, body }
    };
    let unknown = FrankenFrame {
        kind: 19,
        ..dummy()
    };
    let mut padded = dummy();
    padded.body[2412] = 1;
    let cases = [
        (unknown, Malformed::UnknownType(19)),
        (padded, Malformed::Padding),
        (hello(1, 42, 1), Malformed::Padding),
        (hello(2, 67, 1), Malformed::Padding),
        (hello(2, 66, 3), Malformed::Field),
        (hello(2, 40, 0), Malformed::Field),
        (part(0, 0), Malformed::Field),
        (part(3, 3), Malformed::Field),
    ];
    for (frame, why) in cases {
        assert_eq!(Frame::decode(&frame.bytes()), Err(why));
        let mut pair = Pair::connected(&Setup::client()).unwrap();
        pair.client.send(pair.now, Frame::Dummy).unwrap();
        std::io::Write::write_all(&mut pair.client.tls().writer(), &frame.bytes()).unwrap();
        pair.client.send(pair.now, Frame::Dummy).unwrap();
        pair.drive();
        // What came before it counts, what came after does not, and nothing is answered.
        assert_eq!(pair.server_frames, [Frame::Dummy]);
        assert_eq!(pair.server.error(), Some(&Error::Malformed(why)));
        assert!(pair.client.is_closed());
    }
    assert!(Frame::decode(&hello(2, 66, 2).bytes()).is_ok());
    assert!(Frame::decode(&part(2, 3).bytes()).is_ok());
}
