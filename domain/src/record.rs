//! The records of the replicated state: compact, hashed into the state hash whenever they change.
//!
//! Must not know: how commands change them (`apply/`).

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Access, BootId, Capacity, Concurrency, Condition, DeliveryId, Event, Fence, Form, JobId, Labels, NodeId,
    NodeName, RepoId, RepoName, Resources, Retry, RunId, Sealed, Timestamp,
};

/// How something ended. Never changes once set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Every step that counts succeeded.
    Succeeded,
    /// A step failed, the container could not start, or the workflow file is wrong.
    Failed,
    /// Someone cancelled it.
    Cancelled,
    /// A limit of time ended it.
    TimedOut,
    /// Its condition did not hold.
    Skipped,
    /// Its node was lost, and no attempt is left.
    Lost,
}

impl Outcome {
    /// The name used in the API, in logs and in metrics; its set of values is part of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Skipped => "skipped",
            Self::Lost => "lost",
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobState {
    /// Jobs that it needs are not finished: so many.
    Waiting(u16),
    /// Ready to be placed.
    Queued,
    /// Paused, waiting for approval, or for others of its matrix or concurrency group.
    Held,
    /// Given to a node, which has not said that it runs.
    Placed,
    /// Its container runs.
    Running,
    /// Over.
    Finished(Outcome),
    /// All that it needs is finished; the leader decides what it is.
    Deciding,
    /// A group whose members are under way.
    Open,
}

impl JobState {
    /// The name used in the API, in errors and in metrics; its set of values is part of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Placed => "placed",
            Self::Running => "running",
            Self::Finished(_) => "finished",
            Self::Deciding => "deciding",
            Self::Open => "open",
        }
    }
}

/// What was asked for with a job: never changes, and many jobs share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobKind {
    /// Unique in the run.
    pub key: Arc<str>,
    /// The name as people see it.
    pub name: Arc<str>,
    /// The group that it is a member of.
    pub group: Option<u16>,
    /// What it is.
    pub form: Form,
    /// Its failure fails neither what needs it nor its run.
    pub may_fail: bool,
    /// What must not run at the same time.
    pub concurrency: Option<Arc<Concurrency>>,
    /// Higher first.
    pub priority: i8,
    /// When it starts, given its needs.
    pub condition: Condition,
    /// It runs although its run is cancelled.
    pub lasting: bool,
    /// After what it is tried again, and when.
    pub retry: Retry,
    /// On another node than others of its run, if there is one with room.
    pub spread: bool,
    /// What it is done for.
    pub environment: Option<Arc<str>>,
    /// Labels that a node must have.
    pub labels: Labels,
    /// What it takes.
    pub resources: Resources,
    /// Indices of the jobs that it needs.
    pub needs: Arc<[u16]>,
}

/// One job: the hot record. Its kind's fields read as its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What was asked for.
    pub kind: Arc<JobKind>,
    /// Where it stands.
    pub state: JobState,
    /// Someone asked for its end; a running attempt is told until it reports.
    pub cancel_requested: bool,
    /// Attempts made, the present one included.
    pub attempts: u16,
    /// Attempts that ended because their node was lost.
    pub losses: u16,
    /// Attempts that ended otherwise without success, after which it was tried again.
    pub failures: u16,
    /// The present (or last) attempt's node; meaningless before the first.
    pub node: NodeId,
    /// The present (or last) attempt's fence, or the index of the entry that took the attempt back; 0 before the first.
    pub fence: Fence,
    /// When it became `Queued`, last.
    pub queued_at: Timestamp,
    /// When it was placed, last; 0 before.
    pub placed_at: Timestamp,
    /// When its container started, last; 0 before.
    pub started_at: Timestamp,
    /// When it finished; 0 before.
    pub finished_at: Timestamp,
}

impl Deref for Job {
    type Target = JobKind;

    fn deref(&self) -> &JobKind {
        &self.kind
    }
}

