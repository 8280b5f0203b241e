//! Puts a commit into a workspace, as `actions/checkout` does.
//!
//! The job may own the workspace already, so git never runs in it: the tree is made in a staging directory that no
//! container sees, with its objects shared from the mirror, and is then moved in without following any symbolic link.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, fchown, openat, renameat};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Error;
use super::lfs::{self, LargeFiles};
use super::nested::Submodules;
use super::staged::{self, Commit, Sparse};
use crate::tree;

/// What to put where.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// The mirror, which has the commit.
    pub mirror: PathBuf,
    /// Where the mirror's objects will be seen by those who use the workspace (a path in the container).
    pub objects_seen_at: String,
    /// Address of `origin`, without credentials.
    pub origin: String,
    /// A directory that no container sees, on the workspace's file system; made anew.
    pub staging: PathBuf,
    /// The workspace.
    pub workspace: PathBuf,
    /// Relative to the workspace; empty means the workspace itself, whose content is replaced.
    pub path: String,
    /// Full ref that the commit was pushed to; makes the branch. May be empty.
    pub git_ref: String,
    /// The commit.
    pub commit: String,
    /// Commits of history that are seen; 0 means all, with all branches and tags.
    pub depth: u32,
    /// Tags of the commits that are seen, too.
    pub tags: bool,
    /// Only some of its files.
    pub sparse: Option<Sparse>,
    /// Its submodules.
    pub submodules: Option<Submodules>,
    /// Its large files, those of submodules not.
    pub large_files: Option<LargeFiles>,
    /// User and group that own what is checked out: those of the container's processes. None leaves it to this process's.
    pub owner: Option<(u32, u32)>,
    /// Limit for git.
    pub timeout: Duration,
    /// Held as long as anything is written into the workspace, also after the future was dropped.
    pub writing: Option<TaskTrackerToken>,
}

/// Does it; what there is to say of it, line by line.
///
/// # Errors
/// [`Error::BadPath`] for a path that leaves the workspace or goes through a symbolic link, [`Error::BadRef`], or git's
/// own failure.
pub async fn checkout(wanted: Checkout) -> Result<Vec<String>, Error> {
    let parts = components(&wanted.path)?;
    let io = |action: &str| {
        let action = action.to_owned();
        move |source| Error::Io { action, source }
    };
    let tree = wanted.staging.join("tree");
    let (staging, inner) = (wanted.staging.clone(), tree.clone());
    let made = tokio::task::spawn_blocking(move || {
        tree::remove_tree(&staging)?;
        fs::create_dir_all(inner)
    });
    made.await
        .unwrap_or_else(|join| Err(io::Error::other(join)))
        .map_err(io("make the staging directory"))?;
    let said = wanted.stage(&tree).await?;
    let (workspace, staging, owner) = (wanted.workspace.clone(), wanted.staging.clone(), wanted.owner);
    let writing = wanted.writing.clone();
    let moved = tokio::task::spawn_blocking(move || {
        let _writing = writing;
        if let Some(owner) = owner {
            give(&tree, owner)?;
        }
        move_in(&tree, &workspace, &parts, owner)?;
        tree::remove_tree(&staging)
    });
    match moved.await {
        Ok(Ok(())) => Ok(said),
        Ok(Err(source)) if is_symlink_error(&source) => Err(Error::BadPath { found: wanted.path }),
        Ok(Err(source)) => Err(Error::Io { action: "move the tree into the workspace".to_owned(), source }),
        Err(join) => Err(Error::Io { action: "move the tree".to_owned(), source: io::Error::other(join) }),
    }
}

impl Checkout {
    /// All of it, in a directory that no container sees.
    async fn stage(&self, tree: &Path) -> Result<Vec<String>, Error> {
        let commit = Commit {
            mirror: &self.mirror,
            origin: &self.origin,
            git_ref: &self.git_ref,
            id: &self.commit,
            depth: self.depth,
            tags: self.tags,
            sparse: self.sparse.as_ref(),
            timeout: self.timeout,
        };
        staged::build(&commit, tree).await?;
        let mut said = Vec::new();
        if let Some(submodules) = &self.submodules {
            submodules.fill(tree, &commit, &mut said).await?;
        }
        if let Some(from) = &self.large_files {
            said.push(lfs::fill(tree, (&self.mirror, &self.commit), from, self.timeout).await?);
        }
        staged::share(tree, &self.objects_seen_at).await?;
        Ok(said)
    }
}

