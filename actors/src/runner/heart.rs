//! Registers this life of the node, then says to the leader again and again that it lives and what it holds.
//!
//! The lease counts from when a heartbeat was sent, less a margin ([`super::margin`]): shorter than the leader counts it. Whatever the leader
//! grants, what the state here gives to others is ended at each beat.

use std::time::Duration;

use domain::{Command, NodeId, Reply};
use ractor::ActorProcessingErr;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Runners;
use super::margin::Reading;
use crate::faults::{self, Point};
use crate::gateway::{Answer, CallError, Gateway, Rejection, Request};
use crate::replica::{Leadership, ProposeError};

/// A heartbeat that brought no lease, or one after none, is sent again after so small a part of the usual pause.
const SOONER: u32 = 8;

/// What became of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beat {
    /// A lease, or nobody to ask.
    Done,
    /// No lease from this leader, or no longer from this leader, or the first one after a time without.
    Again,
    /// This node has to register anew.
    Unknown,
}

pub(super) async fn run(
    runners: Runners,
    gateway: Gateway,
    stop: CancellationToken,
) -> Result<(), ActorProcessingErr> {
    let mut tick = tokio::time::interval(runners.shared.options.heartbeat);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leadership = runners.shared.replica.leadership();
    // Every life registers, even a restarted heart's: it is idempotent.
    let (mut registered, mut open) = (false, None);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Heart) => match never {},
            _ = tick.tick() => {}
            // A new leader hears of this node at once.
            changed = leadership.changed() => changed?,
        }
        let beat = async {
            if !registered {
                registered = register(&runners, &mut open).await;
            }
            if !registered {
                return Beat::Done;
            }
            runners.heed();
            runners.end_drained();
            let beat = beat(&runners, &gateway).await;
            registered = beat != Beat::Unknown;
            beat
        };
        match stop.run_until_cancelled(beat).await {
            None => return Ok(()),
            Some(Beat::Done) => {}
            Some(Beat::Again | Beat::Unknown) => {
                tick.reset_after(runners.shared.options.heartbeat / SOONER);
            }
        }
    }
}

/// Offers this node to the planner, once what runs attempts here answers. `open` is when the first registration was sent
/// of which it is not known whether it is in the state.
async fn register(runners: &Runners, open: &mut Option<Instant>) -> bool {
    if let Err(error) = runners.shared.work.survivors().await {
        tracing::warn!(%error, "this node takes no jobs yet");
        return false;
    }
    if !runners.shared.margin.leaves_half(runners.shared.options.first_lease, Instant::now()) {
        tracing::warn!("this node takes no jobs yet: it has just stood still, or its clock lags");
        return false;
    }
    let (facts, sent) = (runners.shared.options.facts.clone(), open.unwrap_or_else(Instant::now));
    match runners.shared.replica.propose(Command::RegisterNode(facts)).await {
        Ok(Reply::Refused(refusal)) => {
            tracing::error!(%refusal, "this node is not accepted by the cluster");
            false
        }
        Ok(_) => {
            *open = None;
            runners.shared.margin.begin_anew();
            // The leader grants a lease to a life that it has not seen before, so only the first registration counts;
            // adopted attempts live on this one at first.
            if !*runners.shared.registered.borrow() {
                extend(runners, sent, runners.shared.options.first_lease);
            }
            runners.shared.registered.send_replace(true);
            true
        }
        Err(error) => {
            if error == ProposeError::Unknown {
                *open = Some(sent);
            }
            tracing::debug!(%error, "this node cannot register yet");
            false
        }
    }
}

/// Goes on for a lease that was asked for at this time. Never moved back: an earlier grant was as good.
fn extend(runners: &Runners, sent: Instant, lease: Duration) {
    let margin = runners.shared.margin.of(lease, Instant::now());
    let left = lease.saturating_sub(margin);
    if left.is_zero() {
        // Hardly any was left to grant, by a leader that is not sure to lead, or too much is taken off.
        tracing::warn!(
            ?lease,
            ?margin,
            "a lease is of no use: too short, or this machine stood still, or its clock lags"
        );
        return;
    }
    let deadline = sent + faults::lease(left);
    runners.shared.deadline.send_modify(|d| *d = Some(d.map_or(deadline, |d| d.max(deadline))));
}

/// One heartbeat to the leader of the moment; given up when that is no longer it.
async fn beat(runners: &Runners, gateway: &Gateway) -> Beat {
    let shared = &runners.shared;
    let mut leadership = shared.replica.leadership();
    let now = |l: &Leadership| l.leader.as_ref().map(|(id, _)| NodeId(*id));
    let leader = now(&leadership.borrow_and_update());
    let Some(leader) = leader else { return Beat::Done };
    let (facts, holdings) = (&shared.options.facts, runners.holdings());
    let sent = Instant::now();
    let has_lease = || shared.deadline.borrow().is_some_and(|until| until > sent);
    // What it cannot begin it does not offer.
    let offers = has_lease();
    let free = usize::from(facts.capacity.slots).saturating_sub(holdings.len()) as u16;
    let slots = if offers { free } else { 0 };
    let request = Request::Heartbeat { node: facts.node, boot: facts.boot, holdings, slots };
    let answer = tokio::select! {
        answer = gateway.call(leader, request) => answer,
        _ = leadership.wait_for(|l| now(l) != Some(leader)) => return Beat::Again,
    };
    match answer {
        Ok(Answer::Lease { granted_millis, term, clock_micros }) => {
            let leader = Duration::from_micros(clock_micros);
            shared.margin.read(Reading { term, leader, sent, received: Instant::now() });
            extend(runners, sent, Duration::from_millis(granted_millis));
            // The leader hears at once that there is a lease again.
            if offers || !has_lease() { Beat::Done } else { Beat::Again }
        }
        Ok(answer) => {
            tracing::warn!(?answer, "a heartbeat had a strange answer");
            Beat::Done
        }
        Err(CallError::Rejected { rejection: Rejection::NotRegistered, .. }) => {
            tracing::warn!("the leader does not know this life of the node: registering again");
            Beat::Unknown
        }
        Err(error) => {
            tracing::debug!(%leader, %error, "a heartbeat was not answered");
            Beat::Again
        }
    }
}
