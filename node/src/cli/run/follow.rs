//! Follows a run on this machine: all its jobs at once, until it is finished; an interrupt cancels it.
//!
//! Must not know how the run came to be.

use std::collections::BTreeMap;
use std::pin::pin;

use domain::{AttemptId, JobId, RunId};
use futures::StreamExt as _;
use futures::stream::{FuturesUnordered, try_unfold};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::events::Events;
use super::super::follow::{Patience, aloud};
use super::super::logs::attempt::Reader;
use super::super::target::{Target, standing};
use super::super::{Client, Failure, table};
use super::interrupts::Interrupts;
use super::lines::{Lines, To};
use super::machine::Access;
use super::room;
use crate::api::dto::{JobView, RunView};

/// How a run ended, and what could not be run here.
pub struct Ended {
    /// The run, finished.
    pub run: RunView,
    /// Why, by the key of each job that this machine cannot run.
    pub stuck: BTreeMap<String, String>,
}

/// Follows to the end.
///
/// # Errors
/// [`Failure`].
pub async fn follow(machine: &Access, id: RunId, interrupts: &Interrupts, to: To) -> Result<Ended, Failure> {
    let client = &machine.client;
    let events = Events::of_new(client, id, Patience::default(), aloud());
    let mut events = pin!(try_unfold(events, |mut events| async {
        Ok::<_, Failure>(Some((events.next().await?, events)))
    }));
    let Some(first) = events.next().await.transpose()? else { return Err(never_ended()) };
    let (sender, runs) = watch::channel(first);
    let (mut jobs, mut known, mut stuck) = (FuturesUnordered::new(), 0, BTreeMap::new());
    let (mut cancelled, mut forced) = (false, false);
    loop {
        let run = runs.borrow().clone();
        let width = run.jobs.iter().map(|job| job.key.chars().count()).max().unwrap_or_default();
        for (job, view) in Target::Run(id).jobs(&run)?.into_iter().filter(|(job, _)| job.index >= known) {
            let lines = Lines::new(to, &view.key, usize::from(job.index), width);
            jobs.push(follow_job(client, job, runs.clone(), lines));
        }
        known = run.jobs.len() as u16;
        let in_vain = room::look(&machine.store.state(), id);
        for (key, why) in &in_vain.why {
            if stuck.insert(key.clone(), why.clone()).is_none() {
                table::say(&format!("{key} cannot run here: {why}"));
            }
        }
        if in_vain.for_ever() && !forced {
            // What runs although it is cancelled may not be able to run here either.
            (cancelled, forced) = (true, cancelled);
            table::say("nothing else is left to run, so the run is cancelled");
            cancel(client, id, forced).await?;
        }
        if run.outcome.is_some() {
            break;
        }
        tokio::select! {
            next = events.next() => match next.transpose()? {
                Some(run) => drop(sender.send(run)),
                None => return Err(never_ended()),
            },
            Some(ended) = jobs.next() => ended?,
            () = interrupts.reach(1), if !cancelled => {
                cancelled = true;
                table::say("interrupted: the run is cancelled, and what it made is removed; once more ends at once");
                cancel(client, id, false).await?;
            }
        }
    }
    // Whatever they wrote is there by now.
    while let Some(ended) = jobs.next().await {
        ended?;
    }
    let run = runs.borrow().clone();
    Ok(Ended { run, stuck })
}

fn never_ended() -> Failure {
    Failure::NotMade { why: "its events ended before it did".to_owned() }
}

async fn cancel(client: &Client, run: RunId, force: bool) -> Result<(), Failure> {
    let path = format!("/v1/runs/{run}/cancel?force={force}");
    let _answer: Value = client.call(Method::POST, &path, &json!({})).await?;
    Ok(())
}

/// Writes what a job writes, attempt after attempt, and how it ended.
async fn follow_job(
    client: &Client,
    id: JobId,
    mut runs: watch::Receiver<RunView>,
    lines: Lines,
) -> Result<(), Failure> {
    let reader = Reader::new(client, Box::new(lines));
    let mut seen = 0;
    loop {
        let news = |job: &JobView| job.attempts > seen || job.outcome.is_some();
        let found = runs.wait_for(|run| run.jobs.get(usize::from(id.index)).is_none_or(news)).await;
        let Some(job) = found.ok().and_then(|run| run.jobs.get(usize::from(id.index)).cloned()) else {
            return Ok(());
        };
        if job.attempts == seen {
            say_end(&job);
            return Ok(());
        }
        seen += 1;
        let attempt = AttemptId { job: id, number: seen };
        let over = reader.follow(attempt, 0).await?;
        reader.end()?;
        if over.outcome.as_deref() == Some("lost") {
            table::say(&format!("{}: attempt {seen} was lost: {}", job.key, over.reason));
        }
    }
}

fn say_end(job: &JobView) {
    let why = job.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    let outcome = standing(job).replace('_', " ");
    let took = match job.started_at {
        Some(_) => format!(" after {}", table::took(job.started_at, job.finished_at)),
        None => String::new(),
    };
    table::say(&format!("{} {outcome}{took}{why}", job.key));
}
