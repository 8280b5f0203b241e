//! Output and artifacts of any attempt: from this node's shelf, or over the bulk link from the node that ran it.
//!
//! Must not know HTTP or where bytes lie on disk.

use std::sync::Arc;
use std::time::Duration;

use actors::bulk::{self, ByteStream, FetchError, Shelf, Wanted};
use actors::logs::{Content, Frame};
use actors::shelf::NodeShelf;
use bytes::{Bytes, BytesMut};
use domain::{AttemptId, NodeId};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use raft_store::Store;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::api::output::{Chunk, Chunks, Error, Output};

/// Chunks that wait for a reader, at most.
const WAITING: usize = 16;
/// How often a log that is about to begin is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// A frame's bytes on the wire are never more than this.
const MAX_FRAME: usize = 2 * actors::logs::MAX_FRAME_BYTES;

/// Reads shelves.
pub(crate) struct NodeOutput {
    me: NodeId,
    shelf: Arc<NodeShelf>,
    client: bulk::Client,
    store: Store,
    readers: TaskTracker,
}

impl NodeOutput {
    pub(crate) fn new(me: NodeId, shelf: Arc<NodeShelf>, client: bulk::Client, store: Store) -> Self {
        Self { me, shelf, client, store, readers: TaskTracker::new() }
    }

    async fn fetch(&self, node: NodeId, attempt: AttemptId, wanted: Wanted) -> Result<ByteStream, Error> {
        if node == self.me {
            let found = match wanted {
                Wanted::Log { attempt, from, follow } => self.shelf.log(attempt, from, follow).await,
                Wanted::Artifact { digest } => self.shelf.artifact(digest).await,
            };
            return found.ok_or(Error::NotThere { attempt });
        }
        self.client.fetch(node, wanted).await.map_err(|error| {
            // The node is named once, by the name that people know it by.
            let why = match error {
                FetchError::NotThere(_) => return Error::NotThere { attempt },
                FetchError::UnknownNode(_) => "it is not known here".to_owned(),
                FetchError::Unreachable { source, .. } => source.to_string(),
                FetchError::Broken { why, .. } => why,
                FetchError::TimedOut { timeout, .. } => {
                    format!("it did not begin to answer within {} ms", timeout.as_millis())
                }
            };
            Error::Unreachable { node: self.name(node), why }
        })
    }

    fn name(&self, node: NodeId) -> String {
        let state = self.store.state();
        state.nodes.get(&node).map_or_else(|| node.to_string(), |node| node.name.to_string())
    }

    /// A log that is followed may not have begun: its attempt is placed, its node about to take it.
    async fn log_stream(
        &self,
        node: NodeId,
        attempt: AttemptId,
        from: u64,
        follow: bool,
    ) -> Result<ByteStream, Error> {
        loop {
            match self.fetch(node, attempt, Wanted::Log { attempt, from, follow }).await {
                Err(Error::NotThere { .. }) if follow && self.open(attempt) => tokio::time::sleep(LOOK).await,
                answer => return answer,
            }
        }
    }

    fn open(&self, attempt: AttemptId) -> bool {
        self.store.state().attempts.get(&attempt).is_some_and(|attempt| attempt.outcome.is_none())
    }
}

impl Output for NodeOutput {
    fn log(
        &self,
        node: NodeId,
        attempt: AttemptId,
        from: u64,
        follow: bool,
    ) -> BoxFuture<'_, Result<Chunks, Error>> {
        async move {
            let bytes = self.log_stream(node, attempt, from, follow).await?;
            let (sender, chunks) = mpsc::channel(WAITING);
            self.readers.spawn(read_log(self.name(node), bytes, sender));
            Ok(chunks)
        }
        .boxed()
    }

    fn artifact(
        &self,
        node: NodeId,
        attempt: AttemptId,
        digest: [u8; 32],
    ) -> BoxFuture<'_, Result<Chunks, Error>> {
        async move {
            let mut bytes = self.fetch(node, attempt, Wanted::Artifact { digest }).await?;
            let (sender, chunks) = mpsc::channel(WAITING);
            let node = self.name(node);
            self.readers.spawn(async move {
                let mut offset = 0;
                while let Some(part) = bytes.next().await {
                    let chunk = part.map(|bytes| Chunk { offset, bytes }).map_err(|e| broken(&node, &e));
                    offset += chunk.as_ref().map_or(0, |chunk| chunk.bytes.len() as u64);
                    let over = chunk.is_err();
                    if sender.send(chunk).await.is_err() || over {
                        return;
                    }
                }
            });
            Ok(chunks)
        }
        .boxed()
    }
}

fn broken(node: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Unreachable { node: node.to_owned(), why: why.to_string() }
}

/// Takes frames apart and passes output on, until the log or its reader ends.
async fn read_log(node: String, mut bytes: ByteStream, sender: mpsc::Sender<Result<Chunk, Error>>) {
    let (mut pending, mut marked) = (BytesMut::new(), false);
    loop {
        let part = tokio::select! {
            part = bytes.next() => part,
            () = sender.closed() => return,
        };
        match part {
            None if pending.is_empty() => return,
            None => {
                // An error means that nobody reads any more.
                drop(sender.send(Err(broken(&node, &"the log was cut off within a frame"))).await);
                return;
            }
            Some(Err(error)) => {
                drop(sender.send(Err(broken(&node, &error))).await);
                return;
            }
            Some(Ok(part)) => pending.extend_from_slice(&part),
        }
        while let Some((frame, len)) = Frame::decode(&pending) {
            drop(pending.split_to(len));
            if let Some(chunk) = chunk(frame, &mut marked)
                && sender.send(Ok(chunk)).await.is_err()
            {
                return;
            }
        }
        if pending.len() > MAX_FRAME {
            drop(sender.send(Err(broken(&node, &"the log has a damaged frame"))).await);
            return;
        }
    }
}

/// Output as it is; once, a mark where output was dropped.
fn chunk(frame: Frame, marked: &mut bool) -> Option<Chunk> {
    let offset = frame.offset;
    match frame.content {
        Content::Output(_, bytes) => Some(Chunk { offset, bytes: bytes.into() }),
        Content::Dropped(_) if !std::mem::replace(marked, true) => {
            let mark =
                format!("\ntroupe: the log's limit of {offset} bytes is reached; what follows was dropped\n");
            Some(Chunk { offset, bytes: Bytes::from(mark) })
        }
        _ => None,
    }
}
