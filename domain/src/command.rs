//! Everything that may change the replicated state.
//!
//! Variants are append-only: their encoding is checked by golden bytes in raft-store.

use serde::{Deserialize, Serialize};

use crate::{
    Access, Annotation, Artifact, AttemptId, BootId, CacheEntry, Capacity, ClusterId, DeliveryId, Event,
    Fence, JobId, Labels, NewRun, NodeId, NodeName, Outcome, RepoId, RepoName, Right, RunId, Sealed,
    StepResult, Timestamp, TokenId, Triggers, Verdict,
};

/// A command with its proposer's time. Replicated time never goes back: `apply` uses the greater of this and the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The proposer's clock.
    pub at: Timestamp,
    /// What to do.
    pub command: Command,
}

/// A change of the state. One command per decision: what must be true together is one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// First command of a cluster, proposed by the node that initialised it. Refused when done already.
    InitCluster {
        /// The cluster's id.
        cluster: ClusterId,
        /// The admin token's id.
        token: TokenId,
        /// SHA-256 of the admin token's secret.
        token_hash: [u8; 32],
    },
    /// A node says who it is; at every start, and again after it was lost.
    RegisterNode(NodeFacts),
    /// Stops or allows new placements on a node.
    SetDrain {
        /// Which node.
        node: NodeId,
        /// True: no new placements.
        drain: bool,
        /// When the node ends what it still runs; none lets it finish. Only with `drain`.
        until: Option<Timestamp>,
        /// Some: until this life of it is over, beside what else was asked for; refused when it has registered anew.
        life: Option<BootId>,
    },
    /// The leader saw the node's lease run out: its attempts end `Lost`, its jobs are queued again in front.
    LoseNode {
        /// Which node.
        node: NodeId,
        /// In which life; refused when it has registered anew.
        boot: BootId,
    },
    /// Registers a repository, or changes the one of that name.
    PutRepo {
        /// Id for a new one.
        id: RepoId,
        /// Its name.
        name: RepoName,
        /// Where it is cloned from.
        clone_url: String,
        /// Key of its webhooks.
        webhook_secret: Sealed,
        /// Labels added to each of its jobs.
        labels: Labels,
        /// What its forge and its git server are asked with.
        access: Access,
        /// Runs of pull requests from forks wait until somebody approves them.
        approve_forks: bool,
        /// The version of which something was kept: refused when it is another by now. None where nothing was.
        over: Option<Fence>,
    },
    /// Removes a repository; its runs stay.
    RemoveRepo {
        /// Which.
        id: RepoId,
    },
    /// Makes an API token.
    CreateToken {
        /// Its id.
        id: TokenId,
        /// What it is for.
        name: String,
        /// SHA-256 of its secret.
        hash: [u8; 32],
        /// What it may do.
        right: Right,
        /// When it stops working.
        expires_at: Option<Timestamp>,
    },
    /// Ends an API token.
    RevokeToken {
        /// Which.
        id: TokenId,
    },
    /// A verified webhook or a dispatch. Answered with the earlier delivery when either key is known.
    AcceptDelivery {
        /// Id for a new one.
        id: DeliveryId,
        /// Which repository.
        repo: RepoId,
        /// The forge's delivery id, scoped by the proposer (`github:<id>`); empty for none.
        key: String,
        /// SHA-256 over repository, event name and body: the second key.
        digest: [u8; 32],
        /// What happened.
        event: Event,
        /// For a dispatch: only the workflow at this path; else empty.
        only_path: String,
    },
    /// The leader gives a pending delivery to a node. The entry's index becomes the fence.
    AssignExpansion {
        /// Which delivery.
        delivery: DeliveryId,
        /// To which node.
        node: NodeId,
    },
    /// The node's answer: the runs, all in one entry, once.
    ExpandDelivery {
        /// Which delivery.
        delivery: DeliveryId,
        /// The fence it was given under.
        fence: Fence,
        /// The commit that was read (for a dispatch, the one its ref resolved to).
        commit: String,
        /// The event's ref, looked up where it named none.
        git_ref: String,
        /// The event's payload, made where it had none.
        payload: String,
        /// The runs.
        runs: Vec<NewRun>,
        /// Why there is none, in words, without secrets; empty where there is one.
        reason: String,
        /// What the default branch says now, when the event is about it.
        triggers: Option<Triggers>,
        /// The number of the first of the runs, where something in them was computed from it: with another one nothing is done.
        numbers_from: Option<u64>,
    },
    /// The node could not expand: the delivery waits and says why.
    DeferDelivery {
        /// Which delivery.
        delivery: DeliveryId,
        /// The fence it was given under.
        fence: Fence,
        /// Why, in words, without secrets.
        reason: String,
        /// Earliest time of the next try.
        not_before: Timestamp,
    },
    /// An ad hoc run.
    SubmitRun {
        /// `Idempotency-Key`, scoped by the token's id; empty for none.
        key: String,
        /// SHA-256 of the request.
        digest: [u8; 32],
        /// Who asked.
        sender: String,
        /// Exactly one job.
        run: NewRun,
        /// True when the queue's bound is to be checked: refused with `QueueFull` when this many jobs are open.
        max_open_jobs: u32,
    },
    /// The same jobs again as a new run.
    Rerun {
        /// Id of the new run.
        id: RunId,
        /// The run to repeat; it must be finished.
        of: RunId,
        /// Who asked.
        sender: String,
        /// `Idempotency-Key`, scoped by the token's id; empty for none.
        key: String,
    },
    /// Ends a run: jobs not started finish as cancelled, running ones are told to; those that last run as ever.
    CancelRun {
        /// Which.
        run: RunId,
        /// Those that last, too.
        force: bool,
    },
    /// The plan's placements, each verified again here. The entry's index becomes their fence.
    Place {
        /// At most [`crate::limits::MAX_BATCH`].
        placements: Vec<Placement>,
    },
    /// A placement that its node did not acknowledge in time, or refused, is taken back; the job is queued again.
    Unplace {
        /// Which attempt.
        attempt: AttemptId,
        /// Its fence.
        fence: Fence,
        /// Why, in words.
        reason: String,
    },
    /// What runners say of their attempts.
    Report(AttemptReport),
    /// The forge was told, up to this state.
    NoticeSent {
        /// Which run.
        run: RunId,
        /// The entry that made the state that was told.
        fence: Fence,
    },
    /// Removes finished runs that are past retention, with their jobs, attempts, specs and keys.
    ForgetRuns {
        /// Which; those not finished are left.
        runs: Vec<RunId>,
    },
    /// Makes a token with which one node may join, once.
    CreateJoinToken {
        /// Its id.
        id: TokenId,
        /// What it is for.
        name: String,
        /// SHA-256 of its secret.
        hash: [u8; 32],
        /// When it stops working, at most [`crate::limits::MAX_JOIN_TOKEN_MILLIS`] from now.
        expires_at: Timestamp,
    },
    /// A node joins with a token, which is used up by that. The same again is answered as before.
    Join {
        /// SHA-256 of the token's secret.
        token_hash: [u8; 32],
        /// The node's id, never used before.
        node: NodeId,
        /// Its name, which no other node has.
        name: NodeName,
        /// Its cluster port, `host:port`.
        cluster_addr: String,
        /// SHA-256 of its certificate request.
        request: [u8; 32],
    },
    /// Removes a node for ever: its id is never used again, its name is free. Done, when it was. Refused while the node has
    /// jobs and is not lost.
    RemoveMember {
        /// Which node.
        node: NodeId,
        /// Its name, for those that never registered.
        name: NodeName,
    },
    /// Pauses a run: its jobs are not placed, what runs stands still. Done, when it is paused. Refused when it is finished.
    PauseRun {
        /// Which.
        run: RunId,
        /// Who asked for it.
        sender: String,
    },
    /// Lets a paused run go on. Done, when it is not paused. Refused when it is finished.
    ResumeRun {
        /// Which.
        run: RunId,
    },
    /// The leader decides what an undecided job is, now that all it needs is finished.
    DecideJob {
        /// Which.
        job: JobId,
        /// What it is.
        verdict: Verdict,
    },
    /// Lets a run begin that waits for that. Done, when it does not. Refused when it is finished.
    ApproveRun {
        /// Which.
        run: RunId,
        /// Who approves.
        sender: String,
    },
    /// Gives a repository a secret, or another value for it.
    PutSecret {
        /// Whose.
        repo: RepoId,
        /// Its name: upper-case letters, digits and `_`, not first a digit.
        name: String,
        /// Its value.
        value: Sealed,
    },
    /// Takes a secret away.
    RemoveSecret {
        /// Whose.
        repo: RepoId,
        /// Its name.
        name: String,
    },
    /// A job has kept a cache. One that is there already stays, unless its node is lost. Those used longest ago go where there are too many bytes.
    PutCache {
        /// Whose.
        repo: RepoId,
        /// What was kept; its times are those of the entry.
        entry: CacheEntry,
        /// Bytes of the repository's caches, at most.
        most_bytes: u64,
    },
    /// A job has used a cache.
    UseCache {
        /// Whose.
        repo: RepoId,
        /// Its scope.
        scope: String,
        /// Its key.
        key: String,
        /// Its version.
        version: [u8; 32],
    },
    /// Removes caches.
    RemoveCaches {
        /// Whose.
        repo: RepoId,
        /// Those of this scope; all when it is empty.
        scope: String,
        /// Those whose key begins so.
        key_prefix: String,
    },
    /// A time of a schedule has come: accepts a delivery for it, once.
    Tick {
        /// Id for the delivery.
        id: DeliveryId,
        /// Whose.
        repo: RepoId,
        /// The workflow's path.
        path: String,
        /// The times, as the workflow writes them.
        cron: String,
        /// The zone that they are meant in; empty for UTC.
        zone: String,
        /// Which of them.
        due: Timestamp,
    },
    /// Gives a repository a variable, or another value for it.
    PutVariable {
        /// Whose.
        repo: RepoId,
        /// Its name, as that of a secret.
        name: String,
        /// Its value.
        value: String,
    },
    /// Takes a variable away.
    RemoveVariable {
        /// Whose.
        repo: RepoId,
        /// Its name.
        name: String,
    },
    /// Registers an environment, or changes the one of that name.
    PutEnvironment {
        /// Whose.
        repo: RepoId,
        /// Its name.
        name: String,
        /// Jobs for it begin once somebody approves them.
        approval: bool,
    },
    /// Removes an environment; jobs that wait for it begin.
    RemoveEnvironment {
        /// Whose.
        repo: RepoId,
        /// Its name.
        name: String,
    },
    /// Lets a job begin that waits for a review, or ends it as failed. Refused when it does not wait for one.
    ReviewJob {
        /// Which.
        job: JobId,
        /// Or not.
        approve: bool,
        /// Who says so.
        sender: String,
    },
    /// A job that failed has waited long enough. Refused before its time.
    EndBackoff {
        /// Which.
        job: JobId,
    },
}

