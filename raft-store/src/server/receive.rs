//! Receives snapshots. What has arrived stays when a link breaks, whoever sent it: the next link goes on from there.
//!
//! A snapshot is a function of what it is of, byte for byte; should two differ all the same, the checksum over all of it
//! says so, and the next begins anew. Must not know what is in one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::alias::SnapshotMetaOf;

use super::{PATIENCE, too_slow};
use crate::disk::blocking;
use crate::snapshot_dir::{SnapshotDir, Temporary};
use crate::transport::Channel;
use crate::types::TypeConfig;
use crate::wire::{self, Response};

/// A snapshot of which some has arrived.
struct Partial {
    meta: SnapshotMetaOf<TypeConfig>,
    bytes: u64,
    file: Temporary,
    got: u64,
}

/// Where snapshots arrive; at most one that is not whole is kept.
pub(crate) struct Receiver {
    snapshots: Arc<SnapshotDir>,
    partial: Mutex<Option<Partial>>,
}

impl Receiver {
    /// Receives into this directory.
    pub(crate) fn new(snapshots: Arc<SnapshotDir>) -> Self {
        Self { snapshots, partial: Mutex::default() }
    }

    fn keep(&self, partial: Option<Partial>) -> Option<Partial> {
        std::mem::replace(&mut *self.partial.lock().unwrap_or_else(PoisonError::into_inner), partial)
    }

    /// Receives the rest of a snapshot, after telling the other side where that begins. Answers the file, unchecked.
    pub(super) async fn receive(
        &self,
        meta: &SnapshotMetaOf<TypeConfig>,
        bytes: u64,
        link: &mut Channel,
    ) -> io::Result<Temporary> {
        let same = |partial: &Partial| partial.meta == *meta && partial.bytes == bytes;
        let mut partial = match self.keep(None).filter(same) {
            Some(partial) => partial,
            None => Partial { meta: meta.clone(), bytes, file: self.snapshots.temporary()?, got: 0 },
        };
        if partial.got > 0 {
            tracing::info!(got = partial.got, bytes, "a snapshot is received on from where it broke off");
        }
        match self.fill(&mut partial, link).await {
            Ok(()) => Ok(partial.file),
            Err(error) => {
                self.keep(Some(partial));
                Err(error)
            }
        }
    }

    async fn fill(&self, partial: &mut Partial, link: &mut Channel) -> io::Result<()> {
        wire::send(&mut link.stream, &Response::SnapshotFrom(partial.got)).await?;
        while partial.got < partial.bytes {
            let chunk = tokio::time::timeout(PATIENCE, wire::receive_raw(&mut link.stream))
                .await
                .map_err(|_| too_slow("the rest of the snapshot"))??;
            let (file, at, length) = (Arc::clone(&partial.file.file), partial.got, chunk.len() as u64);
            if length == 0 || length > partial.bytes - at {
                return Err(io::Error::other("another length of the snapshot than was announced"));
            }
            blocking(&**self.snapshots.disk(), move || file.write_all_at(&chunk, at)).await?;
            partial.got += length;
        }
        Ok(())
    }
}
