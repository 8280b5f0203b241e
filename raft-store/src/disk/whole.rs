//! Small files that are there whole or not at all, and files read as streams.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::{Disk, DiskFile};

/// Reads a small file.
///
/// # Errors
/// The system's; `NotFound` among them.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; file.size()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Writes a small file aside, syncs it and gives it its name: durable when this returns.
///
/// # Errors
/// The system's; the file is then as it was before, or as it was to be.
pub(crate) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    // Left by a crash.
    match disk.remove(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&aside)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&aside, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Makes a directory and those above it that are missing; their names are durable when this returns.
///
/// # Errors
/// The system's.
pub(crate) fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for above in dir.ancestors() {
        match disk.list(above) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(above),
            // It is there, whether it may be read or not.
            _ => break,
        }
    }
    disk.make_dir(dir)?;
    let parents = missing.into_iter().rev().filter_map(Path::parent);
    let named = parents.map(|parent| if parent == Path::new("") { Path::new(".") } else { parent });
    named.into_iter().try_for_each(|parent| disk.sync_dir(parent))
}

/// A place in a file, from which it is read or written on.
pub(crate) struct Cursor {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Cursor {
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for Cursor {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.file.size()?.saturating_sub(self.at);
        let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut bytes[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Cursor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
