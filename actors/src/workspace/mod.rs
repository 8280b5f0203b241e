//! Sources: one mirror per repository and node, and workspaces made from it.
//!
//! Git runs hardened (`git`), only on what the job cannot write: mirrors and staging directories. Must not know
//! containers or the state machine's rules.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

mod changes;
mod checkout;
mod clone_url;
mod configured;
mod git;
mod lfs;
mod mirror;
mod nested;
mod reach;
mod staged;
mod submodules;

pub use changes::MAX_CHANGED_PATHS;
pub use checkout::{Checkout, checkout};
pub use clone_url::{CloneUrl, InvalidCloneUrl};
pub use git::Error;
pub use lfs::LargeFiles;
pub use mirror::{MAX_WORKFLOW_BYTES, MAX_WORKFLOW_FILES, Mirrors, Point, Source};
pub use nested::Submodules;
pub use staged::Sparse;

/// Checks a ref, branch, tag or commit given by a person: 1 to 255 characters, no leading `-` of a name, none of the characters
/// that git forbids, no `..` and no `@{`.
///
/// # Errors
/// [`Error::BadRef`] with what was found.
pub fn check_ref(git_ref: &str) -> Result<(), Error> {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    let name = ["refs/heads/", "refs/tags/"].iter().find_map(|kind| git_ref.strip_prefix(kind));
    let ok = (1..=255).contains(&git_ref.len())
        && !git_ref.chars().any(forbidden)
        && !git_ref.contains("..")
        && !git_ref.contains("@{")
        && !git_ref.ends_with('.')
        && !name.unwrap_or(git_ref).starts_with('-')
        && !git_ref.split('/').any(bad_part);
    if ok { Ok(()) } else { Err(Error::BadRef { found: git_ref.chars().take(80).collect() }) }
}

/// The beginning of a path that a repository's commit has, for people: nobody has checked it.
fn beginning_of(path: &str) -> String {
    path.chars().take(80).flat_map(char::escape_debug).collect()
}

/// Removes the files of a directory that nobody has written to for so long; its directories stay.
fn remove_old_files(directory: &Path, older: Duration) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let too_old = SystemTime::now().checked_sub(older);
    for entry in entries {
        let entry = entry?;
        let found = match entry.metadata() {
            // It was just in use.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        let modified = found.modified()?;
        if found.is_file() && too_old.is_some_and(|limit| modified < limit) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_that_git_could_take_for_an_option_is_refused() {
        for bad in [
            "-u",
            "--upload-pack=x",
            "refs/heads/-b",
            "refs/tags/--upload-pack",
            "",
            "a b",
            "a..b",
            "a\nb",
            "a:b",
            "x.lock",
            "a//b",
            "@{u}",
            "a@{1}",
        ] {
            assert!(matches!(check_ref(bad), Err(Error::BadRef { .. })), "{bad:?}");
        }
        for good in [
            "main",
            "refs/heads/feature/x-1",
            "feature/-x",
            "refs/heads/feature/-x",
            "v1.0",
            "0123456789abcdef0123456789abcdef01234567",
        ] {
            assert_eq!(check_ref(good).map_err(|e| e.to_string()), Ok(()), "{good:?}");
        }
    }
}
