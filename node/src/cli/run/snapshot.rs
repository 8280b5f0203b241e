//! The working tree as it is, as a commit: with what is not committed, and what is not tracked and not ignored.
//!
//! Everything new goes into a bare repository of its own, which borrows the checkout's objects. The checkout's index, refs,
//! stash and objects stay as they are. Must not know who fetches it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::checkout::{Checkout, Error};
use super::git::Git;

/// Who is said to have made the commit, which nobody ever sees in a history.
const MAKER: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "troupe workflow run"),
    ("GIT_AUTHOR_EMAIL", "troupe@localhost"),
    ("GIT_COMMITTER_NAME", "troupe workflow run"),
    ("GIT_COMMITTER_EMAIL", "troupe@localhost"),
];

/// The sources of a run.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// A bare repository.
    pub dir: PathBuf,
    /// The commit: the one that is checked out, when nothing was changed since.
    pub commit: String,
}

/// Another text of one file than the checkout's.
#[derive(Debug, Clone)]
pub struct Instead {
    /// Its path in the checkout.
    pub path: String,
    /// What it holds.
    pub text: Vec<u8>,
}

/// Makes it in `dir`, which is not there yet. The branches and tags of the checkout come with it, and those of its origin that it
/// knows; `git_ref` and the branch that is checked out are at the commit.
///
/// # Errors
/// [`Error`].
pub async fn take(
    checkout: &Checkout,
    dir: &Path,
    git_ref: &str,
    instead: Option<Instead>,
) -> Result<Snapshot, Error> {
    let own = checkout.git();
    let path = |what: &'static str| {
        let own = own.clone();
        async move { own.run(&["rev-parse", "--path-format=absolute", "--git-path", what]).await }
    };
    let (objects, index) = (path("objects").await?, path("index").await?);
    let format = own.run(&["rev-parse", "--show-object-format"]).await?;
    // What is before the beginning of a shallow clone cannot be fetched from it: its history is left out.
    let shallow = own.run(&["rev-parse", "--is-shallow-repository"]).await? == "true";
    std::fs::create_dir_all(dir).map_err(io(dir))?;
    let format = format!("--object-format={format}");
    Git::at(dir).run(&["init", "--quiet", "--bare", "--template=", &format, "."]).await?;
    let alternates = dir.join("objects/info/alternates");
    write(&alternates, format!("{objects}\n").as_bytes())?;

    let temporary = dir.join("index");
    match std::fs::copy(&index, &temporary) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        copied => drop(copied.map_err(io(Path::new(&index)))?),
    }
    let git = own
        .clone()
        .with("GIT_INDEX_FILE", &temporary)
        .with("GIT_OBJECT_DIRECTORY", dir.join("objects"))
        .with("GIT_ALTERNATE_OBJECT_DIRECTORIES", quoted(&objects));
    git.run(&["add", "--all", "--", "."]).await?;
    // Also when it is ignored: it was asked for.
    git.run(&["add", "--force", "--", &checkout.workflow]).await?;
    if let Some(Instead { path, text }) = instead {
        let file = dir.join("instead");
        write(&file, &text)?;
        let file = file.display().to_string();
        let blob = git.run(&["hash-object", "-w", "--no-filters", "--", &file]).await?;
        let entry = format!("100644,{blob},{path}");
        git.run(&["update-index", "--cacheinfo", &entry]).await?;
    }
    let tree = git.run(&["write-tree"]).await?;
    let commit = commit(&git, checkout, &tree, shallow).await?;

    let own_refs = [git_ref, &checkout.git_ref];
    let known = if shallow { String::new() } else { known_refs(&own).await? };
    let refs = refs(&known, &own_refs, &commit);
    let mut packed = String::new();
    for (name, id) in refs {
        // A string takes whatever is written.
        let _ = writeln!(packed, "{id} {name}");
    }
    write(&dir.join("packed-refs"), packed.as_bytes())?;
    write(&dir.join("HEAD"), format!("ref: {}\n", checkout.default).as_bytes())?;
    Ok(Snapshot { dir: dir.to_owned(), commit })
}

