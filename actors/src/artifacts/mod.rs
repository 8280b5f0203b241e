//! Files kept from a workspace: chosen by globs, copied into the node's blobs under their digest, read back verified.
//!
//! Runs when the container has ended; should something of it live on, it can make what is kept another, but no link that it
//! puts anywhere is followed.

mod blobs;
pub(crate) mod globs;
pub mod named;
mod remembered;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use domain::Artifact;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{FileType, OFlags};

use crate::tree;
pub(crate) use blobs::is_old;
pub use blobs::{Blobs, Parts, Put};
pub(crate) use remembered::{FILE as REMEMBERED, remember, remembered};

/// What can go wrong with artifacts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A glob that cannot be read.
    #[error("artifact pattern {pattern:?} is not a valid glob: {why}")]
    BadPattern {
        /// As given.
        pattern: String,
        /// The parser's words.
        why: String,
    },
    /// A name that could be taken for another place, or that steers a terminal.
    #[error("artifact {name:?} is not kept: {why}")]
    BadName {
        /// The beginning of it.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Past a limit.
    #[error("artifacts: {what} is over the limit of {limit}")]
    TooMuch {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A file could not be read or stored.
    #[error("artifact {path}: {action}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What was tried.
        action: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The stored bytes are not those that were stored.
    #[error("the stored artifact {digest} is damaged: its bytes have the digest {found}")]
    Damaged {
        /// Expected.
        digest: String,
        /// Found.
        found: String,
    },
}

/// Most bytes of an artifact's name: each is in the replicated state.
const MAX_NAME_BYTES: usize = 1024;
/// Most bytes of an attempt's artifacts as its report has them, which is one command: names, and this much beside each.
const MAX_LIST_BYTES: usize = 256 * 1024;
const ENTRY_BYTES: usize = 56;

/// Limits on what one attempt may keep.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files.
    pub files: u64,
    /// Bytes in all.
    pub bytes: u64,
}

impl Limits {
    /// What is left of them when this was kept already.
    #[must_use]
    pub fn beside<'a>(self, kept: impl IntoIterator<Item = &'a Artifact>) -> Room {
        let mut room = Room { limits: self, files: self.files, bytes: self.bytes, list: MAX_LIST_BYTES };
        for Artifact { name, path, size, .. } in kept {
            room.files = room.files.saturating_sub(1);
            room.bytes = room.bytes.saturating_sub(*size);
            room.list = room.list.saturating_sub(entry_bytes(name, path));
        }
        room
    }
}

/// What an attempt may still keep; errors are about all that it may.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    limits: Limits,
    files: u64,
    bytes: u64,
    /// Of [`MAX_LIST_BYTES`].
    list: usize,
}

impl Room {
    /// Takes the place of one file in the list.
    fn enter(&mut self, name: &str, path: &str) -> Result<(), Error> {
        let limit = self.limits.files;
        self.files = self.files.checked_sub(1).ok_or(Error::TooMuch { what: "number of files", limit })?;
        let list = self.list.checked_sub(entry_bytes(name, path));
        self.list = list.ok_or(Error::TooMuch { what: "bytes of names", limit: MAX_LIST_BYTES as u64 })?;
        Ok(())
    }

    /// Stores a file of the workspace.
    fn store(&mut self, root: BorrowedFd<'_>, path: &str, blobs: &Blobs) -> Result<(u64, [u8; 32]), Error> {
        let file = open(root, path).map_err(|source| io_error(path, "open", source))?;
        // One byte more than is left tells "too much" from "exactly full".
        let stored = blobs.put(file.take(self.bytes.saturating_add(1)));
        let (size, digest) = stored.map_err(|source| io_error(path, "store", source))?;
        let left = self.bytes.checked_sub(size);
        self.bytes = left.ok_or(Error::TooMuch { what: "bytes", limit: self.limits.bytes })?;
        Ok((size, digest))
    }
}

fn entry_bytes(name: &str, path: &str) -> usize {
    name.len() + path.len() + ENTRY_BYTES
}

