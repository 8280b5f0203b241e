//! A node's id: made once for an empty data directory, kept there for ever, never reused.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use domain::NodeId;
use rand::Rng;

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
pub fn load_or_create(data_dir: &Path) -> Result<NodeId, Error> {
    let path = data_dir.join("node-id");
    let failed = |action: &'static str| {
        let path = path.clone();
        move |source| Error::Io { action, path, source }
    };
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| Error::Damaged { path }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let id = NodeId(rand::rng().next_u64() >> 1);
            fs::create_dir_all(data_dir).map_err(failed("make"))?;
            // Written aside and renamed, so that a crash leaves either no id or a whole one.
            let aside = data_dir.join("node-id.new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&aside)
                .map_err(failed("create"))?;
            writeln!(file, "{id}").and_then(|()| file.sync_all()).map_err(failed("write"))?;
            fs::rename(&aside, &path).map_err(failed("rename"))?;
            File::open(data_dir).and_then(|dir| dir.sync_all()).map_err(failed("sync the directory of"))?;
            Ok(id)
        }
        Err(source) => Err(failed("read")(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once_and_a_damaged_one_is_not_replaced() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        let id = load_or_create(&data)?;
        assert_eq!(load_or_create(&data)?, id);
        assert!(id.0 >> 63 == 0);
        assert_ne!(load_or_create(&dir.path().join("other"))?, id);
        fs::write(data.join("node-id"), "not an id")?;
        assert!(matches!(load_or_create(&data), Err(Error::Damaged { .. })));
        Ok(())
    }
}
