//! Kept bytes, wherever they lie: on this node, or on another from which they are fetched; checked before anybody uses them.

use std::fs::File;
use std::io::Read;

use domain::NodeId;
use futures::TryStreamExt;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::Parts;

impl Parts {
    /// Sees that a blob is here, whole, and opens it. An error is in words.
    pub(super) async fn obtain(&self, node: NodeId, digest: [u8; 32], size: u64) -> Result<File, String> {
        let blobs = self.blobs.clone();
        let here = tokio::task::spawn_blocking(move || blobs.has(&digest)).await;
        let here = here.map_err(|join| join.to_string())?.map_err(|error| error.to_string())?;
        if !here {
            self.fetch(node, digest, size).await?;
        }
        let path = self.blobs.path(&digest);
        let opened = tokio::task::spawn_blocking(move || File::open(path)).await;
        opened.map_err(|join| join.to_string())?.map_err(|error| error.to_string())
    }

    async fn fetch(&self, node: NodeId, digest: [u8; 32], size: u64) -> Result<(), String> {
        if node == self.options.node {
            return Err("this node does not have it any more".to_owned());
        }
        let beyond = self.beyond.get().ok_or("this node reaches no other")?;
        let stream = beyond.others.artifact(node, digest).await.map_err(|error| error.to_string())?;
        let blobs = self.blobs.clone();
        let stored = tokio::task::spawn_blocking(move || {
            // One byte more than there should be tells that it is not what was kept.
            blobs.put(
                SyncIoBridge::new(StreamReader::new(stream.map_err(std::io::Error::other))).take(size + 1),
            )
        });
        let (got, found) =
            stored.await.map_err(|join| join.to_string())?.map_err(|error| error.to_string())?;
        if (got, found) != (size, digest) {
            return Err(format!("node {node} has sent {got} bytes that are not what was kept"));
        }
        Ok(())
    }
}
