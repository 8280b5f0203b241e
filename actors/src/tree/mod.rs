//! Directory trees that others have written (a job, a repository): opened, walked and removed without following a link, and
//! with a bound on stack, descriptors and memory, however deep they are.
//!
//! std's `remove_dir_all`, and the crates that do the same, take a stack frame and a descriptor for each level: a job that
//! nests some thousand directories would abort the process. Must not know what the trees are for.

mod remove;

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;

pub(crate) use remove::remove_at;
pub use remove::remove_tree;

/// Directories that one walk or removal holds open.
const OPEN_AT_ONCE: usize = 32;
/// The longest path below the root of a walk, in bytes: what the system takes in one call.
pub(crate) const MAX_PATH_BYTES: usize = 4095;
/// Paths of directories that a walk has found and not yet entered, in bytes.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why a tree cannot be walked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The system's.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where, below the root.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Past a bound.
    #[error("{what} is over the limit of {limit}")]
    TooMuch {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// Something in a tree.
pub(crate) struct Entry<'a> {
    /// The directory that it is in.
    pub(crate) directory: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a CStr,
    /// Its path below the root.
    pub(crate) path: &'a Path,
    /// What it is; a link is a link.
    pub(crate) kind: FileType,
}

/// Opens a directory that is trusted itself.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
}

/// Opens what is at a relative path below `root`, with no link anywhere on the way or at its end.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, flags, Mode::empty(), resolve) {
        // Kernels before 5.6, and filters of system calls that know only what those had.
        Err(Errno::NOSYS | Errno::PERM) => open_stepwise(root, path, flags),
        opened => Ok(opened?),
    }
}

/// The same, a directory at a time.
fn open_stepwise(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            _ => return Err(Errno::XDEV.into()),
        }
    }
    let last = parts.pop().unwrap_or(OsStr::new("."));
    let mut at: Option<OwnedFd> = None;
    for name in parts {
        let next =
            openat(at.as_ref().map_or(root, AsFd::as_fd), name, DIRECTORY | OFlags::PATH, Mode::empty())?;
        at = Some(next);
    }
    Ok(openat(at.as_ref().map_or(root, AsFd::as_fd), last, flags | OFlags::NOFOLLOW, Mode::empty())?)
}

