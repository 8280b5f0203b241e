//! The files of a repository at one commit, and what an event changed, as expansion asks for them: from threads that may block.

use domain::{Event, EventKind, RepoId};
use tokio::runtime::Handle;
use workflow::directory_of;

use crate::workspace::Mirrors;

/// Files of a commit.
pub(super) struct AtCommit {
    mirrors: Mirrors,
    repo: RepoId,
    commit: String,
    /// Those that were read already.
    known: Vec<(String, Vec<u8>)>,
    runtime: Handle,
}

impl AtCommit {
    /// To be made where a runtime is.
    pub(super) fn new(mirrors: Mirrors, repo: RepoId, commit: String, known: Vec<(String, Vec<u8>)>) -> Self {
        Self { mirrors, repo, commit, known, runtime: Handle::current() }
    }

    /// The paths that an event changed; none where git cannot say, which is as if any had. Blocking.
    pub(super) fn changed(&self, event: &Event) -> Option<Vec<String>> {
        let found = self.runtime.block_on(async {
            match event.kind {
                EventKind::PullRequest => {
                    let (base, head) = (&event.base_ref, &event.commit);
                    self.mirrors.changed_paths_of_pull_request(self.repo, base, head).await
                }
                _ => self.mirrors.changed_paths(self.repo, &event.before, &event.commit).await,
            }
        });
        found.inspect_err(|error| tracing::warn!(%error, "what an event changed is not known: no path filter holds it back")).ok()
    }
}

impl workflow::model::Files for AtCommit {
    fn file(&self, uses: &str) -> Option<Vec<u8>> {
        let path = directory_of(uses)?;
        if let Some((_, bytes)) = self.known.iter().find(|(known, _)| *known == path) {
            return Some(bytes.clone());
        }
        let read = self.runtime.block_on(self.mirrors.read_file(self.repo, &self.commit, &path));
        read.inspect_err(|error| tracing::warn!(%error, path, "a file of a repository cannot be read"))
            .ok()?
    }
}
