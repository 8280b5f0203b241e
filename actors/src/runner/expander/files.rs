//! The files of a repository at one commit, and what an event changed, as expansion asks for them: from threads that may block.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use domain::{Event, EventKind, RepoId};
use tokio::runtime::Handle;
use workflow::directory_of;

use crate::workspace::Mirrors;

/// Files of a commit.
pub(super) struct AtCommit {
    mirrors: Mirrors,
    repo: RepoId,
    commit: String,
    /// The workflow files, which were read already.
    known: Vec<(String, Vec<u8>)>,
    /// What was read since, for its runs may be made more than once.
    read: Mutex<HashMap<String, Option<Vec<u8>>>>,
    changed: OnceLock<Option<Vec<String>>>,
    runtime: Handle,
}

impl AtCommit {
    /// To be made where a runtime is.
    pub(super) fn new(mirrors: Mirrors, repo: RepoId, commit: String, known: Vec<(String, Vec<u8>)>) -> Self {
        let (read, changed) = (Mutex::default(), OnceLock::new());
        Self { mirrors, repo, commit, known, read, changed, runtime: Handle::current() }
    }

    /// The paths that an event changed; none where git cannot say, which is as if any had. Blocking.
    pub(super) fn changed(&self, event: &Event) -> Option<Vec<String>> {
        self.changed.get_or_init(|| self.ask_what_changed(event)).clone()
    }

    /// Whether one of the files that were read has this word, in whatever case.
    pub(super) fn says(&self, word: &str) -> bool {
        let has =
            |bytes: &[u8]| bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.known.iter().any(|(_, bytes)| has(bytes)) || read.values().flatten().any(|bytes| has(bytes))
    }

    fn ask_what_changed(&self, event: &Event) -> Option<Vec<String>> {
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
        let known = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
        if let Some(known) = known {
            return known;
        }
        let read = self.runtime.block_on(self.mirrors.read_file(self.repo, &self.commit, &path));
        let read = read
            .inspect_err(|error| tracing::warn!(%error, path, "a file of a repository cannot be read"))
            .ok()?;
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(path, read.clone());
        read
    }
}
