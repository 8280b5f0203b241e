//! How a node learns that it was removed: from the state while it still gets it, else by asking the members that it
//! knows. With that question it also says where it is reached now, so that a node that moved is found again.

use std::sync::Arc;
use std::time::Duration;

use domain::NodeId;
use serde::{Deserialize, Serialize};

use super::{Ask, Members, Told};
use crate::types::NodeAddress;
use crate::wire::{self, Request, Response};

/// What a node is to the one that it asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    Member,
    /// Not known here: perhaps not yet.
    Unknown,
    /// Removed under this name.
    Removed(String),
}

/// This node was removed from its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Its id, which is never used again.
    pub node: NodeId,
    /// The name that it had.
    pub name: String,
}

/// Runs until this node knows that it was removed.
pub(crate) async fn run(members: Arc<Members>) {
    // Asked once at the start, too: this node may be reached elsewhere than before.
    let mut asked = false;
    let mut applied = members.view.index();
    let (pause, mut leadership) = (members.timings.election * 4, members.leadership.clone());
    loop {
        if let Some(name) = members.removed_here() {
            return members.say_removed(name);
        }
        // Nor does it hear of a later leader who leads without a majority, and was removed meanwhile: all hang up on it.
        let silent = members.heard.borrow().elapsed() >= pause && !members.is_followed(pause);
        let belongs = members.raft.is_initialized().await.unwrap_or(false);
        if belongs && (silent || !asked) {
            asked = true;
            if let Some(name) = members.ask_standing().await {
                return members.say_removed(name);
            }
        }
        let wait = async {
            // Applying says so at once when the state has this node removed; only the voters may be a step behind.
            let _ = applied.changed().await;
            tokio::time::sleep(members.timings.heartbeat).await;
        };
        tokio::select! {
            biased;
            () = wait => {}
            changed = leadership.changed() => if changed.is_err() {
                // Raft has ended, and nothing will change any more.
                return;
            },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Members {
    /// Whether this node leads, and a majority said so within this time.
    fn is_followed(&self, within: Duration) -> bool {
        let acknowledged =
            self.metrics().last_quorum_acked.map(|at| openraft::Instant::elapsed(&at.into_inner()));
        self.leadership.borrow().is_me && acknowledged.is_some_and(|ago| ago < within)
    }

    /// The name under which the state has this node removed, once it votes no more: a voter is needed until then.
    fn removed_here(&self) -> Option<String> {
        let state = self.view.current().state.clone();
        let removed = state.removed.get(&NodeId(self.id()))?;
        let votes = self.metrics().membership_config.voter_ids().any(|id| id == self.id());
        (!votes).then(|| removed.name.to_string())
    }

    fn say_removed(&self, name: String) {
        self.removed.send_replace(Some(Removed { node: NodeId(self.id()), name }));
    }

    /// Asks all members; the name under which this node was removed, if one says so.
    async fn ask_standing(&self) -> Option<String> {
        let others: Vec<(u64, NodeAddress)> = self
            .metrics()
            .membership_config
            .nodes()
            .filter(|(id, _)| **id != self.id())
            .map(|(id, node)| (*id, node.clone()))
            .collect();
        let asks = others.into_iter().map(|(id, node)| self.ask_standing_of(id, node));
        futures::future::join_all(asks).await.into_iter().flatten().next()
    }

    async fn ask_standing_of(&self, id: u64, node: NodeAddress) -> Option<String> {
        let addr = self.caller.book.find(id).unwrap_or(node.cluster_addr);
        let limit = self.caller.connect_timeout;
        let ask = async {
            let mut link = self.caller.open(&addr, None).await?;
            let standing = Ask::Standing { cluster_addr: self.me.cluster_addr.clone() };
            wire::send(&mut link.stream, &Request::Members(standing)).await?;
            wire::receive::<Response>(&mut link.stream).await
        };
        match tokio::time::timeout(limit, ask).await {
            Ok(Ok(Response::Members(Told::Standing(Standing::Removed(name))))) => Some(name),
            Ok(Ok(_)) | Err(_) => None,
            Ok(Err(error)) => {
                tracing::debug!(node = node.name, %error, "nothing heard about this node's standing");
                None
            }
        }
    }

    /// What the asking node is, as this one knows; notes where it is. Its certificate was checked.
    pub(super) fn standing_of(&self, from: u64, cluster_addr: &str) -> Standing {
        let state = self.view.current().state.clone();
        let metrics = self.metrics();
        let known = metrics.membership_config.membership().get_node(&from).is_some();
        let votes = metrics.membership_config.voter_ids().any(|id| id == from);
        match state.removed.get(&NodeId(from)) {
            Some(removed) if !votes => Standing::Removed(removed.name.to_string()),
            _ if known => {
                let fits = (1..=domain::limits::MAX_ADDRESS_BYTES).contains(&cluster_addr.len());
                if fits {
                    self.caller.book.announce(from, cluster_addr);
                }
                Standing::Member
            }
            _ => Standing::Unknown,
        }
    }
}
