//! What attempts left behind, wherever they ran: output and artifacts. The API's side of the bulk link.
//!
//! Must not know how bytes travel between nodes.

use bytes::Bytes;
use domain::{AttemptId, NodeId};
use futures::future::BoxFuture;
use tokio::sync::mpsc;

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins, in bytes of the attempt's output.
    pub offset: u64,
    /// Its bytes, as the job wrote them.
    pub bytes: Bytes,
}

/// Why it cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing of it is on the node that should have it.
    #[error("nothing of attempt {attempt} is on its node")]
    NotThere {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The node cannot be reached.
    #[error("{node} cannot be reached: {why}")]
    Unreachable {
        /// Which node: its name.
        node: String,
        /// Why.
        why: String,
    },
}

/// Bytes as they come, bounded; ends when all have come, or with an error.
pub type Chunks = mpsc::Receiver<Result<Chunk, Error>>;

/// Reads output and artifacts of any node.
pub trait Output: Send + Sync {
    /// Output of an attempt from an offset on; with `follow`, until it ends.
    fn log(
        &self,
        node: NodeId,
        attempt: AttemptId,
        from: u64,
        follow: bool,
    ) -> BoxFuture<'_, Result<Chunks, Error>>;

    /// An artifact's bytes. When they are not `size` in all, or not those that were kept, an error comes in place of the
    /// last of them.
    fn artifact(
        &self,
        node: NodeId,
        attempt: AttemptId,
        digest: [u8; 32],
        size: u64,
    ) -> BoxFuture<'_, Result<Chunks, Error>>;
}
