//! Runs, jobs, attempts, steps, artifacts.

use std::collections::BTreeMap;

use domain::{AttemptId, ClusterState, Job, JobId, JobState, Outcome, Run, RunId, Waits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attempts::AnnotationView;
use super::names::{self, EVENTS, JOB_FORMS, JOB_ID, JOB_STATES, MAX_LABEL_BYTES, MAX_LABELS, NODE_ID, ULID};
use super::{outcome, time};

/// Bytes of the name of an ad hoc job.
pub const MAX_NAME_BYTES: usize = 200;
/// Bytes of the name of an image.
pub const MAX_IMAGE_BYTES: usize = 512;
/// Priorities are from its negative to this.
pub const MAX_PRIORITY: i8 = 100;
/// Thousandths of a cpu of an ad hoc job, at least.
pub const MIN_CPU_MILLIS: u32 = 100;
/// Thousandths of a cpu of an ad hoc job, at most.
pub const MAX_CPU_MILLIS: u32 = 256_000;
/// MiB of memory of an ad hoc job, at least.
pub const MIN_MEMORY_MIB: u32 = 16;
/// MiB of memory of an ad hoc job, at most: 4 TiB.
pub const MAX_MEMORY_MIB: u32 = 4 << 20;
/// Seconds that an ad hoc job may take: 7 days.
pub const MAX_TIMEOUT_SECONDS: u32 = 7 * 24 * 3600;

/// An ad hoc job as it is submitted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// Name, for people: at most 200 bytes without control characters.
    #[serde(default)]
    #[schemars(length(max = MAX_NAME_BYTES))]
    pub name: String,
    /// Container image, at most 512 bytes; empty means the node's default.
    #[serde(default)]
    #[schemars(length(max = MAX_IMAGE_BYTES))]
    pub image: String,
    /// Shell script, not empty; the whole job may take 256 KiB.
    #[schemars(length(min = 1))]
    pub script: String,
    /// Environment: names are not empty and without `=`, nothing contains NUL.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Labels that a node must have, at most 64 of 1 to 100 bytes without spaces.
    #[serde(default)]
    #[schemars(length(max = MAX_LABELS), inner(length(min = 1, max = MAX_LABEL_BYTES)))]
    pub labels: Vec<String>,
    /// Thousandths of a cpu, 100 to 256000; default 1000.
    #[serde(default = "one_cpu")]
    #[schemars(range(min = MIN_CPU_MILLIS, max = MAX_CPU_MILLIS))]
    pub cpu_millis: u32,
    /// MiB of memory, 16 to 4194304 (4 TiB); default 512.
    #[serde(default = "half_gib")]
    #[schemars(range(min = MIN_MEMORY_MIB, max = MAX_MEMORY_MIB))]
    pub memory_mib: u32,
    /// -100 to 100, higher first.
    #[serde(default)]
    #[schemars(range(min = -MAX_PRIORITY, max = MAX_PRIORITY))]
    pub priority: i8,
    /// Limit in seconds, 1 to 604800 (7 days); default one hour.
    #[serde(default = "one_hour")]
    #[schemars(range(min = 1, max = MAX_TIMEOUT_SECONDS))]
    pub timeout_seconds: u32,
    /// Globs of files to keep, relative to the workspace, without `..`.
    #[serde(default)]
    pub artifacts: Vec<String>,
}

fn one_cpu() -> u32 {
    1000
}
fn half_gib() -> u32 {
    512
}
fn one_hour() -> u32 {
    3600
}

/// The answer to a submit or rerun.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunMade {
    /// The run's id.
    #[schemars(extend("pattern" = ULID))]
    pub id: String,
    /// Its number.
    pub number: u64,
    /// The same key was used before; this is the run of then.
    pub duplicate: bool,
}

/// A run that was asked to end.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Cancelling {
    /// The run's id.
    #[schemars(extend("pattern" = ULID))]
    pub cancelling: String,
}

/// A run that was asked to stand still.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Pausing {
    /// The run's id.
    #[schemars(extend("pattern" = ULID))]
    pub pausing: String,
}

/// A run that was asked to go on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Resuming {
    /// The run's id.
    #[schemars(extend("pattern" = ULID))]
    pub resuming: String,
}

/// A run that was approved.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Approving {
    /// The run's id.
    #[schemars(extend("pattern" = ULID))]
    pub approving: String,
}

