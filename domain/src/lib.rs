//! The pure core of Troupe: job model, queue, planner and replicated state machine.
//!
//! Must not know: tokio, openraft, actors, HTTP, Docker, encodings; it never reads a clock, a random source, a file or
//! a socket. Time, ids and randomness come in as parameters.

mod apply;
mod cache;
mod command;
mod concurrency;
mod effect;
mod environment;
mod event;
mod form;
mod ids;
pub mod invariants;
pub mod limits;
mod member;
mod plan;
mod planted;
mod query;
mod record;
mod release;
mod reply;
mod resources;
mod retry;
mod sealed;
mod sharing;
mod spec;
mod state;
mod table;
mod tree;
mod trigger;

pub use apply::Hold;
pub use cache::{CacheEntry, CacheId};
pub use command::{AttemptReport, Command, Entry, NodeFacts, Placement, Progress};
pub use concurrency::{Claimant, Group, GroupId};
pub use effect::Effect;
pub use environment::{Environment, Review};
pub use event::{Event, EventKind};
pub use ids::{
    AttemptId, BootId, ClusterId, DeliveryId, Fence, JobId, NodeId, NodeName, ParseIdError, RepoId, RepoName,
    RunId, Timestamp, TokenId,
};
pub use member::{Admission, JoinToken, JoinUse, RemovedNode};
pub use plan::{Plan, Reason, Snapshot, Waits, plan};
#[cfg(feature = "test-faults")]
pub use planted::plant as plant_bugs;
pub use query::JobCounts;
pub use record::{
    Annotation, Artifact, Attempt, Delivery, DeliveryState, Holding, Job, JobKind, JobState, KeyRecord,
    KeyTarget, Leave, Level, Node, Notice, Outcome, Pause, Repo, Right, Run, RunKind, StepResult, Token,
};
pub use release::Release;
pub use reply::{Refusal, Reply};
pub use resources::{Capacity, Labels, Resources};
pub use retry::Retry;
pub use sealed::{Access, CloneAs, Sealed, StatusApi};
pub use spec::{
    Action, Concurrency, Condition, Container, Form, GroupSpec, JobSpec, Native, NewJob, NewRun, Service,
    SpecBytes, StepSpec, Undecided, Variables, Verdict,
};
pub use state::{ClusterState, Outputs, QueueKey};
pub use table::Table;
pub use trigger::{Follow, Schedule, Triggers};

/// The log index at which a command is applied.
pub type LogIndex = u64;

/// Shared text, for fields that many records carry.
fn shared(text: &str) -> std::sync::Arc<str> {
    text.into()
}