async fn commit(git: &Git, checkout: &Checkout, tree: &str, shallow: bool) -> Result<String, Error> {
    let message = checkout.message().await?;
    let mut args = vec!["commit-tree", tree, "-m", &message];
    if let Some(head) = checkout.head.as_deref().filter(|_| !shallow) {
        if git.run(&["rev-parse", "HEAD^{tree}"]).await? == tree {
            return Ok(head.to_owned());
        }
        args.extend(["-p", head]);
    }
    let git = MAKER.into_iter().fold(git.clone(), |git, (name, value)| git.with(name, value));
    Ok(git.run(&args).await?)
}

/// Branches and tags, and branches of the origin, each after its object.
async fn known_refs(own: &Git) -> Result<String, Error> {
    let format = "--format=%(objectname) %(refname)";
    Ok(own.run(&["for-each-ref", format, "refs/heads", "refs/tags", "refs/remotes/origin"]).await?)
}

/// All refs that are seen: `own` at the commit, then those of the checkout, then those that only the origin has. What stands in
/// the way of one that came before is left out: a repository that has both cannot be fetched.
fn refs(known: &str, own: &[&str], commit: &str) -> BTreeMap<String, String> {
    let mut refs = BTreeMap::new();
    let mut add = |name: &str, id: &str| {
        if !refs.keys().any(|other: &String| are_in_the_way(other, name)) {
            refs.entry(name.to_owned()).or_insert_with(|| id.to_owned());
        }
    };
    for name in own {
        add(name, commit);
    }
    let mut far = Vec::new();
    for (id, name) in known.lines().filter_map(|line| line.split_once(' ')) {
        match name.strip_prefix("refs/remotes/origin/") {
            Some("HEAD") => {}
            Some(branch) => far.push((format!("refs/heads/{branch}"), id)),
            None => add(name, id),
        }
    }
    for (name, id) in far {
        add(&name, id);
    }
    refs
}

/// Of `a` and `a/b` there can be only one.
fn are_in_the_way(one: &str, other: &str) -> bool {
    let within = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('/'));
    within(one, other) || within(other, one)
}

/// A directory in a list of them, as git reads it: between quotes nothing ends it.
fn quoted(path: &str) -> String {
    let mut quoted = String::from('"');
    for c in path.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_refs_that_cannot_both_be_the_events_stays_then_the_checkouts() {
        let known = "1 refs/heads/feature\n2 refs/heads/other/x\n3 refs/remotes/origin/HEAD\n4 refs/remotes/origin/feature/x\n\
                     5 refs/remotes/origin/main\n6 refs/remotes/origin/other\n7 refs/remotes/origin/far\n8 refs/tags/feature";
        let seen = |own: &[&str]| {
            let refs = refs(known, own, "0");
            refs.iter().map(|(name, id)| format!("{id} {name}")).collect::<Vec<_>>()
        };
        let there = ["7 refs/heads/far", "1 refs/heads/feature", "0 refs/heads/main", "2 refs/heads/other/x"];
        assert_eq!(seen(&["refs/heads/main"]), [&there[..], &["8 refs/tags/feature"]].concat());
        let asked = [
            "7 refs/heads/far",
            "4 refs/heads/feature/x",
            "0 refs/heads/feature/y",
            "0 refs/heads/main",
            "2 refs/heads/other/x",
        ];
        let asked = [&asked[..], &["8 refs/tags/feature"]].concat();
        assert_eq!(seen(&["refs/heads/feature/y", "refs/heads/main"]), asked, "feature is in the way");
    }

    #[test]
    fn a_directory_in_a_list_is_one_whatever_is_in_its_name() {
        assert_eq!(quoted("/a:b/\"c\"\\d e"), r#""/a:b/\"c\"\\d e""#);
    }
}
