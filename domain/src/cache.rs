//! Caches that jobs keep for later ones: which there are, and where their bytes lie.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{NodeId, RepoId, Timestamp};

/// What a cache is found by: repository, scope, key, and what its bytes were made of.
pub type CacheId = (RepoId, Arc<str>, Arc<str>, [u8; 32]);

/// A cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CacheEntry {
    /// The full ref of the runs that see it first.
    pub scope: String,
    /// As the workflow names it.
    pub key: String,
    /// Of the paths and the form of its bytes: others with the same key are not it.
    pub version: [u8; 32],
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// Where its bytes are.
    pub node: NodeId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was used last.
    pub used_at: Timestamp,
}

impl CacheEntry {
    /// What it is found by.
    #[must_use]
    pub fn id(&self, repo: RepoId) -> CacheId {
        (repo, self.scope.as_str().into(), self.key.as_str().into(), self.version)
    }
}
