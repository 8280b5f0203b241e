//! `hashFiles`: one hash for the files of a workspace that match, as GitHub makes it: the SHA-256 of the SHA-256 of each, in the order
//! of their paths. Links are not followed. Rules: actions/runner `src/Misc/expressionFunc/hashFiles`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::{FileType, OFlags};
use sha2::{Digest, Sha256};

use crate::tree;

/// Files that one question may be about.
const MAX_FILES: usize = 100_000;

struct Pattern {
    glob: GlobMatcher,
    /// What matches is left out.
    leaves_out: bool,
}

/// The hash, in hexadecimal; empty when nothing matches. Blocking.
///
/// # Errors
/// In words.
pub(super) fn of(workspace: &Path, patterns: &[String]) -> Result<String, String> {
    let patterns = read(patterns)?;
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
        if files.len() > MAX_FILES {
            return Err(tree::Error::TooMuch { what: "number of files", limit: MAX_FILES });
        }
        Ok(false)
    })
    .map_err(|error: tree::Error| error.to_string())?;
    if files.is_empty() {
        return Ok(String::new());
    }
    files.sort();
    let mut whole = Sha256::new();
    for path in files {
        let mut one = Sha256::new();
        let opened =
            tree::open_beneath(root.as_fd(), &path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK);
        let hashed = opened.and_then(|file| io::copy(&mut File::from(file), &mut Writer(&mut one)));
        hashed.map_err(|e| failed("read", &path, &e))?;
        whole.update(one.finalize());
    }
    Ok(hex::encode(whole.finalize()))
}

struct Writer<'a>(&'a mut Sha256);

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
        of(dir, &patterns).unwrap_or_else(|why| why)
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
