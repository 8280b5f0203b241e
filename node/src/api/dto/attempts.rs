//! Attempts, their steps, and what they left.

use domain::{Attempt, AttemptId, ClusterState, JobId, JobSpec, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{self, ATTEMPT_ID, JOB_ID, LEVELS, NODE_ID, SHA256};
use super::{outcome, time};

/// An attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// Its id, `RUN.INDEX/NUMBER`.
    #[schemars(extend("pattern" = ATTEMPT_ID))]
    pub id: String,
    /// Its node's id.
    #[schemars(extend("pattern" = NODE_ID))]
    pub node: String,
    /// Its fence.
    pub fence: u64,
    /// When it was placed.
    pub placed_at: Option<u64>,
    /// When its container started.
    pub started_at: Option<u64>,
    /// When its end was applied.
    pub finished_at: Option<u64>,
    /// How it ended.
    #[schemars(schema_with = "names::outcome")]
    pub outcome: Option<String>,
    /// Why, when not a success.
    pub reason: String,
    /// Its steps as last reported.
    pub steps: Vec<StepView>,
    /// Files kept.
    pub artifacts: Vec<ArtifactView>,
    /// Bytes of output, known at the end.
    pub log_bytes: u64,
}

impl AttemptView {
    /// An attempt's view.
    #[must_use]
    pub fn of(state: &ClusterState, id: AttemptId, attempt: &Attempt) -> Self {
        let names = step_names(state, id.job);
        let step = |(index, step): (usize, &domain::StepResult)| StepView {
            name: match step.name.is_empty() {
                true => names.get(index).cloned().unwrap_or_default(),
                false => step.name.clone(),
            },
            exit_code: step.exit_code,
            signal: step.signal,
            outcome: step.outcome.map(outcome),
            started_at: time(step.started_at),
            finished_at: time(step.finished_at),
        };
        let artifact = |artifact: &domain::Artifact| ArtifactView {
            name: artifact.name.clone(),
            path: artifact.path.clone(),
            size: artifact.size,
            sha256: hex::encode(artifact.digest),
        };
        Self {
            id: id.to_string(),
            node: attempt.node.to_string(),
            fence: attempt.fence.0,
            placed_at: time(attempt.placed_at),
            started_at: time(attempt.started_at),
            finished_at: time(attempt.finished_at),
            outcome: attempt.outcome.map(outcome),
            reason: attempt.reason.to_string(),
            steps: attempt.steps.iter().enumerate().map(step).collect(),
            artifacts: attempt.artifacts.iter().map(artifact).collect(),
            log_bytes: attempt.log_bytes,
        }
    }
}

/// The names of a job's steps as its specification has them.
fn step_names(state: &ClusterState, job: JobId) -> Vec<String> {
    let bytes = state.specs.get(&job).map(|spec| &spec.0);
    let spec =
        bytes.and_then(|bytes| raft_store::codec::decode::<JobSpec>(bytes, limits::MAX_SPEC_BYTES).ok());
    spec.into_iter().flat_map(|spec| spec.steps).map(|step| step.name).collect()
}

/// A step's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Its name as people see it.
    #[serde(default)]
    pub name: String,
    /// Exit code, once it has exited by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// How it ended.
    #[schemars(schema_with = "names::outcome")]
    pub outcome: Option<String>,
    /// When it started.
    pub started_at: Option<u64>,
    /// When it ended.
    pub finished_at: Option<u64>,
}

/// A file kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactView {
    /// Of `actions/upload-artifact`; empty for a file that `x-troupe.artifacts` chose.
    #[serde(default)]
    pub name: String,
    /// Relative to the workspace, or of one with a name to where that begins.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Digest in hexadecimal.
    #[schemars(extend("pattern" = SHA256))]
    pub sha256: String,
}

/// What a job said of a place in the sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnnotationView {
    /// The job's id.
    #[schemars(extend("pattern" = JOB_ID))]
    pub job: String,
    /// The step that said it, from 1.
    pub step: u32,
    /// `notice`, `warning` or `error`.
    #[schemars(extend("enum" = LEVELS))]
    pub level: String,
    /// A title; empty for none.
    pub title: String,
    /// What it says.
    pub message: String,
    /// Path in the repository; empty for none.
    pub file: String,
    /// Line from 1.
    pub line: Option<u32>,
    /// Column from 1.
    pub column: Option<u32>,
}

impl AnnotationView {
    /// What the last attempt of a job said.
    pub(super) fn of(state: &ClusterState, id: JobId) -> Vec<Self> {
        let last = state.jobs.get(&id).and_then(|job| state.attempts.get(&job.attempt_id(id)));
        let view = |one: &domain::Annotation| Self {
            job: id.to_string(),
            step: u32::from(one.step) + 1,
            level: one.level.as_str().to_owned(),
            title: one.title.clone(),
            message: one.message.clone(),
            file: one.file.clone(),
            line: (one.line > 0).then_some(one.line),
            column: (one.column > 0).then_some(one.column),
        };
        last.into_iter().flat_map(|attempt| attempt.annotations.iter()).map(view).collect()
    }
}
