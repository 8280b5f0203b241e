//! The fault of a process that is killed in the middle of one of its operations.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

use raft_store::disk::DiskFile;

use crate::fault::{Fault, Operation};

/// Kills this process (SIGKILL) at an operation: a write half-way, anything else before or after it.
#[derive(Debug)]
pub struct Killing {
    left: AtomicI64,
    /// Decides how much of the last write arrives, and on which side of the last operation the end is.
    salt: u64,
}

impl Killing {
    /// Kills at the operation of this number, from 1 on.
    #[must_use]
    pub fn at(operation: i64, salt: u64) -> Self {
        Self { left: AtomicI64::new(operation), salt }
    }

    fn is_last(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

fn die() -> ! {
    // Cannot fail for the process itself; should it, the test finds a process that lives on.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

impl Fault for Killing {
    fn around(&self, _: Operation, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if !self.is_last() {
            return run();
        }
        if self.salt.is_multiple_of(2) {
            // Whatever comes of it: some fail as they should, and are the last all the same.
            let _ = run();
        }
        die();
    }

    fn write(&self, file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.is_last() {
            return file.write_all_at(bytes, offset);
        }
        let part = usize::try_from(self.salt % (bytes.len() as u64 + 1)).unwrap_or(0);
        let _ = file.write_all_at(&bytes[..part], offset);
        die();
    }
}
