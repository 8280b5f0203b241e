//! How a request is known to be its sender's: by a secret that this node has given to the peer of that certificate alone.
//!
//! A session stands behind a certificate, but ractor_cluster hands requests on without saying over which session they came.
//! So each node gives each peer a ticket over that peer's own session, and the peer shows it with every request. A ticket
//! that a member gave in another's name opens nothing: it is refused, and the right one comes with the next sign of life.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use domain::NodeId;
use links::PeerName;
use metrics::counter;

use crate::metrics::GATEWAY_REFUSED;

/// A secret between two nodes.
pub(super) type Ticket = u128;

/// Shown by who was given none yet.
pub(super) const NONE: Ticket = 0;

#[derive(Default)]
pub(super) struct Tickets {
    /// What this node gave to whom; for as long as its process lives.
    given: Mutex<HashMap<PeerName, Ticket>>,
    /// What others gave to this node.
    taken: Mutex<HashMap<NodeId, Ticket>>,
    refused: AtomicU64,
}

impl Tickets {
    /// The peer's ticket here, to be told to it over its own session and nowhere else.
    pub(super) fn give(&self, peer: &PeerName) -> Ticket {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        *given.entry(peer.clone()).or_insert_with(|| rand::random::<Ticket>().max(NONE + 1))
    }

    /// Keeps this node's ticket at another.
    pub(super) fn take(&self, at: NodeId, ticket: Ticket) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(at, ticket);
    }

    /// What to show to a node.
    pub(super) fn show(&self, to: NodeId) -> Ticket {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.get(&to).copied().unwrap_or(NONE)
    }

    /// Whether this is the ticket of the peer with this name.
    pub(super) fn is_of(&self, ticket: Ticket, name: &str) -> bool {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.iter().any(|(peer, of_peer)| peer.as_str() == name && *of_peer == ticket)
    }

    /// Somebody said to be another than it is.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        counter!(GATEWAY_REFUSED).increment(1);
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
