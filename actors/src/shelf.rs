//! This node's shelf: its logs and blobs as bytes for other nodes and for its own API.
//!
//! A log travels as the frames that are on disk. Must not know HTTP.

use domain::AttemptId;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio_util::io::ReaderStream;

use crate::artifacts::Blobs;
use crate::bulk::{ByteStream, Shelf};
use crate::logs::{self, Frame, LogStore};

/// Bytes of output read at a time.
const PAGE_BYTES: u64 = 256 * 1024;

/// Logs and blobs of this node.
#[derive(Debug, Clone)]
pub struct NodeShelf {
    logs: LogStore,
    blobs: Blobs,
}

impl NodeShelf {
    /// What is in these two.
    #[must_use]
    pub fn new(logs: LogStore, blobs: Blobs) -> Self {
        Self { logs, blobs }
    }

    async fn frames(&self, attempt: AttemptId, from: u64, follow: bool) -> Option<ByteStream> {
        let frames: BoxStream<'static, Result<Frame, logs::Error>> = if follow {
            logs::follow(self.logs.clone(), attempt, from).boxed()
        } else {
            present(self.logs.clone(), attempt, from).boxed()
        };
        // Whether it is here shows with the first frame; one that is here and empty may not have one for long.
        if !tokio::fs::try_exists(self.logs.attempt_dir(attempt).join("log")).await.unwrap_or(false) {
            return None;
        }
        let bytes = frames.map_err(std::io::Error::other).ready_chunks(64).map(|chunk| {
            let mut bytes = Vec::new();
            for frame in chunk {
                frame?.encode(&mut bytes);
            }
            Ok(bytes.into())
        });
        Some(bytes.boxed())
    }
}

/// What is in the log now.
fn present(
    store: LogStore,
    attempt: AttemptId,
    from: u64,
) -> impl futures::Stream<Item = Result<Frame, logs::Error>> {
    async_stream::try_stream! {
        let mut from = from;
        loop {
            let page = logs::read(&store, attempt, from, PAGE_BYTES).await?;
            let over = page.next == from || page.end;
            from = page.next;
            for frame in page.frames {
                yield frame;
            }
            if over {
                break;
            }
        }
    }
}

impl Shelf for NodeShelf {
    fn log(&self, attempt: AttemptId, from: u64, follow: bool) -> BoxFuture<'_, Option<ByteStream>> {
        self.frames(attempt, from, follow).boxed()
    }

    fn artifact(&self, digest: [u8; 32]) -> BoxFuture<'_, Option<ByteStream>> {
        let blobs = self.blobs.clone();
        async move {
            let opened = tokio::task::spawn_blocking(move || blobs.open(&digest)).await;
            match opened {
                Ok(Ok(file)) => Some(ReaderStream::new(tokio::fs::File::from_std(file)).boxed()),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "an artifact cannot be served");
                    None
                }
                Err(join) => {
                    tracing::error!(%join, "reading an artifact panicked");
                    None
                }
            }
        }
        .boxed()
    }
}
