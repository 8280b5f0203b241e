//! This node's shelf: its logs and blobs as bytes for other nodes and for its own API.
//!
//! A log travels as the frames that are on disk. Must not know HTTP.

use domain::AttemptId;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::artifacts::{Blobs, Parts};
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

    /// Begins at once, however large it is: what is damaged shows at its end.
    fn artifact(&self, digest: [u8; 32]) -> BoxFuture<'_, Option<ByteStream>> {
        let blobs = self.blobs.clone();
        async move {
            let opened = tokio::task::spawn_blocking(move || blobs.open(&digest)).await;
            match opened {
                Ok(Ok(parts)) => Some(checked(parts).boxed()),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "an artifact cannot be served");
                    None
                }
                Err(join) => {
                    tracing::error!(%join, "opening an artifact panicked");
                    None
                }
            }
        }
        .boxed()
    }
}

/// The parts of a blob; in place of the last one an error when it is damaged.
fn checked(parts: Parts) -> impl futures::Stream<Item = std::io::Result<bytes::Bytes>> {
    async_stream::try_stream! {
        let mut parts = parts;
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let part = parts.next_part();
                (parts, part)
            });
            let (rest, part) = read.await.map_err(std::io::Error::other)?;
            parts = rest;
            let part = part.inspect_err(|error| tracing::error!(%error, "an artifact cannot be served whole"));
            match part.map_err(std::io::Error::other)? {
                Some(part) => yield part,
                None => break,
            }
        }
    }
}
