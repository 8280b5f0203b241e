//! Forgets finished runs that are past retention.

use domain::{Command, RunId};
use ractor::ActorProcessingErr;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::clock;
use crate::faults::{self, Point};

/// Runs forgotten by one command.
const BATCH: usize = 256;

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut tick = tokio::time::interval(shared.options.retention_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Retention) => match never {},
            _ = tick.tick() => {}
        }
        let keep = shared.options.retention.as_millis() as u64;
        if keep == 0 {
            continue;
        }
        let (state, now) = (shared.replica.state(), clock::now());
        let runs: Vec<RunId> = state
            .runs
            .iter()
            .filter(|(_, run)| run.finished_at.0 > 0 && now.millis_since(run.finished_at) > keep)
            .map(|(id, _)| *id)
            .take(BATCH)
            .collect();
        if runs.is_empty() {
            continue;
        }
        match stop.run_until_cancelled(shared.replica.propose(Command::ForgetRuns { runs })).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => tracing::debug!(%error, "old runs cannot be forgotten now"),
            None => return Ok(()),
        }
    }
}
