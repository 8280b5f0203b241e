//! `actions/checkout`: a commit of the run's repository, put into the workspace.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Inputs, NativeContext, NativeDone};
use crate::tree;
use crate::workspace::{Checkout, LargeFiles, Point, Source, Sparse, Submodules, checkout};

/// Where the container sees the objects of the repository's mirror, which its checkouts share.
pub(in crate::attempt) const OBJECTS: &str = "/troupe-objects";

/// Inputs that mean nothing here: there are no credentials that a job could keep.
const IGNORED: [&str; 10] = [
    "token",
    "ssh-key",
    "ssh-known-hosts",
    "ssh-strict",
    "ssh-user",
    "persist-credentials",
    "set-safe-directory",
    "github-server-url",
    "show-progress",
    "filter",
];

/// Lines of `sparse-checkout`.
const MAX_PATTERNS: usize = 1000;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    path: String,
    git_ref: String,
    depth: u32,
    tags: bool,
    clean: bool,
    sparse: Vec<String>,
    cone: bool,
    submodules: Nesting,
    lfs: bool,
    /// Inputs that were given and are ignored.
    ignored: Vec<String>,
}

/// Which submodules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Nesting {
    #[default]
    None,
    Direct,
    All,
}

impl Wanted {
    fn of(with: &Inputs, own: &str) -> Result<Self, String> {
        let mut wanted = Self { depth: 1, clean: true, cone: true, ..Self::default() };
        for (name, value) in with {
            let value = value.trim();
            let refused = |why: &str| Err(format!("{name}: {why}, found {value:?}"));
            match name.to_ascii_lowercase().as_str() {
                _ if value.is_empty() => {}
                "path" => wanted.path = value.to_owned(),
                "ref" => wanted.git_ref = value.to_owned(),
                "fetch-depth" => match value.parse() {
                    Ok(depth) => wanted.depth = depth,
                    Err(_) => return refused("expected a whole number, 0 for all commits"),
                },
                "repository" if value.eq_ignore_ascii_case(own) => {}
                "repository" => return refused("only the run's own repository can be checked out"),
                "clean" => wanted.clean = flag(name, value)?,
                "fetch-tags" => wanted.tags = flag(name, value)?,
                "submodules" => {
                    wanted.submodules = match value.to_ascii_lowercase().as_str() {
                        "false" => Nesting::None,
                        "true" => Nesting::Direct,
                        "recursive" => Nesting::All,
                        _ => return refused("expected true, false or recursive"),
                    }
                }
                "lfs" => wanted.lfs = flag(name, value)?,
                "sparse-checkout" => {
                    wanted.sparse = patterns(value).map_err(|why| format!("{name}: {why}"))?
                }
                "sparse-checkout-cone-mode" => wanted.cone = flag(name, value)?,
                known if IGNORED.contains(&known) => wanted.ignored.push(known.to_owned()),
                _ => return Err(format!("{name}: actions/checkout has no such input")),
            }
        }
        Ok(wanted)
    }
}

fn flag(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{name}: expected true or false, found {value:?}")),
    }
}

/// One a line.
fn patterns(text: &str) -> Result<Vec<String>, String> {
    let all: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if all.len() > MAX_PATTERNS || all.iter().any(|pattern| pattern.len() > 1024) {
        return Err(format!("expected at most {MAX_PATTERNS} lines of 1,024 bytes"));
    }
    match all.iter().find(|pattern| pattern.starts_with('-')) {
        Some(bad) => Err(format!("expected no leading -, found {bad:?}")),
        None => Ok(all),
    }
}

/// Something was checked out there. GitHub looks for what was not committed only then.
async fn holds_checkout(ctx: &NativeContext, path: &str) -> Result<bool, String> {
    let (workspace, git) = (ctx.directories.workspace.clone(), Path::new(path).join(".git"));
    let looked = tokio::task::spawn_blocking(move || {
        let root = tree::open_root(&workspace)?;
        // A place that cannot be, the checkout itself refuses.
        Ok(tree::open_beneath(root.as_fd(), &git, OFlags::PATH).is_ok())
    });
    let looked = looked.await.unwrap_or_else(|join| Err(io::Error::other(join)));
    looked.map_err(|error: io::Error| format!("cannot open the workspace: {error}"))
}

