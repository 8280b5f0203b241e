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
use crate::protocol::JOIN;
use crate::{Link, LinkStream, PeerName, Protocol, keepalive};

impl Shared {
    /// `place` is one among the handshakes.
    pub(super) async fn handshake(&self, tcp: TcpStream, remote: SocketAddr, place: OwnedSemaphorePermit) {
        let deadline = Instant::now() + self.limits.handshake_timeout;
        let hello = async {
            keepalive::prepare(&tcp)?;
            LazyConfigAcceptor::new(Acceptor::default(), tcp).await
        };
        let Some(hello) = self.within(deadline, remote, hello).await else { return };
        if is_stranger(&hello) {
            // Members' places are not for strangers.
            drop(place);
            return self.stranger(hello, remote, deadline).await;
        }
        let Some(stream) = self.within(deadline, remote, hello.into_stream(self.identity.server())).await
        else {
            return;
        };
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
        let until = Instant::now() + self.limits.conversation;
        let conversation = Conversation::accepted(stream.into(), remote, until, place);
        match self.to_joining.try_send(conversation) {
            Ok(()) => self.counts.strangers.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.counts.strangers_over_limit.fetch_add(1, Ordering::Relaxed),
        };
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
        let protocol = session.alpn_protocol().and_then(Protocol::from_alpn);
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.and_then(|der| PeerName::of_certificate(der));
        let (Some(protocol), Some(peer)) = (protocol, peer) else {
            return self.refuse(remote, "no protocol was agreed on, or the certificate names no node");
        };
        // Only now: strangers cannot use up the places of members.
        let Ok(place) = Arc::clone(&self.links).try_acquire_owned() else {
            let limit = self.limits.links;
            self.counts.too_many_links.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%peer, %remote, %protocol, limit, "too many links on the cluster port, this one closed");
            return;
        };
        let link = Link { stream: LinkStream::accepted(stream.into(), place), peer, remote };
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

fn is_stranger(hello: &StartHandshake<TcpStream>) -> bool {
    let hello = hello.client_hello();
    let mut offered = hello.alpn().into_iter().flatten().peekable();
    offered.peek().is_some() && offered.all(|name| name == JOIN.as_bytes())
}
