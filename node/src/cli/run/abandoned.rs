//! Directories of runs, and those whose process was killed: what they left goes when the next run begins.
//!
//! A directory is locked as long as its run lives. Must not know what a run does.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::table;
use super::machine::Leftovers;
use crate::config::{self, Config};

/// What their names begin with.
const PREFIX: &str = "troupe-run-";
/// The data of the run's node, in its directory.
pub const DATA: &str = "data";

/// Makes the directory of a run, which is nobody else's: keys and sources are in it. It counts as alive until the file is dropped.
///
/// # Errors
/// The system's.
pub fn make(temporary: &Path) -> io::Result<(TempDir, File)> {
    let own = Permissions::from_mode(0o700);
    let dir = tempfile::Builder::new().prefix(PREFIX).permissions(own).tempdir_in(temporary)?;
    let lock = File::open(dir.path())?;
    // Nobody else locks one that has no node's data yet.
    lock.lock()?;
    Ok((dir, lock))
}

/// Removes what runs of this user left that were killed; says so, and what could not be removed.
pub async fn remove(config: &Config) {
    // Without an engine, what they have there could not be removed, and nobody would know of it any more.
    if config.runner.executor == config::Executor::Fake {
        return;
    }
    for (dir, _lock) in abandoned(&std::env::temp_dir()) {
        let told = dir.display().to_string();
        let removed = match Leftovers::found(dir, &config.runner.executor) {
            Ok(leftovers) => leftovers.remove().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match removed {
            Ok(()) => table::say(&format!("removed what a run that was killed had left, as in {told}")),
            Err(why) => table::say(&format!("a run that was killed has left {told}: {why}")),
        }
    }
}

/// Those of this user, each with its lock.
fn abandoned(temporary: &Path) -> Vec<(PathBuf, File)> {
    let user = rustix::process::geteuid().as_raw();
    let Ok(entries) = std::fs::read_dir(temporary) else { return Vec::new() };
    let of_a_run = entries.flatten().filter(|entry| {
        let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Not what a link leads to.
        named && entry.metadata().is_ok_and(|seen| seen.is_dir() && seen.uid() == user)
    });
    let dead = of_a_run.map(|entry| entry.path()).filter_map(|dir| {
        // Nothing else that somebody may call so.
        let lock = dir.join(DATA).join("lock").is_file().then(|| File::open(&dir).ok())??;
        lock.try_lock().ok()?;
        Some((dir, lock))
    });
    dead.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_of_a_node_that_nobody_holds_is_abandoned() {
        let temporary = tempfile::tempdir().unwrap();
        let of_a_node = |dir: &Path| {
            std::fs::create_dir(dir.join(DATA)).unwrap();
            std::fs::write(dir.join(DATA).join("lock"), "").unwrap();
        };
        let found = || abandoned(temporary.path()).into_iter().map(|(dir, _)| dir).collect::<Vec<_>>();
        let (run, lock) = make(temporary.path()).unwrap();
        of_a_node(run.path());
        let somebodys = temporary.path().join("troupe-run-by-hand");
        std::fs::create_dir(&somebodys).unwrap();
        let other = temporary.path().join("other");
        std::fs::create_dir(&other).unwrap();
        of_a_node(&other);
        std::os::unix::fs::symlink(&other, temporary.path().join("troupe-run-link")).unwrap();
        assert_eq!(found(), Vec::<PathBuf>::new());
        drop(lock);
        assert_eq!(found(), [run.path()]);
    }
}