/// The parts of a relative path without `..`.
fn components(path: &str) -> Result<Vec<String>, Error> {
    let bad = || Error::BadPath { found: path.chars().take(80).collect() };
    if path.len() > 1024 || path.contains('\0') {
        return Err(bad());
    }
    Path::new(path)
        .components()
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| match part {
            Component::Normal(name) => Ok(name.to_string_lossy().into_owned()),
            _ => Err(bad()),
        })
        .collect()
}

fn is_symlink_error(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::LOOP.raw_os_error()
        || code == rustix::io::Errno::NOTDIR.raw_os_error())
}

/// Gives everything below `directory` to a user; links are given away themselves, not what they lead to. No container sees
/// the directory yet, but what is in it, and how deep, a repository decides.
fn give(directory: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    let root = tree::open_root(directory)?;
    let given = tree::walk(root.as_fd(), |entry| {
        chownat(entry.directory, entry.name, user, group, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|source| tree::Error::Io { path: entry.path.to_owned(), source: source.into() })?;
        Ok(true)
    });
    given.map_err(|error: tree::Error| match error {
        tree::Error::Io { source, .. } => source,
        error => io::Error::other(error),
    })
}

/// Moves the content of `tree` to `workspace/parts`, in place of what is there. The directories on the way, and the last one,
/// are given to the owner: git works only in what belongs to its user.
fn move_in(tree: &Path, workspace: &Path, parts: &[String], owner: Option<(u32, u32)>) -> io::Result<()> {
    let give = |directory: &OwnedFd| match owner {
        Some((user, group)) => fchown(directory, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))),
        None => Ok(()),
    };
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut target = rustix::fs::open(workspace, flags, Mode::empty())?;
    for part in parts {
        match rustix::fs::mkdirat(&target, part.as_str(), Mode::from(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        target = openat(&target, part.as_str(), flags, Mode::empty())?;
        give(&target)?;
    }
    give(&target)?;
    // Through the open descriptor, so that a directory swapped for a link in between is not followed.
    let target_path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&target)));
    for entry in fs::read_dir(&target_path)? {
        tree::remove_at(target.as_fd(), &CString::new(entry?.file_name().into_vec())?)?;
    }
    let source = rustix::fs::open(tree, flags, Mode::empty())?;
    for entry in fs::read_dir(tree)? {
        let name = entry?.file_name();
        renameat(&source, &name, &target, &name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_out_of_the_workspace_is_refused() {
        for bad in ["../x", "a/../../x", "/etc", "a\0b"] {
            assert!(matches!(components(bad), Err(Error::BadPath { .. })), "{bad:?}");
        }
        assert_eq!(components("./a/b").ok(), Some(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn links_are_given_away_and_not_what_they_lead_to() -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives files away");
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        let deep = tree.join("d/".repeat(100));
        fs::create_dir_all(&deep)?;
        fs::write(deep.join("file"), "")?;
        fs::write(&outside, "")?;
        std::os::unix::fs::symlink(&outside, tree.join("link"))?;
        give(&tree, (12345, 54321))?;
        for given in [tree.join("d"), deep.join("file"), tree.join("link")] {
            let found = fs::symlink_metadata(&given)?;
            assert_eq!((found.uid(), found.gid()), (12345, 54321), "{}", given.display());
        }
        assert_eq!(fs::metadata(&outside)?.uid(), 0);
        Ok(())
    }

    #[test]
    fn a_symbolic_link_in_the_workspace_is_not_followed() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (tree, workspace, outside) =
            (dir.path().join("tree"), dir.path().join("workspace"), dir.path().join("outside"));
        for d in [&tree, &workspace, &outside] {
            fs::create_dir(d)?;
        }
        fs::write(tree.join("file"), "new")?;
        fs::write(outside.join("kept"), "old")?;
        std::os::unix::fs::symlink(&outside, workspace.join("sub"))?;
        let refused = move_in(&tree, &workspace, &["sub".to_owned()], None).unwrap_err();
        assert!(is_symlink_error(&refused), "{refused}");
        assert_eq!(fs::read_to_string(outside.join("kept"))?, "old");
        // As an entry of the replaced directory it is unlinked, not entered.
        move_in(&tree, &workspace, &[], None)?;
        assert_eq!(fs::read_to_string(workspace.join("file"))?, "new");
        assert!(!workspace.join("sub").exists() && outside.join("kept").exists());
        Ok(())
    }
}