impl Command {
    /// Whether it asks for something new to be done. The rest goes on with, or ends, what was accepted before.
    #[must_use]
    pub fn brings_work(&self) -> bool {
        matches!(
            self,
            Self::AcceptDelivery { .. }
                | Self::SubmitRun { .. }
                | Self::Rerun { .. }
                | Self::PutRepo { .. }
                | Self::PutSecret { .. }
                | Self::PutCache { .. }
                | Self::PutVariable { .. }
                | Self::PutEnvironment { .. }
                | Self::Tick { .. }
        )
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Its id.
    pub node: NodeId,
    /// Its name; bound to the id at the first registration.
    pub name: NodeName,
    /// This life of its process.
    pub boot: BootId,
    /// Cluster port, `host:port`.
    pub cluster_addr: String,
    /// HTTP API, `host:port`.
    pub http_addr: String,
    /// Labels it offers.
    pub labels: Labels,
    /// What it offers.
    pub capacity: Capacity,
    /// Version of its binary.
    pub version: String,
}

/// One job -> node pair of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Placement {
    /// Which job.
    pub job: JobId,
    /// The number this attempt will have: one more than the job's attempts. Anything else is stale.
    pub number: u16,
    /// Where.
    pub node: NodeId,
}

/// A runner's report about its attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Its fence; a report with another than the job's present one is refused.
    pub fence: Fence,
    /// The node that reports.
    pub node: NodeId,
    /// What happened.
    pub what: Progress,
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// The container runs.
    Started {
        /// The node's clock.
        at: Timestamp,
    },
    /// Steps so far, all of them; only while it runs.
    Steps {
        /// In order.
        steps: Vec<StepResult>,
    },
    /// It is over.
    Finished {
        /// How.
        outcome: Outcome,
        /// Why, when not a success.
        reason: String,
        /// All steps, in order.
        steps: Vec<StepResult>,
        /// Files kept.
        artifacts: Vec<Artifact>,
        /// Bytes of output in its log.
        log_bytes: u64,
        /// What it tells later jobs.
        outputs: Vec<(String, String)>,
        /// What it says of places in the sources.
        annotations: Vec<Annotation>,
    },
    /// Its run is paused, and it stands still.
    Paused {
        /// The node's clock.
        at: Timestamp,
    },
    /// It goes on.
    Resumed,
}

impl Progress {
    /// An end of which nothing else is known.
    #[must_use]
    pub fn finished(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self::Finished {
            outcome,
            reason: reason.into(),
            steps: Vec::new(),
            artifacts: Vec::new(),
            log_bytes: 0,
            outputs: Vec::new(),
            annotations: Vec::new(),
        }
    }
}
