//! Everything that acts: supervisors, schedulers, runners, executors, links between nodes, sources, logs, artifacts.
//!
//! Must not know: HTTP for people (node), how consensus works (raft-store).

pub mod artifacts;
//pub mod logs;
pub mod workspace;
