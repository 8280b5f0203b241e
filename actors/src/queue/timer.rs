//! Starts workflows at the times that they name, and lets jobs go on that waited for their next try.
//!
//! Of workflows: A time is taken by the entry of the log that moves the schedule on, so that each
//! comes once, whoever leads. Of several times that were missed (no quorum, no leader) the last is made up for, and no other.

use std::collections::BTreeSet;
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
    zone: String,
    at: Timestamp,
}

/// What schedules say of now.
#[derive(Debug, Default)]
struct Look {
    due: Vec<Due>,
    /// When the next one comes.
    next: Option<Timestamp>,
    /// Those that cannot be read.
    unread: BTreeSet<(RepoId, String, String, String)>,
}

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut effects = shared.replica.effects();
    let mut told = BTreeSet::new();
    loop {
        let state = shared.replica.state();
        let now = clock::now();
        let Look { due, next, unread } = look(&state, now);
        for (repo, path, cron, zone) in unread.difference(&told) {
            tracing::warn!(%repo, path, cron, zone, "a schedule cannot be read and never comes: mend it in the workflow's file");
        }
        told = unread;
        for Due { repo, path, cron, zone, at } in due {
            let id = DeliveryId::from_parts(now, rand::random());
            let command = Command::Tick { id, repo, path: path.clone(), cron, zone, due: at };
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
fn look(state: &ClusterState, now: Timestamp) -> Look {
    let mut found = Look::default();
    for (repo, triggers) in state.triggers.iter() {
        for schedule in triggers.schedules.iter() {
            // Of the cluster's time, so that a clock that went back brings nothing twice.
            let (path, cron, zone) = (schedule.path.clone(), schedule.cron.clone(), schedule.zone.clone());
            let Some((missed, coming)) = times(&cron, &zone, schedule.last, now) else {
                found.unread.insert((*repo, path, cron, zone));
                continue;
            };
            found.due.extend(missed.map(|at| Due { repo: *repo, path, cron, zone, at }));
            found.next = [found.next, coming].into_iter().flatten().min();
        }
    }
    found
}

/// The jobs that have waited long enough, and when the next one has.
fn due_backoffs(state: &ClusterState, now: Timestamp) -> (Vec<JobId>, Option<Timestamp>) {
    let (due, waiting): (Vec<_>, Vec<_>) = state.backoffs.iter().partition(|(_, until)| **until <= now);
    (due.into_iter().map(|(id, _)| *id).collect(), waiting.into_iter().map(|(_, until)| *until).min())
}

/// The last time after `last` that is not after `now`, and the first one after `now`; none for what is no schedule.
fn times(
    cron: &str,
    zone: &str,
    last: Timestamp,
    now: Timestamp,
) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
    let zone = if zone.is_empty() { Tz::UTC } else { Tz::from_str(zone).ok()? };
    let cron = Cron::from_str(&workflow::model::cron(cron)?).ok()?;
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
        assert_eq!(times(nightly, "", day(10), at(day(10), 1)), Some((None, Some(at(day(10), 2)))));
        assert_eq!(
            times(nightly, "", day(10), at(day(10), 2)),
            Some((Some(at(day(10), 2)), Some(at(day(11), 2))))
        );
        // Taken: not again, also when the clock goes back.
        let taken = at(day(10), 2);
        assert_eq!(times(nightly, "", taken, at(day(10), 3)), Some((None, Some(at(day(11), 2)))));
        assert_eq!(times(nightly, "", taken, at(day(10), 1)), Some((None, Some(at(day(11), 2)))));
        // Away for five days: once, for the last.
        assert_eq!(
            times(nightly, "", taken, at(day(15), 7)),
            Some((Some(at(day(15), 2)), Some(at(day(16), 2))))
        );
        assert_eq!(times("no", "", day(1), day(2)), None);
    }

    #[test]
    fn a_schedule_may_have_a_zone() {
        // 1970-01-02 is in winter: nine o'clock in Berlin is eight in UTC.
        let midnight = Timestamp(24 * HOUR);
        let next = times("0 9 * * *", "Europe/Berlin", midnight, midnight);
        assert_eq!(next, Some((None, Some(Timestamp(32 * HOUR)))));
        assert_eq!(times("0 9 * * *", "Nowhere/Here", midnight, midnight), None);
    }

    #[test]
    fn whatever_the_language_takes_for_cron_has_its_times() {
        const WEEK: u64 = 7 * 24 * HOUR;
        let fields: [(u32, u32, &[&str]); 5] =
            [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, &["jan", "DEC"]), (0, 6, &["sun", "Sat"])];
        let mut read = 0;
        for (at, (least, most, names)) in fields.into_iter().enumerate() {
            let mut words = vec!["*".to_owned(), format!("{least}-{most}"), format!("{least},{most}")];
            words.extend(names.iter().map(|name| (*name).to_owned()));
            words.extend((least..=most).map(|n| n.to_string()));
            let steps: Vec<_> =
                words.iter().flat_map(|word| (1..=most).map(move |n| format!("{word}/{n}"))).collect();
            for word in words.into_iter().chain(steps) {
                let mut cron = ["0", "0", "*", "*", "*"];
                cron[at] = &word;
                let cron = cron.join(" ");
                if workflow::model::cron(&cron).is_some() {
                    read += 1;
                    assert!(
                        matches!(times(&cron, "", Timestamp(0), Timestamp(0)), Some((None, Some(_)))),
                        "{cron}"
                    );
                }
            }
        }
        assert!(read > 5000, "{read}");
        let day = |cron: &str| {
            let mut found = Vec::new();
            let mut now = Timestamp(0);
            while let Some((_, Some(next))) =
                times(cron, "", now, now).filter(|(_, next)| next.is_some_and(|next| next.0 < WEEK))
            {
                found.push(next.0 / (60 * 1000));
                now = next;
            }
            found
        };
        assert_eq!(day("3/20 4 2 * *"), [1440 + 243, 1440 + 263, 1440 + 283]);
        // 1970-01-01 was a Thursday: from Monday on every second day, and Sunday is the first of the week.
        assert_eq!(day("0 0 * * mon/2"), [1440, 4 * 1440, 6 * 1440]);
    }
}
