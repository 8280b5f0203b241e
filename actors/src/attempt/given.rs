//! What the replicated state says of an attempt that is to run, at the time when it begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Action, AttemptId, Event, JobSpec, Repo, RepoId, Resources};
use raft_store::codec;

use super::Parts;
use crate::runner::environment::{self, Facts};

/// Largest specification that is read, in bytes.
const MAX_SPEC: usize = domain::limits::MAX_SPEC_BYTES;

/// Everything about the job.
pub(super) struct Given {
    pub(super) spec: JobSpec,
    pub(super) image: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) resources: Resources,
    pub(super) event: Arc<Event>,
    pub(super) repo: Option<(RepoId, Repo)>,
}

impl Given {
    /// Reads it; `workspace` is where the job sees its workspace. An error is in words.
    pub(super) fn read(parts: &Parts, attempt: AttemptId, workspace: &str) -> Result<Self, String> {
        let state = parts.replica.state();
        let unknown = || format!("job {} is not in this node's state", attempt.job);
        let job = state.jobs.get(&attempt.job).ok_or_else(unknown)?;
        let run = state.runs.get(&attempt.job.run).ok_or_else(unknown)?;
        let bytes = state.specs.get(&attempt.job).ok_or_else(unknown)?;
        let spec: JobSpec = codec::decode(&bytes.0, MAX_SPEC)
            .map_err(|error| format!("the specification of job {} cannot be read: {error}", attempt.job))?;
        let repo = run.repo.and_then(|id| Some((id, state.repos.get(&id)?.clone())));
        let repository = repo.as_ref().map_or("", |(_, repo)| repo.name.as_str());
        let node = parts.options.name.as_str();
        let facts = Facts { run, job: &job.key, attempt, repository, node, workspace };
        Ok(Self {
            env: environment::of_job(&spec, facts),
            image: parts.options.image(&spec.container.image, &job.labels).to_owned(),
            resources: job.resources,
            event: Arc::clone(&run.event),
            repo,
            spec,
        })
    }

    /// The repository whose objects the container must see: only when a step checks it out.
    pub(super) fn checked_out(&self) -> Option<RepoId> {
        let checks_out = self
            .spec
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Native { what: domain::Native::Checkout, .. }));
        self.repo.as_ref().filter(|_| checks_out).map(|(id, _)| *id)
    }
}
