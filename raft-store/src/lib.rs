//! Consensus and storage: openraft with our log store, state machine adapter and snapshots.
//!
//! Must not know: actors, HTTP, Docker. What a command means is domain's business.

mod birth;
mod bootstrap;
mod client;
pub mod clock;
pub mod codec;
pub mod disk;
pub mod identity;
mod log;
mod members;
mod metrics;
mod network;
mod options;
#[cfg(feature = "planted-bugs")]
pub mod planted;
#[cfg(not(feature = "planted-bugs"))]
mod planted;
mod proposer;
pub mod random;
pub mod recovery;
mod runtime;
mod server;
mod snapshot;
mod snapshot_dir;
mod snapshot_due;
mod space;
mod state_machine;
mod store;
pub mod transport;
mod types;
mod wire;

pub use bootstrap::TOKEN_FILE;
pub use client::{Client, ClientOptions, NodeStanding};
pub use log::{LogSizes, LogStore};
pub use members::{
    JoinError, Member, MembersError, Newcomer, NoTicket, Papers, Removed, Role, Ticket, Voting, mark_joined,
    marked_joined,
};
pub use metrics::describe as describe_metrics;
pub use options::{Compaction, OpenError, Options, Timings};
pub use runtime::Runtime;
pub use snapshot::{SnapshotError, SnapshotFile};
pub use space::Space;
pub use state_machine::{Applied, StateMachine, View};
pub use store::{Committed, Leadership, ProposeError, Status, Store};
pub use types::{NodeAddress, Proposal, TypeConfig};
