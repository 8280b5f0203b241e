//! Which files commits changed, for the path filters of workflows: git's word, where a forge's payload does not say all.
//!
//! Must not know filters.

use std::path::Path;

use domain::RepoId;

use super::git::Git;
use super::mirror::Mirrors;
use super::{Error, check_ref};

/// Most changed paths that are looked at, in git's order of paths: what is past them is as if it had not changed. (GitHub looks
/// at 300.)
pub const MAX_CHANGED_PATHS: usize = 3000;
/// Most bytes of them: 300 a path.
const MAX_BYTES: u64 = 300 * MAX_CHANGED_PATHS as u64;
/// A tree without any file; every git knows it, written or not.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const EMPTY_TREE_SHA256: &str = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321";

impl Mirrors {
    /// Paths that a push changed: all in which the commits `before` and `after` differ, as in GitHub's two-dot diff. Where
    /// nothing was before (empty or zeros: the ref is new), or the commit is gone (after a forced push), what came since the
    /// ref left the default branch; and of a commit of that branch, what it changed itself.
    ///
    /// # Errors
    /// [`Error::BadRef`], or git's failure: the mirror must have `after` ([`Mirrors::ensure`]).
    pub async fn changed_paths(&self, repo: RepoId, before: &str, after: &str) -> Result<Vec<String>, Error> {
        check_ref(after)?;
        let dir = self.dir(repo);
        let known = if before.bytes().all(|digit| digit == b'0') {
            None
        } else {
            check_ref(before)?;
            self.resolve(&dir, before).await
        };
        let from = match known {
            Some(before) => before,
            None => self.origin_of(&dir, repo, after).await?,
        };
        self.differing(&dir, &from, after).await
    }

    /// Paths that a pull request changes: what its head changed since it left the base, as in GitHub's three-dot diff. With
    /// nothing in common, all in which the two differ.
    ///
    /// # Errors
    /// [`Error::BadRef`], or git's failure: the mirror must have both.
    pub async fn changed_paths_of_pull_request(
        &self,
        repo: RepoId,
        base: &str,
        head: &str,
    ) -> Result<Vec<String>, Error> {
        check_ref(base)?;
        check_ref(head)?;
        let dir = self.dir(repo);
        let from = self.merge_base(&dir, base, head).await.unwrap_or_else(|| base.to_owned());
        self.differing(&dir, &from, head).await
    }

    /// What a commit of which nothing before is known is compared with.
    async fn origin_of(&self, dir: &Path, repo: RepoId, commit: &str) -> Result<String, Error> {
        let default = self.default_branch(repo).await?;
        if let Some(left) = self.merge_base(dir, &default, commit).await
            && self.resolve(dir, commit).await.as_ref() != Some(&left)
        {
            return Ok(left);
        }
        let parent = self.resolve(dir, &format!("{commit}^1")).await;
        let empty = if commit.len() == 64 { EMPTY_TREE_SHA256 } else { EMPTY_TREE };
        Ok(parent.unwrap_or_else(|| empty.to_owned()))
    }

    /// The commit where they parted; none when they have nothing in common, or one is not there.
    async fn merge_base(&self, dir: &Path, one: &str, other: &str) -> Option<String> {
        let git = Git::new(dir, self.fetch_timeout);
        let found = git.run(&["merge-base", "--end-of-options", one, other]).await.ok()?;
        Some(String::from_utf8_lossy(&found).trim().to_owned()).filter(|id| !id.is_empty())
    }

    async fn differing(&self, dir: &Path, from: &str, to: &str) -> Result<Vec<String>, Error> {
        let git = Git::new(dir, self.fetch_timeout);
        // A renamed file is one that is gone and one that came: a filter may ask for either.
        let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--end-of-options", from, to];
        let listed = git.beginning(&args, MAX_BYTES).await?;
        // What was cut off has no NUL at its end.
        let whole = listed.iter().rposition(|byte| *byte == 0).map_or(&[][..], |end| &listed[..end]);
        let paths = whole.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        Ok(paths.take(MAX_CHANGED_PATHS).map(|path| String::from_utf8_lossy(path).into_owned()).collect())
    }
}
