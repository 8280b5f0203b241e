//! What comes back of a command. Variants are append-only: their encoding is checked by golden bytes in raft-store.

use serde::{Deserialize, Serialize};

use crate::{DeliveryId, Fence, JobId, NodeId, RepoId, RunId};

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or already so.
    Done,
    /// The delivery; `duplicate` when it was accepted before.
    Delivery {
        /// Its id.
        id: DeliveryId,
        /// Accepted before.
        duplicate: bool,
    },
    /// The run; `duplicate` when it was submitted before.
    Run {
        /// Its id.
        id: RunId,
        /// Its number.
        number: u64,
        /// Submitted before.
        duplicate: bool,
    },
    /// The repository.
    Repo {
        /// Its id.
        id: RepoId,
        /// It was there before.
        existed: bool,
    },
    /// How many placements were taken, and which were refused with why.
    Placed {
        /// Taken.
        placed: u32,
        /// Refused.
        refused: Vec<(JobId, Refusal)>,
    },
    /// Not done, nothing changed.
    Refused(Refusal),
}

/// Why a command changed nothing. Closed: each maps once to an HTTP status and a CLI exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No such thing.
    #[error("no {what} with id {id}")]
    NotFound {
        /// What kind of thing.
        what: String,
        /// Which.
        id: String,
    },
    /// The fence is not the present one.
    #[error("stale fence {given}: the present one is {present}")]
    StaleFence {
        /// As reported.
        given: Fence,
        /// As the state has it.
        present: Fence,
    },
    /// The job or run is in a state that does not allow it.
    #[error("{what} is {state}, which does not allow {wanted}")]
    WrongState {
        /// Which thing.
        what: String,
        /// Its state.
        state: String,
        /// What was wanted.
        wanted: String,
    },
    /// The node cannot take it.
    #[error("node {node} cannot take it: {why}")]
    NodeUnfit {
        /// Which node.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// The same key with another request.
    #[error("the key {key:?} was used for another request within the last 24 hours")]
    KeyConflict {
        /// The key.
        key: String,
    },
    /// Too many open jobs.
    #[error("the queue is full: {open} open jobs, the limit is {limit}")]
    QueueFull {
        /// Open jobs.
        open: u32,
        /// The limit.
        limit: u32,
    },
    /// A value is out of its limits.
    #[error("{field} is not acceptable: {why}")]
    Invalid {
        /// Field's name.
        field: String,
        /// What was found, what is allowed.
        why: String,
    },
    /// The name belongs to another.
    #[error("the {what} {name:?} belongs to {owner}")]
    NameTaken {
        /// What kind of name.
        what: String,
        /// Which.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// Done before.
    #[error("{what} was done already")]
    AlreadyDone {
        /// What.
        what: String,
    },
    /// Runs were made with numbers that others have by now.
    #[error("the next run's number is {present} by now, not {given}")]
    NumbersTaken {
        /// The first one, as it was thought.
        given: u64,
        /// The next one.
        present: u64,
    },
}
