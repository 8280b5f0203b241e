//! What becomes of one connection: told by its first message whether a member or a stranger opens it, then by its
//! certificate who it is.
//!
//! Only who asks for the protocol of joining and no other gets TLS settings that ask for no certificate; whoever asks for
//! one of the members' protocols has none to fall back on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::{StartHandshake, TlsStream};

use super::Shared;
use crate::join::Conversation;
use crate::protocol::{self, JOIN, JOIN_VERSIONS, NO_VERSION};
use crate::{Link, LinkStream, PeerName, Protocol, Versions, keepalive, refusal};

impl Shared {
    /// `place` is one among the handshakes.
    pub(super) async fn handshake(&self, tcp: TcpStream, remote: SocketAddr, place: OwnedSemaphorePermit) {
        let deadline = Instant::now() + self.limits.handshake_timeout;
        let hello = async {
            keepalive::prepare(&tcp)?;
            LazyConfigAcceptor::new(Acceptor::default(), tcp).await
        };
        let Some(hello) = self.within(deadline, remote, hello).await else { return };
        let wanted = protocol::offered(hello.client_hello().alpn().into_iter().flatten());
        let (config, ours) = match &wanted {
            Some((protocol, _)) if protocol == JOIN => {
                // Members' places are not for strangers.
                drop(place);
                return self.stranger(hello, remote, deadline).await;
            }
            wanted => (self.identity.server(), self.spoken(wanted.as_ref().map(|(protocol, _)| protocol))),
        };
        let Some(stream) = self.within(deadline, remote, hello.into_stream(config)).await else { return };
        if let Some((protocol, theirs)) = wanted.filter(|_| is_refused(&stream)) {
            return self.no_common_version(stream, remote, deadline, (&protocol, theirs, ours)).await;
        }
        self.hand_over(stream, remote);
    }

    async fn stranger(&self, hello: StartHandshake<TcpStream>, remote: SocketAddr, deadline: Instant) {
        let place = Arc::clone(&self.strangers).try_acquire_owned();
        let Some(place) = place.ok().filter(|_| !self.to_joining.is_closed()) else {
            self.counts.strangers_over_limit.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%remote, limit = self.limits.strangers, "too many machines want to join at a time, or this node takes none");
            return;
        };
        let accepting = hello.into_stream(self.identity.strangers());
        let Some(stream) = self.within(deadline, remote, accepting).await else { return };
        if is_refused(&stream) {
            let refused = refusal::write(stream.into(), JOIN_VERSIONS);
            self.within(deadline, remote, refused).await;
            return self.refuse(remote, "no version of the protocol of joining fits");
        }
        let until = Instant::now() + self.limits.conversation;
        let conversation = Conversation::accepted(stream.into(), remote, until, place);
        match self.to_joining.try_send(conversation) {
            Ok(()) => self.counts.strangers.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.counts.strangers_over_limit.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// The versions of this protocol that this node speaks; of one that it does not know, none.
    fn spoken(&self, protocol: Option<&String>) -> Versions {
        let known =
            Protocol::ALL.into_iter().find(|known| protocol.is_some_and(|name| name == known.as_str()));
        known.map_or(Versions { min: 0, max: 0 }, |known| self.identity.spoken(known))
    }

    async fn no_common_version(
        &self,
        stream: TlsStream<TcpStream>,
        remote: SocketAddr,
        deadline: Instant,
        (protocol, theirs, ours): (&str, Versions, Versions),
    ) {
        let why = format!(
            "it speaks version {theirs} of {protocol}, this node {ours}: the builds are too far apart"
        );
        self.within(deadline, remote, refusal::write(stream.into(), ours)).await;
        self.refuse(remote, &why);
    }

    /// A part of the handshake; none, and counted, when it fails or is too slow.
    async fn within<T>(
        &self,
        deadline: Instant,
        remote: SocketAddr,
        part: impl Future<Output = io::Result<T>>,
    ) -> Option<T> {
        match timeout_at(deadline, part).await {
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                self.refuse(remote, &error.to_string());
                None
            }
            Err(_) => {
                self.counts.timed_out.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%remote, "handshake on the cluster port took too long");
                None
            }
        }
    }

    fn hand_over(&self, stream: TlsStream<TcpStream>, remote: SocketAddr) {
        let (_, session) = stream.get_ref();
        let agreed = session.alpn_protocol().and_then(protocol::parse);
        let known = |(name, version)| {
            Some((Protocol::ALL.into_iter().find(|known| known.as_str() == name)?, version))
        };
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.and_then(|der| PeerName::of_certificate(der));
        let (Some((protocol, version)), Some(peer)) = (agreed.and_then(known), peer) else {
            return self.refuse(remote, "no protocol was agreed on, or the certificate names no node");
        };
        // Only now: strangers cannot use up the places of members.
        let Ok(place) = Arc::clone(&self.links).try_acquire_owned() else {
            let limit = self.limits.links;
            self.counts.too_many_links.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%peer, %remote, %protocol, limit, "too many links on the cluster port, this one closed");
            return;
        };
        let link = Link { stream: LinkStream::accepted(stream.into(), place), peer, remote, version };
        match self.senders[protocol.index()].try_send(link) {
            Ok(()) => self.counts.accepted.fetch_add(1, Ordering::Relaxed),
            Err(_) => {
                tracing::warn!(%remote, %protocol, "nobody takes links of this protocol, connection closed");
                self.counts.over_limit.fetch_add(1, Ordering::Relaxed)
            }
        };
    }

    fn refuse(&self, remote: SocketAddr, why: &str) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%remote, why, "connection to the cluster port refused");
    }
}

fn is_refused(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(NO_VERSION)
}
