//! What the API's JSON looks like, for server and CLI alike. Times are milliseconds since 1970-01-01 UTC.
//!
//! Domain types never appear here by themselves, so that the core can change.

mod cluster;
mod repos;
mod runs;

pub use cluster::{ClusterView, Drain, Lag, NewToken, NodeView, TokenMade, TokenRight, TokenView};
pub use repos::{Accepted, DeliveryView, Dispatch, PutRepo, RepoView};
pub use runs::{ArtifactView, AttemptView, JobView, RunMade, RunView, StepView, Submit};

use domain::{Outcome, Timestamp};

/// A time that may not have come yet.
fn time(at: Timestamp) -> Option<u64> {
    (at.0 != 0).then_some(at.0)
}

/// An outcome's name.
fn outcome(outcome: Outcome) -> String {
    outcome.as_str().to_owned()
}
