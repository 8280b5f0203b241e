//! Puts what a cache holds into one stream: tar, compressed by zstd. Entries are named by their place ([`super::Root`]), then by
//! their path there. What cannot be restored with a good conscience is left out, and told. Blocking.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, OFlags, readlinkat};
use tar::{Builder, EntryType, Header};

use super::{Error, Paths, Root, io_error};
use crate::tree;

/// zstd's: as GitHub's.
const LEVEL: i32 = 3;
/// Of what was left out, so many are named.
const NAMED: usize = 10;

/// What one cache may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// How many times larger than the archive its content may be, past the first 256 MiB.
    pub ratio: u64,
}

/// What was put into an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// What was left out, and why; the first of it.
    pub left_out: Vec<String>,
    /// How much was left out.
    pub left_out_count: u64,
}

impl Kept {
    fn leave_out(&mut self, path: &Path, why: &str) {
        self.left_out_count += 1;
        if self.left_out.len() < NAMED {
            self.left_out.push(format!("{}: {why}", path.display()));
        }
    }
}

/// An archive that is being written.
pub struct Archive<W: Write> {
    tar: Builder<zstd::Encoder<'static, W>>,
    limits: Limits,
    kept: Kept,
}

impl<W: Write> Archive<W> {
    /// An empty one, written to `to` as it grows.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(to: W, limits: Limits) -> Result<Self, Error> {
        let encoder = zstd::Encoder::new(to, LEVEL).map_err(io_error("begin to compress"))?;
        Ok(Self { tar: Builder::new(encoder), limits, kept: Kept::default() })
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<(Kept, W), Error> {
        let encoder = self.tar.into_inner().map_err(io_error("write the archive"))?;
        Ok((self.kept, encoder.finish().map_err(io_error("write the archive"))?))
    }

    /// Adds what is chosen of the workspace.
    ///
    /// # Errors
    /// [`Error`].
    pub fn add_workspace(&mut self, workspace: &Path, paths: &Paths) -> Result<(), Error> {
        let globs = paths.globs(Root::Workspace);
        if globs.heads().is_empty() {
            return Ok(());
        }
        let root = tree::open_root(workspace).map_err(io_error("open the workspace"))?;
        tree::walk(root.as_fd(), |entry| {
            let chosen = globs.matches(entry.path);
            let name = Path::new(Root::Workspace.name()).join(entry.path);
            match entry.kind {
                FileType::Directory => {
                    if chosen {
                        self.add(&name, &mut header(EntryType::Directory, 0, 0o755, 0), io::empty())?;
                    }
                    return Ok(globs.may_be_below(entry.path));
                }
                _ if !chosen => {}
                FileType::RegularFile => {
                    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                    let file = tree::open_beneath(root.as_fd(), entry.path, flags)
                        .map_err(io_error(format!("open {}", entry.path.display())))?;
                    self.add_file(&name, File::from(file))?;
                }
                FileType::Symlink => {
                    let target = readlinkat(entry.directory, entry.name, Vec::new());
                    let target = target.map_err(|e| io_error("read a link")(e.into()))?;
                    let target = Path::new(std::ffi::OsStr::from_bytes(target.to_bytes())).to_owned();
                    match stays(entry.path, &target) {
                        true => self.add_link(&name, EntryType::Symlink, &target)?,
                        false => self.kept.leave_out(entry.path, "it is a link out of the workspace"),
                    }
                }
                _ => self.kept.leave_out(entry.path, "it is neither file, directory nor link"),
            }
            Ok(false)
        })
    }

