//! Leases: who lives, in the leader's memory. A new leader grants every node a fresh one.
//!
//! Nothing is granted beyond what this leader knows to be its own time: a lease counts from the last moment at which a
//! quorum confirmed that it leads. A later leader begins after that moment, so no node outlives its lease there. What has
//! run out is not renewed any more: that the node is lost may be on its way into the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{BootId, Command, Holding, NodeId, Reply};
use metrics::counter;
use ractor::ActorProcessingErr;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::unheld::{Said, Unheld};
use crate::faults::{self, Point};
use crate::metrics::NODES_LOST;

struct Lease {
    boot: BootId,
    expires: Instant,
    /// When the node was last heard, what it said it holds, and how much more it can begin; none before its first heartbeat in
    /// this term.
    said: Option<(Instant, Vec<Holding>, u16)>,
}

/// Why a lease is not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRenewed {
    /// It has run out: the node is about to be lost.
    RunOut,
    /// This node may not lead any more.
    NotLeader,
}

/// The leases of one term.
pub(super) struct Leases {
    pub term: u64,
    /// When the queue of this term began here.
    pub began: Instant,
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
    /// `confirmed` is the begin of a confirmation that this node leads in this term.
    pub(super) fn new(term: u64, lease: Duration, confirmed: Instant) -> Self {
        let inner = Inner { confirmed, nodes: BTreeMap::new() };
        Self { term, began: Instant::now(), lease, inner: Mutex::new(inner), changed: Notify::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews; answers for how long from now.
    pub(super) fn renew(
        &self,
        node: NodeId,
        boot: BootId,
        holdings: Vec<Holding>,
        slots: u16,
    ) -> Result<Duration, NotRenewed> {
        let mut inner = self.lock();
        let now = Instant::now();
        if inner.nodes.get(&node).is_some_and(|lease| lease.boot == boot && lease.expires <= now) {
            return Err(NotRenewed::RunOut);
        }
        let granted = self.lease.checked_sub(now.duration_since(inner.confirmed));
        let granted = granted.filter(|left| !left.is_zero()).ok_or(NotRenewed::NotLeader)?;
        // On this side the lease lasts the full time from now: never shorter than on the node's.
        let lease = Lease { boot, expires: now + self.lease, said: Some((now, holdings, slots)) };
        inner.nodes.insert(node, lease);
        drop(inner);
        self.changed.notify_waiters();
        Ok(granted)
    }

    /// Nodes heard of in this term whose lease holds.
    pub(super) fn live(&self) -> BTreeSet<NodeId> {
        let now = Instant::now();
        let alive = |l: &Lease| l.expires > now && l.said.is_some();
        self.lock().nodes.iter().filter(|(_, l)| alive(l)).map(|(id, _)| *id).collect()
    }

    /// What each node heard of said last.
    pub(super) fn said(&self) -> Vec<Said> {
        let said = |(node, lease): (&NodeId, &Lease)| {
            let (heard, holdings, slots) = lease.said.clone()?;
            Some(Said { node: *node, boot: lease.boot, heard, holdings, slots })
        };
        self.lock().nodes.iter().filter_map(said).collect()
    }

    fn confirm(&self, began: Instant) {
        self.lock().confirmed = began;
    }

    /// Grants fresh leases to nodes without one; answers those whose lease has run out.
    fn expire(&self, members: &[(NodeId, BootId)]) -> Vec<(NodeId, BootId)> {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.nodes.retain(|id, lease| members.contains(&(*id, lease.boot)));
        let mut expired = Vec::new();
        for (id, boot) in members {
            let fresh = || Lease { boot: *boot, expires: now + self.lease, said: None };
            if inner.nodes.entry(*id).or_insert_with(fresh).expires <= now {
                expired.push((*id, *boot));
            }
        }
        expired
    }

    /// The node is lost in this life: should it register again, it is a new matter.
    fn forget(&self, node: NodeId, boot: BootId) {
        let mut inner = self.lock();
        if inner.nodes.get(&node).is_some_and(|lease| lease.boot == boot) {
            inner.nodes.remove(&node);
        }
    }
}

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut tick = tokio::time::interval(shared.options.reconcile);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unheld = Unheld::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Leases) => match never {},
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
            // It has registered anew, or another leader was first.
            Some(Ok(Reply::Refused(refusal))) => tracing::debug!(%node, %refusal, "not lost"),
            Some(Ok(_)) => {
                counter!(NODES_LOST).increment(1);
                shared.leases.forget(node, boot);
            }
            Some(Err(error)) => tracing::warn!(%node, %error, "cannot say that a node is lost; trying again"),
            None => return,
        }
    }
}

