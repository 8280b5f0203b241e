//! Starts workflows at the times that they name, and lets jobs go on that waited for their next try.
//!
//! Of workflows: A time is taken by the entry of the log that moves the schedule on, so that each
//! comes once, whoever leads. Of several times that were missed (no quorum, no leader) the last is made up for, and no other.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use domain::{ClusterState, Command, DeliveryId, Effect, JobId, Reply, RepoId, Timestamp};
use ractor::ActorProcessingErr;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::clock;
use crate::faults::{self, Point};

/// The longest sleep: a clock that is set shows within this time.
const LOOK: Duration = Duration::from_secs(20);
/// Times that are looked through for the last one that was missed.
const MAX_MISSED: usize = 100_000;

/// A schedule whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    repo: RepoId,
    path: String,
    cron: String,
    at: Timestamp,
}

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut effects = shared.replica.effects();
    loop {
        let state = shared.replica.state();
        let now = clock::now();
        let (due, next) = look(&state, now);
        for Due { repo, path, cron, at } in due {
            let id = DeliveryId::from_parts(now, rand::random());
            let command = Command::Tick { id, repo, path: path.clone(), cron, due: at };
            match stop.run_until_cancelled(shared.replica.propose(command)).await {
                None => return Ok(()),
                Some(Ok(Reply::Refused(refusal))) => {
                    tracing::debug!(%refusal, "a scheduled time was taken by another")
                }
                Some(Ok(_)) => tracing::info!(delivery = %id, workflow = path, "a scheduled time has come"),
                Some(Err(error)) => tracing::debug!(%error, "a scheduled time cannot be taken now"),
            }
        }
        let waits = due_backoffs(&state, now);
        for job in waits.0 {
            match stop.run_until_cancelled(shared.replica.propose(Command::EndBackoff { job })).await {
                None => return Ok(()),
                Some(Ok(Reply::Refused(refusal))) => tracing::debug!(%job, %refusal, "a job went on already"),
                Some(Ok(_)) => tracing::info!(%job, "a job that failed is tried again"),
                Some(Err(error)) => tracing::debug!(%job, %error, "a job cannot be tried again now"),
            }
        }
        let next = [next, waits.1].into_iter().flatten().min();
        let wait =
            next.map_or(LOOK, |next| Duration::from_millis(next.0.saturating_sub(clock::now().0)).min(LOOK));
        // Not at once again when the answer is not applied here yet.
        let wait = wait.max(Duration::from_millis(50));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Timer) => match never {},
            effect = woken(&mut effects) => effect?,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn woken(
    effects: &mut tokio::sync::broadcast::Receiver<(domain::LogIndex, Effect)>,
) -> Result<(), ActorProcessingErr> {
    loop {
        match effects.recv().await {
            Ok((_, Effect::WakeClock)) | Err(RecvError::Lagged(_)) => return Ok(()),
            Ok(_) => {}
            Err(RecvError::Closed) => return Err("the store is closed".into()),
        }
    }
}

/// The schedules whose time has come, and when the next one comes.
fn look(state: &ClusterState, now: Timestamp) -> (Vec<Due>, Option<Timestamp>) {
    let (mut due, mut next) = (Vec::new(), None);
    for (repo, triggers) in state.triggers.iter() {
        for schedule in triggers.schedules.iter() {
            // Of the cluster's time, so that a clock that went back brings nothing twice.
            let Some((missed, coming)) = times(&schedule.cron, schedule.last, now) else {
                tracing::debug!(cron = schedule.cron, "a schedule cannot be read");
                continue;
            };
            if let Some(at) = missed {
                let (path, cron) = (schedule.path.clone(), schedule.cron.clone());
                due.push(Due { repo: *repo, path, cron, at });
            }
            next = [next, coming].into_iter().flatten().min();
        }
    }
    (due, next)
}

/// The jobs that have waited long enough, and when the next one has.
fn due_backoffs(state: &ClusterState, now: Timestamp) -> (Vec<JobId>, Option<Timestamp>) {
    let (due, waiting): (Vec<_>, Vec<_>) = state.backoffs.iter().partition(|(_, until)| **until <= now);
    (due.into_iter().map(|(id, _)| *id).collect(), waiting.into_iter().map(|(_, until)| *until).min())
}

/// The last time after `last` that is not after `now`, and the first one after `now`; none for what is no schedule.
fn times(cron: &str, last: Timestamp, now: Timestamp) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
    let (zone, pattern) = match cron.strip_prefix("CRON_TZ=").and_then(|rest| rest.split_once(' ')) {
        Some((zone, pattern)) => (Tz::from_str(zone).ok()?, pattern),
        None => (Tz::UTC, cron),
    };
    let cron = Cron::from_str(pattern).ok()?;
    let at =
        |time: Timestamp| Some(DateTime::<Utc>::from_timestamp_millis(time.0 as i64)?.with_timezone(&zone));
    let stamp = |time: DateTime<Tz>| Timestamp(time.timestamp_millis() as u64);
    let mut missed = None;
    if last < now {
        missed =
            cron.iter_after(at(last)?).take(MAX_MISSED).map(stamp).take_while(|time| *time <= now).last();
    }
    let coming = cron.find_next_occurrence(&at(now.max(last))?, false).ok().map(stamp);
    Some((missed, coming))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600 * 1000;

    #[test]
    fn the_last_of_the_times_that_were_missed_is_due_and_none_twice() {
        let day = |n: u64| Timestamp(n * 24 * HOUR);
        let at = |time: Timestamp, hours: u64| Timestamp(time.0 + hours * HOUR);
        let nightly = "0 2 * * *";
        // Begun at midnight of day 10: nothing yet, and at two o'clock for the first time.
        assert_eq!(times(nightly, day(10), at(day(10), 1)), Some((None, Some(at(day(10), 2)))));
        assert_eq!(
            times(nightly, day(10), at(day(10), 2)),
            Some((Some(at(day(10), 2)), Some(at(day(11), 2))))
        );
        // Taken: not again, also when the clock goes back.
        let taken = at(day(10), 2);
        assert_eq!(times(nightly, taken, at(day(10), 3)), Some((None, Some(at(day(11), 2)))));
        assert_eq!(times(nightly, taken, at(day(10), 1)), Some((None, Some(at(day(11), 2)))));
        // Away for five days: once, for the last.
        assert_eq!(times(nightly, taken, at(day(15), 7)), Some((Some(at(day(15), 2)), Some(at(day(16), 2)))));
        assert_eq!(times("no", day(1), day(2)), None);
    }

    #[test]
    fn a_schedule_may_have_a_zone() {
        // 1970-01-02 is in winter: nine o'clock in Berlin is eight in UTC.
        let midnight = Timestamp(24 * HOUR);
        let next = times("CRON_TZ=Europe/Berlin 0 9 * * *", midnight, midnight);
        assert_eq!(next, Some((None, Some(Timestamp(32 * HOUR)))));
        assert_eq!(times("CRON_TZ=Nowhere/Here 0 9 * * *", midnight, midnight), None);
    }
}
