//! The work of an attempt: a container on an executor, its workspace, its log, its artifacts.
//!
//! The directory of an attempt has: `fence` (which attempt it is), `control/` (what the container's init reads and
//! writes), `workspace/`, `permit`, `event.json`, `temp/`, `log`, and while a checkout is under way `staging/`. Only `log` outlives
//! the attempt.
//! Must not know placements, leases or how results are reported.

mod accept;
mod begin;
mod bytes;
mod control;

mod end;
mod follow;
mod given;
mod hashes;
mod host;
mod lead;
mod life;
#[allow(dead_code, reason = "parts of it are for actions that come next")]
mod native;
mod pausing;
mod permit;
mod plan;
mod services;
mod tap;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::{AttemptId, ClusterState, Event, Fence, Labels, NodeId, NodeName, RepoId, Run};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::artifacts::{Blobs, Limits};
use crate::bulk::Others;
use crate::caches;
use crate::executor::{self, Executor, Found, FoundState, Part};
use crate::logs::LogStore;
use crate::replica::SharedReplica;
use crate::runner::work::{Finished, Survivor, SurvivorsError, Task, Work};
use crate::workspace::Mirrors;

/// How this node runs attempts.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Directory with a sub-directory per attempt; the same that the [`LogStore`] has.
    pub attempts: PathBuf,
    /// Image of jobs that name none.
    pub default_image: String,
    /// Image by label, for jobs that name none.
    pub images: BTreeMap<String, String>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// Processes and threads of one attempt at one time.
    pub pids: u32,
    /// Limit for one run of git.
    pub git_timeout: Duration,
    /// What one attempt may keep.
    pub artifacts: Limits,
    /// Where people reach the API, without a slash at its end; empty where nobody said so.
    pub public_url: String,
}

impl Options {
    /// The image of a job: its own, else that of the first of its labels that has one, else the default.
    fn image<'a>(&'a self, own: &'a str, labels: &Labels) -> &'a str {
        if !own.is_empty() {
            return own;
        }
        labels.iter().find_map(|label| self.images.get(label)).unwrap_or(&self.default_image)
    }
}

/// The secrets that a job of an event is given, by name; an error, in words, when one cannot be opened.
pub type Secrets =
    Arc<dyn Fn(&ClusterState, RepoId, &Event) -> Result<BTreeMap<String, String>, String> + Send + Sync>;

/// Runs attempts in containers.
#[derive(Clone)]
pub struct Containers(Arc<Parts>);

/// What all attempts of this node share.
struct Parts {
    options: Options,
    replica: SharedReplica,
    executor: Arc<dyn Executor>,
    logs: LogStore,
    blobs: Blobs,
    mirrors: Mirrors,
    secrets: OnceLock<Secrets>,
    beyond: OnceLock<Beyond>,
}

/// What attempts have beyond this node.
#[derive(Clone)]
pub struct Beyond {
    /// What other nodes have kept.
    pub others: Arc<dyn Others>,
    /// Bounds of one cache.
    pub cache: caches::Limits,
    /// Bytes of a repository's caches, at most.
    pub caches_bytes: u64,
}

impl Containers {
    /// On this node's executor.
    #[must_use]
    pub fn new(
        options: Options,
        replica: SharedReplica,
        executor: Arc<dyn Executor>,
        logs: LogStore,
        blobs: Blobs,
        mirrors: Mirrors,
    ) -> Self {
        let (secrets, beyond) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Parts { options, replica, executor, logs, blobs, mirrors, secrets, beyond }))
    }
}

impl Containers {
    /// From now on attempts reach what other nodes have kept, and keep caches. The first to say so holds.
    #[must_use]
    pub fn reaching(self, beyond: Beyond) -> Self {
        self.0.beyond.get_or_init(|| beyond);
        self
    }

    /// Gives jobs their secrets from now on; said once, before the first attempt. Without it they have none.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        let first = self.0.secrets.set(secrets).is_ok();
        debug_assert!(first, "secrets come from one place");
        self
    }
}

impl Work for Containers {
    fn run(&self, task: Task) -> BoxFuture<'static, Finished> {
        life::run(Arc::clone(&self.0), task).boxed()
    }

    fn survivors(&self) -> BoxFuture<'_, Result<Vec<Survivor>, SurvivorsError>> {
        self.0.survivors().boxed()
    }

    fn clean(&self, attempt: AttemptId, fence: Fence) -> BoxFuture<'_, ()> {
        self.0.clean(attempt, fence).boxed()
    }

    fn tidy(&self, slots: u16) -> BoxFuture<'_, ()> {
        self.0.tidy(slots).boxed()
    }
}

