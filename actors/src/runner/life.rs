//! The life of one attempt on this node: run, keep the result, clean up, report until applied.
//!
//! A panic in the work costs the attempt, never the node.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use domain::{AttemptId, AttemptReport, Fence, JobState, Outcome, Progress, Refusal};
use futures::FutureExt;
use metrics::counter;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::report::{Reported, forget, keep, report};
use super::work::{Finished, Task, Told};
use super::{Shared, present};
use crate::faults::{self, Bug, Point};
use crate::metrics::ATTEMPTS;

/// Runs and reports; answers when nothing of the attempt is left to do.
pub(super) async fn live(shared: Shared, task: Task, told: watch::Receiver<Told>) {
    let (attempt, fence, kill) = (task.attempt, task.fence, task.kill.clone());
    let work = Arc::clone(&shared.work);
    // The call itself may panic, too, not only the future that it makes.
    let work = AssertUnwindSafe(async move {
        faults::at(Point::Life).await;
        work.run(task).await
    })
    .catch_unwind();
    let finished = tokio::select! {
        finished = work => finished,
        // Ends only with the node's store; the work goes on by itself then.
        never = tell(&shared, attempt, fence, told, &kill) => match never {},
    };
    let panicked = finished.is_err();
    let finished = finished.unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Finished::bare(Outcome::Failed, format!("the runner panicked: {}", words.unwrap_or_default()))
    });
    if panicked {
        // Nobody follows what it may have started, and the end must not be reported beside it.
        shared.work.clean(attempt, fence).await;
    }
    let finished = shared.judged(attempt, finished);
    conclude(shared, attempt, fence, finished).await;
}

/// Keeps, cleans and reports an end.
pub(super) async fn conclude(shared: Shared, attempt: AttemptId, fence: Fence, finished: Finished) {
    tracing::info!(%attempt, outcome = finished.outcome.as_str(), reason = finished.reason, "an attempt is over");
    counter!(ATTEMPTS, "outcome" => finished.outcome.as_str()).increment(1);
    let what = progress(finished);
    let end = AttemptReport { attempt, fence, node: shared.options.facts.node, what };
    let (root, kept) = (shared.options.attempts.clone(), end.clone());
    let written = tokio::task::spawn_blocking(move || keep(&root, &kept)).await;
    if !matches!(written, Ok(Ok(()))) {
        // It is reported all the same; only a crash before that would lose it, and then the container is found again.
        tracing::error!(%attempt, ?written, "a result cannot be kept on disk");
    }
    faults::at(Point::Kept).await;
    send(shared, end).await;
}

/// Reports a kept result until applied, then cleans up.
pub(super) async fn send(shared: Shared, end: AttemptReport) {
    let (attempt, fence) = (end.attempt, end.fence);
    let mut reported = report(&shared.replica, end.clone()).await;
    if let Some(why) = unacceptable(&reported) {
        tracing::error!(%attempt, why, "the end of an attempt cannot be taken as it is: it is reported as a failure");
        reported = report(&shared.replica, in_place_of(end.clone(), &why)).await;
    }
    if faults::is(Bug::DoubleReport) {
        reported = report(&shared.replica, end).await;
    }
    match reported {
        Reported::Applied => {}
        Reported::Refused(refusal) => {
            tracing::warn!(%attempt, %refusal, "the end of an attempt came too late")
        }
        Reported::Unacceptable(why) => {
            tracing::error!(%attempt, why, "the end of an attempt cannot be proposed")
        }
        Reported::Stopped => return,
    }
    faults::at(Point::Reported).await;
    shared.work.clean(attempt, fence).await;
    faults::at(Point::Cleaned).await;
    let root = shared.options.attempts.clone();
    if let Err(join) = tokio::task::spawn_blocking(move || forget(&root, attempt)).await {
        tracing::error!(%attempt, %join, "forgetting a result panicked");
    }
}

