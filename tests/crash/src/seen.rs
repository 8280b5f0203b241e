//! Opens what a node left and says what is in it.

use std::collections::BTreeMap;
use std::path::Path;

use domain::ClusterState;
use openraft::alias::LogIdOf;
use openraft::entry::EntryPayload;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftStateMachine};
use raft_store::disk::SharedDisk;
use raft_store::{LogStore, StateMachine, TypeConfig};

use crate::SIZES;
use crate::model::{Model, State};
use crate::op::{Id, entry};

/// What happened, for a test to end with.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The storage, open.
#[derive(Debug)]
pub struct Storage {
    /// The log.
    pub log: LogStore,
    /// The state at the last snapshot.
    pub machine: StateMachine,
}

impl Storage {
    /// Waits until nothing of it is in use any more.
    pub async fn close(self) {
        let mut open = self.log.watch_open();
        drop(self);
        while open.changed().await.is_ok() {}
    }
}

/// Opens the storage below `dir`, as a node does.
///
/// # Errors
/// The storage's.
pub fn open(disk: &SharedDisk, dir: &Path) -> Result<Storage> {
    let log = LogStore::open(disk.clone(), &dir.join("log"), SIZES)?;
    let machine = StateMachine::open(disk.clone(), &dir.join("state"))?;
    Ok(Storage { log, machine })
}

/// Term and index.
#[must_use]
pub fn id_of(id: LogIdOf<TypeConfig>) -> Id {
    (*id.leader_id, id.index)
}

/// Compares the storage with what may be in it, byte for byte.
///
/// # Errors
/// What may not be there or is missing.
pub async fn check(storage: &mut Storage, model: &mut Model, salts: &Salts) -> Result {
    let log = &mut storage.log;
    let standing = log.get_log_state().await?;
    let purged = standing.last_purged_log_id.map(id_of);
    let mut entries = BTreeMap::new();
    for found in log.try_get_log_entries(0..).await? {
        let (term, index) = id_of(found.log_id);
        let salt = salts.find(term, index, |salt| entry(term, index, salt) == found);
        let salt = salt.ok_or_else(|| format!("entry {index} of term {term} is none that was written"))?;
        entries.insert(index, (term, salt));
    }
    let first = purged.map_or(1, |(_, index)| index + 1);
    if !entries.keys().copied().eq(first..first + entries.len() as u64) {
        return Err(format!("entries after {purged:?} have a gap: {:?}", entries.keys()).into());
    }
    let state = State {
        vote: log.read_vote().await?.map(|vote| (vote.leader_id.term, vote.leader_id.voted_for)),
        committed: log.read_committed().await?.map(id_of),
        purged,
        last: standing.last_log_id.map(id_of),
        entries,
    };
    let snapshot = storage.machine.applied_state().await?.0.map(id_of);
    model.found(state, snapshot)?;
    if purged.map(|(_, index)| index) > snapshot.map(|(_, index)| index) {
        return Err(format!("purged up to {purged:?}, but the snapshot is of {snapshot:?}").into());
    }
    let hash = storage.machine.view().current().state.hash();
    let expected = replayed(model, snapshot).hash();
    if hash != expected {
        return Err(format!("the snapshot of {snapshot:?} holds another state than its entries make").into());
    }
    Ok(())
}

fn replayed(model: &Model, up_to: Option<Id>) -> ClusterState {
    let mut state = ClusterState::default();
    for (index, (term, salt)) in model.history.range(..=up_to.map_or(0, |(_, index)| index)) {
        if let EntryPayload::Normal(proposal) = entry(*term, *index, *salt).payload {
            state.apply(*index, proposal.entry());
        }
    }
    state
}

/// The salts that entries of an id were ever written with.
#[derive(Debug, Default)]
pub struct Salts(BTreeMap<Id, Vec<u64>>);

impl Salts {
    /// Remembers one.
    pub fn add(&mut self, id: Id, salt: u64) {
        self.0.entry(id).or_default().push(salt);
    }

    fn find(&self, term: u64, index: u64, is_it: impl Fn(u64) -> bool) -> Option<u64> {
        self.0.get(&(term, index))?.iter().rev().copied().find(|salt| is_it(*salt))
    }
}
