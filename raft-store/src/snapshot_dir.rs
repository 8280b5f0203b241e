//! The directory that snapshots are kept in; the newest replaces the one before.
//!
//! Written to a temporary file, synced, renamed, directory synced: a snapshot that can be seen is whole. Must not know what is
//! in a snapshot.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::ClusterState;
use openraft::alias::SnapshotMetaOf;

use crate::disk::{DiskFile, SharedDisk};
use crate::planted::{self, Bug};
use crate::snapshot::{self, SnapshotError, SnapshotFile};
use crate::types::TypeConfig;

/// The directory, shared by the state machine, its builders and whoever receives a snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotDir {
    disk: SharedDisk,
    dir: PathBuf,
    /// Number of the next temporary file; the directory was emptied of those of an earlier process.
    next: AtomicU64,
    /// Held while the current snapshot is replaced: it must only become newer.
    turn: Mutex<()>,
}

/// A file that is not a snapshot yet. Removed when it is dropped, unless it has become one.
#[derive(Debug)]
pub(crate) struct Temporary {
    disk: SharedDisk,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a temporary file is left behind until the next start");
            }
            _ => {}
        }
    }
}

impl SnapshotDir {
    /// Opens the directory, which is made when needed. What a process that died was writing is removed. Blocking.
    pub(crate) fn open(disk: SharedDisk, dir: &Path) -> io::Result<Self> {
        disk.make_dir(dir)?;
        let opened = Self { disk, dir: dir.to_owned(), next: AtomicU64::new(0), turn: Mutex::default() };
        let current = opened.path();
        for file in opened.disk.list(dir)? {
            if file == current {
                // A process that was killed may have left it in the system's cache only, and the log is cut behind it.
                opened.disk.open(&file)?.sync()?;
            } else {
                opened.disk.remove(&file)?;
            }
        }
        opened.disk.sync_dir(dir)?;
        Ok(opened)
    }

    pub(crate) fn disk(&self) -> &SharedDisk {
        &self.disk
    }

    fn path(&self) -> PathBuf {
        self.dir.join("current.snapshot")
    }

    /// A new file, to write or to receive a snapshot into. Blocking.
    pub(crate) fn temporary(&self) -> io::Result<Temporary> {
        let path = self.dir.join(format!("new-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let file = self.disk.create(&path)?;
        Ok(Temporary { disk: Arc::clone(&self.disk), path, file })
    }

    /// The newest snapshot, if there is one. Blocking.
    pub(crate) fn current(&self) -> Result<Option<SnapshotFile>, SnapshotError> {
        match SnapshotFile::open(&*self.disk, &self.path()) {
            Ok(file) => Ok(Some(file)),
            Err(SnapshotError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a snapshot and makes it the current one, unless a newer one was installed meanwhile: what came before that may
    /// be purged from the log already. Answers the one that is current then. Blocking.
    pub(crate) fn write(
        &self,
        meta: &SnapshotMetaOf<TypeConfig>,
        state: &ClusterState,
    ) -> Result<SnapshotFile, SnapshotError> {
        let path = self.path();
        let temporary = self.temporary().map_err(failed("create", &path))?;
        snapshot::write(&temporary.file, &path, meta, state)?;
        if !planted::is(Bug::SkipSnapshotSync) {
            temporary.file.sync().map_err(failed("sync", &path))?;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = self.current()?
            && current.meta()?.last_log_id > meta.last_log_id
        {
            return Ok(current);
        }
        self.disk.rename(&temporary.path, &path).map_err(failed("rename", &path))?;
        self.sync()?;
        SnapshotFile::open(&*self.disk, &path)
    }

    /// Makes a file that was received here, and checked, the current snapshot. Blocking.
    pub(crate) fn adopt(&self, received: &SnapshotFile) -> Result<(), SnapshotError> {
        let path = self.path();
        if received.path == path {
            return Ok(());
        }
        if !planted::is(Bug::SkipSnapshotSync) {
            received.file.sync().map_err(failed("sync", &received.path))?;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.disk.rename(&received.path, &path).map_err(failed("rename", &path))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), SnapshotError> {
        if planted::is(Bug::SkipNameSync) {
            return Ok(());
        }
        self.disk.sync_dir(&self.dir).map_err(failed("sync the directory of", &self.path()))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use openraft::LogId;

    use super::*;
    use crate::disk::LocalDisk;

    fn meta(index: u64) -> SnapshotMetaOf<TypeConfig> {
        SnapshotMetaOf::<TypeConfig> {
            last_log_id: Some(LogId::new_term_index(1, index)),
            ..Default::default()
        }
    }

    fn state(ad_hoc_number: u64) -> ClusterState {
        ClusterState { ad_hoc_number, ..ClusterState::default() }
    }

    fn open(dir: &Path) -> SnapshotDir {
        SnapshotDir::open(Arc::new(LocalDisk), dir).expect("opened")
    }

    #[test]
    fn a_snapshot_that_was_checked_is_not_read_again() -> Result<(), SnapshotError> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut checked = open(dir.path()).write(&meta(1), &state(7))?;
        assert_eq!(checked.content()?.state.ad_hoc_number, 7);
        let mut unchecked = SnapshotFile::open(&LocalDisk, &checked.path)?;
        fs::write(&checked.path, b"other bytes").expect("the file is written");
        assert_eq!(checked.clone().content()?.state.ad_hoc_number, 7);
        assert!(matches!(unchecked.content(), Err(SnapshotError::Damaged { .. })));
        Ok(())
    }

    #[test]
    fn a_slow_builder_does_not_replace_what_was_installed_meanwhile() -> Result<(), SnapshotError> {
        let (here, there) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
        let snapshots = open(here.path());
        snapshots.write(&meta(3), &state(3))?;
        let newer = open(there.path()).write(&meta(9), &state(9))?;
        let received = snapshots.temporary().expect("a file");
        let bytes = fs::read(&newer.path).expect("the newer one");
        received.file.write_all_at(&bytes, 0).expect("received");
        snapshots.adopt(&SnapshotFile::open(&LocalDisk, &received.path)?)?;
        // It has become the snapshot: what is dropped now is nothing.
        drop(received);
        assert_eq!(snapshots.write(&meta(5), &state(5))?.meta()?, meta(9));
        let mut current = snapshots.current()?.expect("a snapshot");
        assert_eq!(current.content()?.state.ad_hoc_number, 9);
        assert_eq!(snapshots.write(&meta(10), &state(10))?.meta()?, meta(10));
        assert_eq!(fs::read_dir(here.path()).expect("the directory").count(), 1);
        Ok(())
    }

    #[test]
    fn what_a_process_that_died_left_is_removed() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        open(dir.path()).write(&meta(3), &state(3))?;
        for left in ["new-0", "received.snapshot"] {
            fs::write(dir.path().join(left), b"half of one")?;
        }
        let snapshots = open(dir.path());
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        assert_eq!(snapshots.current()?.expect("a snapshot").meta()?, meta(3));
        Ok(())
    }
}
