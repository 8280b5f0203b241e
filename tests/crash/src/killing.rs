//! A disk under a process that is killed in the middle of one of its operations.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use raft_store::disk::{Disk, DiskFile, Job, SharedDisk};

/// Kills this process (SIGKILL) when so many operations were done: a write half-way, anything else before or after it.
#[derive(Debug, Clone)]
pub struct KillingDisk {
    inner: SharedDisk,
    left: Arc<AtomicI64>,
    /// Decides how much of the last write arrives, and on which side of the last operation the end is.
    salt: u64,
}

impl KillingDisk {
    /// Over another disk.
    #[must_use]
    pub fn new(inner: SharedDisk, operations: i64, salt: u64) -> Self {
        Self { inner, left: Arc::new(AtomicI64::new(operations)), salt }
    }

    fn around<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let last = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.salt.is_multiple_of(2) {
            die();
        }
        let done = operation();
        if last {
            die();
        }
        done
    }
}

fn die() -> ! {
    // Cannot fail for the process itself; should it, the test finds a process that lives on.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

impl Disk for KillingDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.around(|| self.inner.make_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(KillingFile { inner: self.inner.open(path)?, disk: self.clone() }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.around(|| self.inner.create(path))?;
        Ok(Arc::new(KillingFile { inner, disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.around(|| self.inner.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.around(|| self.inner.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.around(|| self.inner.sync_dir(dir))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.inner.free_bytes(dir)
    }

    fn later(&self, job: Job) {
        self.inner.later(job);
    }
}

#[derive(Debug)]
struct KillingFile {
    inner: Arc<dyn DiskFile>,
    disk: KillingDisk,
}

impl DiskFile for KillingFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.disk.left.load(Ordering::SeqCst) == 1 {
            let part = self.disk.salt % (bytes.len() as u64 + 1);
            self.inner.write_all_at(&bytes[..usize::try_from(part).unwrap_or(0)], offset)?;
            self.disk.left.store(0, Ordering::SeqCst);
            die();
        }
        self.disk.around(|| self.inner.write_all_at(bytes, offset))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.around(|| self.inner.set_len(bytes))
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.disk.around(|| self.inner.reserve(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.around(|| self.inner.sync())
    }
}