/// What a run was made of: never changes, and many runs share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunKind {
    /// The repository; none for an ad hoc job.
    pub repo: Option<RepoId>,
    /// The delivery behind it.
    pub delivery: Option<DeliveryId>,
    /// The run that this one runs again.
    pub rerun_of: Option<RunId>,
    /// Who asked for it to be run again.
    pub rerun_by: Option<Arc<str>>,
    /// Workflow's name.
    pub name: Arc<str>,
    /// What this run of it is called.
    pub title: Arc<str>,
    /// Workflow file's path; empty for an ad hoc job.
    pub path: Arc<str>,
    /// What caused it.
    pub event: Arc<Event>,
    /// Number of jobs; their ids are `JobId { run, index: 0..jobs }`. It grows when an undecided job becomes several.
    pub jobs: u16,
    /// So many of them were there from the beginning.
    pub declared: u16,
    /// What must not run at the same time.
    pub concurrency: Option<Arc<Concurrency>>,
    /// Why the workflow cannot run, `file:line:column: reason`.
    pub error: Option<Arc<str>>,
}

/// One run. Its kind's fields read as its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What it was made of.
    pub kind: Arc<RunKind>,
    /// Counts up per repository from 1; ad hoc runs have a counter of their own.
    pub number: u64,
    /// Jobs not finished.
    pub open_jobs: u16,
    /// When it was committed.
    pub created_at: Timestamp,
    /// When its last job finished; 0 before.
    pub finished_at: Timestamp,
    /// Set when all jobs are finished: the worst of them.
    pub outcome: Option<Outcome>,
    /// Someone asked for its end; jobs that last run on.
    pub cancel_requested: bool,
}

impl Deref for Run {
    type Target = RunKind;

    fn deref(&self) -> &RunKind {
        &self.kind
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Where.
    pub node: NodeId,
    /// Its fence.
    pub fence: Fence,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When its container started (the node's clock); 0 before.
    pub started_at: Timestamp,
    /// When its end was applied; 0 before.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The reason of an outcome other than success, in words; empty else.
    pub reason: Arc<str>,
    /// Steps as last reported.
    pub steps: Arc<[StepResult]>,
    /// Artifacts, known at the end.
    pub artifacts: Arc<[Artifact]>,
    /// Length of its log in bytes of output, known at the end.
    pub log_bytes: u64,
    /// What it said of places in the sources, known at the end.
    pub annotations: Arc<[Annotation]>,
}

/// Something that a job says of a place in the sources.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Annotation {
    /// How bad it is.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// A title; empty for none.
    pub title: String,
    /// Path in the repository; empty for none.
    pub file: String,
    /// Line from 1; 0 for none.
    pub line: u32,
    /// Column from 1; 0 for none.
    pub column: u32,
    /// The step that said it.
    pub step: u16,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// To be known.
    Notice,
    /// To be looked at.
    Warning,
    /// To be mended.
    Error,
}

impl Level {
    /// The name used in workflow commands and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StepResult {
    /// Exit code, once it has exited by itself.
    pub exit_code: Option<i32>,
    /// Signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Its name, where that was computed; else it is the specification's, and this is empty.
    pub name: String,
    /// Outcome, once over.
    pub outcome: Option<Outcome>,
    /// When it started, the node's clock; 0 before.
    pub started_at: Timestamp,
    /// When it ended, the node's clock; 0 before.
    pub finished_at: Timestamp,
}

/// A file kept from a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Artifact {
    /// Of `upload-artifact`; empty for files that `x-troupe.artifacts` names.
    pub name: String,
    /// Path relative to the workspace.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
}

/// A node as the state machine knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Node {
    /// Bound to the id when the node first registers.
    pub name: NodeName,
    /// The process's life that registered last.
    pub boot: BootId,
    /// Address of its cluster port, `host:port`.
    pub cluster_addr: String,
    /// Address of its HTTP API, `host:port`.
    pub http_addr: String,
    /// Labels it offers.
    pub labels: Labels,
    /// What it offers.
    pub capacity: Capacity,
    /// The version of its binary.
    pub version: String,
    /// No new placements, until somebody ends that.
    pub drain: bool,
    /// When the node ends what it still runs while it drains; none lets it finish. None while it does not drain.
    pub drain_until: Option<Timestamp>,
    /// This life of it stops: no new placements until another one registers.
    pub leave: Option<Leave>,
    /// Its lease ran out; nothing is placed on it until it registers again.
    pub lost: bool,
    /// When it registered last.
    pub registered_at: Timestamp,
}

/// What a process asks for that is about to stop; over with its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leave {
    /// The life that stops.
    pub boot: BootId,
    /// When it ends what it still runs; none lets it finish.
    pub until: Option<Timestamp>,
}

