//! The cluster port: our own accept loop, because a library's would let one silent client block all.
//!
//! A connection costs a place among `handshakes` until its certificate is checked, and one among `links` from then on
//! for as long as its stream lives. Who wants to join, and so has no certificate, costs one among `strangers` instead, from
//! its first message on. Nothing is decoded before it is handed to its protocol.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::join::Conversation;
use crate::protocol::JOIN;
use crate::{Error, Identity, Link, Protocol};

mod handshake;

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
    /// Machines without a certificate that are in a handshake or a conversation; one past that is closed.
    pub strangers: usize,
    /// How long a conversation with one of them may take.
    pub conversation: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // Members open a handful of links each; with the handshakes this stays below the 1,024 descriptors that a
        // process usually has.
        Self {
            handshakes: 256,
            links: 512,
            waiting: 64,
            handshake_timeout: Duration::from_secs(5),
            strangers: 8,
            conversation: Duration::from_secs(30),
        }
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
    /// Conversations with machines that want to join.
    pub strangers: u64,
    /// Such machines that were closed: too many at a time, or nobody talks to them.
    pub strangers_over_limit: u64,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
    over_limit: AtomicU64,
    too_many_links: AtomicU64,
    strangers: AtomicU64,
    strangers_over_limit: AtomicU64,
}

/// The port, bound. Links come out of [`Port::incoming`] while [`Port::run`] is polled.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    shared: Arc<Shared>,
    receivers: Mutex<Receivers>,
}

#[derive(Debug)]
struct Receivers {
    links: [Option<mpsc::Receiver<Link>>; 3],
    strangers: Option<mpsc::Receiver<Conversation>>,
}

#[derive(Debug)]
struct Shared {
    identity: Identity,
    limits: Limits,
    handshakes: Arc<Semaphore>,
    links: Arc<Semaphore>,
    counts: Counts,
    senders: [mpsc::Sender<Link>; 3],
    strangers: Arc<Semaphore>,
    to_joining: mpsc::Sender<Conversation>,
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
        let joining = mpsc::channel(limits.strangers.max(1));
        let shared = Shared {
            identity,
            limits,
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            links: Arc::new(Semaphore::new(limits.links)),
            counts: Counts::default(),
            senders: [raft.0, actors.0, bulk.0],
            strangers: Arc::new(Semaphore::new(limits.strangers)),
            to_joining: joining.0,
        };
        let receivers =
            Receivers { links: [Some(raft.1), Some(actors.1), Some(bulk.1)], strangers: Some(joining.1) };
        Ok(Self { listener, shared: Arc::new(shared), receivers: Mutex::new(receivers) })
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
        receivers.links[protocol.index()].take().ok_or(Error::Taken { protocol: protocol.as_str() })
    }

    /// The conversations with machines that want to join; once. Where nobody takes them, such machines are closed.
    ///
    /// # Errors
    /// [`Error::Taken`] the second time.
    pub fn strangers(&self) -> Result<mpsc::Receiver<Conversation>, Error> {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        receivers.strangers.take().ok_or(Error::Taken { protocol: JOIN })
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
                strangers: read(&counts.strangers),
                strangers_over_limit: read(&counts.strangers_over_limit),
            }
        }
    }

    /// Accepts until `shutdown`; then ends the handshakes under way.
    pub async fn run(self, shutdown: CancellationToken) {
        // What nobody took by now, nobody will: such links are closed at once.
        drop(self.receivers);
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
                            shared.handshake(tcp, remote, permit).await;
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
