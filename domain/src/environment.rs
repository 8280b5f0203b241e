//! What jobs are made for (`environment`), and the reviews that some of these ask for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// An environment of a repository; one that nobody registered asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Environment {
    /// Its name as it was registered; it is found without case.
    pub name: Arc<str>,
    /// Jobs for it begin once somebody approves them.
    pub approval: bool,
    /// When it was registered, or last changed.
    pub changed_at: Timestamp,
}

/// Of a job: whether somebody approved that it is done for its environment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Review {
    /// Since when it waits, or has waited, for that.
    pub asked_at: Timestamp,
    /// Who approved; empty while nobody has.
    pub by: Arc<str>,
}

impl Review {
    /// Nobody has said anything yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.by.is_empty()
    }
}
