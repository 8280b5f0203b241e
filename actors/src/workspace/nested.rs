//! Submodules of a checkout. Git's own `submodule update` fetches by its own rules; here each repository comes from a mirror, as its
//! superproject does, after what a stranger's `.gitmodules` says was checked, and becomes a repository of its own in its place.
//!
//! Must not know workspaces.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::RepoId;

use super::configured::configured;
use super::git::Git;
use super::mirror::{Mirrors, is_commit_id};
use super::staged::{self, Commit};
use super::submodules::{MAX_SUBMODULES, Submodule, listed};
use super::{CloneUrl, Error, beginning_of};
use crate::addresses::Trust;

/// Deepest nesting.
const MAX_DEPTH: usize = 10;

/// Which submodules are wanted, and how they are had.
#[derive(Debug, Clone)]
pub struct Submodules {
    /// This node's mirrors.
    pub mirrors: Mirrors,
    /// The superproject.
    pub repo: RepoId,
    /// Where it is fetched from.
    pub url: CloneUrl,
    /// What it is fetched with may be sent to its server for its submodules, too: not for a run whose commits are of somebody who may not
    /// push there, and could name what they may not read.
    pub given: bool,
    /// Those of submodules, too.
    pub recursive: bool,
}

/// A repository whose submodules are looked at.
struct Superproject {
    tree: PathBuf,
    mirror: PathBuf,
    commit: String,
    url: CloneUrl,
    /// Where it is below the outermost one: empty, or with a `/` at its end.
    prefix: String,
    depth: usize,
}

impl Submodules {
    /// Puts them into a tree that [`staged::build`] has made of a commit; says what was put where.
    pub(super) async fn fill(
        &self,
        tree: &Path,
        of: &Commit<'_>,
        said: &mut Vec<String>,
    ) -> Result<(), Error> {
        let mut left = vec![Superproject {
            tree: tree.to_owned(),
            mirror: of.mirror.to_owned(),
            commit: of.id.to_owned(),
            url: self.url.clone(),
            prefix: String::new(),
            depth: 0,
        }];
        let mut number = 0;
        while let Some(superproject) = left.pop() {
            let submodules = superproject.submodules(of.timeout).await?;
            let mut links = superproject.links(&submodules, of.timeout).await?;
            for submodule in submodules {
                let Submodule { path, .. } = &submodule;
                let place = format!("{}{path}", superproject.prefix);
                let named = |why: String| Error::Submodule { place: place.clone(), why };
                let Some(commit) = links.remove(path) else { continue };
                number += 1;
                if number > MAX_SUBMODULES || superproject.depth == MAX_DEPTH {
                    let why = format!("the limits are {MAX_SUBMODULES} submodules and {MAX_DEPTH} levels");
                    return Err(named(why));
                }
                let tree = superproject.tree.join(path);
                if !is_ready(&superproject.tree, path).await.map_err(named)? {
                    continue;
                }
                let url = submodule.address(&superproject.url, &self.url, self.given).map_err(named)?;
                let trust = if url.is_beside(&self.url) { Trust::Registered } else { Trust::Others };
                let had = self.mirrors.ensure_submodule(self.repo, (url.clone(), trust), &commit).await;
                let mirror = had.map_err(|error| named(error.to_string()))?;
                let origin = url.redacted();
                let wanted = Commit {
                    mirror: &mirror,
                    origin: &origin,
                    git_ref: "",
                    id: &commit,
                    tags: false,
                    sparse: None,
                    ..*of
                };
                staged::build(&wanted, &tree).await?;
                staged::own(&tree, of.timeout).await?;
                superproject.register(&submodule.name, &origin, of.timeout).await?;
                said.push(format!("submodule {place}: {commit} of {origin}"));
                if self.recursive {
                    let (prefix, depth) = (format!("{place}/"), superproject.depth + 1);
                    left.push(Superproject { tree, mirror, commit, url, prefix, depth });
                }
            }
        }
        Ok(())
    }
}

impl Superproject {
    /// What its `.gitmodules` names, each with a name and a path that may be used.
    async fn submodules(&self, timeout: Duration) -> Result<Vec<Submodule>, Error> {
        let entries = configured(&self.mirror, &self.commit, ".gitmodules", timeout).await?;
        let place = format!("{}.gitmodules", self.prefix);
        let named = |why: String| Error::Submodule { place: place.clone(), why };
        let entries = entries.map_err(named)?;
        // It may be of 16 MiB.
        let all = tokio::task::spawn_blocking(move || listed(&entries)).await;
        let all = all.unwrap_or_else(|join| Err(join.to_string())).map_err(named)?;
        for submodule in &all {
            let place = || format!("{}{}", self.prefix, beginning_of(&submodule.path));
            submodule.check().map_err(|why| Error::Submodule { place: place(), why })?;
        }
        Ok(all)
    }

    /// The commits that its own tree has at their paths; where something else is, there is none.
    async fn links(
        &self,
        submodules: &[Submodule],
        timeout: Duration,
    ) -> Result<HashMap<String, String>, Error> {
        if submodules.is_empty() {
            return Ok(HashMap::new());
        }
        let mut args = vec!["ls-tree", "-z", "--full-tree", &self.commit, "--"];
        args.extend(submodules.iter().map(|submodule| submodule.path.as_str()));
        let listing = Git::new(&self.mirror, timeout).run(&args).await?;
        let link = |line: &str| {
            let (facts, path) = line.split_once('\t')?;
            let commit = facts.strip_prefix("160000 commit ").filter(|id| is_commit_id(id))?;
            Some((path.to_owned(), commit.to_owned()))
        };
        Ok(String::from_utf8_lossy(&listing).split_terminator('\0').filter_map(link).collect())
    }

    /// As `git submodule init` has it.
    async fn register(&self, name: &str, origin: &str, timeout: Duration) -> Result<(), Error> {
        let git = Git::new(&self.tree, timeout);
        git.run(&["config", &format!("submodule.{name}.active"), "true"]).await?;
        git.run(&["config", &format!("submodule.{name}.url"), origin]).await.map(drop)
    }
}

/// Whether there is an empty directory at a path, as git makes it for a submodule, with no link on the way; none is there when the path is
/// not of the files that are wanted.
async fn is_ready(tree: &Path, path: &str) -> Result<bool, String> {
    let mut at = tree.to_owned();
    for part in Path::new(path).components() {
        at.push(part);
        match tokio::fs::symlink_metadata(&at).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.to_string()),
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err("its path goes through what is no directory".to_owned()),
        }
    }
    let mut entries = tokio::fs::read_dir(&at).await.map_err(|error| error.to_string())?;
    match entries.next_entry().await {
        Ok(None) => Ok(true),
        Ok(Some(_)) => Err("its directory is not empty".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2024-32002: what git took for a submodule's directory was a link into a `.git`.
    #[tokio::test]
    async fn a_submodule_is_put_into_an_empty_directory_and_through_no_link() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let at = |path: &str| dir.path().join(path);
        std::fs::create_dir_all(at("lib/empty"))?;
        std::fs::create_dir_all(at("lib/full/x"))?;
        std::os::unix::fs::symlink("lib", at("link"))?;
        std::fs::write(at("file"), "")?;
        assert_eq!(is_ready(dir.path(), "lib/empty").await, Ok(true));
        assert_eq!(is_ready(dir.path(), "lib/absent").await, Ok(false));
        for bad in ["link", "link/empty", "file", "file/x", "lib/full"] {
            assert!(is_ready(dir.path(), bad).await.is_err(), "{bad}");
        }
        Ok(())
    }
}
