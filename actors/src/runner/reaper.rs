//! The reaper: removes what no attempt owns any more. Containers and directories of attempts that are over and could not be
//! removed at their end; logs of attempts that the state has forgotten; blobs that no attempt and no cache names; networks of slots and mirrors
//! of repositories that are no more.
//!
//! First it looks at what is here, then it makes sure that the state here is at least as new as that look: what such a state
//! does not know was forgotten, and is not merely still to come. Must not know containers.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use domain::{AttemptId, ClusterState, Progress};
use ractor::ActorProcessingErr;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::work::{Survivor, SurvivorsError};
use super::{Order, Runners, lock, present, report};
use crate::artifacts::{Blobs, is_old, remembered};
use crate::faults::{self, Bug, Point};
use crate::replica::ProposeError;
use crate::tree;

/// What the reaper looks after, and how often.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node's blobs.
    pub blobs: Blobs,
    /// Between two looks; more than zero.
    pub every: Duration,
    /// Logs and blobs written within this time are left alone. Longer than an attempt takes to keep its artifacts, which
    /// nothing names before they are all there.
    pub min_age: Duration,
}

impl Options {
    /// Every ten minutes; what is younger than an hour stays.
    #[must_use]
    pub fn new(blobs: Blobs) -> Self {
        Self { blobs, every: Duration::from_secs(600), min_age: Duration::from_secs(3600) }
    }
}

/// Why nothing, or not all, was removed this time.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Survivors(#[from] SurvivorsError),
    #[error("whether the state here is recent cannot be told: {0}")]
    Behind(#[from] ProposeError),
    #[error("cannot {action}: {source}")]
    Io { action: &'static str, source: io::Error },
}

/// What is here and old enough.
struct Found {
    logs: Vec<AttemptId>,
    blobs: BTreeSet<[u8; 32]>,
}

pub(super) async fn run(runners: Runners, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let every = runners.shared.options.reaper.every;
    let hurry = faults::is(Bug::ReapTheLiving).then_some(Duration::from_secs(2));
    let mut tick = tokio::time::interval(hurry.unwrap_or(every));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Reaper) => match never {},
            _ = tick.tick() => {}
        }
        // Before that, it is not known what runs here.
        if !*runners.ready.borrow() {
            continue;
        }
        match stop.run_until_cancelled(sweep(&runners)).await {
            Some(Ok(())) => {}
            Some(Err(error @ Error::Io { .. })) => {
                tracing::warn!(%error, "not all that is left over was removed")
            }
            Some(Err(error)) => tracing::debug!(%error, "what is left over waits for the next time"),
            None => return Ok(()),
        }
    }
}

async fn sweep(runners: &Runners) -> Result<(), Error> {
    let shared = &runners.shared;
    let left = shared.work.survivors().await?;
    let options = std::sync::Arc::clone(&shared.options);
    let mut found =
        blocking("look for what is left over", move || look(&options.attempts, &options.reaper)).await?;
    shared.replica.current().await?;
    let state = shared.replica.state();
    clean(runners, &state, &left).await;
    shared.work.tidy(shared.options.facts.capacity.slots).await;
    let keep: BTreeSet<AttemptId> =
        lock(shared).keys().copied().chain(left.iter().map(|left| left.attempt)).collect();
    found.logs.retain(|attempt| !keep.contains(attempt) && !state.attempts.contains(attempt));
    let options = std::sync::Arc::clone(&shared.options);
    blocking("remove what is left over", move || {
        for artifact in state.attempts.iter().flat_map(|(_, attempt)| attempt.artifacts.iter()) {
            found.blobs.remove(&artifact.digest);
        }
        for (_, cache) in state.caches.iter().filter(|(_, cache)| cache.node == options.facts.node) {
            found.blobs.remove(&cache.digest);
        }
        remove(&options.attempts, &options.reaper, &found)
    })
    .await
}

/// Has what is left of attempts removed that are over: their runner may not run again, so it is asked to hold them meanwhile.
async fn clean(runners: &Runners, state: &ClusterState, left: &[Survivor]) {
    let shared = &runners.shared;
    for survivor in left {
        let Survivor { attempt, fence, .. } = survivor;
        if faults::is(Bug::ReapTheLiving) {
            shared.work.clean(*attempt, *fence).await;
        }
        let over = present(state, shared.options.facts.node, *attempt, *fence).is_none();
        if over && !lock(shared).contains_key(attempt) {
            tracing::info!(%attempt, %fence, "what is left of an attempt that is over is removed");
            if runners.orders.try_send(Order::Clean(*survivor)).is_err() {
                tracing::debug!(%attempt, "there are too many orders; it waits for the next time");
            }
        }
    }
}

/// Logs and blobs that are old, but for blobs of attempts that are under way and of results that are not reported yet. Blocking.
fn look(attempts: &Path, options: &Options) -> io::Result<Found> {
    let mut blobs = options.blobs.old(options.min_age)?;
    // Before the reports: what an attempt has kept is in its report when it is not remembered any more.
    for digest in remembered(attempts)? {
        blobs.remove(&digest);
    }
    for kept in report::kept(attempts)? {
        if let Progress::Finished { artifacts, .. } = kept.what {
            for artifact in artifacts {
                blobs.remove(&artifact.digest);
            }
        }
    }
    let mut logs = Vec::new();
    let entries = match std::fs::read_dir(attempts) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found { logs, blobs }),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let log = entry.path().join("log");
        if let Some(attempt) = entry.file_name().to_str().and_then(parse)
            && is_old(&entry.path(), options.min_age)?
            && (!log.exists() || is_old(&log, options.min_age)?)
        {
            logs.push(attempt);
        }
    }
    Ok(Found { logs, blobs })
}

/// The name of an attempt's directory.
fn parse(name: &str) -> Option<AttemptId> {
    let (job, number) = name.rsplit_once('-')?;
    Some(AttemptId { job: job.parse().ok()?, number: number.parse().ok()? })
}

/// Removes what it can; the first failure is told. Blocking.
fn remove(attempts: &Path, options: &Options, found: &Found) -> io::Result<()> {
    let (mut logs, mut blobs, mut failed) = (0, 0, None);
    for attempt in &found.logs {
        match tree::remove_tree(&report::directory(attempts, *attempt)) {
            Ok(()) => logs += 1,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    for digest in &found.blobs {
        match options.blobs.remove_old(digest, options.min_age) {
            Ok(removed) => blobs += usize::from(removed),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if logs > 0 || blobs > 0 {
        tracing::info!(logs, blobs, "what no attempt owns any more was removed");
    }
    failed.map_or(Ok(()), Err)
}

async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|join| Err(io::Error::other(join))).map_err(|source| Error::Io { action, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directories_of_attempts_are_taken_for_such() {
        let attempt = AttemptId { job: domain::JobId { run: domain::RunId(77), index: 3 }, number: 12 };
        let named = report::directory(Path::new("x"), attempt);
        assert_eq!(named.file_name().and_then(|name| parse(name.to_str()?)), Some(attempt));
        for other in ["", "lost+found", ".tmpx", "01J9ZC3V5W6X7Y8Z9A0B1C2D3E.0", "a-1", "-"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
