//! Consensus and storage: openraft with our log store, state machine adapter and snapshots.
//!
//! Must not know: actors, HTTP, Docker. What a command means is domain's business.

pub mod codec;
pub mod identity;
mod log_store;
mod metrics;
mod snapshot;
mod state_machine;
mod types;

pub use log_store::LogStore;
pub use metrics::describe as describe_metrics;
pub use snapshot::{SnapshotError, SnapshotFile};
pub use state_machine::{Applied, StateMachine, View};
pub use types::{NodeAddress, Proposal, TypeConfig};
