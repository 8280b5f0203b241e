//! Removes trees, of any depth, with any names and any permissions.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::{DIRECTORY, OPEN_AT_ONCE, is_dots};

/// Looks at a directory that is not empty although all that was seen in it is gone. More than a few mean that someone
/// writes into it.
const LOOKS: usize = 16;

/// Removes what is at `path`, which need not exist; the directory that it is in is trusted. Blocking.
///
/// # Errors
/// The system's.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path that could be removed"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match rustix::fs::open(parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(parent) => remove_at(parent.as_fd(), &CString::new(name.as_bytes())?),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes what has this name in a directory, if it is there. Blocking.
///
/// Directories that are deeper than is held open at once are moved up into the one that is removed, each once, and their
/// turn comes there. As root, permissions do not matter; as another user, directories of that user are made writable first.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    if unlink(parent, name)? {
        return Ok(());
    }
    let mut removal = Removal { parent, open: Vec::new(), moved: 0 };
    removal.enter(name.to_owned())?;
    while !removal.open.is_empty() {
        removal.step()?;
    }
    Ok(())
}

struct Level {
    directory: Dir,
    /// In the level above.
    name: CString,
    looks: usize,
}

struct Removal<'a> {
    parent: BorrowedFd<'a>,
    open: Vec<Level>,
    /// Directories moved up so far, and names for them that were taken.
    moved: u64,
}

impl Removal<'_> {
    /// The directory that the innermost open one is in, when `levels` are open.
    fn above(&self, levels: usize) -> io::Result<BorrowedFd<'_>> {
        Ok(match levels.checked_sub(1).and_then(|level| self.open.get(level)) {
            Some(level) => level.directory.fd()?,
            None => self.parent,
        })
    }

    /// One entry of the innermost directory, or the end of that directory.
    fn step(&mut self) -> io::Result<()> {
        let Some(level) = self.open.last_mut() else { return Ok(()) };
        match level.directory.read() {
            Some(entry) => {
                let entry = entry?;
                let name = entry.file_name();
                if is_dots(name) || unlink(level.directory.fd()?, name)? {
                    return Ok(());
                }
                if self.open.len() < OPEN_AT_ONCE { self.enter(name.to_owned()) } else { self.move_up(name) }
            }
            None => self.leave(),
        }
    }

    fn enter(&mut self, name: CString) -> io::Result<()> {
        let above = self.above(self.open.len())?;
        allow(above, &name);
        let opened = openat(above, &name, DIRECTORY, Mode::empty());
        match opened {
            Ok(fd) => self.open.push(Level { directory: Dir::new(fd)?, name, looks: 0 }),
            // Someone put something else there. If it is still in the way, the next look finds it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Moves a directory of the innermost level into the outermost.
    fn move_up(&mut self, name: &CStr) -> io::Result<()> {
        loop {
            let (from, to) = (self.above(self.open.len())?, self.above(1)?);
            allow(from, name);
            let moved = renameat(from, name, to, format!(".removed-{}", self.moved));
            self.moved += 1;
            match moved {
                Ok(()) => {
                    // There is more to be seen in it now.
                    if let Some(outermost) = self.open.first_mut() {
                        outermost.looks = 0;
                    }
                    return Ok(());
                }
                Err(Errno::NOENT) => return Ok(()),
                // The name is taken.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes the innermost directory, of which all was seen; looks again when it is not empty.
    fn leave(&mut self) -> io::Result<()> {
        let Some(mut level) = self.open.pop() else { return Ok(()) };
        match unlinkat(self.above(self.open.len())?, &level.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if level.looks < LOOKS => {
                level.directory.rewind();
                level.looks += 1;
                self.open.push(level);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// False when it is a directory.
fn unlink(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes a directory of this process's user one that it may empty and move. Root may anyway.
fn allow(parent: BorrowedFd<'_>, name: &CStr) {
    if rustix::process::geteuid().is_root() {
        return;
    }
    // By a descriptor that is only a place, since there is no way to change the mode of a name without following it.
    if let Ok(place) = openat(parent, name, DIRECTORY | OFlags::PATH, Mode::empty()) {
        let path = format!("/proc/self/fd/{}", place.as_raw_fd());
        if let Err(error) = rustix::fs::chmod(path, Mode::from(0o700)) {
            tracing::debug!(%error, "a directory cannot be made writable");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{nest, starved};
    use super::*;
    use std::ffi::OsStr;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_tree_of_any_depth_is_removed_with_little_stack_and_few_descriptors() -> io::Result<()> {
        // In memory where there is such a place: on a busy disk this takes a minute.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let tree = dir.path().join("tree");
        fs::create_dir(&tree)?;
        nest(&tree, 20_000)?;
        starved(|| remove_tree(&tree))??;
        assert!(!tree.exists());
        remove_tree(&tree)?;
        remove_tree(&tree.join("x"))
    }

    #[test]
    fn names_kinds_and_permissions_do_not_matter_and_links_lead_nowhere() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir_all(tree.join("a/b"))?;
        fs::create_dir(&outside)?;
        fs::write(outside.join("kept"), "")?;
        symlink(&outside, tree.join("a/link"))?;
        for name in [&b"\xff\n\x01"[..], b"-rf", b"...", &[b'n'; 255]] {
            fs::create_dir(tree.join("a").join(OsStr::from_bytes(name)))?;
            fs::write(tree.join("a/b").join(OsStr::from_bytes(name)), "")?;
        }
        rustix::fs::mknodat(
            rustix::fs::CWD,
            tree.join("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::empty(),
            0,
        )?;
        fs::set_permissions(tree.join("a/b"), Permissions::from_mode(0o0))?;
        fs::set_permissions(tree.join("a"), Permissions::from_mode(0o0))?;
        remove_tree(&tree)?;
        assert!(!tree.exists() && outside.join("kept").exists());
        // A link in its place goes, what it leads to stays.
        symlink(&outside, &tree)?;
        remove_tree(&tree)?;
        assert!(!tree.is_symlink() && outside.join("kept").exists());
        Ok(())
    }

    #[test]
    fn names_that_moved_directories_would_get_may_be_taken() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join(".removed-0/x"))?;
        fs::write(tree.join(".removed-1"), "")?;
        // The way down itself has the name, too.
        fs::create_dir(tree.join(".removed-2"))?;
        nest(&tree.join(".removed-2"), 200)?;
        nest(&tree, 200)?;
        remove_tree(&tree)?;
        assert!(!tree.exists());
        Ok(())
    }
}
