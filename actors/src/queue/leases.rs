//! Leases: who lives, in the leader's memory. A new leader grants every node a fresh one.
//!
//! Nothing is granted beyond what this leader knows to be its own time: a lease counts from the last moment at which a
//! quorum confirmed that it leads. A later leader begins after that moment, so no node outlives its lease there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{AttemptId, BootId, Command, Fence, Holding, JobState, NodeId};
use metrics::counter;
use ractor::ActorProcessingErr;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::metrics::NODES_LOST;

struct Lease {
    boot: BootId,
    expires: Instant,
    /// What the node said it holds; none before its first heartbeat in this term.
    holdings: Option<Vec<Holding>>,
}

/// The leases of one term.
pub(super) struct Leases {
    pub term: u64,
    lease: Duration,
    inner: Mutex<Inner>,
    /// Someone became live, or said what it holds.
    pub changed: Notify,
}

struct Inner {
    /// Begin of the last confirmation that this node leads.
    confirmed: Instant,
    nodes: BTreeMap<NodeId, Lease>,
}

impl Leases {
    /// To be made when this node has just become the leader, which is a confirmation.
    pub(super) fn new(term: u64, lease: Duration) -> Self {
        let inner = Inner { confirmed: Instant::now(), nodes: BTreeMap::new() };
        Self { term, lease, inner: Mutex::new(inner), changed: Notify::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews; answers for how long from now. None when this node may not lead any more.
    pub(super) fn renew(&self, node: NodeId, boot: BootId, holdings: Vec<Holding>) -> Option<Duration> {
        let mut inner = self.lock();
        let now = Instant::now();
        let granted = self.lease.checked_sub(now.duration_since(inner.confirmed)).filter(|d| !d.is_zero())?;
        // On this side the lease lasts the full time from now: never shorter than on the node's.
        let lease = Lease { boot, expires: now + self.lease, holdings: Some(holdings) };
        inner.nodes.insert(node, lease);
        drop(inner);
        self.changed.notify_waiters();
        Some(granted)
    }

    /// Nodes heard of in this term whose lease holds.
    pub(super) fn live(&self) -> BTreeSet<NodeId> {
        let now = Instant::now();
        let alive = |l: &Lease| l.expires > now && l.holdings.is_some();
        self.lock().nodes.iter().filter(|(_, l)| alive(l)).map(|(id, _)| *id).collect()
    }

    /// What each node heard of says it holds.
    pub(super) fn holdings(&self) -> Vec<(NodeId, Vec<Holding>)> {
        let inner = self.lock();
        inner.nodes.iter().filter_map(|(id, l)| Some((*id, l.holdings.clone()?))).collect()
    }

    fn confirm(&self, began: Instant) {
        self.lock().confirmed = began;
    }

    /// Grants fresh leases to nodes without one; answers those whose lease has run out, and forgets them.
    fn expire(&self, members: &[(NodeId, BootId)]) -> Vec<(NodeId, BootId)> {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.nodes.retain(|id, lease| members.contains(&(*id, lease.boot)));
        let mut expired = Vec::new();
        for (id, boot) in members {
            let fresh = || Lease { boot: *boot, expires: now + self.lease, holdings: None };
            if inner.nodes.entry(*id).or_insert_with(fresh).expires <= now {
                expired.push((*id, *boot));
            }
        }
        expired
    }
}

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut tick = tokio::time::interval(shared.options.reconcile);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Placements that their node does not hold, and since when.
    let mut unheld: BTreeMap<(AttemptId, Fence), Instant> = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        let began = Instant::now();
        match stop.run_until_cancelled(shared.replica.confirm()).await {
            None => return Ok(()),
            Some(Ok(())) => shared.leases.confirm(began),
            Some(Err(error)) => {
                tracing::debug!(%error, "leadership is not confirmed");
                continue;
            }
        }
        lose(&shared, &stop).await;
        take_back(&shared, &mut unheld, &stop).await;
    }
}

async fn lose(shared: &Shared, stop: &CancellationToken) {
    let state = shared.replica.state();
    let members: Vec<_> =
        state.nodes.iter().filter(|(_, node)| !node.lost).map(|(id, node)| (*id, node.boot)).collect();
    for (node, boot) in shared.leases.expire(&members) {
        tracing::warn!(%node, "the lease of a node has run out");
        let command = Command::LoseNode { node, boot };
        match stop.run_until_cancelled(shared.replica.propose(command)).await {
            Some(Ok(_)) => counter!(NODES_LOST).increment(1),
            Some(Err(error)) => tracing::warn!(%node, %error, "cannot say that a node is lost; trying again"),
            None => return,
        }
    }
}

/// Takes placements back that their node does not hold in time.
async fn take_back(
    shared: &Shared,
    unheld: &mut BTreeMap<(AttemptId, Fence), Instant>,
    stop: &CancellationToken,
) {
    let state = shared.replica.state();
    let now = Instant::now();
    let mut still = BTreeMap::new();
    for (node, held) in shared.leases.holdings() {
        for (holding, _) in state.holdings(node) {
            let placed = state.jobs.get(&holding.job).is_some_and(|job| job.state == JobState::Placed);
            if placed && !held.contains(&holding) {
                let key = (AttemptId { job: holding.job, number: holding.number }, holding.fence);
                still.insert(key, unheld.get(&key).copied().unwrap_or(now));
            }
        }
    }
    *unheld = still;
    for ((attempt, fence), since) in unheld.iter() {
        if now.duration_since(*since) < shared.options.acknowledge {
            continue;
        }
        let reason = format!("its node did not begin it within {:?}", shared.options.acknowledge);
        let command = Command::Unplace { attempt: *attempt, fence: *fence, reason };
        match stop.run_until_cancelled(shared.replica.propose(command)).await {
            Some(Ok(reply)) => tracing::warn!(%attempt, ?reply, "a placement was not acknowledged"),
            Some(Err(error)) => {
                tracing::warn!(%attempt, %error, "cannot take a placement back; trying again")
            }
            None => return,
        }
    }
}