impl From<tree::Error> for Error {
    fn from(error: tree::Error) -> Self {
        match error {
            tree::Error::Io { path, source } => {
                Self::Io { path: path.display().to_string(), action: "list", source }
            }
            tree::Error::TooMuch { what, limit } => Self::TooMuch { what, limit: limit as u64 },
        }
    }
}

/// Stores the files of `workspace` that match one of `patterns`; a pattern that names a directory takes all below it.
/// Blocking.
///
/// # Errors
/// [`Error`]; nothing is listed when one file fails.
pub fn collect(
    workspace: &Path,
    patterns: &[String],
    mut room: Room,
    blobs: &Blobs,
) -> Result<Vec<Artifact>, Error> {
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let root = tree::open_root(workspace).map_err(|source| io_error("the workspace", "open", source))?;
    let mut files = list(root.as_fd(), &Wanted::new(patterns)?, &mut room)?;
    files.sort();
    let mut kept = Vec::with_capacity(files.len());
    for path in files {
        let (size, digest) = room.store(root.as_fd(), &path, blobs)?;
        kept.push(Artifact { name: String::new(), path, size, digest });
    }
    Ok(kept)
}

fn io_error(path: &str, action: &'static str, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), action, source }
}

/// Opens a file of the workspace, and nothing else that may be in its place by now.
fn open(root: BorrowedFd<'_>, path: &str) -> io::Result<File> {
    // Opening must not wait for the other end of a pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(tree::open_beneath(root, Path::new(path), flags)?);
    match file.metadata()?.file_type().is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no longer a file")),
    }
}

/// The paths of the files that are wanted.
fn list(root: BorrowedFd<'_>, wanted: &Wanted, room: &mut Room) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    tree::walk(root, |entry| {
        match entry.kind {
            FileType::Directory => return Ok(wanted.may_be_below(entry.path)),
            FileType::RegularFile if wanted.globs.is_match(entry.path) => {}
            _ => return Ok(false),
        }
        // A name that is not UTF-8 cannot be named in the API.
        let Some(path) = entry.path.to_str() else { return Ok(false) };
        if let Some(why) = refused(path) {
            return Err(Error::BadName { name: path.chars().take(100).collect(), why });
        }
        room.enter("", path)?;
        files.push(path.to_owned());
        Ok(false)
    })?;
    Ok(files)
}

/// What is kept.
struct Wanted {
    globs: GlobSet,
    /// Of each pattern, the directories that it names before its first wildcard.
    heads: Vec<Vec<String>>,
}

impl Wanted {
    fn new(patterns: &[String]) -> Result<Self, Error> {
        let head = |pattern: &String| {
            let parts = pattern.split('/').filter(|part| !matches!(*part, "" | "."));
            parts.take_while(|part| !part.contains(['*', '?', '[', '{', '\\'])).map(str::to_owned).collect()
        };
        Ok(Self { globs: compile(patterns)?, heads: patterns.iter().map(head).collect() })
    }

    /// Whether a pattern could choose anything in this directory: what no pattern names is not even listed.
    fn may_be_below(&self, directory: &Path) -> bool {
        let along =
            |head: &Vec<String>| head.iter().zip(directory).all(|(wanted, found)| found == wanted.as_str());
        self.heads.iter().any(along)
    }
}

/// Whether patterns can be read, for whoever takes them long before there are files.
///
/// # Errors
/// [`Error::BadPattern`].
pub fn check(patterns: &[String]) -> Result<(), Error> {
    compile(patterns).map(drop)
}

fn compile(patterns: &[String]) -> Result<GlobSet, Error> {
    let bad = |pattern: &str, why: String| Error::BadPattern { pattern: pattern.to_owned(), why };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let trimmed = pattern.trim_start_matches("./").trim_end_matches('/');
        for glob in [trimmed.to_owned(), format!("{trimmed}/**")] {
            let glob = GlobBuilder::new(&glob).literal_separator(true).build();
            set.add(glob.map_err(|e| bad(pattern, e.to_string()))?);
        }
    }
    set.build().map_err(|e| bad(&patterns.join(", "), e.to_string()))
}

