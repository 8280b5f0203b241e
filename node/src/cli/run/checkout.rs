//! The checkout that a workflow file is in: where it is, what is checked out, what it is called.
//!
//! Must not know what becomes of it.

use std::path::{Path, PathBuf};

use domain::RepoName;

use super::git::{self, Git};

/// Where workflow files are looked up: the first of these that is there.
const DIRECTORIES: [&str; 4] =
    [".troupe/workflows", ".forgejo/workflows", ".gitea/workflows", ".github/workflows"];
/// What branches are mostly called that are the default ones.
const USUAL: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

/// Why there are no sources.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Git's words.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// No repository.
    #[error(
        "{} is in no git checkout, and jobs get their sources from git; `git init` in its folder makes one, and nothing need be \
         committed (git: {words})",
        file.display()
    )]
    NoCheckout {
        /// The workflow file.
        file: PathBuf,
        /// Git's words.
        words: String,
    },
    /// A file that no node would look at.
    #[error(
        "{path} is where no node looks for workflows: that is {}{}",
        DIRECTORIES.join(", "),
        there.map(|there| format!(", and here {there}, the first that is there")).unwrap_or_default()
    )]
    Elsewhere {
        /// Its path in the checkout.
        path: String,
        /// The directory that is looked at.
        there: Option<&'static str>,
    },
    /// No name for the repository.
    #[error(transparent)]
    Name(#[from] domain::ParseIdError),
    /// A path that cannot be looked at.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

/// A checkout.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// Its top directory.
    pub top: PathBuf,
    /// The workflow's path in it.
    pub workflow: String,
    /// The commit that is checked out; none where nothing was ever committed.
    pub head: Option<String>,
    /// The branch that is checked out, or the tag; the default branch for a commit that is neither.
    pub git_ref: String,
    /// The default branch, as far as a checkout knows.
    pub default: String,
    /// The repository's name: as its origin's URL ends, else the directory's.
    pub name: RepoName,
}

impl Checkout {
    /// The checkout around a workflow file.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn around(file: &Path) -> Result<Self, Error> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        let full = file.canonicalize().map_err(io(file))?;
        let folder = full.parent().unwrap_or(Path::new("/"));
        let top = Git::at(folder).run(&["rev-parse", "--show-toplevel"]).await;
        let top = PathBuf::from(top.map_err(|error| match error {
            git::Error::Failed { words, .. } => Error::NoCheckout { file: file.to_owned(), words },
            error => error.into(),
        })?);
        let top = top.canonicalize().map_err(io(&top))?;
        let path = full.strip_prefix(&top).unwrap_or(&full).display().to_string();
        let workflow = looked_up(&top, path)?;
        let git = Git::at(&top);
        let head = git.ask(&["rev-parse", "--quiet", "--verify", "HEAD^{commit}"]).await?;
        let branch = git.ask(&["symbolic-ref", "--quiet", "HEAD"]).await?;
        let default = default_branch(&git, branch.as_deref()).await?;
        let git_ref = match branch {
            Some(branch) => branch,
            None => {
                let tag = git.ask(&["describe", "--tags", "--exact-match", "HEAD"]).await?;
                tag.map_or_else(|| default.clone(), |tag| format!("refs/tags/{tag}"))
            }
        };
        let origin = git.ask(&["config", "--get", "remote.origin.url"]).await?;
        let name = name_of(origin.as_deref(), &top)?;
        Ok(Self { top, workflow, head, git_ref, default, name })
    }

    /// Git in this checkout.
    #[must_use]
    pub fn git(&self) -> Git {
        Git::at(&self.top)
    }

    /// The message of the commit that is checked out; empty without one.
    ///
    /// # Errors
    /// Git's.
    pub async fn message(&self) -> Result<String, Error> {
        match self.head {
            Some(_) => Ok(self.git().run(&["log", "-1", "--format=%B", "HEAD"]).await?),
            None => Ok(String::new()),
        }
    }
}

/// The path, where nodes look for workflows.
fn looked_up(top: &Path, path: String) -> Result<String, Error> {
    let there = DIRECTORIES.into_iter().find(|directory| top.join(directory).is_dir());
    let inside = path.rsplit_once('/').map(|(directory, _)| directory);
    let known = [".yml", ".yaml"].iter().any(|end| path.ends_with(end));
    if inside.is_some() && inside == there && known {
        Ok(path)
    } else {
        Err(Error::Elsewhere { path, there })
    }
}

async fn default_branch(git: &Git, present: Option<&str>) -> Result<String, Error> {
    if let Some(far) = git.ask(&["symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"]).await?
        && let Some(name) = far.strip_prefix("refs/remotes/origin/")
    {
        return Ok(format!("refs/heads/{name}"));
    }
    for usual in USUAL {
        if git.ask(&["rev-parse", "--quiet", "--verify", usual]).await?.is_some() {
            return Ok(usual.to_owned());
        }
    }
    if let Some(present) = present {
        return Ok(present.to_owned());
    }
    // The only one there is, beside a commit that is on none.
    let only = git.ask(&["for-each-ref", "--count=2", "--format=%(refname)", "refs/heads"]).await?;
    Ok(only.filter(|names| !names.contains('\n')).unwrap_or_else(|| USUAL[0].to_owned()))
}

/// The last two parts of the origin's path, as forges name repositories, or the directory's name; what no name may hold is left
/// out.
fn name_of(origin: Option<&str>, top: &Path) -> Result<RepoName, domain::ParseIdError> {
    let fine = |part: &str| {
        let kept = part.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c));
        kept.collect::<String>().trim_start_matches('-').to_owned()
    };
    let origin = origin.unwrap_or_default().trim_end_matches('/').trim_end_matches(".git");
    let mut parts: Vec<String> = origin.split(['/', ':']).rev().take(2).map(fine).collect();
    parts.reverse();
    let directory = top.file_name().map(|name| fine(&name.to_string_lossy())).unwrap_or_default();
    let named = [parts.join("/"), format!("local/{directory}")];
    named.iter().find_map(|name| name.parse().ok()).map_or_else(|| "local".parse(), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_called_as_its_origin_ends() {
        let name = |origin: Option<&str>, top: &str| name_of(origin, Path::new(top)).unwrap().to_string();
        for origin in [
            "https://forge.example/team/app.git",
            "git@forge.example:team/app",
            "ssh://git@forge.example:22/team/app/",
        ] {
            assert_eq!(name(Some(origin), "/x"), "team/app");
        }
        assert_eq!(name(None, "/home/me/my app"), "local/myapp");
        assert_eq!(name(Some("/"), "/home/me/-x"), "local/x");
    }

    #[test]
    fn only_what_nodes_look_up_is_a_workflow() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| looked_up(dir.path(), path.to_owned()).map_err(|error| error.to_string());
        assert!(at(".github/workflows/ci.yml").is_err(), "there is no such directory");
        std::fs::create_dir_all(dir.path().join(".github/workflows")).unwrap();
        assert_eq!(at(".github/workflows/ci.yml").as_deref(), Ok(".github/workflows/ci.yml"));
        for path in ["ci.yml", ".github/workflows/deep/ci.yml", ".github/workflows/ci.txt"] {
            assert!(at(path).is_err(), "{path}");
        }
        std::fs::create_dir_all(dir.path().join(".troupe/workflows")).unwrap();
        let shadowed = at(".github/workflows/ci.yml").unwrap_err();
        assert!(shadowed.contains("and here .troupe/workflows"), "{shadowed}");
    }
}
