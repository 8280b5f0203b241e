//! Requests between nodes: typed, with timeouts, explicit refusals, a cap on size and on what is in flight.
//!
//! The only module that names ractor_cluster. It carries sessions over links that links/ has accepted or dialled, so
//! that a session exists only behind a verified certificate; its own plaintext listener (it cannot be switched off) is
//! bound to the loopback and every session that comes from there is killed before it says a word. Must not know what the
//! requests are about.

mod envelope;
mod inbox;
mod sessions;
mod tickets;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{BootId, NodeId, NodeName};
use futures::future::BoxFuture;
use links::{Dialer, Link};
use ractor::{ActorId, pg, rpc};
use tokio::sync::{Semaphore, mpsc};

pub use envelope::{Answer, MAX_ENVELOPE_BYTES, Outcome, Rejection, Request};

use crate::replica::SharedReplica;
use crate::supervisor::Child;
use envelope::Sealed;
use inbox::InboxMessage;
use sessions::Table;
use tickets::Tickets;

/// Answers requests of other nodes, and of this one.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// Who this node is and how it deals with others.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node.
    pub me: NodeId,
    /// Its name, as in its certificate.
    pub name: NodeName,
    /// This life of its process.
    pub boot: BootId,
    /// A request without an answer by then has failed.
    pub call_timeout: Duration,
    /// Each session is asked for a sign of life this often.
    pub ping_every: Duration,
    /// Missed signs of life that close a session.
    pub misses: u32,
    /// How long dialling may take.
    pub dial_timeout: Duration,
    /// Requests in flight to one peer.
    pub in_flight: usize,
}

