//! Takes a cache's archive apart again: the workspace's files are written there, through no link; those of the container are written
//! into a tar for the engine. An archive is made by a node, but its bytes may have come from anywhere: whatever no node would have
//! written ends it, by name. Blocking.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, mkdirat, openat, statat, symlinkat,
};
use rustix::io::Errno;
use tar::{Builder, Entry, EntryType};

use super::archive::stays;
use super::{Error, Limits, Paths, Root, io_error};
use crate::tree;

/// Below so many bytes nothing is a bomb.
const NO_BOMB: u64 = 256 << 20;

/// What was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Of the entries, those that are in the tar for the container.
    pub of_container: u64,
}

/// Where things go.
#[derive(Debug)]
pub struct Places<'a, W: Write> {
    /// The workspace on this machine.
    pub workspace: &'a Path,
    /// Who is to own what is written there; none leaves it to this process's.
    pub owner: Option<(u32, u32)>,
    /// The home directory in the container, absolute.
    pub home: &'a str,
    /// The tar for the container, below its root.
    pub container: W,
}

/// Restores what `paths` chose of an archive of `size` bytes.
///
/// # Errors
/// [`Error`]; what was restored until then stays.
pub fn unpack<W: Write>(
    archive: impl Read,
    size: u64,
    paths: &Paths,
    limits: Limits,
    to: Places<'_, W>,
) -> Result<Unpacked, Error> {
    let failed = || io_error("read the archive");
    let workspace = tree::open_root(to.workspace).map_err(io_error("open the workspace"))?;
    let most = limits.bytes.min(NO_BOMB.max(size.saturating_mul(limits.ratio)));
    let decoder = zstd::Decoder::new(archive).map_err(failed())?;
    // Entries are bounded, and so is what stands between them.
    let bounded = decoder.take(most.saturating_add(limits.entries.saturating_mul(4096)));
    let mut tar = tar::Archive::new(bounded);
    let mut container = Builder::new(to.container);
    let mut done = Unpacked::default();
    for entry in tar.entries().map_err(failed())? {
        let mut entry = entry.map_err(failed())?;
        let (root, path) = place(&mut entry)?;
        let bad = |why| Error::BadEntry { entry: shown(&path), why };
        if !paths.holds(root, &path) {
            return Err(bad("is not among its paths"));
        }
        done.entries += 1;
        done.bytes = done.bytes.saturating_add(entry.size());
        if done.entries > limits.entries {
            return Err(Error::TooMuch { what: "the number of files", limit: limits.entries });
        }
        if done.bytes > most {
            return Err(Error::TooMuch { what: "the number of bytes", limit: most });
        }
        let io = |source| Error::Io { action: format!("restore {}", path.display()), source };
        match root {
            Root::Workspace => {
                let bad_link = restore(workspace.as_fd(), &path, &mut entry, to.owner).map_err(io)?;
                if let Some(why) = bad_link {
                    return Err(bad(why));
                }
            }
            Root::Home | Root::Container => {
                done.of_container += 1;
                let target = link_in(root, &entry, to.home).map_err(bad)?;
                let name = in_container(root, &path, to.home);
                let mut header = entry.header().clone();
                match target {
                    None => container.append_data(&mut header, name, &mut entry).map_err(io)?,
                    Some(target) => container.append_link(&mut header, name, target).map_err(io)?,
                }
            }
        }
    }
    container.into_inner().and_then(|mut w| w.flush()).map_err(io_error("write the container's files"))?;
    Ok(done)
}

/// Where an entry belongs. Only what [`super::archive`] writes is known; two ways to say one thing, of which readers could each
/// believe another, are none of it.
fn place<R: Read>(entry: &mut Entry<'_, R>) -> Result<(Root, PathBuf), Error> {
    let path = entry.path().map_err(io_error("read a name"))?.into_owned();
    let bad = |why| Error::BadEntry { entry: shown(&path), why };
    if entry.pax_extensions().map_err(io_error("read an entry"))?.is_some() {
        return Err(bad("has extended headers"));
    }
    let mut parts = path.components();
    let first = parts.next();
    let root = Root::ALL.into_iter().find(|root| first == Some(Component::Normal(root.name().as_ref())));
    let rest = parts.as_path().to_owned();
    let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || rest.as_os_str().is_empty() || path.to_string_lossy().contains("/../") {
        return Err(bad("is not below one of its places"));
    }
    let mode = entry.header().mode().map_err(io_error("read a mode"))?;
    if mode & !0o777 != 0 {
        return Err(bad("has privileges (setuid, setgid or sticky)"));
    }
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Directory | EntryType::Symlink => {}
        EntryType::Link if root != Some(Root::Workspace) => {}
        EntryType::Link => return Err(bad("is a hard link")),
        _ => return Err(bad("is neither file, directory nor link")),
    }
    Ok((root.ok_or_else(|| bad("is not below one of its places"))?, rest))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Writes one below the workspace; what is wrong with it, if it is a link that leads out. What is there already is replaced,
