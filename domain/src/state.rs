//! The replicated state: what every node agrees on. Changed only by `apply`.
//!
//! Must not know: clocks, randomness, how it is stored or sent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Admission, Attempt, AttemptId, CacheEntry, CacheId, ClusterId, Delivery, DeliveryId, Environment, Group,
    GroupId, Job, JobId, JoinToken, KeyRecord, Node, NodeId, Notice, Pause, RemovedNode, Repo, RepoId,
    RepoName, Review, Run, RunId, Sealed, SpecBytes, Table, Timestamp, Token, TokenId, Triggers,
};

/// A job's place in the queue: higher priority first, then the front (jobs of lost nodes), then age, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueKey {
    /// 127 - priority, so that higher comes first.
    pub rank: u8,
    /// 0 for jobs queued again after an attempt, 1 for all others.
    pub back: u8,
    /// When the job was queued.
    pub since: Timestamp,
    /// The job.
    pub job: JobId,
}

/// What a job told: names and values.
pub type Outputs = Arc<[(String, String)]>;

/// Everything that is replicated. Cloning is O(1).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ClusterState {
    /// Set by the first command.
    pub cluster: Option<ClusterId>,
    /// Replicated time: the greatest time applied so far.
    pub now: Timestamp,
    /// Nodes that ever registered and were not removed.
    pub nodes: Table<NodeId, Node>,
    /// Repositories.
    pub repos: Table<RepoId, Repo>,
    /// Repositories by name.
    pub repo_names: Table<RepoName, RepoId>,
    /// API tokens.
    pub tokens: Table<TokenId, Token>,
    /// Accepted deliveries.
    pub deliveries: Table<DeliveryId, Delivery>,
    /// Deliveries that are not expanded, in order of acceptance.
    pub pending_deliveries: Table<DeliveryId, ()>,
    /// Runs.
    pub runs: Table<RunId, Run>,
    /// Jobs: the hot records.
    pub jobs: Table<JobId, Job>,
    /// Their specifications, opaque.
    pub specs: Table<JobId, SpecBytes>,
    /// Attempts.
    pub attempts: Table<AttemptId, Attempt>,
    /// The queue: jobs in state `Queued`, in the order in which they are considered.
    pub queue: Table<QueueKey, ()>,
    /// Jobs in state `Placed` or `Running`, by node.
    pub held: Table<(NodeId, JobId), ()>,
    /// Delivery and idempotency keys, forgotten after [`crate::limits::KEY_WINDOW_MILLIS`].
    pub keys: Table<Arc<str>, KeyRecord>,
    /// Keys by age, for forgetting; each is the one in `keys`.
    pub key_ages: Table<(Timestamp, Arc<str>), ()>,
    /// Commit statuses to be told, one per run: the last state wins.
    pub outbox: Table<RunId, Notice>,
    /// The number the next ad hoc run gets, less one.
    pub ad_hoc_number: u64,
    /// Jobs not finished.
    pub open_jobs: u32,
    /// Tokens with which nodes may join; remembered for a day after their end.
    pub join_tokens: Table<TokenId, JoinToken>,
    /// Nodes that joined with a token and were not removed.
    pub admitted: Table<NodeId, Admission>,
    /// Nodes that were removed, for ever.
    pub removed: Table<NodeId, RemovedNode>,
    /// Runs that someone paused.
    pub paused_runs: Table<RunId, Pause>,
    /// Attempts that stand still for that, and since when, by their nodes' clocks.
    pub paused_attempts: Table<AttemptId, Timestamp>,
    /// What tells jobs apart that share a specification: JSON objects of contexts.
    pub contexts: Table<JobId, Arc<str>>,
    /// What finished jobs told.
    pub outputs: Table<JobId, Outputs>,
    /// Why jobs that never ran ended as they did.
    pub reasons: Table<JobId, Arc<str>>,
    /// Jobs in state `Deciding`.
    pub undecided: Table<JobId, ()>,
    /// Specifications and contexts of jobs that were undecided once: running them again decides anew.
    pub once_undecided: Table<JobId, (SpecBytes, Arc<str>)>,
    /// Runs that wait until somebody approves them.
    pub unapproved: Table<RunId, ()>,
    /// Who approved a run, while it is there.
    pub approved: Table<RunId, Arc<str>>,
    /// Groups of which one runs at a time.
    pub groups: Table<GroupId, Group>,
    /// What starts workflows of a repository beside its forge.
    pub triggers: Table<RepoId, Triggers>,
    /// Secrets of repositories, by name.
    pub secrets: Table<(RepoId, Arc<str>), Sealed>,
    /// Caches.
    pub caches: Table<CacheId, CacheEntry>,
    /// Variables of repositories, by name.
    pub variables: Table<(RepoId, Arc<str>), Arc<str>>,
    /// Environments of repositories, by name in small letters.
    pub environments: Table<(RepoId, Arc<str>), Environment>,
    /// What was said of jobs for such environments, while their runs are there; open ones are of held jobs.
    pub reviews: Table<JobId, Review>,
    /// Held jobs that failed, and when they are tried again.
    pub backoffs: Table<JobId, Timestamp>,
}
