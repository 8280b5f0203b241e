//! Caches of a repository's jobs, and where in their list a page begins.

use std::fmt;
use std::str::FromStr;

use domain::{CacheEntry, CacheId, ClusterState, RepoId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{NODE_ID, SHA256};

/// A cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheView {
    /// As the workflow names it.
    pub key: String,
    /// The full ref of the runs that see it first.
    pub scope: String,
    /// What its paths come to: two caches of one key and scope differ in it.
    #[schemars(extend("pattern" = SHA256))]
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    #[schemars(extend("pattern" = SHA256))]
    pub sha256: String,
    /// The id of the node that has its bytes.
    #[schemars(extend("pattern" = NODE_ID))]
    pub node: String,
    /// That node's name.
    pub node_name: String,
    /// False while that node is lost: a job that looks for the cache finds none.
    pub available: bool,
    /// When it was made.
    pub created_at: u64,
    /// When a job used it last, or when it was made.
    pub used_at: u64,
}

impl CacheView {
    /// A cache's view.
    #[must_use]
    pub fn of(state: &ClusterState, entry: &CacheEntry) -> Self {
        Self {
            key: entry.key.clone(),
            scope: entry.scope.clone(),
            version: hex::encode(entry.version),
            size: entry.size,
            sha256: hex::encode(entry.digest),
            node: entry.node.to_string(),
            node_name: state.member_name(entry.node).map(ToString::to_string).unwrap_or_default(),
            available: state.can_be_had(entry),
            created_at: entry.created_at.0,
            used_at: entry.used_at.0,
        }
    }
}

/// Caches were removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CachesRemoved {
    /// How many.
    pub removed: usize,
}

/// A place in a repository's list of caches: `VERSION:SCOPE:KEY`. No ref has a colon; keys may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheCursor {
    version: [u8; 32],
    scope: String,
    key: String,
}

/// A text that is no [`CacheCursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the `next` of the page before, as VERSION:SCOPE:KEY")]
pub struct NoCacheCursor;

impl CacheCursor {
    /// The place of a cache.
    #[must_use]
    pub fn of((_, scope, key, version): &CacheId) -> Self {
        Self { version: *version, scope: scope.to_string(), key: key.to_string() }
    }

    /// What a cache in this place is found by.
    #[must_use]
    pub fn id(&self, repo: RepoId) -> CacheId {
        (repo, self.scope.as_str().into(), self.key.as_str().into(), self.version)
    }
}

impl fmt::Display for CacheCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", hex::encode(self.version), self.scope, self.key)
    }
}

impl FromStr for CacheCursor {
    type Err = NoCacheCursor;

    fn from_str(text: &str) -> Result<Self, NoCacheCursor> {
        let mut parts = text.splitn(3, ':');
        let (Some(version), Some(scope), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoCacheCursor);
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(version, &mut bytes).map_err(|_| NoCacheCursor)?;
        Ok(Self { version: bytes, scope: scope.to_owned(), key: key.to_owned() })
    }
}
