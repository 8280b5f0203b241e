//! A commit's tree as a repository of its own, in a directory that no container sees; its objects are those of a mirror.
//!
//! Must not know workspaces, nor where the mirror came from.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use super::git::Git;
use super::{Error, check_ref};

/// Commits that git is asked about in one run of it, and those of which it tells then: a long history takes few.
const ASKED_AT_ONCE: usize = 1000;
const TOLD_AT_ONCE: usize = 10_000;

/// Which commit, and what of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit<'a> {
    /// The mirror, which has it.
    pub(super) mirror: &'a Path,
    /// Address of `origin`, without credentials.
    pub(super) origin: &'a str,
    /// Full ref that it was pushed to; makes the branch. May be empty.
    pub(super) git_ref: &'a str,
    /// Its id.
    pub(super) id: &'a str,
    /// Commits of history that are seen; 0 means all, with all branches and tags.
    pub(super) depth: u32,
    /// Tags of the commits that are seen, too.
    pub(super) tags: bool,
    /// Only some of its files.
    pub(super) sparse: Option<&'a Sparse>,
    /// Limit for git.
    pub(super) timeout: Duration,
}

/// Which files of a commit are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Directories, or patterns as in `.gitignore`; none begins with `-`.
    pub patterns: Vec<String>,
    /// They are directories.
    pub cone: bool,
}

/// Makes it in `tree`, which is there and empty. Its objects are the mirror's until [`share`] or [`own`] says otherwise.
pub(super) async fn build(wanted: &Commit<'_>, tree: &Path) -> Result<(), Error> {
    check_ref(wanted.id)?;
    let git = Git::new(tree, wanted.timeout);
    git.run(&["init", "--quiet", "."]).await?;
    share(tree, &wanted.mirror.join("objects").display().to_string()).await?;
    if wanted.depth > 0 {
        let boundary = shallow_boundary(&git, wanted.id, wanted.depth).await?;
        if !boundary.is_empty() {
            tokio::fs::write(tree.join(".git/shallow"), boundary).await.map_err(unwritten)?;
        }
    }
    git.run(&["config", "remote.origin.url", wanted.origin]).await?;
    git.run(&["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"]).await?;
    let branch = wanted.git_ref.strip_prefix("refs/heads/");
    let refs = refs(wanted, &git, branch.unwrap_or_default()).await?;
    if !refs.is_empty() {
        tokio::fs::write(tree.join(".git/packed-refs"), refs).await.map_err(unwritten)?;
    }
    if let Some(Sparse { patterns, cone }) = wanted.sparse {
        let cone = if *cone { "--cone" } else { "--no-cone" };
        let mut args = vec!["sparse-checkout", "set", cone];
        args.extend(patterns.iter().map(String::as_str));
        git.run(&args).await?;
    }
    if let Some(branch) = branch {
        check_ref(branch)?;
        git.run(&["update-ref", &format!("refs/remotes/origin/{branch}"), wanted.id]).await?;
        git.run(&["checkout", "--quiet", "--force", "-B", branch, wanted.id, "--"]).await?;
        git.run(&["branch", "--quiet", &format!("--set-upstream-to=origin/{branch}"), branch]).await?;
    } else {
        git.run(&["checkout", "--quiet", "--force", "--detach", wanted.id, "--"]).await?;
    }
    Ok(())
}

/// Its objects are those of this directory, as those see it who use the tree.
pub(super) async fn share(tree: &Path, objects: &str) -> Result<(), Error> {
    tokio::fs::write(tree.join(".git/objects/info/alternates"), format!("{objects}\n"))
        .await
        .map_err(unwritten)
}

/// Its objects become its own: those that it needs, and no others.
pub(super) async fn own(tree: &Path, timeout: Duration) -> Result<(), Error> {
    Git::new(tree, timeout).run(&["repack", "-a", "-d", "--quiet"]).await?;
    tokio::fs::remove_file(tree.join(".git/objects/info/alternates")).await.map_err(unwritten)
}

fn unwritten(source: std::io::Error) -> Error {
    Error::Io { action: "write into the staging directory".to_owned(), source }
}

/// Branches and tags of the mirror that are seen, as a file of packed refs. None stands in the way of `branch`.
async fn refs(wanted: &Commit<'_>, staged: &Git<'_>, branch: &str) -> Result<String, Error> {
    if wanted.depth > 0 && !wanted.tags {
        return Ok(String::new());
    }
    let listed = Git::new(wanted.mirror, wanted.timeout);
    let listed = listed.run(&[
        "for-each-ref",
        "--format=%(objectname) %(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end) %(refname)",
        "refs/heads/",
        "refs/tags/",
    ]);
    let listed = listed.await?;
    let seen = match wanted.depth {
        0 => None,
        _ => Some(staged.run(&["rev-list", "--end-of-options", wanted.id]).await?),
    };
    let seen = seen.map(|seen| String::from_utf8_lossy(&seen).into_owned());
    let seen: Option<HashSet<&str>> = seen.as_ref().map(|seen| seen.lines().collect());
    let mut refs = String::new();
    for line in String::from_utf8_lossy(&listed).lines() {
        let mut fields = line.splitn(3, ' ');
        let (Some(object), Some(commit), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        match (name.strip_prefix("refs/heads/"), &seen) {
            (Some(head), None) if !are_in_the_way(head, branch) => {
                refs += &format!("{object} refs/remotes/origin/{head}\n");
            }
            (None, None) => refs += &format!("{object} {name}\n"),
            (None, Some(seen)) if seen.contains(commit) => refs += &format!("{object} {name}\n"),
            _ => {}
        }
    }
    Ok(refs)
}

/// Of `a` and `a/b` there can be only one.
fn are_in_the_way(one: &str, other: &str) -> bool {
    let within = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('/'));
    within(one, other) || within(other, one)
}

/// The commits whose shortest way from `commit` is `depth - 1` long: their parents are hidden, as in git's own shallow clones.
async fn shallow_boundary(git: &Git<'_>, commit: &str, depth: u32) -> Result<String, Error> {
    let mut parents = HashMap::<String, Vec<String>>::new();
    let (mut level, mut seen) = (vec![commit.to_owned()], HashSet::from([commit.to_owned()]));
    for _ in 1..depth {
        loop {
            let unknown = level.iter().filter(|commit| !parents.contains_key(*commit));
            let unknown: Vec<_> = unknown.take(ASKED_AT_ONCE).cloned().collect();
            if unknown.is_empty() {
                break;
            }
            // What comes before them most often is asked for later.
            let mut args =
                vec!["rev-list".to_owned(), "--parents".to_owned(), format!("--max-count={TOLD_AT_ONCE}")];
            args.extend(unknown);
            let listed = git.run(&args).await?;
            for line in String::from_utf8_lossy(&listed).lines() {
                let mut ids = line.split(' ').map(str::to_owned);
                parents.extend(ids.next().map(|id| (id, ids.collect())));
            }
        }
        let of_level = level.iter().filter_map(|commit| parents.get(commit)).flatten();
        level = of_level.filter(|parent| seen.insert((*parent).clone())).cloned().collect();
        if level.is_empty() {
            return Ok(String::new());
        }
    }
    level.sort();
    Ok(level.join("\n") + "\n")
}
