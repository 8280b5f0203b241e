//! Everything that acts: supervisors, schedulers, runners, executors, links between nodes, sources, logs, artifacts.
//!
//! Must not know: HTTP for people (node), how consensus works (raft-store).

pub mod addresses;
pub mod artifacts;
pub mod attempt;
pub mod bulk;
pub mod caches;
mod clock;
pub mod executor;
mod faults;
pub mod gateway;
pub mod health;
pub mod init_binary;
pub mod logs;
pub mod metrics;
pub mod mint;
pub mod needs;
pub mod queue;
pub mod replica;
pub mod root;
pub mod runner;
pub mod secrets;
pub mod shelf;
pub mod supervisor;
mod tree;
pub mod vault;
pub mod workspace;

pub use tree::remove_tree;

#[cfg(feature = "test-faults")]
pub use faults::plant as plant_faults;