/// Somebody said whether a job may be done for its environment.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Reviewed {
    /// The job's id.
    #[schemars(extend("pattern" = JOB_ID))]
    pub job: String,
    /// It begins; else it has failed.
    pub approved: bool,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunView {
    /// Its id.
    #[schemars(extend("pattern" = ULID))]
    pub id: String,
    /// Its number in its repository.
    pub number: u64,
    /// Its repository's name; none for an ad hoc job, and when the repository was removed.
    pub repo: Option<String>,
    /// The workflow's name.
    pub name: String,
    /// The workflow's file.
    pub path: String,
    /// What caused it, as `push`.
    #[schemars(extend("enum" = EVENTS))]
    pub event: String,
    /// The event's ref.
    pub git_ref: String,
    /// The commit.
    pub commit: String,
    /// What it is called: the workflow's `run-name`, else the first line of the commit's message.
    pub title: String,
    /// Who caused it.
    pub sender: String,
    /// The delivery behind it.
    #[schemars(extend("pattern" = ULID))]
    pub delivery: Option<String>,
    /// The run that this one repeats.
    #[schemars(extend("pattern" = ULID))]
    pub rerun_of: Option<String>,
    /// Who asked for that, `token:NAME`.
    #[serde(default)]
    pub rerun_by: Option<String>,
    /// Somebody, or a run of its concurrency group, asked for its end; jobs with `if: always()` run on.
    #[serde(default)]
    pub cancel_requested: bool,
    /// How it ended; none while it runs.
    #[schemars(schema_with = "names::outcome")]
    pub outcome: Option<String>,
    /// Why the workflow cannot run.
    pub error: Option<String>,
    /// When it was committed.
    pub created_at: Option<u64>,
    /// When its last job finished.
    pub finished_at: Option<u64>,
    /// When it was paused, while it is.
    #[serde(default)]
    pub paused_at: Option<u64>,
    /// Who paused it, while it is paused.
    #[serde(default)]
    pub paused_by: Option<String>,
    /// It waits until somebody approves it: its commits are of someone who may not push.
    #[serde(default)]
    pub needs_approval: bool,
    /// Who approved it.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// Its jobs; only in the view of one run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobView>,
    /// What its jobs said of places in the sources; only in the view of one run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<AnnotationView>,
}

