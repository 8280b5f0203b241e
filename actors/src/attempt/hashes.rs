//! `hashFiles`: one hash for the files of a workspace that match, as GitHub makes it: the SHA-256 of the SHA-256 of each, in the order
//! of their paths. Links are not followed. Rules: actions/runner `src/Misc/expressionFunc/hashFiles`.
//!
//! The job writes what is read here, so one question has bounds of its own, and can be given up at any time.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::{FileType, OFlags};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::tree;

/// Bounds of one question; the time is GitHub's.
const BOUNDS: Bounds = Bounds { files: 100_000, bytes: 64 << 30, time: Duration::from_secs(120) };
/// Read at a time, in bytes.
const CHUNK: usize = 256 * 1024;

/// What one question may cost.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    files: usize,
    bytes: u64,
    time: Duration,
}

/// Patterns, and what came of them.
pub(super) type Hash = (Vec<String>, Result<String, String>);

/// The question that is being answered, if there is one. Given up when it is dropped.
#[derive(Default)]
pub(super) struct Hashing {
    patterns: Vec<String>,
    tasks: JoinSet<Result<String, String>>,
    stop: Option<DropGuard>,
}

impl Hashing {
    /// Nothing is being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Begins with the files of a workspace.
    pub(super) fn begin(&mut self, workspace: PathBuf, patterns: Vec<String>) {
        let stop = CancellationToken::new();
        self.stop = Some(stop.clone().drop_guard());
        self.patterns.clone_from(&patterns);
        self.tasks.spawn_blocking(move || of(&workspace, &patterns, BOUNDS, &stop));
    }

    /// The answer; none while there is no question.
    pub(super) async fn next(&mut self) -> Option<Hash> {
        let hash = self.tasks.join_next().await?;
        let panicked = |_| Err("the node's part of hashFiles panicked (see the node's log)".to_owned());
        Some((std::mem::take(&mut self.patterns), hash.unwrap_or_else(panicked)))
    }
}

struct Pattern {
    glob: GlobMatcher,
    /// What matches is left out.
    leaves_out: bool,
}

/// The hash, in hexadecimal; empty when nothing matches. Blocking.
///
/// # Errors
/// In words.
fn of(
    workspace: &Path,
    patterns: &[String],
    bounds: Bounds,
    stop: &CancellationToken,
) -> Result<String, String> {
    let patterns = read(patterns)?;
    let since = Instant::now();
    let may_go_on = || match () {
        () if stop.is_cancelled() => Err("it was given up".to_owned()),
        () if since.elapsed() >= bounds.time => {
            Err(format!("it took longer than {} seconds", bounds.time.as_secs()))
        }
        () => Ok(()),
    };
    let failed = |action: &str, path: &Path, error: &dyn std::fmt::Display| {
        format!("cannot {action} {}: {error}", path.display())
    };
    let root = tree::open_root(workspace).map_err(|e| failed("open", Path::new("the workspace"), &e))?;
    let mut files = Vec::new();
    tree::walk(root.as_fd(), |entry| {
        if entry.kind == FileType::Directory {
            return Ok(true);
        }
        let wanted = patterns.iter().rfind(|pattern| pattern.glob.is_match(entry.path));
        if entry.kind == FileType::RegularFile && wanted.is_some_and(|pattern| !pattern.leaves_out) {
            files.push(entry.path.to_owned());
        }
        if files.len() > bounds.files {
            return Err(Why(format!("more than {} files match", bounds.files)));
        }
        may_go_on().map(|()| false).map_err(Why)
    })
    .map_err(|Why(why)| why)?;
    if files.is_empty() {
        return Ok(String::new());
    }
    files.sort();
    let (mut whole, mut left, mut chunk) = (Sha256::new(), bounds.bytes, vec![0; CHUNK]);
    for path in files {
        let mut file = open(root.as_fd(), &path).map_err(|e| failed("open", &path, &e))?;
        let mut one = Sha256::new();
        loop {
            may_go_on()?;
            let count = match file.read(&mut chunk) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|e| failed("read", &path, &e))?,
            };
            let more = format!("the files that match have more than {} bytes", bounds.bytes);
            left = left.checked_sub(count as u64).ok_or(more)?;
            one.update(&chunk[..count]);
        }
        whole.update(one.finalize());
    }
    Ok(hex::encode(whole.finalize()))
}