/// Shows everything below `root` to `visit`, a directory before what is in it; what is in it only when `visit` says so.
/// Nothing may move directories about meanwhile.
pub(crate) fn walk<E: From<Error>>(
    root: BorrowedFd<'_>,
    mut visit: impl FnMut(&Entry<'_>) -> Result<bool, E>,
) -> Result<(), E> {
    let (mut waiting, mut waiting_bytes) = (vec![PathBuf::new()], 0);
    while let Some(mut path) = waiting.pop() {
        waiting_bytes -= path.as_os_str().len();
        let first = match path.as_os_str().is_empty() {
            true => openat(root, ".", DIRECTORY, Mode::empty()).map_err(io::Error::from),
            false => open_beneath(root, &path, DIRECTORY),
        };
        let mut open = vec![at(&path, first.and_then(|fd| Ok(Dir::new(fd)?)))?];
        while let (room, Some(directory)) = (open.len() < OPEN_AT_ONCE, open.last_mut()) {
            let Some(entry) = directory.read() else {
                open.pop();
                path.pop();
                continue;
            };
            let entry = at(&path, entry.map_err(io::Error::from))?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            path.push(OsStr::from_bytes(name.to_bytes()));
            let fd = at(&path, directory.fd().map_err(io::Error::from))?;
            let kind = at(&path, kind_of(fd, name, entry.file_type()))?;
            let enter = visit(&Entry { directory: fd, name, path: &path, kind })?;
            if kind != FileType::Directory || !enter {
                path.pop();
                continue;
            }
            let length = path.as_os_str().len();
            if length > MAX_PATH_BYTES {
                return Err(
                    Error::TooMuch { what: "the length of a path in bytes", limit: MAX_PATH_BYTES }.into()
                );
            }
            if room {
                let next = openat(fd, name, DIRECTORY, Mode::empty()).and_then(Dir::new);
                open.push(at(&path, next.map_err(io::Error::from))?);
                continue;
            }
            waiting_bytes += length;
            if waiting_bytes > MAX_WAITING_BYTES {
                let what = "the sum of the paths of deep directories in bytes";
                return Err(Error::TooMuch { what, limit: MAX_WAITING_BYTES }.into());
            }
            waiting.push(path.clone());
            path.pop();
        }
    }
    Ok(())
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Io { path: path.to_owned(), source })
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Some file systems do not say in a listing what an entry is.
fn kind_of(directory: BorrowedFd<'_>, name: &CStr, listed: FileType) -> io::Result<FileType> {
    if listed != FileType::Unknown {
        return Ok(listed);
    }
    Ok(FileType::from_raw_mode(statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Directories named `d`, one in the other; the innermost has a file `f`.
    pub(super) fn nest(root: &Path, levels: usize) -> io::Result<()> {
        let mut at = open_root(root)?;
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "d", Mode::from(0o700))?;
            at = openat(&at, "d", DIRECTORY, Mode::empty())?;
        }
        openat(&at, "f", OFlags::CREATE | OFlags::WRONLY, Mode::from(0o600))?;
        Ok(())
    }

    /// What a thread does that has little stack, in a process that may open little more than it has.
    pub(super) fn starved<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let before = getrlimit(Resource::Nofile);
        let open = fs::read_dir("/proc/self/fd")?.count() as u64;
        setrlimit(Resource::Nofile, Rlimit { current: Some(open + 48), maximum: before.maximum })?;
        let done = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, work)?;
            thread.join().map_err(|_| io::Error::other("it panicked"))
        });
        setrlimit(Resource::Nofile, before)?;
        done
    }

    #[test]
    fn a_walk_sees_everything_once_whatever_the_depth() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        nest(dir.path(), 1000)?;
        fs::create_dir(dir.path().join("e"))?;
        fs::write(dir.path().join("e/g"), "")?;
        symlink("/", dir.path().join("link"))?;
        let root = open_root(dir.path())?;
        let mut seen = Vec::new();
        starved(|| {
            walk(root.as_fd(), |entry| {
                seen.push((entry.path.to_owned(), entry.kind));
                Ok::<_, Error>(entry.path != Path::new("e"))
            })
        })?
        .map_err(io::Error::other)?;
        let directories = seen.iter().filter(|(_, kind)| *kind == FileType::Directory).count();
        let files: Vec<_> = seen.iter().filter(|(_, kind)| *kind == FileType::RegularFile).collect();
        assert_eq!((directories, seen.len()), (1001, 1003));
        assert_eq!(files.len(), 1, "what is not to be entered is not");
        assert_eq!(files[0].0, ["d"; 1000].iter().collect::<PathBuf>().join("f"));
        Ok(())
    }

    #[test]
    fn a_tree_too_deep_to_name_is_refused_by_a_limit() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        nest(dir.path(), 3000)?;
        let root = open_root(dir.path())?;
        let refused = starved(|| walk(root.as_fd(), |_| Ok::<_, Error>(true)))?.unwrap_err();
        assert!(matches!(refused, Error::TooMuch { limit: MAX_PATH_BYTES, .. }), "{refused}");
        remove_tree(dir.path())
    }

    #[test]
    fn no_link_on_the_way_is_followed() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("root/a/b"))?;
        fs::create_dir(dir.path().join("outside"))?;
        fs::write(dir.path().join("outside/secret"), "s")?;
        fs::write(dir.path().join("root/a/b/file"), "f")?;
        symlink("../outside", dir.path().join("root/way"))?;
        symlink("file", dir.path().join("root/a/b/end"))?;
        let root = open_root(&dir.path().join("root"))?;
        for open in [open_beneath, open_stepwise] {
            assert!(open(root.as_fd(), Path::new("a/b/file"), OFlags::RDONLY).is_ok());
            for bad in ["way/secret", "a/b/end", "../outside/secret", "/etc/passwd"] {
                assert!(open(root.as_fd(), Path::new(bad), OFlags::RDONLY).is_err(), "{bad}");
            }
        }
        Ok(())
    }
}
