//! What a file of git's own format says at a commit: `.gitmodules`, `.lfsconfig`. Nothing of it configures a git of ours.

use std::path::Path;
use std::time::Duration;

use super::Error;
use super::git::Git;

/// Bytes of such a file.
const MAX_BYTES: u64 = 1024 * 1024;

/// Keys as git writes them, with their values, in order; nothing where there is no such file. The inner error is in words: what is not right
/// with the file.
pub(super) async fn configured(
    mirror: &Path,
    commit: &str,
    name: &str,
    timeout: Duration,
) -> Result<Result<Vec<(String, String)>, String>, Error> {
    let git = Git::new(mirror, timeout);
    let listing = git.run(&["ls-tree", "-z", "-l", "--full-tree", commit, "--", name]).await?;
    let listing = String::from_utf8_lossy(&listing);
    let Some((facts, _)) = listing.split_once('\t') else { return Ok(Ok(Vec::new())) };
    let facts: Vec<_> = facts.split_whitespace().collect();
    let [mode, kind, object, size] = facts.as_slice() else { return Ok(Ok(Vec::new())) };
    if !mode.starts_with("100") || size.parse().is_ok_and(|size: u64| size > MAX_BYTES) {
        let found = format!("a {kind} of mode {mode} and {size} bytes");
        return Ok(Err(format!("expected a regular file of at most {MAX_BYTES} bytes, found {found}")));
    }
    match git.run(&["config", "--blob", object, "--no-includes", "-z", "--list"]).await {
        Ok(listed) => Ok(Ok(entries(&String::from_utf8_lossy(&listed)))),
        Err(Error::Failed { stderr, .. }) => Ok(Err(stderr)),
        Err(error) => Err(error),
    }
}

fn entries(listed: &str) -> Vec<(String, String)> {
    let entry = |entry: &str| {
        let (key, value) = entry.split_once('\n').unwrap_or((entry, ""));
        (key.to_owned(), value.to_owned())
    };
    listed.split_terminator('\0').map(entry).collect()
}
