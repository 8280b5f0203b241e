//! Groups of runs and jobs of which one runs at a time: who runs, and who waits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{RepoId, RunId};

/// What a group is found by: its repository and its name without case.
pub type GroupId = (RepoId, Arc<str>);

/// One of a group: a run, or a job of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Claimant {
    /// Which run.
    pub run: RunId,
    /// Which of its jobs; none for the run as a whole.
    pub job: Option<u16>,
}

/// Who runs, and who waits for that, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    /// Who runs.
    pub holder: Claimant,
    /// Who waits.
    pub waiting: Arc<[Claimant]>,
}