/// What is wrong with a name, if anything. Links were not followed, so it is below the workspace as it stands; read with
/// its percent signs decoded, it must be, too.
fn refused(name: &str) -> Option<&'static str> {
    let decoded = name.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    if name.len() > MAX_NAME_BYTES {
        return Some("its path has more than 1024 bytes");
    }
    if name.contains(char::is_control) {
        return Some("control characters are not allowed");
    }
    let climbs = decoded.split(['/', '\\']).any(|part| matches!(part, "" | "." | ".."));
    climbs.then_some("a part of it reads as . or ..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LIMITS: Limits = Limits { files: 3, bytes: 100 };

    fn workspace() -> io::Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("w/out/sub"))?;
        fs::write(dir.path().join("w/out/a.txt"), "a")?;
        fs::write(dir.path().join("w/out/sub/b.txt"), "b")?;
        fs::write(dir.path().join("w/c.log"), "c")?;
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("w/out/link.txt"))?;
        Ok(dir)
    }

    fn paths(dir: &Path, pattern: &str) -> Result<Vec<String>, Error> {
        let kept =
            collect(&dir.join("w"), &[pattern.to_owned()], LIMITS.beside([]), &Blobs::new(dir.join("b")))?;
        Ok(kept.into_iter().map(|a| a.path).collect())
    }

    #[test]
    fn globs_choose_files_and_links_are_not_followed() -> Result<(), Box<dyn std::error::Error>> {
        let dir = workspace()?;
        assert_eq!(paths(dir.path(), "out")?, ["out/a.txt", "out/sub/b.txt"]);
        assert_eq!(paths(dir.path(), "out/*.txt")?, ["out/a.txt"]);
        assert_eq!(paths(dir.path(), "**/*.txt")?, ["out/a.txt", "out/sub/b.txt"]);
        assert_eq!(paths(dir.path(), "./c.log")?, ["c.log"]);
        Ok(())
    }

    #[test]
    fn nothing_is_read_through_a_link_in_the_place_of_a_directory_or_file() -> io::Result<()> {
        let dir = workspace()?;
        let outside = dir.path().join("outside");
        fs::create_dir(&outside)?;
        fs::write(outside.join("a.txt"), "a secret of the host")?;
        let root = tree::open_root(&dir.path().join("w"))?;
        assert!(open(root.as_fd(), "out/a.txt").is_ok());
        // After the files were listed, something that still runs swaps their directory.
        fs::rename(dir.path().join("w/out"), dir.path().join("w/was"))?;
        std::os::unix::fs::symlink(&outside, dir.path().join("w/out"))?;
        assert!(open(root.as_fd(), "out/a.txt").is_err());
        let fifo = dir.path().join("w/fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, 0o600.into(), 0)?;
        assert!(open(root.as_fd(), "fifo").is_err());
        assert!(open(root.as_fd(), "was").is_err());
        Ok(())
    }

    #[test]
    fn what_no_pattern_names_is_not_looked_at() -> Result<(), Box<dyn std::error::Error>> {
        let wanted = |pattern: &str| Wanted::new(&[pattern.to_owned()]);
        for (pattern, directory, enters) in [
            ("out", "out", true),
            ("out", "out/sub/deeper", true),
            ("out", "other", false),
            ("./a//b/*.txt", "a", true),
            ("a/b/*.txt", "a/b", true),
            ("a/b/*.txt", "a/c", false),
            ("**/x", "any/where", true),
            ("{a,b}/x", "a", true),
        ] {
            assert_eq!(wanted(pattern)?.may_be_below(Path::new(directory)), enters, "{pattern} {directory}");
        }
        Ok(())
    }

    #[test]
    fn the_largest_list_fits_into_one_report() -> Result<(), Box<dyn std::error::Error>> {
        use domain::{AttemptId, AttemptReport, Command, Fence, JobId, NodeId, Outcome, Progress, RunId};
        use domain::{StepResult, Timestamp, limits};
        let files: usize = 1000;
        let path = "x".repeat(MAX_LIST_BYTES / files - ENTRY_BYTES);
        let artifacts =
            vec![Artifact { name: String::new(), path, size: u64::MAX, digest: [0xff; 32] }; files];
        let step = StepResult {
            exit_code: Some(i32::MIN),
            signal: Some(i32::MIN),
            name: "\u{1f600}".repeat(100),
            outcome: Some(Outcome::Lost),
            started_at: Timestamp(u64::MAX),
            finished_at: Timestamp(u64::MAX),
        };
        let what = Progress::Finished {
            outcome: Outcome::Failed,
            reason: "r".repeat(64 * 1024),
            steps: vec![step; limits::MAX_STEPS],
            artifacts,
            log_bytes: u64::MAX,
            outputs: vec![("n".to_owned(), "v".repeat(limits::MAX_OUTPUT_BYTES - 1))],
            annotations: Vec::new(),
        };
        let job = JobId { run: RunId(u128::MAX), index: u16::MAX };
        let attempt = AttemptId { job, number: u16::MAX };
        let report = AttemptReport { attempt, fence: Fence(u64::MAX), node: NodeId(u64::MAX), what };
        let encoded = raft_store::codec::encode(&Command::Report(report))?;
        assert!(encoded.len() < 2 * limits::MAX_SPEC_BYTES, "{}", encoded.len());
        Ok(())
    }

    #[test]
    fn a_name_that_could_be_taken_for_another_place_is_not_kept() -> Result<(), Box<dyn std::error::Error>> {
        let long = format!(
            "{}/{}/{}/{}/{}",
            "d".repeat(250),
            "d".repeat(250),
            "d".repeat(250),
            "d".repeat(250),
            "f".repeat(30)
        );
        for (name, words) in [
            ("%2e%2e/x", ". or .."),
            ("x/.%2E/y", ". or .."),
            ("..%2fx", ". or .."),
            ("a%5c..%5Cb", ". or .."),
            ("..\\x", ". or .."),
            ("a\nb", "control"),
            ("\u{1b}]0;x\u{7}", "control"),
            (&long, "1024 bytes"),
        ] {
            let dir = workspace()?;
            let file = dir.path().join("w/kept").join(name);
            fs::create_dir_all(file.parent().ok_or("no parent")?)?;
            fs::write(&file, "x")?;
            let refused = paths(dir.path(), "kept").err().ok_or(name.to_owned())?;
            assert!(
                matches!(&refused, Error::BadName { why, .. } if why.contains(words)),
                "{name:?}: {refused}"
            );
            // Only what would be kept is looked at.
            assert_eq!(paths(dir.path(), "c.log")?, ["c.log"]);
        }
        for name in ["100%", "a..b", "...", "%41", "sp ace/ü漢"] {
            let dir = workspace()?;
            let file = dir.path().join("w/kept").join(name);
            fs::create_dir_all(file.parent().ok_or("no parent")?)?;
            fs::write(&file, "x")?;
            assert_eq!(paths(dir.path(), "kept")?, [format!("kept/{name}")]);
        }
        Ok(())
    }

    #[test]
    fn limits_name_themselves() -> Result<(), Box<dyn std::error::Error>> {
        let dir = workspace()?;
        fs::write(dir.path().join("w/big"), vec![0; 101])?;
        assert!(matches!(paths(dir.path(), "big"), Err(Error::TooMuch { what: "bytes", limit: 100 })));
        for n in 0..4 {
            fs::write(dir.path().join(format!("w/many{n}")), "")?;
        }
        assert!(matches!(
            paths(dir.path(), "many*"),
            Err(Error::TooMuch { what: "number of files", limit: 3 })
        ));
        assert!(matches!(paths(dir.path(), "a["), Err(Error::BadPattern { .. })));
        // Many names that are each short enough.
        let limits = Limits { files: 1000, bytes: 100 };
        fs::create_dir(dir.path().join("w/names"))?;
        for n in 0..900 {
            fs::write(dir.path().join(format!("w/names/{n:0250}")), "")?;
        }
        let blobs = Blobs::new(dir.path().join("b"));
        let found = collect(&dir.path().join("w"), &["names".to_owned()], limits.beside([]), &blobs);
        assert!(matches!(found, Err(Error::TooMuch { what: "bytes of names", .. })));
        Ok(())
    }
}
