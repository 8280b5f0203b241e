//! Where test data lies that this project did not write: `TROUPE_CORPORA`, or beside the repository.

use std::path::{Path, PathBuf};

/// The folder with all corpora; none, and a line that says so, where it is absent.
pub fn corpora() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let dir = std::env::var_os("TROUPE_CORPORA").map_or(beside, PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: no corpora (TROUPE_CORPORA)");
    None
}
