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
        .with("GIT_ALTERNATE_OBJECT_DIRECTORIES", &objects);
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

    let mut refs = BTreeMap::new();
    if !shallow {
        refs = known_refs(&own).await?;
    }
    refs.insert(git_ref.to_owned(), commit.clone());
    refs.insert(checkout.git_ref.clone(), commit.clone());
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

/// Branches and tags, and branches that only the origin has.
async fn known_refs(own: &Git) -> Result<BTreeMap<String, String>, Error> {
    let format = "--format=%(objectname) %(refname)";
    let listed = own.run(&["for-each-ref", format, "refs/heads", "refs/tags", "refs/remotes/origin"]).await?;
    let (mut refs, mut far) = (BTreeMap::new(), BTreeMap::new());
    for (id, name) in listed.lines().filter_map(|line| line.split_once(' ')) {
        match name.strip_prefix("refs/remotes/origin/") {
            Some("HEAD") => {}
            Some(branch) => drop(far.insert(format!("refs/heads/{branch}"), id.to_owned())),
            None => drop(refs.insert(name.to_owned(), id.to_owned())),
        }
    }
    for (name, id) in far {
        refs.entry(name).or_insert(id);
    }
    Ok(refs)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(io(path))
}
