//! One whole job through the API, and where its time goes.
//!
//! The times in between are those that the cluster writes down, in whole milliseconds of the nodes' clocks: they add up
//! to the latency only where this process shares their clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{JobId, RunId};

use super::super::events::Events;
use super::super::follow::Patience;
use super::super::table::now;
use super::super::target::{attempt, path};
use super::super::{Client, Failure};
use crate::api::dto::{AttemptView, JobView, RunMade, Submit};

/// What happens between two times, in order.
pub const NAMES: [&str; 7] = [
    "sent to queued",
    "queued to placed",
    "placed to container started",
    "container started to step begun",
    "step",
    "step ended to job finished",
    "finished to seen",
];

/// A job that has ended.
#[derive(Debug)]
pub struct Ran {
    /// From sending the submit until its outcome was seen.
    pub latency: Duration,
    /// From sending the submit until it was answered.
    pub answered: Duration,
    run: RunId,
    job: JobView,
    sent_at: u64,
    seen_at: u64,
}

/// Runs a job to its end, followed by its events.
///
/// # Errors
/// Why it did not succeed, or why that is not known; for people.
pub async fn run(client: &Client, work: &Submit) -> Result<Ran, String> {
    let ran = follow(client, work).await.map_err(|failure| failure.to_string())?;
    match ran.job.outcome.as_deref() {
        Some("succeeded") => Ok(ran),
        other => {
            let why = fetch(client, &ran).await.map_or_else(|failure| failure.to_string(), |a| a.reason);
            Err(format!("run {} {}: {why}", ran.run, other.unwrap_or("has no outcome")))
        }
    }
}

async fn follow(client: &Client, work: &Submit) -> Result<Ran, Failure> {
    let (sent_at, since) = (now(), Instant::now());
    let key = format!("bench-{:032x}", rand::random::<u128>());
    let response = client.post_once("/v1/runs", &key, |request| request.json(work)).await?;
    let made: RunMade = client.read(response).await?;
    let answered = since.elapsed();
    let run: RunId = made.id.parse().map_err(|_| client.bad(format!("{:?} is no run", made.id)))?;
    let mut events = Events::of_new(client, run, Patience::default(), Arc::new(|_| {}));
    let mut view = events.finished().await?;
    let (latency, seen_at) = (since.elapsed(), now());
    let job = view.jobs.pop().ok_or(Failure::NoJob { job: JobId { run, index: 0 } })?;
    Ok(Ran { latency, answered, run, job, sent_at, seen_at })
}

async fn fetch(client: &Client, ran: &Ran) -> Result<AttemptView, Failure> {
    let id = attempt(JobId { run: ran.run, index: 0 }, &ran.job, None)?;
    client.get(&path(id, "")).await
}

/// Where its time went, one for each of [`NAMES`]; nothing where the cluster wrote no time down.
///
/// # Errors
/// [`Failure`].
pub async fn of(client: &Client, ran: &Ran) -> Result<[Option<Duration>; NAMES.len()], Failure> {
    Ok(between(ran, &fetch(client, ran).await?))
}

fn between(ran: &Ran, attempt: &AttemptView) -> [Option<Duration>; NAMES.len()] {
    let job = &ran.job;
    let times = [
        Some(ran.sent_at),
        job.queued_at,
        job.placed_at,
        job.started_at,
        attempt.steps.first().and_then(|step| step.started_at),
        attempt.steps.last().and_then(|step| step.finished_at),
        job.finished_at,
        Some(ran.seen_at),
    ];
    std::array::from_fn(|phase| {
        let (from, to) = times[phase].zip(times[phase + 1])?;
        Some(Duration::from_millis(to.saturating_sub(from)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::dto::StepView;

    #[test]
    fn phases_follow_each_other_from_sent_to_seen() {
        let job = JobView {
            id: String::new(),
            key: String::new(),
            name: String::new(),
            group: None,
            form: String::new(),
            state: "finished".to_owned(),
            outcome: Some("succeeded".to_owned()),
            attempts: 1,
            node: None,
            reason: None,
            cancel_requested: false,
            environment: None,
            approved_by: None,
            retry_at: None,
            priority: 0,
            labels: Vec::new(),
            queued_at: Some(101),
            placed_at: Some(103),
            started_at: Some(107),
            finished_at: Some(200),
            paused_at: None,
        };
        let step = |from, to| StepView {
            name: String::new(),
            exit_code: Some(0),
            signal: None,
            outcome: None,
            started_at: Some(from),
            finished_at: to,
        };
        let mut attempt = AttemptView {
            id: String::new(),
            node: String::new(),
            fence: 1,
            placed_at: None,
            started_at: None,
            finished_at: None,
            outcome: None,
            reason: String::new(),
            steps: vec![step(120, Some(121)), step(121, Some(150))],
            artifacts: Vec::new(),
            log_bytes: 0,
        };
        let run = "01J9ZC3V5W6X7Y8Z9A0B1C2D3E".parse().unwrap();
        let (latency, answered) = (Duration::from_millis(110), Duration::from_millis(2));
        let ran = Ran { latency, answered, run, job, sent_at: 100, seen_at: 210 };
        let found = between(&ran, &attempt);
        assert_eq!(
            found.map(|phase| phase.map(|phase| phase.as_millis())),
            [1, 2, 4, 13, 30, 50, 10].map(Some)
        );
        assert_eq!(found.iter().flatten().sum::<Duration>(), latency);
        attempt.steps[1].finished_at = None;
        let found = between(&ran, &attempt);
        assert_eq!(found.map(|phase| phase.is_some()), [true, true, true, true, false, false, true]);
    }
}
