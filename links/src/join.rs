//! How a machine that has no certificate yet talks to a member: a conversation of a few small frames, over which it asks
//! for one.
//!
//! The member is verified as always, by the fingerprint of the cluster's CA that the newcomer was given with its token.
//! The newcomer is nobody until what it says is checked: what is said is for the layers above, this one only bounds it
//! in size, time and number, apart from the members' bounds. A frame is `[length u32 little endian][bytes]`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::protocol::{JOIN, JOIN_VERSIONS, offer, parse};
use crate::{Error, ca, keepalive, refusal};

/// No frame of a conversation is larger, in bytes.
pub const MAX_FRAME: usize = 64 * 1024;

/// The bytes between a member and a machine that is none yet. All of it must be done before its deadline.
#[derive(Debug)]
pub struct Conversation {
    stream: TlsStream<TcpStream>,
    remote: SocketAddr,
    deadline: Instant,
    /// On the member's side: the place among strangers.
    _place: Option<OwnedSemaphorePermit>,
}

impl Conversation {
    pub(crate) fn accepted(
        stream: TlsStream<TcpStream>,
        remote: SocketAddr,
        deadline: Instant,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { stream, remote, deadline, _place: Some(place) }
    }

    /// The other's address.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// [`Error::Conversation`]: more than [`MAX_FRAME`] bytes, past the deadline, or the connection broke.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        self.check(frame.len()).map_err(|source| self.broke(source))?;
        let stream = &mut self.stream;
        let send = async {
            stream.write_all(&(frame.len() as u32).to_le_bytes()).await?;
            stream.write_all(frame).await?;
            stream.flush().await
        };
        let sent = tokio::time::timeout_at(self.deadline, send).await;
        sent.unwrap_or_else(|_| Err(too_slow())).map_err(|source| self.broke(source))
    }

    /// Waits for a frame.
    ///
    /// # Errors
    /// [`Error::Conversation`]: more than [`MAX_FRAME`] bytes are announced, past the deadline, or the connection broke.
    pub async fn receive(&mut self) -> Result<Vec<u8>, Error> {
        let received = tokio::time::timeout_at(self.deadline, self.read()).await;
        received.unwrap_or_else(|_| Err(too_slow())).map_err(|source| self.broke(source))
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let length = self.stream.read_u32_le().await? as usize;
        self.check(length)?;
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).await?;
        Ok(frame)
    }

    /// Ends it in order, so that what was sent last arrives.
    pub async fn close(mut self) {
        // Whether the other still listens is its own matter.
        let _ = tokio::time::timeout_at(self.deadline, self.stream.shutdown()).await;
    }

    fn check(&self, length: usize) -> io::Result<()> {
        if length <= MAX_FRAME {
            return Ok(());
        }
        let why = format!("a frame of {length} bytes, the limit is {MAX_FRAME}");
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    fn broke(&self, source: io::Error) -> Error {
        Error::Conversation { remote: self.remote, source }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it took too long")
}

/// Begins a conversation with the member at `addr` (`host:port`); connecting and all that is said must be done within
/// `timeout`. The member must have a certificate of the CA whose fingerprint ([`ca::fingerprint`]) is `ca_fingerprint`.
///
/// # Errors
/// [`Error::Connect`], [`Error::TimedOut`], [`Error::WrongCa`] when the member's certificates end in another CA,
/// [`Error::Handshake`] when they do not stand, or are of no member, [`Error::NoCommonVersion`].
pub async fn dial(addr: &str, ca_fingerprint: [u8; 32], timeout: Duration) -> Result<Conversation, Error> {
    let deadline = Instant::now() + timeout;
    tokio::time::timeout_at(deadline, open(addr, ca_fingerprint, deadline))
        .await
        .unwrap_or_else(|_| Err(Error::TimedOut { addr: addr.to_owned(), millis: timeout.as_millis() }))
}

async fn open(addr: &str, ca_fingerprint: [u8; 32], deadline: Instant) -> Result<Conversation, Error> {
    let connect = |source| Error::Connect { addr: addr.to_owned(), source };
    let tls = |error: rustls::Error| Error::Handshake {
        addr: addr.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = ByFingerprint { ca: ca_fingerprint, provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = offer(JOIN, JOIN_VERSIONS);
    let server = ServerName::try_from(ca::CLUSTER_DNS).map_err(|e| connect(io::Error::other(e)))?;
    let tcp = TcpStream::connect(addr).await.map_err(connect)?;
    keepalive::prepare(&tcp).map_err(connect)?;
    let remote = tcp.peer_addr().map_err(connect)?;
    match TlsConnector::from(Arc::new(config)).connect(server, tcp).await {
        Ok(stream) if stream.get_ref().1.alpn_protocol().and_then(parse).is_none() => {
            Err(refusal::read(addr, stream.into(), JOIN, JOIN_VERSIONS).await)
        }
        Ok(stream) => Ok(Conversation { stream: stream.into(), remote, deadline, _place: None }),
        Err(error) if is_of_another_ca(&error) => Err(Error::WrongCa { addr: addr.to_owned() }),
        Err(source) => Err(Error::Handshake { addr: addr.to_owned(), source }),
    }
}

/// The server's certificate stands with a CA of this fingerprint, which the server sends along, and with no other.
#[derive(Debug)]
struct ByFingerprint {
    ca: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// No certificate that was shown has the fingerprint.
#[derive(Debug, thiserror::Error)]
#[error("no certificate has the fingerprint of the expected CA")]
struct OtherCa;

fn is_of_another_ca(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        tls,
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) if why.is::<OtherCa>()
    )
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = intermediates.iter().find(|shown| ca::fingerprint(shown) == self.ca).ok_or_else(|| {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(OtherCa))))
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
