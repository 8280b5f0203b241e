//! A node's id: made once for an empty data directory, kept there for ever, never reused.

use std::io;
use std::path::{Path, PathBuf};

use domain::NodeId;
use rand::Rng;

use crate::disk::{Disk, whole};
use crate::planted::{self, Bug};
use crate::random::Random;

/// What can go wrong with the data directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("data directory: {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file does not hold an id.
    #[error("{} does not hold a node id; restore it from a backup, or empty the directory to join as a new node", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads the node's id, or makes one for a new data directory: 63 random bits, synced before it is used.
///
/// # Errors
/// [`Error`]; a damaged id is never replaced.
pub fn load_or_create(disk: &dyn Disk, data_dir: &Path) -> Result<NodeId, Error> {
    let path = data_dir.join("node-id");
    let failed = |action: &'static str| {
        let path = path.clone();
        move |source| Error::Io { action, path, source }
    };
    match whole::read(disk, &path) {
        Ok(bytes) => {
            let text = std::str::from_utf8(&bytes).ok();
            text.and_then(|text| text.trim().parse().ok()).ok_or(Error::Damaged { path })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let made = NodeId(Random.next_u64() >> 1);
            let id = if planted::is(Bug::ReuseId) { of_the_directory(data_dir) } else { made };
            whole::make_dir(disk, data_dir).map_err(failed("make"))?;
            // A crash leaves either no id or a whole one.
            whole::write(disk, &path, format!("{id}\n").as_bytes()).map_err(failed("write"))?;
            Ok(id)
        }
        Err(source) => Err(failed("read")(source)),
    }
}

/// Always the same: what [`Bug::ReuseId`] does.
fn of_the_directory(data_dir: &Path) -> NodeId {
    NodeId(u64::from(crc32fast::hash(data_dir.as_os_str().as_encoded_bytes())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::LocalDisk;

    #[test]
    fn an_id_is_made_once_and_a_damaged_one_is_not_replaced() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        let id = load_or_create(&LocalDisk, &data)?;
        assert_eq!(load_or_create(&LocalDisk, &data)?, id);
        assert!(id.0 >> 63 == 0);
        assert_ne!(load_or_create(&LocalDisk, &dir.path().join("other"))?, id);
        fs::write(data.join("node-id"), "not an id")?;
        assert!(matches!(load_or_create(&LocalDisk, &data), Err(Error::Damaged { .. })));
        Ok(())
    }
}
