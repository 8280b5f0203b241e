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
        size: u64,
    ) -> BoxFuture<'_, Result<Chunks, Error>> {
        async move {
            let bytes = self.fetch(node, attempt, Wanted::Artifact { digest }).await?;
            let (sender, chunks) = mpsc::channel(WAITING);
            self.readers.spawn(read_artifact(self.name(node), bytes, size, sender));
            Ok(chunks)
        }
        .boxed()
    }
}

/// Passes a file's bytes on. The last that came is held back until it is known whether more come: the reader was told the
/// size, and takes a file that has so many bytes for whole.
async fn read_artifact(
    node: String,
    mut bytes: ByteStream,
    size: u64,
    sender: mpsc::Sender<Result<Chunk, Error>>,
) {
    let (mut came, mut held) = (0, None);
    loop {
        let next = match bytes.next().await {
            Some(Ok(bytes)) => {
                let chunk = Chunk { offset: came, bytes };
                came += chunk.bytes.len() as u64;
                Ok(Some(chunk))
            }
            Some(Err(error)) => Err(broken(&node, &error)),
            None => Ok(None),
        };
        let over = !matches!(next, Ok(Some(_)));
        let pass = match next {
            Ok(_) if came > size || over && came < size => {
                let why = format!("the file that it keeps is not the one of {size} bytes that was kept");
                Some(Err(broken(&node, &why)))
            }
            Ok(Some(chunk)) => held.replace(chunk).map(Ok),
            Ok(None) => held.take().map(Ok),
            Err(error) => Some(Err(error)),
        };
        let over = over || matches!(pass, Some(Err(_)));
        if let Some(pass) = pass
            && sender.send(pass).await.is_err()
        {
            return;
        }
        if over {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    type Part = std::io::Result<Bytes>;

    async fn passed(parts: Vec<Part>, size: u64) -> (Vec<u8>, bool) {
        let (sender, mut chunks) = mpsc::channel(WAITING);
        read_artifact("n1".to_owned(), futures::stream::iter(parts).boxed(), size, sender).await;
        let (mut bytes, mut failed) = (Vec::new(), false);
        while let Some(chunk) = chunks.recv().await {
            assert!(!failed, "nothing follows an error");
            match chunk {
                Ok(chunk) => {
                    assert_eq!(chunk.offset, bytes.len() as u64);
                    bytes.extend_from_slice(&chunk.bytes);
                }
                Err(_) => failed = true,
            }
        }
        (bytes, failed)
    }

    #[tokio::test]
    async fn a_file_is_passed_on_whole_or_ends_with_an_error_before_its_size() {
        let part = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let damaged = || Err(std::io::Error::other("damaged"));
        assert_eq!(passed(vec![part("ab"), part("cd")], 4).await, (b"abcd".to_vec(), false));
        assert_eq!(passed(vec![], 0).await, (vec![], false));
        for (parts, size) in [
            (vec![part("ab"), part("cd")], 5),
            (vec![part("ab"), part("cd")], 3),
            // Longer than it was: the reader must not have had all it waits for when that shows.
            (vec![part("ab"), part("cd")], 2),
            (vec![part("ab"), damaged()], 2),
            (vec![part("ab"), part("cd"), damaged()], 4),
            (vec![damaged()], 0),
        ] {
            let shown = format!("{parts:?} {size}");
            let (bytes, failed) = passed(parts, size).await;
            assert!(failed && (bytes.len() as u64) < size.max(1), "{shown}");
        }
    }
}