impl Parts {
    /// Containers of this node, and directories that were prepared and never got one.
    async fn survivors(&self) -> Result<Vec<Survivor>, SurvivorsError> {
        let failed = |why: String| SurvivorsError { why };
        let containers = self.executor.list().await.map_err(|e| failed(e.to_string()))?;
        let of = |c: Found| Survivor { attempt: c.attempt, fence: c.fence, slot: c.slot };
        let mut found: Vec<_> = containers.into_iter().map(of).collect();
        let root = self.options.attempts.clone();
        let prepared = tokio::task::spawn_blocking(move || control::prepared(&root)).await;
        let prepared = prepared.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        found.extend(prepared.into_iter().map(|(attempt, fence)| Survivor { attempt, fence, slot: None }));
        // Of the same attempt the one that has a slot.
        found.sort_by_key(|s| (s.attempt, s.fence, s.slot.is_none()));
        found.dedup_by_key(|s| (s.attempt, s.fence));
        Ok(found)
    }

    /// The container of an attempt under its fence.
    async fn container(&self, attempt: AttemptId, fence: Fence) -> Result<Option<Found>, executor::Error> {
        let all = self.executor.list().await?;
        let same =
            |found: &Found| found.attempt == attempt && found.fence == fence && found.part == Part::Job;
        Ok(all.into_iter().find(same))
    }

    /// Sees that no container of an attempt runs, its services' and steps' neither, however long the executor takes to answer.
    async fn end_container(&self, attempt: AttemptId, fence: Fence) {
        while let Err(error) = self.try_to_end(attempt, fence, |_| true).await {
            tracing::warn!(%attempt, %error, "cannot end the container of an attempt yet; its slot stays taken");
            tokio::time::sleep(life::RETRY).await;
        }
    }

    /// One that does not run and cannot be removed is left to the next start of this node: it does no harm.
    async fn try_to_end(
        &self,
        attempt: AttemptId,
        fence: Fence,
        which: impl Fn(&Part) -> bool,
    ) -> Result<(), executor::Error> {
        let all = self.executor.list().await?;
        let same = |found: &Found| found.attempt == attempt && found.fence == fence && which(&found.part);
        for found in all.into_iter().filter(same) {
            match self.executor.remove(&found.id).await {
                Err(error) if found.state == FoundState::Running => return Err(error),
                Err(error @ executor::Error::Unreachable(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%attempt, %error, "a container cannot be removed; the next start of this node tries again");
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn clean(&self, attempt: AttemptId, fence: Fence) {
        self.end_container(attempt, fence).await;
        let directory = self.directory(attempt);
        let removed = tokio::task::spawn_blocking(move || control::clear(&directory, fence)).await;
        if !matches!(removed, Ok(Ok(()))) {
            tracing::warn!(%attempt, ?removed, "the directories of an attempt cannot be removed");
        }
    }

    async fn tidy(&self, slots: u16) {
        if let Err(error) = self.executor.forget_slots(slots).await {
            tracing::warn!(%error, "what slots that are no more had cannot be removed");
        }
        let used = |repo: RepoId| {
            // Newer than the mirror, which whoever made it had a state for. A run outlives its repository.
            let state = self.replica.state();
            let of_it = |run: &Run| run.repo == Some(repo) && run.outcome.is_none();
            state.repos.contains(&repo) || state.runs.iter().any(|(_, run)| of_it(run))
        };
        if let Some(beside) = self.executor.beside()
            && let Err(error) = beside.forget_volumes(&used).await
        {
            tracing::warn!(%error, "volumes of repositories that are gone cannot be removed");
        }
        match self.mirrors.forget(used).await {
            Ok(repos) if repos.is_empty() => {}
            Ok(repos) => tracing::info!(?repos, "mirrors of repositories that are gone were removed"),
            Err(error) => tracing::warn!(%error, "mirrors of repositories that are gone cannot be removed"),
        }
    }

    fn directory(&self, attempt: AttemptId) -> PathBuf {
        self.logs.attempt_dir(attempt)
    }

    /// How the job sees a directory of this machine.
    fn seen(&self, directory: &Path, inside: &str) -> String {
        self.executor.seen(directory, inside).to_string_lossy().into_owned()
    }
}
