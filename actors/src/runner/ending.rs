//! Ends other than those of attempts by themselves: of a node's time to drain, of all at once, of the life of who held them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{AttemptId, Outcome, Timestamp};
use tokio::time::Instant;

use super::work::{Finished, Survivor};
use super::{Runners, Shared, lock};
use crate::clock;

/// Between two looks at what still runs.
const LOOK: Duration = Duration::from_millis(50);

/// A deadline is over here so much later than by this machine's clock: whoever stamps what is reported then may have one that is
/// slower.
const SLACK: Duration = Duration::from_secs(1);

impl Shared {
    /// How an attempt ended, as far as its job is concerned: one that this node cut short because it drains is not cancelled,
    /// unless somebody asked for that.
    pub(super) fn judged(&self, attempt: AttemptId, finished: Finished) -> Finished {
        let state = self.replica.state();
        let asked = || state.jobs.get(&attempt.job).is_some_and(|job| job.cancel_requested);
        let cut = finished.outcome == Outcome::Cancelled && self.drained.load(Ordering::Relaxed);
        match cut && !asked() {
            true => Finished { outcome: Outcome::Lost, reason: "its node drains".to_owned(), ..finished },
            false => finished,
        }
    }

    fn is_drained(&self) -> bool {
        let (state, mine) = (self.replica.state(), clock::now());
        let now = state.now.max(Timestamp(mine.0.saturating_sub(SLACK.as_millis() as u64)));
        state.nodes.get(&self.options.facts.node).is_some_and(|node| node.is_drained_by(now))
    }
}

impl Runners {
    /// Asks everything that runs here to end, once the time that this node has to drain is over.
    pub(super) fn end_drained(&self) {
        if !self.shared.is_drained() {
            return;
        }
        let held = lock(&self.shared);
        let running: Vec<_> = held.values().filter(|held| !held.cancel.is_cancelled()).collect();
        if !running.is_empty() {
            tracing::info!(attempts = running.len(), "this node's time to drain is over: attempts are ended");
            self.shared.drained.store(true, Ordering::Relaxed);
        }
        for held in running {
            held.cancel.cancel();
        }
    }

    /// Waits until this node has nothing that it was given: no attempt has a runner here, and none is on its way. New ones
    /// may come, unless it drains.
    pub async fn empty(&self) {
        let (mut busy, mut applied) = (self.busy.subscribe(), self.shared.replica.applied());
        let node = self.shared.options.facts.node;
        loop {
            let given = self.shared.replica.state().held_jobs(node).next().is_some();
            if *busy.borrow_and_update() == 0 && !given {
                return;
            }
            tokio::select! {
                // The one sender is ours; the other ends with the store, and then nothing is given out any more.
                changed = busy.changed() => if changed.is_err() { return },
                changed = applied.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Nobody here holds anything any more, or not yet: also after a life that had no time to say so.
    pub(super) fn begin_anew(&self) {
        self.ready.send_replace(false);
        lock(&self.shared).clear();
    }

    /// Ends all attempts at once, as when this node's lease has run out, and removes the networks of its slots: it is no member
    /// any more. Returns when nothing of theirs runs. There is nobody to whom their ends could be reported.
    pub async fn end_all(&self) {
        self.shared.deadline.send_replace(Some(Instant::now()));
        loop {
            match self.shared.work.survivors().await {
                Ok(survivors) if survivors.is_empty() => break,
                Ok(survivors) => {
                    for Survivor { attempt, fence, .. } in survivors {
                        self.shared.work.clean(attempt, fence).await;
                    }
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
        self.shared.work.tidy(0).await;
    }
}