/// Why a report would not be taken at any time, though the attempt is still this node's: without another end its job would
/// stay where it is, or run again and end in the same way.
fn unacceptable(reported: &Reported) -> Option<String> {
    use Refusal::{NotFound, StaleFence, WrongState};
    match reported {
        Reported::Unacceptable(why) => Some(why.clone()),
        // Too late: the attempt is over or another's.
        Reported::Refused(NotFound { .. } | StaleFence { .. } | WrongState { .. }) => None,
        Reported::Refused(refusal) => Some(refusal.to_string()),
        Reported::Applied | Reported::Stopped => None,
    }
}

/// A failure in so few words that it can be proposed.
fn in_place_of(end: AttemptReport, why: &str) -> AttemptReport {
    let (was, log_bytes) = match &end.what {
        Progress::Finished { outcome, log_bytes, .. } => (outcome.as_str(), *log_bytes),
        _ => ("not over", 0),
    };
    let reason = format!("its end ({was}) could not be reported: {why}");
    let finished = Finished { log_bytes, ..Finished::bare(Outcome::Failed, reason) };
    AttemptReport { what: progress(finished), ..end }
}

fn progress(finished: Finished) -> Progress {
    let Finished { outcome, reason, steps, artifacts, log_bytes, outputs, annotations } = finished;
    Progress::Finished { outcome, reason, steps, artifacts, log_bytes, outputs, annotations }
}

/// Tells the state of progress, the latest only; what comes while a proposal is under way is told together. An attempt
/// that the state refuses to hear of is no longer this node's, and is killed.
async fn tell(
    shared: &Shared,
    attempt: AttemptId,
    fence: Fence,
    mut told: watch::Receiver<Told>,
    kill: &CancellationToken,
) -> std::convert::Infallible {
    let node = shared.options.facts.node;
    let mut last = Told::default();
    loop {
        let now = told.borrow_and_update().clone();
        let mut news = Vec::new();
        // Work that asked before it began has said so already.
        let known = || present(&shared.replica.state(), node, attempt, fence) == Some(JobState::Running);
        if let Some(at) = now.started_at.filter(|_| last.started_at.is_none() && !known()) {
            news.push(Progress::Started { at });
        }
        if now.steps != last.steps {
            news.push(Progress::Steps { steps: now.steps.clone() });
        }
        if let Some(since) = now.paused
            && since.is_some() != shared.replica.state().paused_attempts.contains(&attempt)
        {
            news.push(since.map_or(Progress::Resumed, |at| Progress::Paused { at }));
        }
        for what in news {
            let sent = report(&shared.replica, AttemptReport { attempt, fence, node, what }).await;
            match sent {
                Reported::Applied => continue,
                // Too many steps, for one: its end will say so.
                Reported::Refused(Refusal::Invalid { .. }) => {}
                Reported::Refused(_) => kill.cancel(),
                Reported::Unacceptable(_) | Reported::Stopped => {}
            }
            tracing::debug!(%attempt, ?sent, "progress was not taken");
        }
        last = now;
        if told.changed().await.is_err() {
            // The work has ended with its sender; the end is reported by others.
            std::future::pending::<()>().await;
        }
    }
}

/// The same for tests and production: a task and the receiver of what it tells.
pub(super) fn task(
    (attempt, fence): (AttemptId, Fence),
    slot: u16,
    adopted: bool,
    held: &super::Held,
    lease: watch::Receiver<Option<Instant>>,
) -> (Task, watch::Receiver<Told>) {
    let (progress, told) = watch::channel(Told::default());
    let (cancel, kill, paused) = (held.cancel.clone(), held.kill.clone(), held.paused.subscribe());
    (Task { attempt, fence, slot, adopted, lease, paused, cancel, kill, progress }, told)
}

/// Kept alive by every life; see [`Shared`].
pub(super) type SharedWork = Arc<dyn super::work::Work>;
