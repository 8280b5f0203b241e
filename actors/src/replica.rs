//! What actors need of the replicated state: read it, change it, hear of changes. raft-store's `Store` in a node, a
//! single copy in memory in tests.
//!
//! Must not know how agreement is reached.

use std::sync::Arc;

use domain::{ClusterState, Command, Effect, LogIndex, Reply};
use futures::future::BoxFuture;
use raft_store::Store;
use tokio::sync::{broadcast, watch};

pub use raft_store::{Leadership, NodeAddress, ProposeError};

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
    /// Waits until everything is applied here that was committed when the call began, as whoever leads confirms.
    fn current(&self) -> BoxFuture<'_, Result<(), ProposeError>>;
    /// Who leads, as it changes.
    fn leadership(&self) -> watch::Receiver<Leadership>;
}

/// Shared by all actors of a node.
pub type SharedReplica = Arc<dyn Replica>;

impl Replica for Store {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, ProposeError>> {
        Box::pin(async move { Ok(Store::propose(self, command).await?.reply) })
    }

    fn state(&self) -> Arc<ClusterState> {
        Store::state(self)
    }

    fn applied(&self) -> watch::Receiver<LogIndex> {
        Store::applied(self)
    }

    fn effects(&self) -> broadcast::Receiver<(LogIndex, Effect)> {
        Store::effects(self)
    }

    /// A read index is asked of whoever leads; it confirms this node only if that was this node, in one term throughout.
    fn confirm(&self) -> BoxFuture<'_, Result<(), ProposeError>> {
        Box::pin(async move {
            let term = || {
                let leadership = Store::leadership(self);
                let now = leadership.borrow();
                now.is_me.then_some(now.term)
            };
            let before = term().ok_or(ProposeError::Unavailable)?;
            self.linearizable().await?;
            if term() == Some(before) { Ok(()) } else { Err(ProposeError::Unavailable) }
        })
    }

    fn current(&self) -> BoxFuture<'_, Result<(), ProposeError>> {
        Box::pin(async move { self.linearizable().await.map(drop) })
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Store::leadership(self)
    }
}
