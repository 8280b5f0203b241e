//! Errors that are the machine's, not the job's: its disk is full, or fails. Must not know what was written.

use std::io;

/// Init's exit code when it could not write for such an error: what the job did is not known.
pub const FAILED: i32 = 74;
/// The same on every architecture that Troupe runs on.
const EIO: i32 = 5;

/// True when the disk is to blame.
#[must_use]
pub fn is_to_blame(error: &io::Error) -> bool {
    let full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    );
    full || error.raw_os_error() == Some(EIO)
}
