//! What the API's JSON looks like, for server and CLI alike. Times are milliseconds since 1970-01-01 UTC.
//!
//! Domain types never appear here by themselves, so that the core can change.

mod attempts;
mod caches;
mod cluster;
mod dispatches;
mod members;
pub mod names;
mod repos;
mod runs;
mod settings;

pub use attempts::{AnnotationView, ArtifactView, AttemptView, StepView};
pub use caches::{CacheCursor, CacheView, CachesRemoved, NoCacheCursor};
pub use cluster::{
    ClusterView, Drain, Lag, NewToken, NodeView, Ready, TokenMade, TokenRevoked, TokenRight, TokenView,
};
pub use dispatches::{Dispatch, Input, MAX_EVENT_BYTES, MAX_WORKFLOW_BYTES, RepositoryEvent};
pub use members::{Leads, MemberRemoved, MemberRole, MemberView, TransferLeader};
pub use repos::{
    Accepted, DeliveryView, MAX_SECRET_BYTES, PutRepo, PutSecret, PutStatuses, RepoPut, RepoRemoved,
    RepoView, STATUS_FORGES, SecretNames, SecretPut, SecretRemoved, StatusesView,
};
pub use runs::{
    Approving, Cancelling, JobView, MAX_CPU_MILLIS, MAX_IMAGE_BYTES, MAX_MEMORY_MIB, MAX_NAME_BYTES,
    MAX_PRIORITY, MAX_TIMEOUT_SECONDS, MIN_CPU_MILLIS, MIN_MEMORY_MIB, Pausing, Resuming, Reviewed, RunMade,
    RunView, Submit,
};
pub use settings::{
    EnvironmentPut, EnvironmentRemoved, EnvironmentView, PutEnvironment, PutVariable, VariablePut,
    VariableRemoved, VariableView,
};

use domain::{Outcome, Timestamp};

/// A time that may not have come yet.
fn time(at: Timestamp) -> Option<u64> {
    (at.0 != 0).then_some(at.0)
}

/// An outcome's name.
fn outcome(outcome: Outcome) -> String {
    outcome.as_str().to_owned()
}
