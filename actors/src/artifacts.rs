//! Files kept from a workspace: chosen by globs, copied into the node's blobs under their digest, read back verified.
//!
//! Runs when the container is gone, so nothing changes underneath; symbolic links are never followed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use domain::Artifact;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

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

/// Immutable bytes by their SHA-256, below one directory.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
}

impl Blobs {
    /// Blobs below `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where a blob is, whether or not it is there.
    #[must_use]
    pub fn path(&self, digest: &[u8; 32]) -> PathBuf {
        let name = hex::encode(digest);
        self.root.join(&name[..2]).join(name)
    }

    /// Copies a reader's bytes in: written to a temporary file, synced, renamed. Blocking.
    ///
    /// # Errors
    /// The system's.
    pub fn put(&self, mut from: impl Read) -> io::Result<(u64, [u8; 32])> {
        fs::create_dir_all(&self.root)?;
        let mut temporary = tempfile::NamedTempFile::new_in(&self.root)?;
        let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 64 * 1024]);
        loop {
            let n = from.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            temporary.write_all(&buffer[..n])?;
            size += n as u64;
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let path = self.path(&digest);
        if !path.exists() {
            let parent = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(parent)?;
            temporary.as_file().sync_all()?;
            temporary.persist(&path).map_err(|e| e.error)?;
            File::open(parent)?.sync_all()?;
        }
        Ok((size, digest))
    }

    /// Opens a blob after checking every byte of it. Blocking.
    ///
    /// # Errors
    /// [`Error::Damaged`], or [`Error::Io`] when it is not there.
    pub fn open(&self, digest: &[u8; 32]) -> Result<File, Error> {
        let name = hex::encode(digest);
        let io = |action| {
            let path = name.clone();
            move |source| Error::Io { path, action, source }
        };
        let mut file = File::open(self.path(digest)).map_err(io("open"))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = file.read(&mut buffer).map_err(io("read"))?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
        }
        let found: [u8; 32] = hasher.finalize().into();
        if found != *digest {
            return Err(Error::Damaged { digest: name, found: hex::encode(found) });
        }
        io::Seek::rewind(&mut file).map_err(io("rewind"))?;
        Ok(file)
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
    limits: Limits,
    blobs: &Blobs,
) -> Result<Vec<Artifact>, Error> {
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let globs = compile(patterns)?;
    let mut files = Vec::new();
    walk(workspace, Path::new(""), &globs, limits, &mut files)?;
    if files.iter().map(|name| name.len() + ENTRY_BYTES).sum::<usize>() > MAX_LIST_BYTES {
        return Err(Error::TooMuch { what: "bytes of names", limit: MAX_LIST_BYTES as u64 });
    }
    files.sort();
    let mut kept = Vec::with_capacity(files.len());
    let mut total = 0;
    for path in files {
        let io = |action| {
            let path = path.clone();
            move |source| Error::Io { path, action, source }
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(workspace.join(&path), flags, Mode::empty())
            .map_err(|e| io("open")(io::Error::from(e)))?;
        let left = limits.bytes - total;
        // One byte more than is left tells "too much" from "exactly full".
        let (size, digest) = blobs.put(File::from(file).take(left + 1)).map_err(io("store"))?;
        if size > left {
            return Err(Error::TooMuch { what: "bytes", limit: limits.bytes });
        }
        total += size;
        kept.push(Artifact { path, size, digest });
    }
    Ok(kept)
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

fn walk(
    root: &Path,
    below: &Path,
    globs: &GlobSet,
    limits: Limits,
    out: &mut Vec<String>,
) -> Result<(), Error> {
    let shown = below.display().to_string();
    let io = |source| Error::Io { path: shown.clone(), action: "list", source };
    for entry in fs::read_dir(root.join(below)).map_err(io)? {
        let entry = entry.map_err(io)?;
        let path = below.join(entry.file_name());
        let kind = entry.file_type().map_err(io)?;
        if kind.is_dir() {
            walk(root, &path, globs, limits, out)?;
        } else if kind.is_file() && globs.is_match(&path) {
            // A name that is not UTF-8 cannot be named in the API.
            let Some(name) = path.to_str() else { continue };
            if let Some(why) = refused(name) {
                return Err(Error::BadName { name: name.chars().take(100).collect(), why });
            }
            if out.len() as u64 >= limits.files {
                return Err(Error::TooMuch { what: "number of files", limit: limits.files });
            }
            out.push(name.to_owned());
        }
    }
    Ok(())
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
        let kept = collect(&dir.join("w"), &[pattern.to_owned()], LIMITS, &Blobs::new(dir.join("b")))?;
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
    fn a_flipped_byte_is_detected() -> Result<(), Box<dyn std::error::Error>> {
        let dir = workspace()?;
        let blobs = Blobs::new(dir.path().join("b"));
        let (size, digest) = blobs.put(&b"hello"[..])?;
        assert_eq!(size, 5);
        let mut text = String::new();
        blobs.open(&digest)?.read_to_string(&mut text)?;
        assert_eq!(text, "hello");
        fs::write(blobs.path(&digest), "hellO")?;
        assert!(matches!(blobs.open(&digest), Err(Error::Damaged { .. })));
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
        let found = collect(&dir.path().join("w"), &["names".to_owned()], limits, &blobs);
        assert!(matches!(found, Err(Error::TooMuch { what: "bytes of names", .. })));
        Ok(())
    }
}
