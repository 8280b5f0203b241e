//! What nodes say to one another, and how it is encoded. Every request has one reply, which may be a refusal.

use domain::{AttemptId, BootId, DeliveryId, Fence, Holding, NodeId};
use raft_store::codec;
use serde::{Deserialize, Serialize};

/// No encoded request or reply is larger, in bytes: what is larger goes over the bulk link.
pub const MAX_ENVELOPE_BYTES: usize = 256 * 1024;

/// A request to another node. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Are you there?
    Ping,
    /// To a runner supervisor: begin this attempt. Idempotent.
    StartAttempt {
        /// Which.
        attempt: AttemptId,
        /// Under which fence.
        fence: Fence,
    },
    /// To a runner supervisor: end this attempt. Idempotent.
    CancelAttempt {
        /// Which.
        attempt: AttemptId,
        /// Under which fence.
        fence: Fence,
    },
    /// To a runner supervisor: expand this delivery. Idempotent.
    StartExpansion {
        /// Which.
        delivery: DeliveryId,
        /// Under which fence.
        fence: Fence,
    },
    /// To the leader: this node lives and holds this.
    Heartbeat {
        /// Who.
        node: NodeId,
        /// In which life.
        boot: BootId,
        /// Attempts with a runner there.
        holdings: Vec<Holding>,
        /// Attempts that it could begin beside those; none while it has no lease that is of use.
        slots: u16,
    },
    /// Are you there? And this is what you show here.
    Introduce {
        /// Who asks.
        from: NodeId,
        /// The secret with which the node that is asked shows that a request is its own.
        ticket: u128,
    },
}

impl Request {
    /// The node that says this of itself; of other requests it does not matter who sends them: they are compared with the
    /// state.
    pub(super) fn speaks_of(&self) -> Option<NodeId> {
        match self {
            Self::Heartbeat { node, .. } => Some(*node),
            Self::Ping
            | Self::StartAttempt { .. }
            | Self::CancelAttempt { .. }
            | Self::StartExpansion { .. }
            | Self::Introduce { .. } => None,
        }
    }
}

/// A request as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// The sender's at the receiver.
    pub ticket: u128,
    /// What it asks.
    pub request: Request,
}

/// The answer to a request that was done. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done, or begun, or so already.
    Done,
    /// The lease: counted from when the request was sent, never from when this arrived.
    Lease {
        /// Milliseconds.
        granted_millis: u64,
        /// The leader's term.
        term: u64,
        /// The leader's clock: microseconds since its term began there.
        clock_micros: u64,
    },
}

/// Why a request was not done. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// For the leader, and this node does not lead.
    #[error("this node does not lead")]
    NotLeader,
    /// The node says that it is another life than the one registered, or is lost: it has to register first.
    #[error("the node has to register again")]
    NotRegistered,
    /// Too much is under way here.
    #[error("too many requests are under way")]
    Busy,
    /// Not readable.
    #[error("the request cannot be read: {why}")]
    Malformed {
        /// The codec's words.
        why: String,
    },
    /// The part of the node that would do it is not running.
    #[error("the node is starting or stopping")]
    Unavailable,
    /// It is said of another node than the sender, or the sender was not told yet how to show who it is.
    #[error("the sender has not shown that it is the node of which it speaks")]
    NotIntroduced,
}

/// Answer or rejection.
pub type Outcome = Result<Answer, Rejection>;

/// Encodes, within the cap.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    let bytes = codec::encode(value).map_err(|e| e.to_string())?;
    if bytes.len() > MAX_ENVELOPE_BYTES {
        return Err(format!("{} bytes, the limit is {MAX_ENVELOPE_BYTES}", bytes.len()));
    }
    Ok(bytes)
}

/// Decodes, within the cap.
pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    codec::decode(bytes, MAX_ENVELOPE_BYTES).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_over_the_cap_is_neither_sent_nor_read() {
        assert!(encode(&vec![1u8; MAX_ENVELOPE_BYTES + 1]).is_err());
        assert!(decode::<Vec<u8>>(&vec![1u8; MAX_ENVELOPE_BYTES + 1]).is_err());
        assert_eq!(encode(&Request::Ping).and_then(|bytes| decode(&bytes)), Ok(Request::Ping));
    }
}
