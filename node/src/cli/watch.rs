//! `troupe run watch`: follows a run's events to its end, as lines or as JSON.
//!
//! Must not know how the server makes them.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use domain::RunId;

use super::events::Events;
use super::follow::{Patience, aloud};
use super::live::Live;
use super::table::{self, plain};
use super::target::standing;
use super::{Client, Failure, runs};
use crate::api::dto::RunView;

/// Follows until the run is finished; 1 when it did not succeed. With `json`, one JSON object per line and change.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, id: RunId, json: bool) -> Result<u8, Failure> {
    // A run that is not there, or a node, is told of at once; only what breaks later is waited for.
    runs::fetch(client, id).await?;
    let run = if !json && std::io::stdout().is_terminal() {
        Live::new(client).follow(id).await?
    } else {
        lines(client, id, json).await?
    };
    if !json {
        let outcome = run.outcome.as_deref().unwrap_or_default();
        if let Some(error) = &run.error {
            table::say(error);
        }
        writeln!(std::io::stdout(), "run {} {}", plain(&run.id), plain(outcome))?;
    }
    Ok(runs::exit_code(run.outcome.as_deref()))
}

async fn lines(client: &Client, id: RunId, json: bool) -> Result<RunView, Failure> {
    let mut events = Events::of(client, id, Patience::default(), aloud());
    let (mut shown, mut last) = (BTreeMap::new(), None);
    loop {
        let run = events.next().await?;
        // A connection that broke begins again with what is known already.
        if json && last.as_ref() != Some(&run) {
            table::line(&run)?;
        } else if !json {
            changes(&run, &mut shown)?;
        }
        if run.outcome.is_some() {
            return Ok(run);
        }
        last = Some(run);
    }
}

fn changes(run: &RunView, shown: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    for job in &run.jobs {
        // Why a job waits changes often, with whatever else there is to do; why it failed does not.
        let why = job.reason.as_deref().filter(|_| job.outcome.is_some());
        let now = format!("{}{}", standing(job), why.map(|why| format!(": {why}")).unwrap_or_default());
        if shown.insert(job.id.clone(), now.clone()).as_ref() != Some(&now) {
            writeln!(out, "{} {} {}", plain(&job.id), plain(&job.key), plain(&now))?;
        }
    }
    Ok(())
}
