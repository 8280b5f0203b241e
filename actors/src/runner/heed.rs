//! What the state says of what runs here: that it is paused, to be cancelled, or no longer this node's. Every node has the
//! state, so nobody need bring the word; whoever is meant is found by attempt and fence.

use std::time::Duration;

use ractor::ActorProcessingErr;
use tokio_util::sync::CancellationToken;

use super::{Runners, lock, present};

/// Between two looks, at least: a busy cluster applies thousands of entries in a second.
const REST: Duration = Duration::from_millis(20);

pub(super) async fn run(runners: Runners, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut applied = runners.shared.replica.applied();
    loop {
        runners.heed();
        let next = async {
            applied.changed().await?;
            tokio::time::sleep(REST).await;
            Ok(())
        };
        match stop.run_until_cancelled(next).await {
            None => return Ok(()),
            Some(Ok(())) => {}
            Some(Err(closed)) => return Err(closed),
        }
    }
}

impl Runners {
    /// Passes on what the state here says by now; again and again the same does no harm.
    pub(super) fn heed(&self) {
        let (state, node) = (self.shared.replica.state(), self.shared.options.facts.node);
        for (attempt, held) in lock(&self.shared).iter() {
            if present(&state, node, *attempt, held.fence).is_none() {
                held.kill.cancel();
            }
            if state.jobs.get(&attempt.job).is_some_and(|job| job.cancel_requested) {
                held.cancel.cancel();
            }
            let paused = state.paused_runs.contains(&attempt.job.run);
            held.paused.send_if_modified(|was| std::mem::replace(was, paused) != paused);
        }
    }
}
