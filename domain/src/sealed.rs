//! Secrets as the state keeps them: encrypted by whoever took them in, opened by whoever uses them.
//!
//! Must not know: keys, ciphers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Encrypted bytes. Never shown, never logged.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sealed(pub Arc<[u8]>);

impl Sealed {
    /// True when there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// What a repository's forge and git server are asked with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Access {
    /// As whom it is cloned.
    pub clone: CloneAs,
    /// Where commit statuses go; none for nowhere.
    pub status: Option<StatusApi>,
}

/// As whom a repository is cloned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CloneAs {
    /// As anybody can.
    #[default]
    Nobody,
    /// With a token, over HTTP.
    Token(Sealed),
    /// With a private key, over SSH.
    Key(Sealed),
}

/// Where commit statuses go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatusApi {
    /// The forge's name, as in delivery keys: `github`.
    pub forge: String,
    /// Where its API begins.
    pub api_url: String,
    /// With the right to set statuses.
    pub token: Sealed,
}
