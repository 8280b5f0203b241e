//! Tells nodes what to start and what to end: at once when an effect says so, and again for as long as a node's
//! heartbeat says otherwise than the state. All it sends is idempotent.

use std::collections::HashSet;
use std::sync::PoisonError;

use domain::{AttemptId, Effect, JobId, NodeId, Outcome};
use metrics::histogram;
use ractor::ActorProcessingErr;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::intents::{Intent, Intents};
use super::unheld::Said;
use crate::faults::{self, Point};
use crate::gateway::Request;
use crate::metrics::{INTENT_SECONDS, PLACED_SECONDS, QUEUED_SECONDS, RUN_SECONDS};

/// Sent and not answered; the same is not sent twice at one time.
type Under = HashSet<(NodeId, AttemptId, bool)>;

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut effects = shared.replica.effects();
    let mut tick = tokio::time::interval(shared.options.reconcile);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut calls, mut under, mut intents) = (JoinSet::new(), Under::new(), Intents::default());
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Dispatcher) => match never {},
            Some(Ok(done)) = calls.join_next() => {
                under.remove(&done);
            }
            effect = effects.recv() => match effect {
                Ok((_, Effect::StartAttempt { node, attempt, fence })) => {
                    tell(&shared, &mut calls, &mut under, node, attempt, Request::StartAttempt { attempt, fence });
                }
                Ok((_, Effect::CancelAttempt { node, attempt, fence })) => {
                    intents.given(attempt.job, Intent::Cancel, Instant::now());
                    tell(&shared, &mut calls, &mut under, node, attempt, Request::CancelAttempt { attempt, fence });
                }
                Ok((_, effect)) => notice(&shared, &mut intents, &effect),
                // Their ends may be among what was missed.
                Err(RecvError::Lagged(_)) => intents = Intents::default(),
                Err(RecvError::Closed) => return Err("the store is closed".into()),
            },
            _ = tick.tick() => reconcile(&shared, &mut calls, &mut under),
        }
    }
}

fn tell(
    shared: &Shared,
    calls: &mut JoinSet<(NodeId, AttemptId, bool)>,
    under: &mut Under,
    node: NodeId,
    attempt: AttemptId,
    request: Request,
) {
    let key = (node, attempt, matches!(request, Request::StartAttempt { .. }));
    if !under.insert(key) {
        return;
    }
    let gateway = shared.gateway.clone();
    calls.spawn(async move {
        if let Err(error) = gateway.call(node, request).await {
            tracing::debug!(%node, %attempt, %error, "a message to a runner supervisor failed; it will be sent again");
        }
        key
    });
}

/// Compares what nodes hold with what they are to hold.
fn reconcile(shared: &Shared, calls: &mut JoinSet<(NodeId, AttemptId, bool)>, under: &mut Under) {
    let state = shared.replica.state();
    for Said { node, holdings: held, .. } in shared.leases.said() {
        let wanted: Vec<_> = state.holdings(node).collect();
        for (holding, cancel) in &wanted {
            let (attempt, fence) = (AttemptId { job: holding.job, number: holding.number }, holding.fence);
            if *cancel {
                tell(shared, calls, under, node, attempt, Request::CancelAttempt { attempt, fence });
            } else if !held.contains(holding) {
                tell(shared, calls, under, node, attempt, Request::StartAttempt { attempt, fence });
            }
        }
        for holding in held.iter().filter(|h| !wanted.iter().any(|(w, _)| w == *h)) {
            let (attempt, fence) = (AttemptId { job: holding.job, number: holding.number }, holding.fence);
            tell(shared, calls, under, node, attempt, Request::CancelAttempt { attempt, fence });
        }
    }
}

/// What effects say of jobs and nodes beside what they ask for.
fn notice(shared: &Shared, intents: &mut Intents, effect: &Effect) {
    let now = Instant::now();
    let mut done = |job, intent: Intent| {
        if let Some(took) = intents.done(job, intent, now) {
            histogram!(INTENT_SECONDS, "intent" => intent.as_str()).record(took.as_secs_f64());
        }
    };
    let troubles = || shared.troubles.lock().unwrap_or_else(PoisonError::into_inner);
    match effect {
        Effect::JobFinished { job, outcome } => {
            measure(shared, *job);
            if *outcome == Outcome::Cancelled {
                done(*job, Intent::Cancel);
            }
            intents.over(*job);
            let node =
                shared.replica.state().jobs.get(job).filter(|job| job.attempts > 0).map(|job| job.node);
            if let Some(node) = node.filter(|_| *outcome != Outcome::Lost) {
                troubles().well(node);
            }
        }
        Effect::PauseAttempt { attempt, pause } => {
            let intent = if *pause { Intent::Pause } else { Intent::Resume };
            intents.given(attempt.job, intent, now);
        }
        Effect::AttemptPaused { attempt, paused } => {
            done(attempt.job, if *paused { Intent::Pause } else { Intent::Resume });
        }
        Effect::AttemptLost { node } => {
            shared.trouble(*node);
        }
        _ => {}
    }
}

fn measure(shared: &Shared, id: JobId) {
    let state = shared.replica.state();
    let Some(job) = state.jobs.get(&id).filter(|job| job.placed_at.0 > 0) else { return };
    let seconds = |millis: u64| millis as f64 / 1000.0;
    histogram!(QUEUED_SECONDS).record(seconds(job.placed_at.millis_since(job.queued_at)));
    if job.started_at.0 > 0 {
        histogram!(PLACED_SECONDS).record(seconds(job.started_at.millis_since(job.placed_at)));
        histogram!(RUN_SECONDS).record(seconds(job.finished_at.millis_since(job.started_at)));
    }
}
