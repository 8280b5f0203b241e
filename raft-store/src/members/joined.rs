//! The mark of a node that joined with a token: it belongs to that cluster, and never begins one of its own.

use std::io;
use std::path::{Path, PathBuf};

use domain::ClusterId;

use crate::disk::{Disk, LocalDisk, whole};

/// The file of the mark in the data directory.
const FILE: &str = "joined";

/// Which cluster a node joined with a token, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Joined(pub Option<ClusterId>);

impl Joined {
    /// Reads the mark. Blocking.
    pub(crate) fn read(disk: &dyn Disk, data_dir: &Path) -> io::Result<Self> {
        let path = file(data_dir);
        match whole::read(disk, &path) {
            Ok(bytes) => {
                String::from_utf8_lossy(&bytes).trim().parse().map(|cluster| Self(Some(cluster))).map_err(
                    |_| {
                        let why = format!(
                            "{} does not hold a cluster's id; join anew with an empty directory",
                            path.display()
                        );
                        io::Error::new(io::ErrorKind::InvalidData, why)
                    },
                )
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }
}

/// Marks a new node's data directory as that of a member of `cluster`, durably: it will begin no other. Blocking.
///
/// # Errors
/// The system's.
pub fn mark_joined(data_dir: &Path, cluster: ClusterId) -> io::Result<()> {
    whole::write(&LocalDisk, &file(data_dir), format!("{cluster}\n").as_bytes())
}

/// The cluster that a data directory is marked with, if it is. Blocking.
///
/// # Errors
/// The system's, or a mark that is damaged.
pub fn marked_joined(data_dir: &Path) -> io::Result<Option<ClusterId>> {
    Joined::read(&LocalDisk, data_dir).map(|joined| joined.0)
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}
