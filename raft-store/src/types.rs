//! The types that openraft is given.

use std::fmt;
use std::sync::Arc;

use domain::{Entry, Reply};
use openraft::impls::leader_id_std;
use serde::{Deserialize, Serialize};

/// A command on its way through the log. Shown without its content, which may hold secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal(Arc<Entry>);

impl Proposal {
    /// What is proposed. Shared between the log's cache, replication and apply.
    #[must_use]
    pub fn new(entry: Entry) -> Self {
        Self(Arc::new(entry))
    }

    /// The command with its proposer's time.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.0
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", std::mem::discriminant(&self.0.command), self.0.at.0)
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How a member is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Its name, which its certificate carries.
    pub name: String,
    /// Its cluster port, `host:port`.
    pub cluster_addr: String,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.cluster_addr)
    }
}

openraft::declare_raft_types!(
    /// Standard Raft leader ids: at most one leader per term, so that a log id is a term and an index.
    pub TypeConfig:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = NodeAddress,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = crate::runtime::Runtime,
);