impl Node {
    /// It takes no new placements.
    #[must_use]
    pub fn drains(&self) -> bool {
        self.drain || self.leave.is_some()
    }

    /// It drains, and the time for what it still runs is over.
    #[must_use]
    pub fn is_drained_by(&self, now: Timestamp) -> bool {
        let untils = [self.drain_until, self.leave.and_then(|leave| leave.until)];
        untils.into_iter().flatten().any(|until| until <= now)
    }
}

/// A registered repository.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Repo {
    /// Name within the cluster, unique.
    pub name: RepoName,
    /// Where it is cloned from.
    pub clone_url: String,
    /// Key of its webhooks' HMAC.
    pub webhook_secret: Sealed,
    /// What its forge and its git server are asked with.
    pub access: Access,
    /// Runs of pull requests from forks wait until somebody approves them.
    pub approve_forks: bool,
    /// Labels added to each of its jobs.
    pub labels: Labels,
    /// The number its next run gets.
    pub next_number: u64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The entry that said last what it is.
    pub version: Fence,
}

impl std::fmt::Debug for Repo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repo").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeliveryState {
    /// To be given to a node for expansion, not before `not_before`; `reason` says why it waits after a failure.
    Pending {
        /// Earliest time of the next try.
        not_before: Timestamp,
        /// Why the last try failed; empty before the first.
        reason: Arc<str>,
    },
    /// A node expands it.
    Expanding {
        /// Which node.
        node: NodeId,
        /// The fence of this try.
        fence: Fence,
        /// Since when.
        since: Timestamp,
    },
    /// Its runs exist, if any follow.
    Expanded {
        /// The runs it became.
        runs: Arc<[RunId]>,
        /// Why there is none; empty where there is one.
        reason: Arc<str>,
    },
}

impl DeliveryState {
    /// The name used in the API and in errors; its set of values is part of the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Expanding { .. } => "expanding",
            Self::Expanded { .. } => "expanded",
        }
    }
}

/// An accepted delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Delivery {
    /// The repository it is about.
    pub repo: RepoId,
    /// What happened.
    pub event: Arc<Event>,
    /// For a dispatch: only the workflow at this path; else empty.
    pub only_path: Arc<str>,
    /// When it was committed.
    pub accepted_at: Timestamp,
    /// Tries of expansion so far.
    pub tries: u16,
    /// Where it stands.
    pub state: DeliveryState,
}

/// What an API token may do. Ordered: each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Right {
    /// Reads everything but secrets.
    Read,
    /// Also submits, cancels, reruns.
    Submit,
    /// Also repositories, nodes, tokens.
    Admin,
}

impl Right {
    /// The name used in the API and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
        }
    }
}

/// An API token; the secret itself is known only to its holder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token {
    /// What it is for, as its maker said.
    pub name: String,
    /// SHA-256 of the secret (256 random bits, so a plain hash is enough).
    pub hash: [u8; 32],
    /// What it may do.
    pub right: Right,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; none is never.
    pub expires_at: Option<Timestamp>,
}

/// What a remembered key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyTarget {
    /// A delivery, by the forge's delivery id or by its body.
    Delivery(DeliveryId),
    /// A submit, by `Idempotency-Key`.
    Run(RunId),
}

/// A remembered key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRecord {
    /// What it stands for.
    pub target: KeyTarget,
    /// SHA-256 of the request, so that the same key with another body is a conflict.
    pub digest: [u8; 32],
    /// When it was first used.
    pub at: Timestamp,
}

/// A commit status to be told to the forge: the last state wins. Drained by the leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notice {
    /// The run that it is about.
    pub run: RunId,
    /// None while it runs.
    pub outcome: Option<Outcome>,
    /// When the state changed.
    pub at: Timestamp,
    /// The entry that changed it: a notice that was told is this one only if nothing came after it.
    pub fence: Fence,
}

/// Why a run stands still.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// When it was asked for.
    pub at: Timestamp,
    /// Who asked for it.
    pub sender: String,
}

/// A job and how long it is to be known under this fence; what a node is told to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holding {
    /// Which job.
    pub job: JobId,
    /// Attempt number.
    pub number: u16,
    /// Under which fence.
    pub fence: Fence,
}