impl Options {
    /// The usual timing.
    #[must_use]
    pub fn new(me: NodeId, name: NodeName, boot: BootId) -> Self {
        Self {
            me,
            name,
            boot,
            call_timeout: Duration::from_secs(5),
            ping_every: Duration::from_secs(1),
            misses: 3,
            dial_timeout: Duration::from_secs(5),
            in_flight: 64,
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not in the replicated state.
    #[error("node {0} is not known")]
    UnknownNode(NodeId),
    /// Nothing was sent.
    #[error("there is no session with node {0}")]
    NoSession(NodeId),
    /// Nothing was sent.
    #[error("too many requests to node {0} are in flight")]
    InFlight(NodeId),
    /// It may have been done.
    #[error("node {node} did not answer within {timeout:?}")]
    TimedOut {
        /// Which.
        node: NodeId,
        /// The limit.
        timeout: Duration,
    },
    /// It may have been done.
    #[error("the session with node {0} broke")]
    Broken(NodeId),
    /// Request or answer does not fit the protocol.
    #[error("envelope for node {node}: {why}")]
    Envelope {
        /// Which.
        node: NodeId,
        /// What is wrong.
        why: String,
    },
    /// It was not done, and the node says why.
    #[error("node {node} refused: {rejection}")]
    Rejected {
        /// Which.
        node: NodeId,
        /// Its reason.
        rejection: Rejection,
    },
}

/// Sends requests. Clones share everything.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

struct Inner {
    options: Options,
    replica: SharedReplica,
    handler: Handler,
    sessions: Table,
    in_flight: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
    tickets: Tickets,
}

/// Where links come from.
#[derive(Debug)]
pub struct Wire {
    /// Dials others.
    pub dialer: Dialer,
    /// Links of protocol Actors that others have opened.
    pub incoming: mpsc::Receiver<Link>,
}

impl Gateway {
    /// A gateway, and the child that keeps its sessions; without `wire` it reaches only this node.
    #[must_use]
    pub fn new(
        options: Options,
        replica: SharedReplica,
        handler: Handler,
        wire: Option<Wire>,
    ) -> (Self, Option<Child>) {
        let inner = Inner {
            options,
            replica,
            handler,
            sessions: Table::default(),
            in_flight: Mutex::default(),
            tickets: Tickets::default(),
        };
        let gateway = Self { inner: Arc::new(inner) };
        let child = wire.map(|wire| sessions::child(gateway.clone(), wire));
        (gateway, child)
    }

    /// Sends a request to a node and waits for its answer, at most for the call timeout.
    ///
    /// # Errors
    /// [`CallError`]; after `TimedOut` and `Broken` the request may have been done, so requests are idempotent.
    pub async fn call(&self, node: NodeId, request: Request) -> Result<Answer, CallError> {
        let timeout = self.inner.options.call_timeout;
        let outcome = if node == self.inner.options.me {
            let work = (self.inner.handler)(request);
            tokio::time::timeout(timeout, work).await.map_err(|_| CallError::TimedOut { node, timeout })?
        } else {
            self.remote(node, &request).await?
        };
        outcome.map_err(|rejection| CallError::Rejected { node, rejection })
    }

    async fn remote(&self, node: NodeId, request: &Request) -> Result<Outcome, CallError> {
        let state = self.inner.replica.state();
        let record = state.nodes.get(&node).ok_or(CallError::UnknownNode(node))?;
        let session = self.inner.sessions.find(record.name.as_str(), record.boot);
        let session = session.ok_or(CallError::NoSession(node))?;
        let limit = {
            let mut all = self.inner.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(
                all.entry(node).or_insert_with(|| Arc::new(Semaphore::new(self.inner.options.in_flight))),
            )
        };
        let _permit = limit.try_acquire_owned().map_err(|_| CallError::InFlight(node))?;
        let group = group(record.name.as_str(), record.boot);
        let timeout = self.inner.options.call_timeout;
        let sealed = Sealed { ticket: self.inner.tickets.show(node), request: request.clone() };
        match ask(&group, session, &sealed, timeout).await {
            Ok(outcome) => Ok(outcome),
            Err(Asking::NoMember) => Err(CallError::NoSession(node)),
            Err(Asking::TimedOut) => Err(CallError::TimedOut { node, timeout }),
            Err(Asking::Broken) => Err(CallError::Broken(node)),
            Err(Asking::Envelope(why)) => Err(CallError::Envelope { node, why }),
        }
    }

    /// How often a peer was refused because it said to be another than its certificate names: a session in another's name,
    /// or a request about another.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.inner.tickets.refused()
    }

    /// Names of the nodes with which a session is up.
    #[must_use]
    pub fn peers_up(&self) -> Vec<String> {
        self.inner.sessions.names()
    }
}

/// The process group in which a node's inbox is found: per life, so that an earlier life is never addressed.
fn group(name: &str, boot: BootId) -> String {
    format!("troupe.inbox.{name}.{:016x}", boot.0)
}

enum Asking {
    NoMember,
    TimedOut,
    Broken,
    Envelope(String),
}

/// Asks the inbox of `group` that is reached through `session`, and no other: a member that joined another node's group
/// is not believed.
async fn ask(group: &str, session: u64, sealed: &Sealed, timeout: Duration) -> Result<Outcome, Asking> {
    let through = |id: ActorId| matches!(id, ActorId::Remote { node_id, .. } if node_id == session);
    let cell = pg::get_members(&group.to_owned()).into_iter().find(|cell| through(cell.get_id()));
    let cell = cell.ok_or(Asking::NoMember)?;
    let bytes = envelope::encode(sealed).map_err(Asking::Envelope)?;
    let call = rpc::call(&cell, |reply| InboxMessage::Call(bytes, reply), Some(timeout));
    // The library's own timeout covers the remote side; this one covers a session that is stuck.
    match tokio::time::timeout(timeout, call).await {
        Err(_) | Ok(Ok(rpc::CallResult::Timeout)) => Err(Asking::TimedOut),
        Ok(Err(_) | Ok(rpc::CallResult::SenderError)) => Err(Asking::Broken),
        Ok(Ok(rpc::CallResult::Success(bytes))) => envelope::decode(&bytes).map_err(Asking::Envelope),
    }
}
