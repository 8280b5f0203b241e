//! Opens links to other nodes.

use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::protocol::parse;
use crate::{Error, Identity, Link, LinkStream, PeerName, Protocol, ca, keepalive, refusal};

/// Opens links in a node's name.
#[derive(Debug, Clone)]
pub struct Dialer {
    identity: Identity,
}

impl Dialer {
    /// Dials as `identity`.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity }
    }

    /// Opens a link to `addr` (`host:port`). With `expect`, only to the node of that name; without, to any member.
    ///
    /// Under TLS 1.3 our side is done before the other has checked our certificate: a refusal shows as the end of the
    /// stream at the first read.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Handshake`], [`Error::TimedOut`], [`Error::NoCommonVersion`], [`Error::WrongPeer`],
    /// [`Error::Nameless`].
    pub async fn dial(
        &self,
        addr: &str,
        protocol: Protocol,
        expect: Option<&PeerName>,
        timeout: Duration,
    ) -> Result<Link, Error> {
        tokio::time::timeout(timeout, self.open(addr, protocol, expect))
            .await
            .unwrap_or_else(|_| Err(Error::TimedOut { addr: addr.to_owned(), millis: timeout.as_millis() }))
    }

    async fn open(&self, addr: &str, protocol: Protocol, expect: Option<&PeerName>) -> Result<Link, Error> {
        let connect = |source| Error::Connect { addr: addr.to_owned(), source };
        let tcp = TcpStream::connect(addr).await.map_err(connect)?;
        keepalive::prepare(&tcp).map_err(connect)?;
        let remote = tcp.peer_addr().map_err(connect)?;
        let server = ServerName::try_from(ca::CLUSTER_DNS).map_err(|e| connect(std::io::Error::other(e)))?;
        let stream = TlsConnector::from(self.identity.client(protocol))
            .connect(server, tcp)
            .await
            .map_err(|source| Error::Handshake { addr: addr.to_owned(), source })?;
        let (_, session) = stream.get_ref();
        let Some((_, version)) = session.alpn_protocol().and_then(parse) else {
            let ours = self.identity.spoken(protocol);
            return Err(refusal::read(addr, stream.into(), protocol.as_str(), ours).await);
        };
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate
            .and_then(|der| PeerName::of_certificate(der))
            .ok_or_else(|| Error::Nameless { addr: addr.to_owned() })?;
        match expect {
            Some(expected) if *expected != peer => Err(Error::WrongPeer {
                addr: addr.to_owned(),
                expected: expected.to_string(),
                found: peer.to_string(),
            }),
            _ => Ok(Link { stream: LinkStream::dialled(stream.into()), peer, remote, version }),
        }
    }
}
