//! The file system as the log and the snapshots use it: a seam, so that a simulated disk can lose what was not synced.
//!
//! Must not know what is in the files. What is written is durable only after [`DiskFile::sync`], a name (made, renamed,
//! removed) only after [`Disk::sync_dir`] of its directory.

mod local;
pub(crate) mod whole;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use local::LocalDisk;

/// A disk that is shared by all who use it.
pub type SharedDisk = Arc<dyn Disk>;

/// Work that blocks.
pub type Job = Box<dyn FnOnce() + Send>;

/// A file system. Every function but [`Disk::later`] blocks.
pub trait Disk: Debug + Send + Sync {
    /// Makes a directory and those above it that are missing.
    ///
    /// # Errors
    /// The system's.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// The files in a directory, sorted by name; no directories.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Opens a file to read and write it.
    ///
    /// # Errors
    /// The system's; `NotFound` among them.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a file, which must not exist.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` among them.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file within its directory, over one that may exist: at any time there is the one or the other.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that can still be written below a directory.
    ///
    /// # Errors
    /// The system's.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Does work that blocks where it holds up nobody: on a thread, or in simulated time.
    fn later(&self, job: Job);
}

/// An open file; it stays open when it is renamed or removed. Every function blocks.
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when there are fewer.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system's.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file off, or makes it longer by zeros.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Reserves space up to `bytes` from the beginning and makes the file so long, by zeros.
    ///
    /// # Errors
    /// The system's; `StorageFull` among them.
    fn reserve(&self, bytes: u64) -> io::Result<()>;

    /// Makes what was written durable, its length included.
    ///
    /// # Errors
    /// The system's. What was written before is unknown then, and stays so: never try again.
    fn sync(&self) -> io::Result<()>;
}

/// Does work that blocks on the disk's threads and waits for it.
///
/// # Errors
/// The work's own, or that it ended without an answer.
pub(crate) async fn blocking<T: Send + 'static>(
    disk: &dyn Disk,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, done) = tokio::sync::oneshot::channel();
    // Who waited may be gone: nobody to tell.
    disk.later(Box::new(move || drop(sender.send(work()))));
    done.await.map_err(|_| io::Error::other("work on the disk ended without an answer"))?
}