impl RunView {
    /// A run without its jobs.
    #[must_use]
    pub fn brief(state: &ClusterState, id: RunId, run: &Run) -> Self {
        let pause = state.paused_runs.get(&id);
        Self {
            id: id.to_string(),
            number: run.number,
            repo: run.repo.and_then(|repo| state.repos.get(&repo)).map(|repo| repo.name.to_string()),
            name: run.name.to_string(),
            path: run.path.to_string(),
            event: run.event.kind.as_str().to_owned(),
            git_ref: run.event.git_ref.clone(),
            commit: run.event.commit.clone(),
            title: if run.title.is_empty() { run.event.title.clone() } else { run.title.to_string() },
            sender: run.event.sender.clone(),
            delivery: run.delivery.map(|id| id.to_string()),
            rerun_of: run.rerun_of.map(|id| id.to_string()),
            rerun_by: run.rerun_by.as_ref().map(ToString::to_string),
            cancel_requested: run.cancel_requested,
            outcome: run.outcome.map(outcome),
            error: run.error.as_ref().map(ToString::to_string),
            created_at: time(run.created_at),
            finished_at: time(run.finished_at),
            paused_at: pause.and_then(|pause| time(pause.at)),
            paused_by: pause.map(|pause| pause.sender.clone()),
            needs_approval: state.unapproved.contains(&id),
            approved_by: state.approved.get(&id).map(ToString::to_string),
            jobs: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// A run with its jobs, and what they said.
    #[must_use]
    pub fn full(state: &ClusterState, id: RunId, run: &Run) -> Self {
        let ids = (0..run.jobs).map(|index| JobId { run: id, index });
        let annotations = ids.flat_map(|id| AnnotationView::of(state, id)).collect();
        Self { annotations, ..Self::with_jobs(state, id, run) }
    }

    /// A run with its jobs.
    #[must_use]
    pub fn with_jobs(state: &ClusterState, id: RunId, run: &Run) -> Self {
        let (ids, waits) = ((0..run.jobs).map(|index| JobId { run: id, index }), Waits::new(state));
        let jobs = ids.filter_map(|id| Some(JobView::of(state, &waits, id, state.jobs.get(&id)?))).collect();
        Self { jobs, ..Self::brief(state, id, run) }
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Its id, `RUN.INDEX`.
    #[schemars(extend("pattern" = JOB_ID))]
    pub id: String,
    /// Unique in the run: its id in the workflow file, of a member of a group with more behind it.
    pub key: String,
    /// The name as people see it.
    #[serde(default)]
    pub name: String,
    /// `job`, `group` (it stands for its members and runs nowhere itself) or `undecided` (what it is depends on how others end).
    #[schemars(extend("enum" = JOB_FORMS))]
    #[serde(default)]
    pub form: String,
    /// The key of the group (a matrix, a called workflow) that it is a member of.
    #[serde(default)]
    pub group: Option<String>,
    /// `waiting`, `deciding`, `queued`, `held`, `placed`, `running`, `open` (a group whose members are under way) or `finished`.
    #[schemars(extend("enum" = JOB_STATES))]
    pub state: String,
    /// How it ended.
    #[schemars(schema_with = "names::outcome")]
    pub outcome: Option<String>,
    /// Attempts so far.
    pub attempts: u16,
    /// The node of the present or last attempt.
    #[schemars(extend("pattern" = NODE_ID))]
    pub node: Option<String>,
    /// Why it waits; once finished, why it did not succeed.
    #[serde(default)]
    pub reason: Option<String>,
    /// Someone asked for its end.
    pub cancel_requested: bool,
    /// What it is done for.
    #[serde(default)]
    pub environment: Option<String>,
    /// Who approved it for that.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// When it is tried again, after it failed.
    #[serde(default)]
    pub retry_at: Option<u64>,
    /// Higher first.
    pub priority: i8,
    /// Labels that a node must have.
    pub labels: Vec<String>,
    /// When it was queued last.
    pub queued_at: Option<u64>,
    /// When it was placed last.
    pub placed_at: Option<u64>,
    /// When its container started last.
    pub started_at: Option<u64>,
    /// When it finished.
    pub finished_at: Option<u64>,
    /// Since when its container stands still, while its run is paused.
    #[serde(default)]
    pub paused_at: Option<u64>,
}

impl JobView {
    /// A job's view.
    #[must_use]
    pub fn of(state: &ClusterState, waits: &Waits<'_>, id: JobId, job: &Job) -> Self {
        Self {
            id: id.to_string(),
            key: job.key.to_string(),
            name: job.name.to_string(),
            form: match job.form {
                domain::Form::Job => "job",
                domain::Form::Group { .. } => "group",
                domain::Form::Undecided => "undecided",
            }
            .to_owned(),
            group: job
                .group
                .and_then(|index| state.jobs.get(&JobId { index, ..id }))
                .map(|group| group.key.to_string()),
            state: job.state.as_str().to_owned(),
            reason: reason(state, waits, id, job),
            outcome: job.outcome().map(outcome),
            attempts: job.attempts,
            node: (job.attempts > 0).then(|| job.node.to_string()),
            cancel_requested: job.cancel_requested,
            environment: job.environment.as_deref().map(str::to_owned),
            approved_by: state
                .reviews
                .get(&id)
                .filter(|review| !review.is_open())
                .map(|review| review.by.to_string()),
            retry_at: state.backoffs.get(&id).and_then(|at| time(*at)),
            priority: job.priority,
            labels: job.labels.iter().map(str::to_owned).collect(),
            queued_at: time(job.queued_at),
            placed_at: time(job.placed_at),
            started_at: time(job.started_at),
            finished_at: time(job.finished_at),
            paused_at: state.paused_attempts.get(&job.attempt_id(id)).and_then(|at| time(*at)),
        }
    }
}

fn reason(state: &ClusterState, waits: &Waits<'_>, id: JobId, job: &Job) -> Option<String> {
    let last = || state.attempts.get(&AttemptId { job: id, number: job.attempts });
    match job.state {
        JobState::Waiting(_) => {
            let needs = job.needs.iter().filter_map(|index| state.jobs.get(&JobId { index: *index, ..id }));
            let group = job.group.and_then(|index| state.jobs.get(&JobId { index, ..id }));
            let needs = needs.filter(|need| need.outcome().is_none());
            let group = group.filter(|group| group.state != JobState::Open);
            let open: Vec<_> = needs.chain(group).map(|need| &*need.key).collect();
            Some(format!("waits for {}", open.join(", ")))
        }
        JobState::Queued => waits.why(job).map(|why| why.to_string()),
        JobState::Finished(Outcome::Succeeded) => None,
        JobState::Finished(_) => {
            let of_itself = state.reasons.get(&id).map(ToString::to_string);
            of_itself.or_else(|| last().map(|last| last.reason.to_string())).filter(|why| !why.is_empty())
        }
        JobState::Held => state.hold(id).map(|hold| hold.as_str().to_owned()),
        JobState::Deciding => {
            Some("the leader decides what it is, now that all it needs has ended".to_owned())
        }
        JobState::Open => Some("waits for its members".to_owned()),
        JobState::Placed | JobState::Running => {
            let still = state.paused_attempts.contains(&job.attempt_id(id));
            match (state.paused_runs.contains(&id.run), still) {
                (true, true) => Some("stands still: its run is paused".to_owned()),
                (true, false) => Some("is being paused".to_owned()),
                (false, true) => Some("is being resumed".to_owned()),
                (false, false) => None,
            }
        }
    }
}
