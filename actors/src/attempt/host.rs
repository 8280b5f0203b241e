//! Steps that the node does for a job, outside its container: checkouts.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use domain::{Action, Event, Repo, RepoId};

use super::Parts;
use super::control::Directories;
use crate::workspace::{Checkout, CloneUrl, Point, Source, checkout};

/// Where the container sees the objects of the repository's mirror, which its checkouts share.
pub(super) const OBJECTS: &str = "/troupe-objects";

/// A checkout with all it needs; owned, so that it runs beside the attempt.
pub(super) struct HostStep {
    pub(super) parts: Arc<Parts>,
    pub(super) repo: Option<(RepoId, Repo)>,
    pub(super) event: Arc<Event>,
    pub(super) directories: Directories,
}

impl HostStep {
    /// Does it; an error is in words for the person who pushed.
    pub(super) async fn run(self, action: Action) -> Result<(), String> {
        let Action::Checkout { path, git_ref, depth } = action else {
            return Err("this step is not the node's to do".to_owned());
        };
        let (id, repo) = self.repo.ok_or("there is no repository to check out: this run belongs to none")?;
        let url = CloneUrl::parse(&repo.clone_url).map_err(|e| format!("the clone URL: {e}"))?;
        let own = git_ref.is_empty();
        // A commit is asked for as such, so that one that no branch reaches any more is found, too.
        let is_commit = matches!(git_ref.len(), 40 | 64) && git_ref.bytes().all(|b| b.is_ascii_hexdigit());
        let (wanted_ref, wanted_commit) = match (own, is_commit) {
            (true, _) => (self.event.git_ref.clone(), self.event.commit.clone()),
            (false, true) => (String::new(), git_ref.to_ascii_lowercase()),
            (false, false) => (git_ref, String::new()),
        };
        let origin = url.redacted();
        let source = Source { repo: id, url, git_ref: wanted_ref, commit: wanted_commit };
        let Point { git_ref, commit } =
            self.parts.mirrors.ensure(&source).await.map_err(|e| e.to_string())?;
        let mirror: PathBuf = self.parts.mirrors.dir(id);
        let objects = self.parts.seen(&mirror.join("objects"), OBJECTS);
        // Init has made the spool, as whatever user the image runs as.
        let spool = self.directories.spool.clone();
        let made =
            tokio::fs::symlink_metadata(&spool).await.map_err(|e| format!("{}: {e}", spool.display()))?;
        let owner = (made.uid() != rustix::process::geteuid().as_raw()).then(|| (made.uid(), made.gid()));
        checkout(Checkout {
            mirror,
            objects_seen_at: objects,
            origin,
            staging: self.directories.staging,
            workspace: self.directories.workspace,
            path,
            git_ref,
            commit,
            depth,
            owner,
            timeout: self.parts.options.git_timeout,
        })
        .await
        .map_err(|e| e.to_string())
    }
}
