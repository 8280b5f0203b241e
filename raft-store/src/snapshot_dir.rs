//! The directory that snapshots are kept in; the newest replaces the one before.
//!
//! Written to a temporary file, synced, renamed, directory synced: a snapshot that can be seen is whole. Must not know what is
//! in a snapshot.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use domain::ClusterState;
use openraft::alias::SnapshotMetaOf;

use crate::snapshot::{self, SnapshotError, SnapshotFile};
use crate::types::TypeConfig;

/// The directory, shared by the state machine and its builders.
#[derive(Debug)]
pub(crate) struct SnapshotDir {
    dir: PathBuf,
    /// Held while the current snapshot is replaced: it must only become newer.
    turn: Mutex<()>,
}

impl SnapshotDir {
    /// Opens the directory, which is made when needed. What a process that died was writing is removed. Blocking.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let opened = Self { dir: dir.to_owned(), turn: Mutex::default() };
        let current = opened.path();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.path() != current && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(opened)
    }

    fn path(&self) -> PathBuf {
        self.dir.join("current.snapshot")
    }

    /// The newest snapshot, if there is one. Blocking.
    pub(crate) fn current(&self) -> Result<Option<SnapshotFile>, SnapshotError> {
        match SnapshotFile::open(&self.path()) {
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
        let temporary = tempfile::NamedTempFile::new_in(&self.dir).map_err(failed("create", &path))?;
        snapshot::write(temporary.as_file(), &path, meta, state)?;
        temporary.as_file().sync_all().map_err(failed("sync", &path))?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = self.current()?
            && current.meta()?.last_log_id > meta.last_log_id
        {
            return Ok(current);
        }
        temporary.persist(&path).map_err(|e| failed("rename", &path)(e.error))?;
        self.sync()?;
        SnapshotFile::open(&path)
    }

    /// Makes a received file, which was checked, the current snapshot. Blocking.
    pub(crate) fn adopt(&self, received: &SnapshotFile) -> Result<(), SnapshotError> {
        let path = self.path();
        if received.path == path {
            return Ok(());
        }
        // Copied when it lies on another file system, in any case renamed whole.
        let aside = self.dir.join("received.snapshot");
        fs::copy(&received.path, &aside).map_err(failed("copy", &path))?;
        File::open(&aside).and_then(|file| file.sync_all()).map_err(failed("sync", &path))?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        fs::rename(&aside, &path).map_err(failed("rename", &path))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), SnapshotError> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed("sync the directory of", &self.path()))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use openraft::LogId;

    use super::*;

    fn meta(index: u64) -> SnapshotMetaOf<TypeConfig> {
        SnapshotMetaOf::<TypeConfig> {
            last_log_id: Some(LogId::new_term_index(1, index)),
            ..Default::default()
        }
    }

    fn state(ad_hoc_number: u64) -> ClusterState {
        ClusterState { ad_hoc_number, ..ClusterState::default() }
    }

    #[test]
    fn a_snapshot_that_was_checked_is_not_read_again() -> Result<(), SnapshotError> {
        let dir = tempfile::tempdir().expect("a directory");
        let snapshots = SnapshotDir::open(dir.path()).expect("opened");
        let mut checked = snapshots.write(&meta(1), &state(7))?;
        assert_eq!(checked.content()?.state.ad_hoc_number, 7);
        let mut unchecked = SnapshotFile::open(&checked.path)?;
        fs::write(&checked.path, b"other bytes").expect("the file is written");
        assert_eq!(checked.clone().content()?.state.ad_hoc_number, 7);
        assert!(matches!(unchecked.content(), Err(SnapshotError::Damaged { .. })));
        Ok(())
    }

    #[test]
    fn a_slow_builder_does_not_replace_what_was_installed_meanwhile() -> Result<(), SnapshotError> {
        let (here, there) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
        let snapshots = SnapshotDir::open(here.path()).expect("opened");
        snapshots.write(&meta(3), &state(3))?;
        let newer = SnapshotDir::open(there.path()).expect("opened").write(&meta(9), &state(9))?;
        snapshots.adopt(&newer)?;
        assert_eq!(snapshots.write(&meta(5), &state(5))?.meta()?, meta(9));
        let mut current = snapshots.current()?.expect("a snapshot");
        assert_eq!(current.content()?.state.ad_hoc_number, 9);
        assert_eq!(snapshots.write(&meta(10), &state(10))?.meta()?, meta(10));
        Ok(())
    }

    #[test]
    fn what_a_process_that_died_left_is_removed() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        SnapshotDir::open(dir.path())?.write(&meta(3), &state(3))?;
        for left in [".tmpAbCdEf", "received.snapshot"] {
            fs::write(dir.path().join(left), b"half of one")?;
        }
        let snapshots = SnapshotDir::open(dir.path())?;
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        assert_eq!(snapshots.current()?.expect("a snapshot").meta()?, meta(3));
        Ok(())
    }
}
