//! What a node has on its disk after it died: a workload on the real log and the real snapshots, faults below it, and a model
//! that says what may be found.
//!
//! Nothing that was acknowledged may be missing, nothing may be there that was never written, in no other order. Must not
//! know Raft: any sequence of changes that its storage allows is tried here, not only those that it makes.

pub mod fault;
pub mod killing;
pub mod model;
pub mod op;
pub mod seen;
pub mod workload;

/// Files of the log are small here, so that the workload begins and removes many.
pub const SIZES: raft_store::LogSizes = raft_store::LogSizes { segment: 32 << 10, cache: 16 << 10 };
