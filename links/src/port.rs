//! The cluster port: our own accept loop, because a library's would let one silent client block all.
//!
//! A connection costs a place among `handshakes` until its certificate is checked, and one among `links` from then on
//! for as long as its stream lives. Nothing is decoded before it is handed to its protocol.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{Error, Identity, Link, LinkStream, PeerName, Protocol, keepalive};

/// Bounds of the port.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Handshakes under way at one time; a connection past that is closed at once.
    pub handshakes: usize,
    /// Links that others have opened and that are up, of all protocols; one past that is closed after its handshake.
    pub links: usize,
    /// Links per protocol that wait for their receiver; one past that is closed.
    pub waiting: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // Members open a handful of links each; with the handshakes this stays below the 1,024 descriptors that a
        // process usually has.
        Self { handshakes: 256, links: 512, waiting: 64, handshake_timeout: Duration::from_secs(5) }
    }
}

/// What became of connections, counted since the port was bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links handed to their protocol.
    pub accepted: u64,
    /// Handshakes that failed: no certificate, a wrong one, not TLS at all.
    pub refused: u64,
    /// Handshakes that took too long.
    pub timed_out: u64,
    /// Closed because too much was under way or nobody took the link.
    pub over_limit: u64,
    /// Closed because as many links were up as are allowed.
    pub too_many_links: u64,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
    over_limit: AtomicU64,
    too_many_links: AtomicU64,
}

/// The port, bound. Links come out of [`Port::incoming`] while [`Port::run`] is polled.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    shared: Arc<Shared>,
    receivers: Mutex<[Option<mpsc::Receiver<Link>>; 3]>,
}

#[derive(Debug)]
struct Shared {
    identity: Identity,
    limits: Limits,
    handshakes: Arc<Semaphore>,
    links: Arc<Semaphore>,
    counts: Counts,
    senders: [mpsc::Sender<Link>; 3],
}

impl Port {
    /// Listens on `addr` (`host:port`).
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub async fn bind(addr: &str, identity: Identity, limits: Limits) -> Result<Self, Error> {
        let listener =
            TcpListener::bind(addr).await.map_err(|source| Error::Bind { addr: addr.to_owned(), source })?;
        let [raft, actors, bulk] = Protocol::ALL.map(|_| mpsc::channel(limits.waiting));
        let shared = Shared {
            identity,
            limits,
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            links: Arc::new(Semaphore::new(limits.links)),
            counts: Counts::default(),
            senders: [raft.0, actors.0, bulk.0],
        };
        let receivers = Mutex::new([Some(raft.1), Some(actors.1), Some(bulk.1)]);
        Ok(Self { listener, shared: Arc::new(shared), receivers })
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// [`Error::Bind`] with the system's words.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.listener
            .local_addr()
            .map_err(|source| Error::Bind { addr: "the cluster port".to_owned(), source })
    }

    /// The links of a protocol; once.
    ///
    /// # Errors
    /// [`Error::Taken`] the second time.
    pub fn incoming(&self, protocol: Protocol) -> Result<mpsc::Receiver<Link>, Error> {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        receivers[protocol.index()].take().ok_or(Error::Taken { protocol })
    }

    /// A function that reads the counters, for metrics; it outlives the port.
    pub fn counters(&self) -> impl Fn() -> Counters + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let counts = &shared.counts;
            Counters {
                accepted: read(&counts.accepted),
                refused: read(&counts.refused),
                timed_out: read(&counts.timed_out),
                over_limit: read(&counts.over_limit),
                too_many_links: read(&counts.too_many_links),
            }
        }
    }

    /// Accepts until `shutdown`; then ends the handshakes under way.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut handshakes = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = handshakes.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, remote)) => match Arc::clone(&self.shared.handshakes).try_acquire_owned() {
                    Ok(permit) => {
                        let shared = Arc::clone(&self.shared);
                        handshakes.spawn(async move {
                            shared.handshake(tcp, remote).await;
                            drop(permit);
                        });
                    }
                    Err(_) => {
                        self.shared.counts.over_limit.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(%remote, "too many handshakes under way on the cluster port, connection closed");
                    }
                },
                // Out of file descriptors or the like: accepting again at once would only spin.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the cluster port");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Shared {
    async fn handshake(&self, tcp: TcpStream, remote: SocketAddr) {
        let acceptor = TlsAcceptor::from(self.identity.server());
        let handshake = async {
            keepalive::prepare(&tcp)?;
            acceptor.accept(tcp).await
        };
        let stream = match tokio::time::timeout(self.limits.handshake_timeout, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.refuse(remote, &error.to_string()),
            Err(_) => {
                self.counts.timed_out.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%remote, "handshake on the cluster port took too long");
                return;
            }
        };
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