/// but for directories.
fn restore<R: Read>(
    root: BorrowedFd<'_>,
    path: &Path,
    entry: &mut Entry<'_, R>,
    owner: Option<(u32, u32)>,
) -> io::Result<Option<&'static str>> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let name = CString::new(name.as_bytes())?;
    let parent = parent(root, path, owner)?;
    let kind = entry.header().entry_type();
    let there = match statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Some(FileType::from_raw_mode(found.st_mode)),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error.into()),
    };
    if kind == EntryType::Directory && there == Some(FileType::Directory) {
        return Ok(None);
    }
    if there.is_some() {
        tree::remove_at(parent.as_fd(), &name)?;
    }
    match kind {
        EntryType::Directory => {
            mkdirat(&parent, &*name, Mode::from(0o755))?;
            own(&parent, &name, owner)?;
        }
        EntryType::Symlink => {
            let target = entry.link_name()?.unwrap_or_default().into_owned();
            if !stays(path, &target) {
                return Ok(Some("is a link out of the workspace"));
            }
            symlinkat(&target, &parent, &*name)?;
            own(&parent, &name, owner)?;
        }
        _ => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(&parent, &*name, flags, Mode::from(0o600))?);
            io::copy(entry, &mut file)?;
            if let Some((user, group)) = owner {
                fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
            }
            fchmod(&file, Mode::from(entry.header().mode()? & 0o777))?;
            // Those that build decide by it what is old.
            file.set_modified(UNIX_EPOCH + Duration::from_secs(entry.header().mtime()?))?;
        }
    }
    Ok(None)
}

/// The directory that something is in, made where it is not there; through no link.
pub(crate) fn parent(root: BorrowedFd<'_>, path: &Path, owner: Option<(u32, u32)>) -> io::Result<OwnedFd> {
    const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let mut at = openat(root, ".", DIRECTORY, Mode::empty())?;
    for part in path.parent().into_iter().flat_map(Path::components) {
        let Component::Normal(name) = part else { return Err(Errno::XDEV.into()) };
        let name = CString::new(name.as_bytes())?;
        match mkdirat(&at, &*name, Mode::from(0o755)) {
            Ok(()) => own(&at, &name, owner)?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = openat(&at, &*name, DIRECTORY, Mode::empty())?;
    }
    Ok(at)
}

fn own(directory: &OwnedFd, name: &CString, owner: Option<(u32, u32)>) -> io::Result<()> {
    let Some((user, group)) = owner else { return Ok(()) };
    let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    Ok(chownat(directory, &**name, user, group, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn in_container(root: Root, path: &Path, home: &str) -> PathBuf {
    match root {
        Root::Home => Path::new(home.trim_start_matches('/')).join(path),
        _ => path.to_owned(),
    }
}

/// What a link in the container leads to: a symbolic one as it is, for only the container sees it; a hard one to an entry of the
/// same place.
fn link_in<R: Read>(root: Root, entry: &Entry<'_, R>, home: &str) -> Result<Option<PathBuf>, &'static str> {
    let kind = entry.header().entry_type();
    let target = || entry.link_name().ok().flatten().map(std::borrow::Cow::into_owned);
    match kind {
        EntryType::Symlink => target().map(Some).ok_or("is a link to nothing"),
        EntryType::Link => {
            let target = target().ok_or("is a link to nothing")?;
            let inside = target.strip_prefix(root.name()).map_err(|_| "is a hard link to another place")?;
            let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
            plain.then(|| Some(in_container(root, inside, home))).ok_or("is a hard link to another place")
        }
        _ => Ok(None),
    }
}