/// Takes placements back that their node does not hold in time.
async fn take_back(shared: &Shared, unheld: &mut Unheld, stop: &CancellationToken) {
    let (state, acknowledge) = (shared.replica.state(), shared.options.acknowledge);
    for (attempt, fence) in unheld.look(Instant::now(), acknowledge, &state, &shared.leases.said()) {
        let reason = format!("its node did not begin it within {acknowledge:?}");
        let command = Command::Unplace { attempt, fence, reason };
        match stop.run_until_cancelled(shared.replica.propose(command)).await {
            Some(Ok(reply)) => {
                tracing::warn!(%attempt, ?reply, "a placement was not acknowledged");
                // Whatever keeps it from beginning that would keep it from beginning the next one, too.
                if let Some(job) = state.jobs.get(&attempt.job) {
                    shared.trouble(job.node);
                }
            }
            Some(Err(error)) => {
                tracing::warn!(%attempt, %error, "cannot take a placement back; trying again")
            }
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);
    const BOOT: BootId = BootId(5);
    const LEASE: Duration = Duration::from_secs(600);

    fn run_out(leases: &Leases) {
        if let Some(lease) = leases.lock().nodes.get_mut(&NODE) {
            lease.expires = Instant::now();
        }
    }

    #[test]
    fn a_lease_that_ran_out_is_renewed_only_when_the_loss_is_in_the_state() {
        let leases = Leases::new(1, LEASE, Instant::now());
        assert!(leases.renew(NODE, BOOT, Vec::new(), 1).is_ok());
        assert_eq!(leases.live(), BTreeSet::from([NODE]));
        assert_eq!(leases.expire(&[(NODE, BOOT)]), []);
        run_out(&leases);
        // A node that stood still comes back, with the loss on its way into the log.
        assert_eq!(leases.renew(NODE, BOOT, Vec::new(), 1), Err(NotRenewed::RunOut));
        assert_eq!(leases.expire(&[(NODE, BOOT)]), [(NODE, BOOT)]);
        assert_eq!(leases.renew(NODE, BOOT, Vec::new(), 1), Err(NotRenewed::RunOut));
        assert!(leases.live().is_empty());
        leases.forget(NODE, BootId(4));
        assert_eq!(leases.renew(NODE, BOOT, Vec::new(), 1), Err(NotRenewed::RunOut));
        leases.forget(NODE, BOOT);
        assert!(leases.renew(NODE, BOOT, Vec::new(), 1).is_ok());
        // Another life is another matter.
        run_out(&leases);
        assert!(leases.renew(NODE, BootId(6), Vec::new(), 1).is_ok());
    }

    #[test]
    fn a_node_never_heard_of_has_a_fresh_lease_and_is_not_live() {
        let leases = Leases::new(1, LEASE, Instant::now());
        assert_eq!(leases.expire(&[(NODE, BOOT)]), []);
        assert!(leases.live().is_empty() && leases.said().is_empty());
        run_out(&leases);
        assert_eq!(leases.expire(&[(NODE, BOOT)]), [(NODE, BOOT)]);
        // A later life has one of its own.
        assert_eq!(leases.expire(&[(NODE, BootId(6))]), []);
    }

    #[test]
    fn nothing_is_granted_beyond_what_a_quorum_confirmed() -> Result<(), &'static str> {
        let ago = Duration::from_secs(1);
        let confirmed = Instant::now().checked_sub(ago).ok_or("this machine has only just started")?;
        // It has led for longer than a lease, and nobody has confirmed it since.
        let leases = Leases::new(1, ago, confirmed);
        assert_eq!(leases.renew(NODE, BOOT, Vec::new(), 1), Err(NotRenewed::NotLeader));
        leases.confirm(Instant::now() + LEASE);
        assert!(leases.renew(NODE, BOOT, Vec::new(), 1).is_ok());
        let granted = Leases::new(1, LEASE, confirmed).renew(NODE, BOOT, Vec::new(), 1);
        assert!(granted.is_ok_and(|granted| granted <= LEASE - ago), "{granted:?}");
        Ok(())
    }
}
