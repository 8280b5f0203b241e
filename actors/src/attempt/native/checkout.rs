//! `actions/checkout`: a commit of the run's repository, put into the workspace.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::{Inputs, NativeContext, NativeDone};
use crate::workspace::{Checkout, Point, Source, checkout};

/// Where the container sees the objects of the repository's mirror, which its checkouts share.
pub(in crate::attempt) const OBJECTS: &str = "/troupe-objects";

/// Inputs that mean nothing here: there are no credentials that a job could keep.
const IGNORED: [&str; 11] = [
    "token",
    "ssh-key",
    "ssh-known-hosts",
    "ssh-strict",
    "ssh-user",
    "persist-credentials",
    "set-safe-directory",
    "github-server-url",
    "show-progress",
    "fetch-tags",
    "filter",
];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    path: String,
    git_ref: String,
    depth: u32,
    /// Inputs that were given and are ignored.
    ignored: Vec<String>,
}

impl Wanted {
    fn of(with: &Inputs, own: &str) -> Result<Self, String> {
        let mut wanted = Self { path: String::new(), git_ref: String::new(), depth: 1, ignored: Vec::new() };
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
                // The tree is always made anew.
                "clean" => flag(name, value).map(drop)?,
                "submodules" | "lfs" | "sparse-checkout" => {
                    if value != "false" {
                        return refused("it cannot be done here yet, only `false`");
                    }
                }
                "sparse-checkout-cone-mode" => {}
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

/// Does it.
pub(super) async fn run(ctx: &NativeContext, with: &Inputs) -> Result<NativeDone, String> {
    let (id, repo) =
        ctx.repo.as_ref().ok_or("there is no repository to check out: this run belongs to none")?;
    let wanted = Wanted::of(with, repo.name.as_str())?;
    if !wanted.ignored.is_empty() {
        ctx.lines.say(&format!("these inputs mean nothing here: {}", wanted.ignored.join(", "))).await;
    }
    let url = ctx.parts.mirrors.url_of(repo)?;
    let Wanted { path, git_ref, depth, .. } = wanted;
    // A commit is asked for as such, so that one that no branch reaches any more is found, too.
    let is_commit = matches!(git_ref.len(), 40 | 64) && git_ref.bytes().all(|b| b.is_ascii_hexdigit());
    let (wanted_ref, wanted_commit) = match (git_ref.is_empty(), is_commit) {
        (true, _) => (ctx.event.git_ref.clone(), ctx.event.commit.clone()),
        (false, true) => (String::new(), git_ref.to_ascii_lowercase()),
        (false, false) => (git_ref, String::new()),
    };
    let origin = url.redacted();
    let source = Source { repo: *id, url, git_ref: wanted_ref, commit: wanted_commit };
    let parts = &ctx.parts;
    let Point { git_ref, commit } = parts.mirrors.ensure(&source).await.map_err(|e| e.to_string())?;
    let mirror: PathBuf = parts.mirrors.dir(*id);
    // Init has made the spool, as whatever user the image runs as.
    let spool = &ctx.directories.spool;
    let made = tokio::fs::symlink_metadata(spool).await.map_err(|e| format!("{}: {e}", spool.display()))?;
    let owner = (made.uid() != rustix::process::geteuid().as_raw()).then(|| (made.uid(), made.gid()));
    let outputs = [("ref", &git_ref), ("commit", &commit)];
    let outputs = outputs.map(|(name, value)| (name.to_owned(), value.clone())).into();
    checkout(Checkout {
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
        owner,
        timeout: parts.options.git_timeout,
        writing: Some(ctx.writing.clone()),
    })
    .await
    .map_err(|e| e.to_string())?;
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
            ("clean", "true"),
            ("submodules", "false"),
            ("token", "x"),
        ];
        let found = wanted(&all)?;
        assert_eq!((found.path.as_str(), found.git_ref.as_str(), found.depth), ("sub", "v1", 0));
        assert_eq!(found.ignored, ["token"]);
        for (bad, name) in [
            (("repository", "other/app"), "repository"),
            (("fetch-depth", "-1"), "fetch-depth"),
            (("clean", "maybe"), "clean"),
            (("submodules", "recursive"), "submodules"),
            (("typo", "1"), "typo"),
        ] {
            let why = wanted(&[bad]).err().ok_or("it was taken")?;
            assert!(why.starts_with(name), "{why}");
        }
        Ok(())
    }
}
