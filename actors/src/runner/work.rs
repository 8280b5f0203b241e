//! What it takes to run one attempt, as the runner sees it: a container in a node, a stand-in in tests.

use domain::{Annotation, Artifact, AttemptId, Fence, Outcome, StepResult, Timestamp};
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// One attempt to run.
#[derive(Debug)]
pub struct Task {
    /// Which.
    pub attempt: AttemptId,
    /// Under which fence.
    pub fence: Fence,
    /// The slot it occupies, from 0.
    pub slot: u16,
    /// True when an earlier life of this node began it.
    pub adopted: bool,
    /// Until when it may run here, as that is renewed; none is not any more.
    pub lease: watch::Receiver<Option<Instant>>,
    /// Its run is paused: it shall stand still.
    pub paused: watch::Receiver<bool>,
    /// Someone asked for its end: tell it, wait for the grace it has.
    pub cancel: CancellationToken,
    /// It must be gone now: its place may soon be taken by another attempt.
    pub kill: CancellationToken,
    /// To be told as it goes on.
    pub progress: watch::Sender<Told>,
}

/// What is known of an attempt while it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// When its container started.
    pub started_at: Option<Timestamp>,
    /// Its steps so far.
    pub steps: Vec<StepResult>,
    /// Since when it stands still, if it does, once that is known.
    pub paused: Option<Option<Timestamp>>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// Why, when not a success.
    pub reason: String,
    /// All steps.
    pub steps: Vec<StepResult>,
    /// Files kept.
    pub artifacts: Vec<Artifact>,
    /// Bytes of output in its log.
    pub log_bytes: u64,
    /// What it tells later jobs.
    pub outputs: Vec<(String, String)>,
    /// What it says of places in the sources.
    pub annotations: Vec<Annotation>,
}

impl Finished {
    /// An end of which nothing but the reason is known.
    #[must_use]
    pub fn bare(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self {
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

/// An attempt of which something is left from an earlier life of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Survivor {
    /// Which.
    pub attempt: AttemptId,
    /// Under which fence.
    pub fence: Fence,
    /// The slot it occupies; none when it never got as far.
    pub slot: Option<u16>,
}

/// Why what is left of earlier attempts cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("cannot list what earlier attempts left: {why}")]
pub struct SurvivorsError {
    /// The executor's words.
    pub why: String,
}

/// Runs attempts.
pub trait Work: Send + Sync + 'static {
    /// From preparation to end; every failure is an end with its reason.
    fn run(&self, task: Task) -> BoxFuture<'static, Finished>;
    /// What is left from earlier lives of this node, each attempt once.
    fn survivors(&self) -> BoxFuture<'_, Result<Vec<Survivor>, SurvivorsError>>;
    /// Removes what an attempt used; its log stays.
    fn clean(&self, attempt: AttemptId, fence: Fence) -> BoxFuture<'_, ()>;
    /// Removes what belongs to no attempt and is of no use any more: what slots beyond `slots` had, sources of repositories that
    /// are gone. The state here is recent. What cannot be removed is said in this node's log.
    fn tidy(&self, slots: u16) -> BoxFuture<'_, ()>;
}
