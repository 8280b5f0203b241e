//! Files that jobs keep for later ones: by a key that the workflow names, seen by the runs of a ref and of those that come from it.
//!
//! The index is in the replicated state; the bytes are a blob on the node that made them, fetched by others when they need them. A
//! cache may be gone at any time, and that is a miss, never an error. Must not know steps or logs.

pub mod archive;
pub mod key;
pub mod paths;
pub(crate) mod unpack;

use std::io;

pub use archive::{Kept, Limits};
pub use paths::{Paths, Root};
pub use unpack::{Places, Unpacked, unpack};

#[cfg(test)]
mod tests;

/// What can go wrong with a cache.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key that cannot be.
    #[error("cache key {key:?}: {why}")]
    BadKey {
        /// The beginning of it.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A path that cannot be kept.
    #[error("cache path {path:?}: {why}")]
    BadPath {
        /// The beginning of it.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A glob that cannot be read.
    #[error(transparent)]
    BadPattern(#[from] crate::artifacts::Error),
    /// An entry of a cache's archive that no node would have put there.
    #[error("the cache is not restored: its entry {entry:?} {why}")]
    BadEntry {
        /// The beginning of its name.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Past a limit.
    #[error("cache: {what} is over the limit of {limit}")]
    TooMuch {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Files could not be read or written.
    #[error("cache: cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// The system's words.
        source: io::Error,
    },
}

impl From<crate::tree::Error> for Error {
    fn from(error: crate::tree::Error) -> Self {
        match error {
            crate::tree::Error::Io { path, source } => {
                Self::Io { action: format!("list {}", path.display()), source }
            }
            crate::tree::Error::TooMuch { what, limit } => Self::TooMuch { what, limit: limit as u64 },
        }
    }
}

pub(crate) fn io_error(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { action, source }
}
