//! What starts workflows beside what forges tell: times, and other workflows. Of each repository as its default branch last said.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Fence, Timestamp};

/// What a repository's default branch says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Triggers {
    /// The default branch, a full ref.
    pub git_ref: String,
    /// Times.
    pub schedules: Arc<[Schedule]>,
    /// Workflows that follow others.
    pub follows: Arc<[Follow]>,
    /// The expansion that read it: what one that was given out earlier reads is older.
    pub read_by: Fence,
}

/// A workflow that runs at certain times.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schedule {
    /// The workflow's path.
    pub path: String,
    /// The times, as five fields of cron, as the file has them.
    pub cron: String,
    /// The zone that they are meant in, a name of the IANA database; empty for UTC.
    pub zone: String,
    /// The time that it ran for last, or when it was first known.
    pub last: Timestamp,
}

/// A workflow that runs when others do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Follow {
    /// The workflow's path.
    pub path: String,
    /// Names of the workflows that it follows.
    pub workflows: Vec<String>,
    /// When one of their runs is made.
    pub requested: bool,
    /// When one of their runs has ended.
    pub completed: bool,
}
