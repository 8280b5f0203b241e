//! The blobs of a node: immutable bytes by their SHA-256, below one directory. Must not know whose they are.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Error;

/// Bytes of a blob that are read at a time.
const PART_BYTES: usize = 256 * 1024;

/// Immutable bytes by their SHA-256, below one directory. Clones share it; nothing else may write there.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
    /// Held while a blob is put in its place or taken from it.
    moving: Arc<Mutex<()>>,
}

/// A blob that is being written.
#[derive(Debug)]
pub struct Put {
    temporary: tempfile::NamedTempFile,
    hasher: Sha256,
    size: u64,
}

impl Write for Put {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.temporary.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()
    }
}

impl Blobs {
    /// Blobs below `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, moving: Arc::default() }
    }

    /// Where a blob is, whether or not it is there.
    #[must_use]
    pub fn path(&self, digest: &[u8; 32]) -> PathBuf {
        let name = hex::encode(digest);
        self.root.join(&name[..2]).join(name)
    }

    /// Copies a reader's bytes in: written to a temporary file, synced, renamed. One that is there already is as young as
    /// a new one from then on ([`Blobs::remove_old`]). Blocking.
    ///
    /// # Errors
    /// The system's.
    pub fn put(&self, mut from: impl Read) -> io::Result<(u64, [u8; 32])> {
        let mut buffer = vec![0; 64 * 1024];
        let (size, digest, ()) = self.put_by(|mut to| {
            loop {
                let n = from.read(&mut buffer)?;
                if n == 0 {
                    return Ok::<_, io::Error>((to, ()));
                }
                to.write_all(&buffer[..n])?;
            }
        })?;
        Ok((size, digest))
    }

    /// As [`Blobs::put`], what is written by someone who then gives the writer back. Blocking.
    ///
    /// # Errors
    /// The system's, or the writer's own; nothing is kept then.
    pub fn put_by<T, E: From<io::Error>>(
        &self,
        write: impl FnOnce(Put) -> Result<(Put, T), E>,
    ) -> Result<(u64, [u8; 32], T), E> {
        fs::create_dir_all(&self.root)?;
        let temporary = tempfile::NamedTempFile::new_in(&self.root)?;
        let (put, told) = write(Put { temporary, hasher: Sha256::new(), size: 0 })?;
        let (size, digest) = self.settle(put)?;
        Ok((size, digest, told))
    }

    fn settle(&self, put: Put) -> io::Result<(u64, [u8; 32])> {
        let Put { temporary, hasher, size } = put;
        let digest: [u8; 32] = hasher.finalize().into();
        let path = self.path(&digest);
        if self.renew(&path)? {
            return Ok((size, digest));
        }
        temporary.as_file().sync_all()?;
        let parent = path.parent().unwrap_or(&self.root);
        {
            let _moving = self.lock();
            fs::create_dir_all(parent)?;
            temporary.persist(&path).map_err(|e| e.error)?;
        }
        File::open(parent)?.sync_all()?;
        Ok((size, digest))
    }

    /// Whether a blob is here, whole and undamaged; it is as young as a new one then. Blocking.
    ///
    /// # Errors
    /// The system's, when it is here and cannot be read.
    pub fn has(&self, digest: &[u8; 32]) -> Result<bool, Error> {
        let path = self.path(digest);
        let io = |source| Error::Io { path: hex::encode(digest), action: "look at", source };
        if !self.renew(&path).map_err(io)? {
            return Ok(false);
        }
        let mut parts = self.open(digest)?;
        loop {
            match parts.next_part() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(true),
                Err(Error::Damaged { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes a blob young again, if it is there.
    fn renew(&self, path: &std::path::Path) -> io::Result<bool> {
        let _moving = self.lock();
        match File::open(path) {
            Ok(present) => present.set_modified(SystemTime::now()).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens a blob, to be read in parts and checked meanwhile. Blocking.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not there.
    pub fn open(&self, digest: &[u8; 32]) -> Result<Parts, Error> {
        let path = hex::encode(digest);
        let file =
            File::open(self.path(digest)).map_err(|source| Error::Io { path, action: "open", source })?;
        Ok(Parts { file, digest: *digest, hasher: Sha256::new(), held: None, over: false })
    }

    /// Removes what an earlier life of the node was about to put in when it ended. Nothing may be put in meanwhile.
    /// Blocking.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_temporaries(&self) -> io::Result<()> {
        for entry in listed(&self.root)? {
            let entry = entry?;
            // Blobs are a directory further down.
            if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Blobs that were last put in longer than `age` ago. Blocking.
    ///
    /// # Errors
    /// The system's.
    pub fn old(&self, age: Duration) -> io::Result<BTreeSet<[u8; 32]>> {
        let mut found = BTreeSet::new();
        for directory in listed(&self.root)? {
            let directory = directory?;
            if !directory.file_type()?.is_dir() {
                continue;
            }
            for entry in listed(&directory.path())? {
                let entry = entry?;
                let mut digest = [0; 32];
                let named = entry.file_name().to_str().map(|name| hex::decode_to_slice(name, &mut digest));
                if matches!(named, Some(Ok(()))) && is_old(&entry.path(), age)? {
                    found.insert(digest);
                }
            }
        }
        Ok(found)
    }

    /// Removes a blob, unless it was put in (again) within `age`. True when it was removed. Blocking.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_old(&self, digest: &[u8; 32], age: Duration) -> io::Result<bool> {
        let path = self.path(digest);
        let _moving = self.lock();
        if !is_old(&path, age)? {
            return Ok(false);
        }
        fs::remove_file(path).map(|()| true)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A directory's entries; none when it is not there.
fn listed(directory: &std::path::Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

/// Whether a file is there and was last written longer than `age` ago. One from the future is young.
pub(crate) fn is_old(path: &std::path::Path, age: Duration) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.modified()?.elapsed().is_ok_and(|passed| passed >= age)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A blob that is read in parts. The last part is given only when all bytes are those that were stored: a damaged blob is
/// never given whole.
#[derive(Debug)]
pub struct Parts {
    file: File,
    digest: [u8; 32],
    hasher: Sha256,
    held: Option<Bytes>,
    over: bool,
}

impl Parts {
    /// The next part; none after the last. Blocking.
    ///
    /// # Errors
    /// [`Error::Damaged`] in place of the last part, or [`Error::Io`]; nothing follows an error.
    pub fn next_part(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.over {
            let mut part = Vec::with_capacity(PART_BYTES);
            let read = (&self.file).take(PART_BYTES as u64).read_to_end(&mut part);
            if let Err(source) = read {
                self.over = true;
                return Err(Error::Io { path: hex::encode(self.digest), action: "read", source });
            }
            if part.is_empty() {
                self.over = true;
                let found: [u8; 32] = std::mem::take(&mut self.hasher).finalize().into();
                if found != self.digest {
                    let (digest, found) = (hex::encode(self.digest), hex::encode(found));
                    return Err(Error::Damaged { digest, found });
                }
                return Ok(self.held.take());
            }
            self.hasher.update(&part);
            if let Some(before) = self.held.replace(part.into()) {
                return Ok(Some(before));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(blobs: &Blobs, digest: &[u8; 32]) -> (Vec<u8>, Option<Error>) {
        let (mut bytes, mut parts) = (Vec::new(), blobs.open(digest).unwrap());
        loop {
            match parts.next_part() {
                Ok(Some(part)) => bytes.extend_from_slice(&part),
                Ok(None) => return (bytes, None),
                Err(error) => {
                    assert!(matches!(parts.next_part(), Ok(None)), "nothing follows an error");
                    return (bytes, Some(error));
                }
            }
        }
    }

    #[test]
    fn what_was_put_in_is_read_and_a_damaged_blob_never_whole() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let blobs = Blobs::new(dir.path().join("b"));
        for size in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES] {
            let whole = vec![7; size];
            let (stored, digest) = blobs.put(&whole[..])?;
            assert_eq!(stored, size as u64);
            let (bytes, error) = read(&blobs, &digest);
            assert!(bytes == whole && error.is_none(), "{size}");
            // A byte too many, and where there is one, a byte that is another or missing.
            let mut damaged = vec![[&whole[..], &[7]].concat()];
            if size > 0 {
                damaged.push([&whole[..size - 1], &[8]].concat());
                damaged.push([&[8], &whole[1..]].concat());
                damaged.push(whole[1..].to_owned());
            }
            for bad in damaged {
                fs::write(blobs.path(&digest), &bad)?;
                let (bytes, error) = read(&blobs, &digest);
                assert!(matches!(error, Some(Error::Damaged { .. })), "{size}");
                assert!(bytes.len() < bad.len().max(1), "{size}: all of a damaged blob was given");
            }
        }
        assert!(matches!(blobs.open(&[0; 32]), Err(Error::Io { .. })));
        Ok(())
    }

    #[test]
    fn only_the_old_is_removed_and_what_is_put_in_again_is_young() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let blobs = Blobs::new(dir.path().join("b"));
        assert!(blobs.old(Duration::ZERO)?.is_empty());
        blobs.remove_temporaries()?;
        let hour = Duration::from_secs(3600);
        let (_, digest) = blobs.put(&b"one"[..])?;
        let (_, other) = blobs.put(&b"two"[..])?;
        for digest in [digest, other] {
            File::open(blobs.path(&digest))?.set_modified(SystemTime::now() - 2 * hour)?;
        }
        assert_eq!(blobs.old(hour)?, BTreeSet::from([digest, other]));
        blobs.put(&b"one"[..])?;
        assert_eq!(blobs.old(hour)?, BTreeSet::from([other]));
        assert!(!blobs.remove_old(&digest, hour)?);
        assert!(blobs.remove_old(&other, hour)? && !blobs.path(&other).exists());
        assert!(!blobs.remove_old(&other, hour)?, "gone is gone");
        fs::write(dir.path().join("b/.tmpabc"), "half")?;
        blobs.remove_temporaries()?;
        assert!(!dir.path().join("b/.tmpabc").exists() && blobs.path(&digest).exists());
        Ok(())
    }
}
