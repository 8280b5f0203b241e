//! Snapshot, plan, propose. What a plan says is verified again when it is applied.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use domain::{Command, JobId, NodeId, Placement, Plan, Reply, Snapshot, limits, plan};
use metrics::{counter, gauge};
use ractor::ActorProcessingErr;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::candidates::candidates;
use crate::faults::{self, Point};
use crate::metrics::{PLACEMENTS, QUEUE_DEPTH};

/// The pause before a plan is so many times the plan before, between one and [`MOST_DEBOUNCES`] times the debounce: with a
/// long queue of jobs that cannot be placed, each change would otherwise cost the leader a look at all of them.
const REST: u32 = 19;
const MOST_DEBOUNCES: u32 = 50;
/// Jobs are counted for the metrics this often: it costs a look at each.
const COUNT_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut applied = shared.replica.applied();
    let mut tick = tokio::time::interval(shared.options.reconcile);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut counted, mut took) = (Instant::now(), Duration::ZERO);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Scheduler) => match never {},
            changed = applied.changed() => changed?,
            () = shared.leases.changed.notified() => {}
            _ = tick.tick() => {
                if counted.elapsed() >= COUNT_EVERY {
                    counted = Instant::now();
                    count(&shared);
                }
            }
        }
        if shared.replica.state().queue.is_empty() {
            continue;
        }
        // What comes in the meantime is in the same plan.
        let debounce = shared.options.debounce;
        tokio::time::sleep((took * REST).clamp(debounce, debounce * MOST_DEBOUNCES)).await;
        applied.borrow_and_update();
        match stop.run_until_cancelled(drain(&shared)).await {
            Some(planned) => took = planned,
            None => return Ok(()),
        }
    }
}

/// Plans and proposes until nothing more can be placed; answers how long the last plan took.
async fn drain(shared: &Shared) -> Duration {
    loop {
        let snapshot = shared.replica.state();
        let (leases, lease) = (&shared.leases, shared.options.lease);
        let heard = candidates(Instant::now(), lease, &snapshot, &leases.live(), &leases.said());
        let live = &heard - &shared.resting();
        let examine = shared.options.examine;
        let since = Instant::now();
        let Plan { placements, unplaced } = plan(&Snapshot { state: &snapshot, candidates: &live, examine });
        let took = since.elapsed();
        if let Some((job, reason)) = unplaced.first() {
            tracing::debug!(%job, %reason, more = unplaced.len() - 1, "stays queued");
        }
        if placements.is_empty() {
            return took;
        }
        let full = placements.len() == limits::MAX_BATCH;
        let proposed = placements.clone();
        match shared.replica.propose(Command::Place { placements }).await {
            Ok(Reply::Placed { placed, refused }) => {
                let taken = |job: &JobId| !refused.iter().any(|(other, _)| other == job);
                for Placement { job, node, .. } in proposed.iter().filter(|made| taken(&made.job)) {
                    tracing::info!(%job, %node, "a job is placed");
                }
                counter!(PLACEMENTS).increment(u64::from(placed));
                for (job, refusal) in &refused {
                    tracing::debug!(%job, %refusal, "a placement was refused");
                }
                if !full || placed == 0 {
                    return took;
                }
            }
            Ok(reply) => {
                tracing::warn!(?reply, "placements were not taken");
                return took;
            }
            Err(error) => {
                tracing::debug!(%error, "placements could not be proposed");
                return took;
            }
        }
    }
}

impl Shared {
    fn resting(&self) -> BTreeSet<NodeId> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).resting(Instant::now())
    }
}

fn count(shared: &Shared) {
    let counts = shared.replica.state().job_counts();
    let all = [
        ("waiting", counts.waiting),
        ("queued", counts.queued),
        ("held", counts.held),
        ("placed", counts.placed),
        ("running", counts.running),
    ];
    for (state, jobs) in all {
        gauge!(QUEUE_DEPTH, "state" => state).set(jobs as f64);
    }
}
