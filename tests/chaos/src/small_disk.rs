//! A small disk in memory, which can be filled up. Needs the right to mount.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One that is mounted, until it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB at a directory that exists; none without the right to.
    #[must_use]
    pub fn mount(at: &Path, mib: u64) -> Option<Self> {
        let size = format!("size={mib}m");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status();
        status.is_ok_and(|status| status.success()).then(|| Self { at: at.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Bytes that can still be written.
    ///
    /// # Panics
    /// When it is not mounted any more.
    #[must_use]
    pub fn free(&self) -> u64 {
        let free = rustix::fs::statvfs(&self.at).expect("a file system");
        free.f_bavail * free.f_frsize
    }

    /// Leaves so many MiB.
    ///
    /// # Panics
    /// When it has no more than that already.
    pub fn leave(&self, mib: u64) {
        self.empty();
        let bytes = self.free().saturating_sub(mib << 20);
        let file = fs::File::create(self.ballast()).expect("a file");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).expect("room for it");
    }

    /// Takes away what fills it up.
    pub fn empty(&self) {
        let _ = fs::remove_file(self.ballast());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
