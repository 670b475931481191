//! TLS 1.3 with pinned, self-signed certificates: no authorities, no names, no resumption.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring::default_provider, verify_tls13_signature},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::identity::{Fingerprint, TlsIdentity};

/// What a connection is for, agreed in the TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// A node that is not registered yet, with a token.
    Enrol,
    /// A registered node that takes part in rounds.
    Participate,
}

impl Alpn {
    /// The name in the handshake.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrol => "secagg-enrol/1",
            Self::Participate => "secagg/1",
        }
    }

    /// What `connection` is for; `None` for a name that is none of ours.
    #[must_use]
    pub fn of(connection: &quinn::Connection) -> Option<Self> {
        let data = connection
            .handshake_data()?
            .downcast::<HandshakeData>()
            .ok()?;
        let name = data.protocol?;
        [Self::Enrol, Self::Participate]
            .into_iter()
            .find(|alpn| alpn.as_str().as_bytes() == name)
    }
}

/// The fingerprint of the certificate that the other side has proven to own.
#[must_use]
pub fn peer_fingerprint(connection: &quinn::Connection) -> Option<Fingerprint> {
    let certificates = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    match certificates.as_slice() {
        [only] => Some(Fingerprint::of_certificate(only)),
        _ => None,
    }
}

/// The coordinator's side: asks every node for a certificate, and accepts any that the node can
/// prove to own. Whether it is registered is the coordinator's to decide, so that the node can be
/// told the reason.
///
/// # Errors
/// When the identity cannot be used.
pub fn server_config(identity: &TlsIdentity) -> Result<QuicServerConfig, rustls::Error> {
    let provider = Arc::new(default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyClient { provider }))
        .with_single_cert(vec![identity.certificate()], identity.private_key())?;
    config.alpn_protocols = [Alpn::Enrol, Alpn::Participate]
        .map(|alpn| alpn.as_str().into())
        .to_vec();
    // Each connection proves both keys afresh; early data could be replayed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    quic(QuicServerConfig::try_from(config))
}

/// The node's side: shows its own certificate and accepts exactly the pinned one.
///
/// # Errors
/// When the identity cannot be used.
pub fn client_config(
    identity: &TlsIdentity,
    pinned: Fingerprint,
    alpn: Alpn,
) -> Result<ClientTls, rustls::Error> {
    let provider = Arc::new(default_provider());
    let presented = Presented::default();
    let verifier = PinnedServer {
        pinned,
        presented: presented.clone(),
        provider: Arc::clone(&provider),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![identity.certificate()], identity.private_key())?;
    config.alpn_protocols = vec![alpn.as_str().into()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(ClientTls {
        config: quic(QuicClientConfig::try_from(config))?,
        presented,
    })
}

/// A client's TLS for one connection attempt.
pub struct ClientTls {
    config: QuicClientConfig,
    presented: Presented,
}

impl ClientTls {
    /// The configuration, for a connection attempt to the name [`SERVER_NAME`].
    ///
    /// [`SERVER_NAME`]: crate::identity::SERVER_NAME
    #[must_use]
    pub fn into_config(self) -> QuicClientConfig {
        self.config
    }

    /// Where the fingerprint shows up that the server presented.
    pub(crate) fn presented(&self) -> Presented {
        self.presented.clone()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// The fingerprint that a server presented, once it has: TLS alerts carry no text, so that the
/// verifier leaves it here for the error message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presented(Arc<Mutex<Option<Fingerprint>>>);

impl Presented {
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, fingerprint: Fingerprint) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
    }
}

/// The certificate is not the pinned one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the coordinator's certificate is not the expected one: expected {expected}, presented \
     {presented}. Either this is another machine than the one that gave you the token, or the \
     coordinator has a new identity: ask its operator for the fingerprint and, if it is right, \
     join again with a new token"
)]
pub struct WrongFingerprint {
    /// The pinned fingerprint.
    pub expected: Fingerprint,
    /// The one at the other end.
    pub presented: Fingerprint,
}

/// No certificate of this crate is longer; a longer one only costs memory and time.
const MAX_CERTIFICATE_LEN: usize = 2 << 10;

/// quinn asks for a cipher suite that the provider has.
fn quic<T>(
    config: Result<T, quinn::crypto::rustls::NoInitialCipherSuite>,
) -> Result<T, rustls::Error> {
    config.map_err(|error| rustls::Error::General(error.to_string()))
}

#[derive(Debug)]
struct PinnedServer {
    pinned: Fingerprint,
    presented: Presented,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = Fingerprint::of_certificate(end_entity);
        self.presented.set(presented);
        // Somebody in between would present a certificate of their own.
        if presented != self.pinned {
            let error = WrongFingerprint {
                expected: self.pinned,
                presented,
            };
            return Err(CertificateError::Other(OtherError(Arc::new(error))).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // A chain would make it unclear which certificate is the node's.
        if !intermediates.is_empty() || end_entity.len() > MAX_CERTIFICATE_LEN {
            return Err(CertificateError::BadEncoding.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Without this proof, anybody who has seen a node's certificate could be that node.
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn only_tls13() -> rustls::Error {
    rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered)
}
