//! Withdraws what a stage submitted: every run of it is cancelled, so that nothing of a bench stays in the queue.
//!
//! A submit whose answer was lost is sent again with its key, which tells its run, and then cancelled like the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use domain::RunId;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::Failure;
use super::super::follow::{Backoff, Patience};
use super::door::Door;
use super::work::Keyed;
use crate::api::{Code, Problem};

/// Cancels under way at one time; over HTTP far fewer than a node has connections for.
const AT_ONCE: usize = 64;
const AT_ONCE_OVER_LINKS: usize = 1024;

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Withdrawn {
    /// Runs that are cancelled.
    pub cancelled: usize,
    /// Runs that may still be in the queue.
    pub left: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Cancels runs, through every node in turn.
///
/// # Errors
/// [`Failure::Output`] for a task that did not end in order; nodes that refuse are counted.
pub async fn all(door: &Door, runs: Vec<RunId>, unsure: Vec<Keyed>) -> Result<Withdrawn, Failure> {
    let begun = Instant::now();
    let work: Arc<[What]> =
        runs.into_iter().map(What::Run).chain(unsure.into_iter().map(What::Unsure)).collect();
    let (next, in_vain) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let mut workers = JoinSet::new();
    let at_once = if matches!(door, Door::Links(_)) { AT_ONCE_OVER_LINKS } else { AT_ONCE };
    for index in 0..at_once.min(work.len()) {
        let (door, work, next) = (door.only(index), work.clone(), next.clone());
        let in_vain = in_vain.clone();
        workers.spawn(async move {
            let mut left = 0;
            while let Some(what) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                // What one could not do with all patience is not waited for again with every other run.
                if in_vain.is_cancelled() || what.withdraw(&door).await.is_err() {
                    in_vain.cancel();
                    left += 1;
                }
            }
            left
        });
    }
    let mut left = 0;
    while let Some(of_one) = workers.join_next().await {
        left += of_one.map_err(std::io::Error::other)?;
    }
    Ok(Withdrawn { cancelled: work.len() - left, left, seconds: begun.elapsed().as_secs_f64() })
}

/// Something to withdraw.
enum What {
    Run(RunId),
    Unsure(Keyed),
}

impl What {
    async fn withdraw(&self, door: &Door) -> Result<(), Failure> {
        let mut backoff = Backoff::new(Patience::default(), Arc::new(|_| {}));
        loop {
            match self.once(door).await {
                // It has ended by itself, or somebody else cancelled it.
                Err(Failure::Problem(Problem { code: Code::Conflict, .. })) => return Ok(()),
                Err(failure) if failure.may_pass() => backoff.wait(failure).await?,
                done => return done,
            }
        }
    }

    async fn once(&self, door: &Door) -> Result<(), Failure> {
        let run = match self {
            Self::Run(run) => *run,
            Self::Unsure(keyed) => door.submit(keyed).await.map_err(|refused| door.failure(refused))?,
        };
        door.cancel(run).await
    }
}
