//! What actors need of the replicated state: read it, change it, hear of changes. raft-store's `Store` in a node, a
//! single copy in memory in tests.
//!
//! Must not know how agreement is reached.

use std::sync::Arc;

use domain::{ClusterState, Command, Effect, LogIndex, NodeId, Reply};
use futures::future::BoxFuture;
use tokio::sync::{broadcast, watch};

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// Raft's term.
    pub term: u64,
    /// The leader, when it is known.
    pub leader: Option<NodeId>,
    /// This node leads.
    pub is_me: bool,
}

/// Why a proposal has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was proposed: no leader, or no quorum.
    #[error("cannot propose: {why}")]
    Unavailable {
        /// The store's words.
        why: String,
    },
    /// It may have been committed.
    #[error("proposed, but whether it was committed is not known: {why}")]
    Unknown {
        /// The store's words.
        why: String,
    },
    /// It will never be accepted.
    #[error("the command is not acceptable: {why}")]
    Refused {
        /// The store's words.
        why: String,
    },
    /// The store has stopped.
    #[error("cannot propose: this node is shutting down")]
    Stopped,
}

/// The replicated state as actors see it.
pub trait Replica: Send + Sync + 'static {
    /// Proposes a command and waits until it is applied here or known to have failed.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, ProposeError>>;
    /// The state as this node has it; cheap.
    fn state(&self) -> Arc<ClusterState>;
    /// Index of the last entry that was applied here.
    fn applied(&self) -> watch::Receiver<LogIndex>;
    /// What entries applied while this node leads ask for; hints, which may be lost.
    fn effects(&self) -> broadcast::Receiver<(LogIndex, Effect)>;
    /// Succeeds when a quorum confirms, after the call began, that this node leads.
    fn confirm(&self) -> BoxFuture<'_, Result<(), ProposeError>>;
    /// Who leads, as it changes.
    fn leadership(&self) -> watch::Receiver<Leadership>;
}

/// Shared by all actors of a node.
pub type SharedReplica = Arc<dyn Replica>;
