//! Large files that are kept on this node, by their digests; what is read of one is checked.
//!
//! Must not know servers, nor where in a commit a file stands.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::pointer::Object;
use crate::workspace::remove_old_files;

/// A file that is still coming after so long is one that a process left behind when it was killed.
const LEFT_OVER: Duration = Duration::from_secs(24 * 3600);
/// Bytes that are read at one time.
const CHUNK: usize = 256 * 1024;

/// A directory of them.
#[derive(Debug, Clone)]
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Those of them that are not kept in the size that their pointers say; the others are marked as used. Makes the directory when needed.
    pub(super) fn missing(&self, wanted: &[Object]) -> io::Result<Vec<Object>> {
        fs::create_dir_all(&self.0)?;
        let mut missing = Vec::new();
        for object in wanted {
            match self.open(object)? {
                Some(kept) => kept.set_modified(SystemTime::now())?,
                None => missing.push(object.clone()),
            }
        }
        Ok(missing)
    }

    /// A file for one that comes; gone when it is not kept.
    pub(super) fn file(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.0)
    }

    /// Keeps one that has come, was checked, and is on the disk.
    pub(super) fn keep(&self, object: &Object, file: NamedTempFile) -> io::Result<()> {
        let at = self.place_of(object);
        fs::create_dir_all(at.parent().unwrap_or(&self.0))?;
        file.persist(at).map(drop).map_err(|error| error.error)
    }

    /// Writes one into a file that is there. False when what is kept is not what it should be: it is then kept no more.
    pub(super) fn write(&self, object: &Object, to: &Path, stop: &CancellationToken) -> io::Result<bool> {
        let Some(mut kept) = self.open(object)? else { return Ok(false) };
        let mut to = fs::OpenOptions::new().write(true).truncate(true).open(to)?;
        let (mut digest, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
        while size <= object.size {
            if stop.is_cancelled() {
                return Err(io::Error::other("nobody waits for it any more"));
            }
            let read = kept.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            size += read as u64;
            digest.update(&chunk[..read]);
            to.write_all(&chunk[..read])?;
        }
        let is_it = size == object.size && hex::encode(digest.finalize()) == object.oid;
        if !is_it {
            match fs::remove_file(self.place_of(object)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => tracing::warn!(oid = object.oid, "a large file that was kept is spoilt"),
            }
        }
        Ok(is_it)
    }

    /// Removes those that nobody has asked for in so long, and what processes that were killed left behind.
    pub(super) fn remove_old(&self, older: Duration) -> io::Result<()> {
        for first in directories(&self.0)? {
            for second in directories(&first)? {
                remove_old_files(&second, older)?;
            }
        }
        remove_old_files(&self.0, LEFT_OVER)
    }

    /// What is kept of one, in the size that its pointer says.
    fn open(&self, object: &Object) -> io::Result<Option<File>> {
        match File::open(self.place_of(object)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            kept => {
                let kept = kept?;
                Ok((kept.metadata()?.len() == object.size).then_some(kept))
            }
        }
    }

    fn place_of(&self, object: &Object) -> PathBuf {
        self.0.join(&object.oid[..2]).join(&object.oid[2..4]).join(&object.oid)
    }
}

fn directories(of: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(of) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
