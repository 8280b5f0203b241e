//! Who belongs to the cluster and who votes: the leader's manager, what people ask of it, a leader that stops in order,
//! and a node that learns that it was removed.
//!
//! Raft's membership is changed here and nowhere else, one change at a time. Must not know: HTTP, how certificates are made.

mod book;
mod hand_over;
mod join;
mod joined;
mod manager;
mod requests;
mod rules;
mod standing;
mod store;
mod ticket;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use domain::NodeId;
use links::ca::Signer;
use openraft::alias::{LogIdOf, StoredMembershipOf};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{RaftMetrics, ServerState};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use book::Book;
pub use join::{JoinError, Newcomer, Papers};
pub(crate) use joined::Joined;
pub use joined::{mark_joined, marked_joined};
pub(crate) use manager::run as manage;
pub(crate) use requests::{Ask, Told};
pub(crate) use rules::Rules;
pub use rules::Voting;
pub use standing::Removed;
pub(crate) use standing::run as watch_standing;
pub use ticket::{NoTicket, Ticket};

use crate::clock::SharedClock;
use crate::network::Caller;
use crate::options::Timings;
use crate::server::Node;
use crate::state_machine::View;
use crate::store::Leadership;
use crate::types::{NodeAddress, TypeConfig};
use rules::{Peer, Seen};

/// A node that belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its cluster port, `host:port`.
    pub cluster_addr: String,
    /// What it is.
    pub role: Role,
    /// It was removed, and goes as soon as a safe majority is left without it.
    pub leaving: bool,
    /// How many entries it lacks; only the leader knows.
    pub behind: Option<u64>,
    /// For how long the leader has not heard it; only the leader knows.
    pub silent: Option<Duration>,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Votes and leads.
    Leader,
    /// Votes.
    Voter,
    /// Has everything and does not vote.
    Learner,
    /// Let in with a token; the leader has not added it yet.
    Admitted,
}

/// Why something about members was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MembersError {
    /// Certainly not done.
    #[error("no leader could be reached in time; nothing was changed, try again")]
    Unavailable,
    /// May or may not be done.
    #[error("the leader was lost while it worked; the change may or may not have been made")]
    Unknown,
    /// No such member.
    #[error("no member of the cluster has the id {node}")]
    NotFound {
        /// Which.
        node: NodeId,
    },
    /// It would do harm, or makes no sense.
    #[error("{what}: {why}")]
    Refused {
        /// What was asked.
        what: String,
        /// Why not, and what to do.
        why: String,
    },
}

/// What all parts of this module work with.
pub(crate) struct Members {
    pub raft: Node,
    pub view: View,
    pub caller: Caller,
    pub clock: SharedClock,
    pub leadership: watch::Receiver<Leadership>,
    pub timings: Timings,
    pub rules: Rules,
    /// This node.
    pub me: NodeAddress,
    /// When a leader was heard last.
    pub heard: watch::Receiver<Instant>,
    /// Set once this node knows that it was removed.
    pub removed: watch::Sender<Option<Removed>>,
    /// What the leader remembers of its term.
    pub memory: Mutex<Memory>,
    /// Signs certificates of nodes that are let in, where this node has the CA's key.
    pub signer: OnceLock<Signer>,
}

/// Since when the leader knows what it knows; of one term.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    term: u64,
    /// When a member was first seen.
    first: BTreeMap<u64, Instant>,
    /// Since when a member is there and caught up.
    steady: BTreeMap<u64, Instant>,
}

impl Members {
    fn id(&self) -> u64 {
        self.caller.from
    }

    fn metrics(&self) -> RaftMetrics<TypeConfig> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// What this node sees, if it leads, and the last change of the membership.
    fn look(&self) -> Option<(Seen, Option<LogIdOf<TypeConfig>>)> {
        let metrics = self.metrics();
        let me = self.id();
        if metrics.state != ServerState::Leader || metrics.current_leader != Some(me) {
            return None;
        }
        let (now, state) = (Instant::now(), self.view.current().state.clone());
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.term != metrics.current_term {
            *memory = Memory { term: metrics.current_term, ..Memory::default() };
        }
        let membership = &metrics.membership_config;
        let mut peers = BTreeMap::new();
        for (id, address) in membership.nodes() {
            let first = *memory.first.entry(*id).or_insert(now);
            let mut peer = peer(*id, address, &metrics, now.duration_since(first));
            if *id == me {
                (peer.silent, peer.behind) = (Duration::ZERO, 0);
            }
            let replicated = metrics.replication.iter().flatten().find(|(other, _)| *other == id);
            let index = replicated.and_then(|(_, at)| *at).map_or(0, |at| at.index);
            peer.told = state.removed.get(&NodeId(*id)).is_some_and(|removed| index >= removed.index);
            if rules::is_caught_up(&peer, &self.rules) {
                peer.steady = now.duration_since(*memory.steady.entry(*id).or_insert(now));
            } else {
                memory.steady.remove(id);
            }
            peers.insert(*id, peer);
        }
        memory.first.retain(|id, _| peers.contains_key(id));
        memory.steady.retain(|id, _| peers.contains_key(id));
        let seen = Seen {
            me,
            configs: membership.get_joint_config().clone(),
            settled: is_settled(&metrics.committed_membership_config, membership),
            admitted: self.admitted(&peers.keys().copied().collect()),
            moved: self.moved(),
            removed: state.removed.iter().map(|(id, _)| id.0).filter(|id| peers.contains_key(id)).collect(),
            peers,
        };
        Some((seen, *membership.log_id()))
    }

    /// Where members say they are reached, this one among them: to itself it announces nothing.
    fn moved(&self) -> BTreeMap<u64, String> {
        let mut moved = self.caller.book.announced();
        moved.insert(self.id(), self.me.cluster_addr.clone());
        moved
    }

    /// Let in, but no members of Raft, these, yet.
    fn admitted(&self, members: &BTreeSet<u64>) -> BTreeMap<u64, NodeAddress> {
        let state = self.view.current().state.clone();
        let address = |admission: &domain::Admission| NodeAddress {
            name: admission.name.to_string(),
            cluster_addr: admission.cluster_addr.clone(),
        };
        let new = state.admitted.iter().filter(|(id, _)| !members.contains(&id.0));
        new.map(|(id, admission)| (id.0, address(admission))).collect()
    }
}

fn is_settled(
    committed: &StoredMembershipOf<TypeConfig>,
    effective: &StoredMembershipOf<TypeConfig>,
) -> bool {
    committed.log_id() == effective.log_id()
}

fn peer(id: u64, address: &NodeAddress, metrics: &RaftMetrics<TypeConfig>, known_for: Duration) -> Peer {
    let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(&id).copied().flatten());
    let silent = heard.map_or(known_for, |at| openraft::Instant::elapsed(&at.into_inner()));
    let at = metrics.replication.as_ref().and_then(|at| at.get(&id).copied().flatten());
    let behind = metrics.last_log_index.unwrap_or(0).saturating_sub(at.map_or(0, |at| at.index));
    Peer { address: address.clone(), silent, behind, steady: Duration::ZERO, told: false }
}
