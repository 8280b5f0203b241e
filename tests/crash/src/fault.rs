//! A disk with something in between: every operation that changes it goes through a [`Fault`].

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_store::disk::{Disk, DiskFile, Job, SharedDisk};

/// What is done to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Names: made, renamed.
    Name,
    /// Names that go, with what they name.
    Remove,
    /// A directory's names made durable.
    SyncDir,
    /// Bytes, or a file's length.
    Write,
    /// A file made durable.
    Sync,
}

/// What may go wrong, decided per operation.
pub trait Fault: Debug + Send + Sync {
    /// Does the operation, or something else.
    ///
    /// # Errors
    /// The disk's, or what the fault makes up.
    fn around(&self, operation: Operation, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>;

    /// Writes to a file, or something else.
    ///
    /// # Errors
    /// The disk's, or what the fault makes up.
    fn write(&self, file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.around(Operation::Write, &mut || file.write_all_at(bytes, offset))
    }
}

/// A disk with a fault in between.
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    inner: SharedDisk,
    fault: Arc<dyn Fault>,
}

impl FaultyDisk {
    /// Puts a fault over a disk.
    #[must_use]
    pub fn over(inner: SharedDisk, fault: Arc<dyn Fault>) -> Self {
        Self { inner, fault }
    }

    fn file(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { inner, fault: Arc::clone(&self.fault) })
    }
}

impl Disk for FaultyDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.fault.around(Operation::Name, &mut || self.inner.make_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut made = None;
        self.fault.around(Operation::Name, &mut || self.inner.create(path).map(|file| made = Some(file)))?;
        made.map(|file| self.file(file)).ok_or_else(|| io::Error::other("the fault made no file"))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fault.around(Operation::Name, &mut || self.inner.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fault.around(Operation::Remove, &mut || self.inner.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fault.around(Operation::SyncDir, &mut || self.inner.sync_dir(dir))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.inner.free_bytes(dir)
    }

    fn later(&self, job: Job) {
        self.inner.later(job);
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn DiskFile>,
    fault: Arc<dyn Fault>,
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.fault.write(&*self.inner, bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.fault.around(Operation::Write, &mut || self.inner.set_len(bytes))
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.fault.around(Operation::Write, &mut || self.inner.reserve(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.fault.around(Operation::Sync, &mut || self.inner.sync())
    }
}
