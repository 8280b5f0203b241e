//! Records of who may become a member, who was let in, and who was removed for ever.
//!
//! Must not know: who votes (that is Raft's), certificates, addresses that can be dialled.

use serde::{Deserialize, Serialize};

use crate::{LogIndex, NodeId, NodeName, Timestamp};

/// A token that lets one node join, once. The secret itself is known only to its holder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JoinToken {
    /// What it is for, as its maker said.
    pub name: String,
    /// SHA-256 of the secret (256 random bits, so a plain hash is enough).
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// Who used it; none before.
    pub used: Option<JoinUse>,
}

/// The one use of a join token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JoinUse {
    /// The node that joined with it.
    pub node: NodeId,
    /// SHA-256 of its certificate request: the same request again is the same use, so that a join that was cut off can
    /// be repeated, by whoever has the request's key and nobody else.
    pub request: [u8; 32],
    /// When.
    pub at: Timestamp,
}

/// A node that was let in with a join token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Admission {
    /// Its name.
    pub name: NodeName,
    /// Its cluster port as it said when it joined; a node that has registered is reached where it registered.
    pub cluster_addr: String,
    /// SHA-256 of the certificate request that may be signed for it.
    pub request: [u8; 32],
    /// When it was let in.
    pub at: Timestamp,
}

/// A node that was removed. Its id is never used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RemovedNode {
    /// The name that it had, which another node may have by now.
    pub name: NodeName,
    /// When.
    pub at: Timestamp,
    /// The entry that removed it.
    pub index: LogIndex,
}
