//! Registers this life of the node, then says to the leader again and again that it lives and what it holds.
//!
//! The lease counts from when a heartbeat was sent, less a margin: shorter than the leader counts it.

use std::time::Duration;

use domain::{Command, NodeId, Reply};
use ractor::ActorProcessingErr;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Runners;
use crate::gateway::{Answer, CallError, Gateway, Rejection, Request};

pub(super) async fn run(
    runners: Runners,
    gateway: Gateway,
    stop: CancellationToken,
) -> Result<(), ActorProcessingErr> {
    let mut tick = tokio::time::interval(runners.shared.options.heartbeat);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leadership = runners.shared.replica.leadership();
    // Every life registers, even a restarted heart's: it is idempotent.
    let mut registered = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {}
            // A new leader hears of this node at once.
            changed = leadership.changed() => changed?,
        }
        let beat = async {
            if !registered {
                registered = register(&runners).await;
            }
            if registered {
                registered = beat(&runners, &gateway).await;
            }
        };
        if stop.run_until_cancelled(beat).await.is_none() {
            return Ok(());
        }
    }
}

/// Offers this node to the planner, once what runs attempts here answers.
async fn register(runners: &Runners) -> bool {
    if let Err(error) = runners.shared.work.survivors().await {
        tracing::warn!(%error, "this node takes no jobs yet");
        return false;
    }
    let (facts, sent) = (runners.shared.options.facts.clone(), Instant::now());
    match runners.shared.replica.propose(Command::RegisterNode(facts)).await {
        Ok(Reply::Refused(refusal)) => {
            tracing::error!(%refusal, "this node is not accepted by the cluster");
            false
        }
        Ok(_) => {
            // The leader grants a lease to a life that it has not seen before, so only the first registration counts;
            // adopted attempts live on this one at first.
            let (options, first) = (&runners.shared.options, !*runners.shared.registered.borrow());
            if first {
                extend(runners, sent + options.first_lease.saturating_sub(options.margin));
            }
            runners.shared.registered.send_replace(true);
            true
        }
        Err(error) => {
            tracing::debug!(%error, "this node cannot register yet");
            false
        }
    }
}

/// Never moved back: an earlier grant was as good.
fn extend(runners: &Runners, deadline: Instant) {
    runners.shared.deadline.send_modify(|d| *d = Some(d.map_or(deadline, |d| d.max(deadline))));
}

/// False when this node has to register again.
async fn beat(runners: &Runners, gateway: &Gateway) -> bool {
    let shared = &runners.shared;
    let leader = shared.replica.leadership().borrow().leader.as_ref().map(|(id, _)| NodeId(*id));
    let Some(leader) = leader else { return true };
    let (facts, holdings) = (&shared.options.facts, runners.holdings());
    let slots = usize::from(facts.capacity.slots).saturating_sub(holdings.len()) as u16;
    let sent = Instant::now();
    let request = Request::Heartbeat { node: facts.node, boot: facts.boot, holdings, slots };
    match gateway.call(leader, request).await {
        Ok(Answer::Lease { granted_millis, .. }) => {
            let lease = Duration::from_millis(granted_millis).saturating_sub(shared.options.margin);
            extend(runners, sent + lease);
            true
        }
        Ok(answer) => {
            tracing::warn!(?answer, "a heartbeat had a strange answer");
            true
        }
        Err(CallError::Rejected { rejection: Rejection::NotRegistered, .. }) => {
            tracing::warn!("the leader does not know this life of the node: registering again");
            false
        }
        Err(error) => {
            tracing::debug!(%leader, %error, "a heartbeat was not answered");
            true
        }
    }
}
