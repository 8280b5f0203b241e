//! Offline recovery: a new cluster made of what one node has, after a majority of the old one was lost for good.
//!
//! The node is stopped. Its log is applied to the end: what was acknowledged and reached this node is there, whether a
//! majority is left that knows so or not. The result is a snapshot under a new cluster id with this node as the only
//! member; everyone else is removed. Never automatic: two halves that both did this would be two clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{ClusterId, LogIndex, NodeId, NodeName, Timestamp};
use futures::stream;
use openraft::RaftLogReader;
use openraft::alias::{LogIdOf, SnapshotMetaOf, StoredMembershipOf};
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::{LogId, Membership};
use rand::Rng;

use crate::disk::{LocalDisk, SharedDisk};
use crate::members::{mark_joined, marked_joined};
use crate::random::Random;
use crate::types::{NodeAddress, TypeConfig};
use crate::{LogSizes, LogStore, StateMachine, identity};

/// Entries that are read and applied at one time.
const BATCH: u64 = 1000;

/// Why there is no recovery.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Not the data of a member.
    #[error("{} holds nothing of a cluster: {why}; recovery is for the node that has the most (see docs/operations.md)", path.display())]
    Nothing {
        /// Which directory.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// The node's id cannot be read.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// Log or state cannot be read or written.
    #[error("{action} in {}: {source}", path.display())]
    Storage {
        /// What was tried.
        action: &'static str,
        /// Which directory.
        path: PathBuf,
        /// The words of the log, the snapshot or the system.
        source: io::Error,
    },
}

/// What a stopped node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Raft's term of its last entry.
    pub term: u64,
    /// Its last entry.
    pub last_log: LogIndex,
    /// The last entry that it knew to be committed, as far as that was written down.
    pub committed: LogIndex,
    /// The members, and whether each votes.
    pub members: Vec<(NodeId, NodeAddress, bool)>,
    /// Runs in its state.
    pub runs: usize,
    /// The replicated time of its last entry.
    pub at: Timestamp,
}

/// A stopped node, opened.
#[derive(Debug)]
pub struct Recovery {
    data_dir: PathBuf,
    node: NodeId,
    log: LogStore,
    machine: StateMachine,
    last: LogIdOf<TypeConfig>,
    found: Found,
}

impl Recovery {
    /// Opens what a stopped node has and applies its log to the end, in memory. Changes nothing. Whoever calls this holds
    /// the lock of the data directory.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub async fn look(data_dir: &Path) -> Result<Self, RecoverError> {
        let failed = |action: &'static str| {
            let path = data_dir.to_owned();
            move |source| RecoverError::Storage { action, path, source }
        };
        let nothing = |why| RecoverError::Nothing { path: data_dir.to_owned(), why };
        for (file, why) in [("node-id", "it has no node id"), ("log", "it has no log")] {
            if !data_dir.join(file).exists() {
                return Err(nothing(why));
            }
        }
        let node = identity::load_or_create(&LocalDisk, data_dir)?;
        let disk: SharedDisk = Arc::new(LocalDisk);
        let mut log = LogStore::open(Arc::clone(&disk), &data_dir.join("log"), LogSizes::default())
            .map_err(failed("cannot open the log"))?;
        let mut machine =
            StateMachine::open(disk, &data_dir.join("state")).map_err(failed("cannot open the state"))?;
        let state = log.get_log_state().await.map_err(failed("cannot read the log"))?;
        let committed = log.read_committed().await.map_err(failed("cannot read the log"))?;
        let end = state.last_log_id.map_or(0, |last| last.index + 1);
        loop {
            let (applied, _) = machine.applied_state().await.map_err(failed("cannot read the state"))?;
            let from = applied.map_or(0, |id| id.index + 1);
            if from >= end {
                break;
            }
            let entries = log
                .try_get_log_entries(from..end.min(from + BATCH))
                .await
                .map_err(failed("cannot read the log"))?;
            if entries.is_empty() {
                let why = io::Error::new(io::ErrorKind::InvalidData, format!("entry {from} is missing"));
                return Err(failed("cannot read the log")(why));
            }
            let entries = stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
            machine.apply(entries).await.map_err(failed("cannot apply the log"))?;
        }
        let (applied, membership) = machine.applied_state().await.map_err(failed("cannot read the state"))?;
        let last = applied.ok_or_else(|| nothing("its log and its state are empty"))?;
        let state = machine.view().current().state.clone();
        let cluster = state.cluster.ok_or_else(|| nothing("its cluster was never begun"))?;
        let found = Found {
            cluster,
            term: last.leader_id.term,
            last_log: last.index,
            committed: committed.map_or(0, |id| id.index),
            members: members(&membership),
            runs: state.runs.len(),
            at: state.now,
        };
        Ok(Self { data_dir: data_dir.to_owned(), node, log, machine, last, found })
    }

    /// The node whose data this is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What there is.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Makes this node, under this name and address, the only member of a new cluster; answers its id. Cut off, it has
    /// happened or not; run again it makes another one.
    ///
    /// # Errors
    /// [`RecoverError::Storage`].
    pub async fn carry_out(mut self, me: NodeAddress, at: Timestamp) -> Result<ClusterId, RecoverError> {
        let failed = |action: &'static str| {
            let path = self.data_dir.clone();
            move |source| RecoverError::Storage { action, path, source }
        };
        let mut random = Random;
        let bits = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
        let cluster = ClusterId::from_parts(at, bits);
        let others: Vec<(NodeId, NodeName)> = self
            .found
            .members
            .iter()
            .filter_map(|(id, address, _)| Some((*id, address.name.parse().ok()?)))
            .collect();
        // As if it were one entry more, which no other log has.
        let last = LogId { index: self.last.index + 1, ..self.last };
        let alone = Membership::new(vec![BTreeSet::from([self.node.0])], BTreeMap::from([(self.node.0, me)]));
        let alone = alone.map_err(|e| failed("cannot make the membership")(io::Error::other(e)))?;
        let meta = SnapshotMetaOf::<TypeConfig> {
            last_log_id: Some(last),
            last_membership: StoredMembershipOf::<TypeConfig>::new(Some(last), alone),
        };
        let mut state = (*self.machine.view().current().state).clone();
        state.recover((last.index, at), cluster, self.node, &others);
        if marked_joined(&self.data_dir).map_err(failed("cannot read the mark"))?.is_some() {
            mark_joined(&self.data_dir, cluster).map_err(failed("cannot write the mark"))?;
        }
        // This is the moment: a log that ends before the snapshot is purged when the node starts.
        self.machine
            .snapshots()
            .write(&meta, &state)
            .map_err(|e| failed("cannot write the snapshot")(e.into()))?;
        self.log.purge(last).await.map_err(failed("cannot purge the log"))?;
        let mut open = self.log.watch_open();
        drop((self.log, self.machine));
        // Without senders it is closed: the node may be started.
        while open.changed().await.is_ok() {}
        Ok(cluster)
    }
}

fn members(membership: &StoredMembershipOf<TypeConfig>) -> Vec<(NodeId, NodeAddress, bool)> {
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    membership.nodes().map(|(id, node)| (NodeId(*id), node.clone(), voters.contains(id))).collect()
}
