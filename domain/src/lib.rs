//! The pure core of Troupe: job model, queue, planner and replicated state machine.
//!
//! Must not know: tokio, openraft, actors, HTTP, Docker, encodings; it never reads a clock, a random source, a file or
//! a socket. Time, ids and randomness come in as parameters.

mod apply;
mod command;
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
mod resources;
mod sharing;
mod spec;
mod state;
mod table;
mod tree;

pub use command::{AttemptReport, Command, Effect, Entry, NodeFacts, Placement, Progress, Refusal, Reply};
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
    Artifact, Attempt, Delivery, DeliveryState, Holding, Job, JobKind, JobState, KeyRecord, KeyTarget, Leave,
    Node, Notice, Outcome, Pause, Repo, Right, Run, RunKind, StepResult, Token,
};
pub use release::Release;
pub use resources::{Capacity, Labels, Resources};
pub use spec::{Action, Condition, JobSpec, NewJob, NewRun, Shell, SpecBytes, StepSpec};
pub use state::{ClusterState, QueueKey};
pub use table::Table;

/// The log index at which a command is applied.
pub type LogIndex = u64;

/// Shared text, for fields that many records carry.
fn shared(text: &str) -> std::sync::Arc<str> {
    text.into()
}