    /// Adds what is chosen of a tar that the engine made of `head`, which is relative to `root`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn add_container(
        &mut self,
        tar: impl Read,
        (root, head): (Root, &str),
        paths: &Paths,
    ) -> Result<(), Error> {
        let globs = paths.globs(root);
        // The engine names entries by the last part of what it was asked for.
        let above = Path::new(head).parent().unwrap_or(Path::new("")).to_owned();
        let strip = usize::from(head.is_empty());
        let below = |name: &Path| -> Option<PathBuf> {
            let parts: Vec<_> =
                name.components().filter(|part| *part != Component::CurDir).skip(strip).collect();
            let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
            plain.then(|| above.join(parts.iter().collect::<PathBuf>()))
        };
        let mut had = BTreeSet::new();
        let mut tar = tar::Archive::new(tar);
        let failed = || io_error("read files of the container");
        for entry in tar.entries().map_err(failed())? {
            let mut entry = entry.map_err(failed())?;
            let named = entry.path().map_err(failed())?.into_owned();
            let Some(path) = below(&named).filter(|path| globs.matches(path)) else { continue };
            if path.as_os_str().is_empty() {
                continue;
            }
            let name = Path::new(root.name()).join(&path);
            let kind = entry.header().entry_type();
            let mut header = owned(entry.header(), kind).map_err(failed())?;
            match kind {
                EntryType::Directory => self.add(&name, &mut header, io::empty())?,
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_size(entry.size());
                    self.add(&name, &mut header, &mut entry)?;
                    had.insert(path);
                }
                EntryType::Symlink => {
                    let target = entry.link_name().map_err(failed())?.unwrap_or_default().into_owned();
                    self.add_link(&name, EntryType::Symlink, &target)?;
                }
                EntryType::Link => {
                    let target = entry.link_name().map_err(failed())?.unwrap_or_default().into_owned();
                    match below(&target).filter(|target| had.contains(target)) {
                        Some(target) => {
                            self.add_link(&name, EntryType::Link, &Path::new(root.name()).join(target))?;
                        }
                        None => self.kept.leave_out(&path, "it is a link to a file that is not kept"),
                    }
                }
                _ => self.kept.leave_out(&path, "it is neither file, directory nor link"),
            }
        }
        Ok(())
    }

    fn add_file(&mut self, name: &Path, file: File) -> Result<(), Error> {
        use std::os::unix::fs::MetadataExt;
        let found = file.metadata().map_err(io_error("look at a file"))?;
        if !found.is_file() {
            self.kept.leave_out(name, "it is no longer a file");
            return Ok(());
        }
        let mtime = u64::try_from(found.mtime()).unwrap_or(0);
        let mut header = header(EntryType::Regular, found.len(), found.mode() & 0o777, mtime);
        // A file that grows meanwhile is kept as long as it was; one that shrinks ends in zeros, as with every archiver.
        self.add(name, &mut header, file.chain(io::repeat(0)).take(found.len()))
    }

    fn add_link(&mut self, name: &Path, kind: EntryType, target: &Path) -> Result<(), Error> {
        self.count(0)?;
        let mut header = header(kind, 0, 0o777, 0);
        self.tar.append_link(&mut header, name, target).map_err(io_error(format!("keep {}", name.display())))
    }

    fn add(&mut self, name: &Path, header: &mut Header, data: impl Read) -> Result<(), Error> {
        self.count(header.size().map_err(io_error("read a size"))?)?;
        self.tar.append_data(header, name, data).map_err(io_error(format!("keep {}", name.display())))
    }

    fn count(&mut self, bytes: u64) -> Result<(), Error> {
        self.kept.entries += 1;
        self.kept.bytes = self.kept.bytes.saturating_add(bytes);
        let Limits { entries, bytes, .. } = self.limits;
        if self.kept.entries > entries {
            return Err(Error::TooMuch { what: "the number of files", limit: entries });
        }
        match self.kept.bytes > bytes {
            true => Err(Error::TooMuch { what: "the number of bytes", limit: bytes }),
            false => Ok(()),
        }
    }
}

fn header(kind: EntryType, size: u64, mode: u32, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// What of a container's file is kept: its mode without privileges, its owner, its time.
fn owned(of: &Header, kind: EntryType) -> io::Result<Header> {
    let mut kept = header(kind, 0, of.mode()? & 0o777, of.mtime()?);
    kept.set_uid(of.uid()?);
    kept.set_gid(of.gid()?);
    Ok(kept)
}

/// Whether a link at `path` leads to something below the same root, by its words alone.
pub(super) fn stays(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count() as i64 - 1;
    target.components().all(|part| {
        depth += match part {
            Component::Normal(_) => 1,
            Component::CurDir => 0,
            Component::ParentDir => -1,
            Component::RootDir | Component::Prefix(_) => return false,
        };
        depth >= 0
    })
}
