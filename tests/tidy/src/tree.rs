//! The files of the repository. The only module here that touches a disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// One text file of the repository.
#[derive(Debug, Clone)]
pub struct File {
    /// Path relative to the root, with `/` between parts.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl File {
    /// A file for a unit test.
    #[cfg(test)]
    pub(crate) fn sample(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The crate's folder that this file belongs to (`domain`, `tests/chaos`), or "" for a file of no crate.
    pub fn krate(&self) -> &str {
        let parts: Vec<_> = self.path.match_indices('/').map(|(at, _)| at).collect();
        let depth = if self.path.starts_with("tests/") { 1 } else { 0 };
        parts.get(depth).map_or("", |&at| &self.path[..at])
    }

    /// Whether this is Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether this file holds nothing but tests: a module called `tests`, or something in a crate's `tests` or
    /// `benches` folder.
    pub fn is_test_code(&self) -> bool {
        let inside = self.path[self.krate().len()..].trim_start_matches('/');
        inside.starts_with("tests/")
            || inside.starts_with("benches/")
            || inside.ends_with("/tests.rs")
            || inside.contains("/tests/")
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// All text files that are tracked, or would be if they were added; what `.gitignore` names is left out.
///
/// # Errors
/// When git cannot list the files, or a file cannot be read. A listed file that is gone by now, and a file that is no
/// UTF-8 text, are left out.
pub fn files() -> io::Result<Vec<File>> {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()?;
    if !listed.status.success() {
        let words = String::from_utf8_lossy(&listed.stderr).into_owned();
        return Err(io::Error::other(format!("git ls-files failed in {}: {words}", root.display())));
    }
    let mut files = Vec::new();
    for path in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|p| !p.is_empty()) {
        let bytes = match fs::read(root.join(path)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(io::Error::other(format!("reading {path}: {e}"))),
        };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_knows_its_crate() {
        let krate = |path| File::sample(path, "").krate().to_owned();
        assert_eq!(krate("domain/src/ids.rs"), "domain");
        assert_eq!(krate("tests/chaos/src/lib.rs"), "tests/chaos");
        assert_eq!(krate("README.md"), "");
    }

    #[test]
    fn test_code_is_told_from_the_rest() {
        let is_test = |path| File::sample(path, "").is_test_code();
        assert!(is_test("domain/tests/simulation.rs"));
        assert!(is_test("domain/src/queue/tests.rs"));
        assert!(is_test("tests/tidy/tests/tree.rs"));
        assert!(!is_test("domain/src/queue.rs"));
        assert!(!is_test("tests/chaos/src/oracle.rs"));
    }

    #[test]
    fn this_very_file_is_listed() {
        let files = files().unwrap();
        assert!(
            files.iter().any(|f| f.path == "tests/tidy/src/tree.rs" && f.text.contains("this_very_file"))
        );
    }
}
