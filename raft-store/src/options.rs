//! What a store is opened with, and why it does not open.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{NodeId, NodeName};
use openraft::{Config, SnapshotPolicy};

use crate::LogSizes;
use crate::clock::SharedClock;
use crate::disk::SharedDisk;
use crate::members::Voting;
use crate::planted::{self, Bug};
use crate::transport::{Listener, Transport};

/// Raft's times.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// A follower that hears nothing for so long asks for an election, at the latest after a fifth more.
    pub election: Duration,
    /// How long a proposal waits for a leader.
    pub propose: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election: Duration::from_millis(600),
            propose: Duration::from_secs(10),
        }
    }
}

/// When the log is made shorter.
#[derive(Debug, Clone, Copy)]
pub struct Compaction {
    /// A snapshot is written after so many entries, at least: of a large state, after as many as it has jobs.
    pub snapshot_every: u64,
    /// So many entries before the snapshot stay in the log: who is no further behind is sent those, not the snapshot.
    pub keep: u64,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { snapshot_every: 20_000, keep: 20_000 }
    }
}

/// What a store is opened with.
#[derive(Debug)]
pub struct Options {
    /// This node's directory.
    pub data_dir: PathBuf,
    /// This node's id, from [`crate::identity`].
    pub node: NodeId,
    /// This node's name, as its certificate has it.
    pub name: NodeName,
    /// Where other nodes reach this node's cluster port.
    pub cluster_addr: String,
    /// Cluster ports of nodes to begin a cluster with, this node's among them or not.
    pub seeds: Vec<String>,
    /// A new cluster begins when exactly so many new nodes see each other.
    pub bootstrap_expect: usize,
    /// Opens channels to others.
    pub transport: Arc<dyn Transport>,
    /// Channels that others open.
    pub incoming: Box<dyn Listener>,
    /// Where log and state are kept.
    pub disk: SharedDisk,
    /// The time that commands are given.
    pub clock: SharedClock,
    /// Raft's times.
    pub timings: Timings,
    /// Who votes.
    pub voting: Voting,
    /// Sizes of the log's files.
    pub log_sizes: LogSizes,
    /// Bytes that are to stay free on the disk, see [`crate::Space`].
    pub min_free: u64,
    /// When the log is made shorter.
    pub compaction: Compaction,
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory.
    #[error("cannot open {what} in {}: {source}", path.display())]
    Storage {
        /// Log or state.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What was found.
        source: std::io::Error,
    },
    /// The node had a log and a vote, and they are gone.
    #[error(
        "{} is of a node that was a member, and its log is gone: it may not vote again where it has voted. Put back what was \
         there; else `troupe cluster remove` it, empty the directory and let it join as a new node \
         (`troupe token create NAME --right join`, `troupe node --join TOKEN`)",
        path.display()
    )]
    Wiped {
        /// The data directory.
        path: PathBuf,
    },
    /// Raft's settings.
    #[error("raft settings: {why}")]
    Settings {
        /// What is wrong with them.
        why: String,
    },
    /// Raft did not start.
    #[error("raft did not start: {why}")]
    Raft {
        /// Its words.
        why: String,
    },
}

/// See docs/adr/0001 for the settings that are not openraft's own.
pub(crate) fn config(timings: Timings, compaction: Compaction) -> Result<Config, OpenError> {
    let millis = |time: Duration| time.as_millis() as u64;
    let config = Config {
        cluster_name: "troupe".to_owned(),
        heartbeat_interval: millis(timings.heartbeat),
        // Openraft waits for a leader's lease, which is the upper bound, and then for a time between both bounds: so the sum
        // is the time that is wanted, and up to a fifth more, so that two rarely ask at once.
        election_timeout_min: millis(timings.election) * 2 / 5,
        election_timeout_max: millis(timings.election) * 3 / 5,
        install_snapshot_timeout: 10_000,
        // See `snapshot_due`.
        snapshot_policy: SnapshotPolicy::Never,
        replication_lag_threshold: 1_000_000,
        max_in_snapshot_log_to_keep: compaction.keep,
        enable_pre_vote: Some(true),
        // A leader that comes back may lack the end of what it sent out before it was synced here, and what others have of
        // it may be committed: it must not go on in the same term. Found by tests/simulation.
        enable_leader_restore: Some(planted::is(Bug::RestoreLeader)),
        ..Config::default()
    };
    config.validate().map_err(|e| OpenError::Settings { why: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_leader_is_replaced_after_the_time_that_is_set() -> Result<(), OpenError> {
        for (heartbeat, election) in [(150, 600), (10, 30), (60, 300), (1000, 3000)] {
            let timings = Timings {
                heartbeat: Duration::from_millis(heartbeat),
                election: Duration::from_millis(election),
                ..Timings::default()
            };
            let config = config(timings, Compaction::default())?;
            // A follower waits for the lease, which is the upper bound, and for a time between the bounds.
            let (min, lease) = (config.election_timeout_min, config.election_timeout_max);
            assert_eq!(lease + min, election);
            assert!(lease + lease <= election * 6 / 5 && min > heartbeat, "{min} {lease}");
        }
        Ok(())
    }
}