/// Does it.
pub(super) async fn run(ctx: &NativeContext, with: &Inputs) -> Result<NativeDone, String> {
    let (id, repo) =
        ctx.repo.as_ref().ok_or("there is no repository to check out: this run belongs to none")?;
    let wanted = Wanted::of(with, repo.name.as_str())?;
    if !wanted.ignored.is_empty() {
        ctx.lines.say(&format!("these inputs mean nothing here: {}", wanted.ignored.join(", "))).await;
    }
    let url = ctx.parts.mirrors.url_of(repo)?;
    let Wanted { path, git_ref, depth, tags, .. } = wanted;
    // A commit is asked for as such, so that one that no branch reaches any more is found, too.
    let is_commit = matches!(git_ref.len(), 40 | 64) && git_ref.bytes().all(|b| b.is_ascii_hexdigit());
    let (wanted_ref, wanted_commit) = match (git_ref.is_empty(), is_commit) {
        (true, _) => (ctx.event.git_ref.clone(), ctx.event.commit.clone()),
        (false, true) => (String::new(), git_ref.to_ascii_lowercase()),
        (false, false) => (git_ref, String::new()),
    };
    if !wanted.clean && holds_checkout(ctx, &path).await? {
        return Err(format!(
            "clean: an earlier step has checked something out into {path:?}, and a checkout leaves nothing there that is not its \
             commit's; leave `clean` out, or name another `path`"
        ));
    }
    let parts = &ctx.parts;
    let sparse = (!wanted.sparse.is_empty()).then_some(Sparse { patterns: wanted.sparse, cone: wanted.cone });
    let submodules = (wanted.submodules != Nesting::None).then(|| Submodules {
        mirrors: parts.mirrors.clone(),
        repo: *id,
        url: url.clone(),
        given: !ctx.event.from_fork,
        recursive: wanted.submodules == Nesting::All,
    });
    let large_files = wanted.lfs.then(|| LargeFiles { url: url.clone(), given: !ctx.event.from_fork });
    let origin = url.redacted();
    let source = Source { repo: *id, url, git_ref: wanted_ref, commit: wanted_commit };
    let Point { git_ref, commit } = parts.mirrors.ensure(&source).await.map_err(|e| e.to_string())?;
    let mirror: PathBuf = parts.mirrors.dir(*id);
    // Init has made the spool, as whatever user the image runs as.
    let spool = &ctx.directories.spool;
    let made = tokio::fs::symlink_metadata(spool).await.map_err(|e| format!("{}: {e}", spool.display()))?;
    let owner = (made.uid() != rustix::process::geteuid().as_raw()).then(|| (made.uid(), made.gid()));
    let outputs = [("ref", &git_ref), ("commit", &commit)];
    let outputs = outputs.map(|(name, value)| (name.to_owned(), value.clone())).into();
    let said = checkout(Checkout {
        objects_seen_at: parts.seen(&mirror.join("objects"), OBJECTS),
        mirror,
        origin,
        // Its own: a step that was ended half-way leaves its directory behind until the attempt is over.
        staging: ctx.directories.staging.join(ctx.order.to_string()),
        workspace: ctx.directories.workspace.clone(),
        path,
        git_ref,
        commit,
        depth,
        tags,
        sparse,
        submodules,
        large_files,
        owner,
        timeout: parts.options.git_timeout,
        writing: Some(ctx.writing.clone()),
    })
    .await
    .map_err(|e| e.to_string())?;
    for line in said {
        ctx.lines.say(&line).await;
    }
    Ok(NativeDone { outputs, ..NativeDone::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(with: &[(&str, &str)]) -> Result<Wanted, String> {
        let with = with.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Wanted::of(&with, "team/app")
    }

    #[test]
    fn inputs_are_known_or_refused_by_name() -> Result<(), String> {
        let all = [
            ("path", "sub"),
            ("ref", "v1"),
            ("Fetch-Depth", "0"),
            ("repository", "Team/App"),
            ("clean", "false"),
            ("submodules", "Recursive"),
            ("lfs", "true"),
            ("fetch-tags", "true"),
            ("sparse-checkout", " src \n\n!docs\n"),
            ("sparse-checkout-cone-mode", "false"),
            ("token", "x"),
        ];
        let found = wanted(&all)?;
        assert_eq!((found.path.as_str(), found.git_ref.as_str(), found.depth), ("sub", "v1", 0));
        assert_eq!(found.ignored, ["token"]);
        assert!(!found.clean && wanted(&[])?.clean);
        assert_eq!((found.submodules, found.lfs, found.tags, found.cone), (Nesting::All, true, true, false));
        assert_eq!(found.sparse, ["src", "!docs"]);
        for (bad, name) in [
            (("repository", "other/app"), "repository"),
            (("fetch-depth", "-1"), "fetch-depth"),
            (("clean", "maybe"), "clean"),
            (("submodules", "deep"), "submodules"),
            (("sparse-checkout", "src\n--stdin"), "sparse-checkout"),
            (("typo", "1"), "typo"),
        ] {
            let why = wanted(&[bad]).err().ok_or("it was taken")?;
            assert!(why.starts_with(name), "{why}");
        }
        Ok(())
    }
}
