//! What a data directory remembers of its beginning, so that a node whose log and vote are gone is never taken for a new
//! one under its old id: it would vote a second time where it has voted.
//!
//! `begins` holds the nodes of a new cluster that this node has seen, from before it tells others so until it has a log.
//! `member` is there from then on.

use std::io;
use std::path::Path;

use crate::disk::{Disk, whole};

const BEGINS: &str = "begins";
const MEMBER: &str = "member";

/// The nodes of the new cluster that this one has seen; none when it has seen none, or is in it. Blocking.
pub(crate) fn seen(disk: &dyn Disk, data_dir: &Path) -> io::Result<Vec<u64>> {
    let Some(bytes) = read(disk, &data_dir.join(BEGINS))? else { return Ok(Vec::new()) };
    let bad = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{BEGINS} does not hold ids of nodes"));
    String::from_utf8_lossy(&bytes).lines().map(|line| u64::from_str_radix(line, 16).map_err(bad)).collect()
}

/// Remembers them, durably. Blocking.
pub(crate) fn remember(disk: &dyn Disk, data_dir: &Path, nodes: &[u64]) -> io::Result<()> {
    let text: String = nodes.iter().map(|id| format!("{id:016x}\n")).collect();
    whole::write(disk, &data_dir.join(BEGINS), text.as_bytes())
}

/// Whether this node had a log. Blocking.
pub(crate) fn had_log(disk: &dyn Disk, data_dir: &Path) -> io::Result<bool> {
    read(disk, &data_dir.join(MEMBER)).map(|mark| mark.is_some())
}

/// From now on this node has a log. Blocking.
pub(crate) fn has_log(disk: &dyn Disk, data_dir: &Path) -> io::Result<()> {
    if !had_log(disk, data_dir)? {
        whole::write(disk, &data_dir.join(MEMBER), b"this node has a log and a vote\n")?;
    }
    match disk.remove(&data_dir.join(BEGINS)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match whole::read(disk, path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::LocalDisk;

    #[test]
    fn what_was_seen_is_remembered_until_there_is_a_log() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        assert_eq!((seen(&LocalDisk, dir.path())?, had_log(&LocalDisk, dir.path())?), (vec![], false));
        remember(&LocalDisk, dir.path(), &[1, u64::MAX])?;
        assert_eq!(seen(&LocalDisk, dir.path())?, [1, u64::MAX]);
        has_log(&LocalDisk, dir.path())?;
        has_log(&LocalDisk, dir.path())?;
        assert_eq!((seen(&LocalDisk, dir.path())?, had_log(&LocalDisk, dir.path())?), (vec![], true));
        std::fs::write(dir.path().join(BEGINS), "x\n")?;
        assert!(seen(&LocalDisk, dir.path()).is_err());
        Ok(())
    }
}
