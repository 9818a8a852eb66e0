//! What of TLS is spoken: one version, one suite, one key exchange, raw Ed25519 keys.
//!
//! The suite is ChaCha20-Poly1305. The AES suites would be a third faster, but their keys wear out
//! after 2^24 records, and the library then sends a `KeyUpdate`: a record of another length.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, Signer};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, PeerMisbehaved, SignatureAlgorithm,
    SignatureScheme,
};
use whist_types::LinkKey;

use crate::{Error, LinkIdentity};

/// What stands before an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A key as it stands in a Certificate message.
pub(crate) fn spki(key: &LinkKey) -> CertificateDer<'static> {
    let mut bytes = SPKI_PREFIX.to_vec();
    bytes.extend_from_slice(key.as_bytes());
    CertificateDer::from(bytes)
}

/// The key that stands in a Certificate message, if it is an Ed25519 key in its only encoding.
pub(crate) fn key_of(spki: &[u8]) -> Option<LinkKey> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    <[u8; 32]>::try_from(key).ok().map(LinkKey::from_bytes)
}

/// A server's side of the handshake, shared by all links that it accepts.
#[derive(Clone, Debug)]
pub struct ServerSetup {
    pub(crate) config: Arc<rustls::ServerConfig>,
}

/// Whether a server takes peers that prove no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clients {
    /// Every peer must prove a key: mixes, authorities.
    Refused,
    /// A peer may prove a key or none: providers.
    Allowed,
}

impl ServerSetup {
    /// A server that proves `identity`.
    ///
    /// # Errors
    /// [`Error::Bug`] if the TLS library refuses the fixed configuration.
    pub fn new(identity: &LinkIdentity, clients: Clients) -> Result<Self, Error> {
        let key = certified(identity);
        let mut config = rustls::ServerConfig::builder_with_details(provider(), Arc::new(NoClock))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| Error::Bug("TLS configuration"))?
            .with_client_cert_verifier(Arc::new(AnyNode { clients }))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

/// A dialler's side of the handshake, shared by all links that it dials.
#[derive(Clone, Debug)]
pub struct ClientSetup {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) key: Option<Arc<CertifiedKey>>,
}

impl ClientSetup {
    /// A dialler that proves `identity` to whoever asks, or nothing at all. Both send the same
    /// ClientHello.
    pub fn new(identity: Option<&LinkIdentity>) -> Self {
        Self {
            provider: provider(),
            key: identity.map(certified),
        }
    }

    /// Whether it proves a key.
    pub const fn identifies(&self) -> bool {
        self.key.is_some()
    }

    /// The configuration for one dial, with the server's key pinned.
    pub(crate) fn expecting(&self, key: &LinkKey) -> Result<rustls::ClientConfig, Error> {
        let verifier = Arc::new(OneServer { spki: spki(key) });
        let mut config = rustls::ClientConfig::builder_with_details(
            Arc::clone(&self.provider),
            Arc::new(NoClock),
        )
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| Error::Bug("TLS configuration"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(MaybeKey(self.key.clone())));
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        config.enable_early_data = false;
        Ok(config)
    }
}

/// One suite, one key exchange.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    })
}

/// The library asks for the time to judge certificates and tickets. There are none.
#[derive(Debug)]
pub(crate) struct NoClock;

impl rustls::time_provider::TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::ZERO))
    }
}

pub(crate) fn certified(identity: &LinkIdentity) -> Arc<CertifiedKey> {
    let key = Key(identity.signing_key().clone());
    Arc::new(CertifiedKey::new(
        vec![spki(&identity.public())],
        Arc::new(key),
    ))
}

/// The link key as the library wants it. Zeroized when the last link that uses it is gone.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) SigningKey);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl rustls::sign::SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        if !offered.contains(&SignatureScheme::ED25519) {
            return None;
        }
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Presents a key, or says that there is none. Either way raw keys are announced, so that the
/// ClientHello does not tell a client from a node.
#[derive(Debug)]
pub(crate) struct MaybeKey(pub(crate) Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for MaybeKey {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// Checks a handshake's signature, strictly (no small-order keys, one encoding).
fn verify(
    message: &[u8],
    spki: &[u8],
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let bad = || rustls::Error::InvalidCertificate(CertificateError::BadSignature);
    let key = key_of(spki).ok_or_else(bad)?;
    let key = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| bad())?;
    let signature = Signature::from_slice(signed.signature()).map_err(|_| bad())?;
    key.verify_strict(message, &signature).map_err(|_| bad())?;
    Ok(HandshakeSignatureValid::assertion())
}

/// Not sent (no server name indication); the library wants one.
pub(crate) fn no_name() -> ServerName<'static> {
    ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())
}

fn no_tls12() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not spoken".into())
}

/// Takes exactly one server key.
#[derive(Debug)]
pub(crate) struct OneServer {
    pub(crate) spki: CertificateDer<'static>,
}

impl ServerCertVerifier for OneServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity != self.spki || !intermediates.is_empty() {
            let unknown = CertificateError::ApplicationVerificationFailure;
            return Err(rustls::Error::InvalidCertificate(unknown));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Takes any node's key: whether the consensus lists it is the role's to check.
#[derive(Debug)]
pub(crate) struct AnyNode {
    pub(crate) clients: Clients,
}

impl ClientCertVerifier for AnyNode {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if key_of(end_entity).is_none() || !intermediates.is_empty() {
            let bad = CertificateError::BadEncoding;
            return Err(rustls::Error::InvalidCertificate(bad));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.clients == Clients::Refused
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