struct Why(String);

impl From<tree::Error> for Why {
    fn from(error: tree::Error) -> Self {
        Self(error.to_string())
    }
}

/// What was a file may be something else by now: none is opened that could make one wait.
fn open(root: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    let file = File::from(tree::open_beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file any more")),
    }
}

/// A pattern to a line; `!` leaves out, `#` is a remark.
fn read(patterns: &[String]) -> Result<Vec<Pattern>, String> {
    let mut all = Vec::new();
    for line in patterns.iter().flat_map(|text| text.lines()).map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (leaves_out, glob) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
        let glob = glob.trim_start_matches("./").trim_end_matches('/');
        // What names a directory is about all that is in it.
        for glob in [glob.to_owned(), format!("{glob}/**")] {
            let built = GlobBuilder::new(&glob).literal_separator(true).build();
            let glob = built.map_err(|e| format!("the pattern {line:?}: {e}"))?.compile_matcher();
            all.push(Pattern { glob, leaves_out });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn hash(dir: &Path, patterns: &[&str]) -> String {
        let patterns: Vec<_> = patterns.iter().map(|p| (*p).to_owned()).collect();
        of(dir, &patterns, BOUNDS, &CancellationToken::new()).unwrap_or_else(|why| why)
    }

    #[test]
    fn a_question_has_bounds_and_can_be_given_up() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        // All of its bytes are holes.
        fs::File::create(dir.path().join("x.lock"))?.set_len(15 << 40)?;
        fs::write(dir.path().join("y.lock"), "y")?;
        let of = |bounds, stop: &CancellationToken| {
            of(dir.path(), &["*.lock".to_owned()], bounds, stop).err().unwrap_or_default()
        };
        let on = CancellationToken::new();
        let bytes = of(Bounds { bytes: 1 << 20, ..BOUNDS }, &on);
        assert_eq!(bytes, "the files that match have more than 1048576 bytes");
        assert_eq!(of(Bounds { files: 1, ..BOUNDS }, &on), "more than 1 files match");
        assert_eq!(of(Bounds { time: Duration::ZERO, ..BOUNDS }, &on), "it took longer than 0 seconds");
        on.cancel();
        assert_eq!(of(BOUNDS, &on), "it was given up");
        Ok(())
    }

    #[test]
    fn what_is_no_file_any_more_is_not_read() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, rustix::fs::Mode::from(0o600), 0)?;
        let root = tree::open_root(dir.path())?;
        assert!(open(root.as_fd(), Path::new("fifo")).is_err_and(|e| e.to_string().contains("no file")));
        Ok(())
    }

    #[tokio::test]
    async fn a_question_is_answered_with_its_patterns() {
        let mut hashing = Hashing::default();
        assert!(hashing.is_idle() && hashing.next().await.is_none());
        hashing.begin(PathBuf::from("/nowhere"), vec!["x".to_owned()]);
        let (patterns, hash) = hashing.next().await.unwrap_or_else(|| (Vec::new(), Ok(String::new())));
        assert_eq!(patterns, ["x"]);
        assert!(hash.is_err_and(|why| why.contains("the workspace")));
        assert!(hashing.is_idle());
    }

    #[test]
    fn files_that_match_are_hashed_in_order_and_links_are_not_followed() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("sub/deep"))?;
        fs::write(dir.path().join("b.lock"), "b")?;
        fs::write(dir.path().join("sub/deep/a.lock"), "a")?;
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.lock"))?;
        // printf 'b' | sha256sum, then of those bytes; and of both, in the order of paths.
        let one = hex::encode(Sha256::digest(Sha256::digest("b")));
        let both = hex::encode(Sha256::digest([Sha256::digest("b"), Sha256::digest("a")].concat()));
        assert_eq!(hash(dir.path(), &["*.lock"]), one);
        assert_eq!(hash(dir.path(), &["**/*.lock"]), both);
        assert_eq!(hash(dir.path(), &["./sub", "b.lock"]), both);
        assert_eq!(hash(dir.path(), &["**/*.lock\n!sub/**\n# remark"]), one);
        assert_eq!(hash(dir.path(), &["link.lock", "none"]), "");
        assert!(hash(dir.path(), &["[z"]).contains("[z"));
        Ok(())
    }
}
