//! `troupe runs`, `run show`, `run watch`, `run cancel`, `run rerun`.

use clap::Subcommand;
use domain::{JobId, RunId};
use reqwest::Method;
use serde_json::{Value, json};

use super::nodes::Names;
use super::pages::{self, Limit};
use super::{Client, Failure, jobs, table, watch};
use crate::api::dto::{AttemptView, RunView};
use crate::api::page::Page;

/// What of runs is listed.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those of a repository.
    #[arg(long)]
    repo: Option<String>,
    /// Only those that ended so (succeeded, failed, cancelled, timed_out, skipped, lost), or are open.
    #[arg(long)]
    outcome: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

/// `troupe run`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows it with its jobs; the exit code is 1 when it did not succeed.
    Show {
        /// Its id.
        id: RunId,
        /// Also every attempt's steps.
        #[arg(long)]
        steps: bool,
    },
    /// Follows it to its end, live on a terminal, elsewhere one line per change; the exit code is 1 when it did not
    /// succeed.
    Watch {
        /// Its id.
        id: RunId,
    },
    /// Ends it.
    Cancel {
        /// Its id.
        id: RunId,
    },
    /// Repeats it as a new run.
    Rerun {
        /// Its id.
        id: RunId,
    },
}

/// Runs, newest first.
///
/// # Errors
/// [`Failure`].
pub async fn list(client: &Client, what: &List, json: bool) -> Result<u8, Failure> {
    let filters = [("repo", what.repo.as_deref()), ("outcome", what.outcome.as_deref())];
    let list = pages::fetch(client, "/v1/runs", &filters, what.limit).await?;
    pages::show(&list, &["id", "repo", "number", "name", "event", "outcome", "title"], json)?;
    Ok(0)
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Show { id, steps } => return show(client, id, steps, json).await,
        Command::Watch { id } => return watch::run(client, id, json).await,
        Command::Cancel { id } => {
            let path = format!("/v1/runs/{id}/cancel");
            table::show(&client.call(Method::POST, &path, &json!({})).await?, &["cancelling"], json)?;
        }
        Command::Rerun { id } => {
            let path = format!("/v1/runs/{id}/rerun");
            table::show(&client.call(Method::POST, &path, &json!({})).await?, &["id", "number"], json)?;
        }
    }
    Ok(0)
}

/// A run with its jobs.
///
/// # Errors
/// [`Failure`].
pub async fn fetch(client: &Client, id: RunId) -> Result<RunView, Failure> {
    client.get(&format!("/v1/runs/{id}")).await
}

/// The exit code that an outcome means; none yet means 0.
#[must_use]
pub fn exit_code(outcome: Option<&str>) -> u8 {
    u8::from(outcome.is_some_and(|outcome| outcome != "succeeded"))
}

async fn show(client: &Client, id: RunId, steps: bool, json: bool) -> Result<u8, Failure> {
    let mut run: Value = client.get(&format!("/v1/runs/{id}")).await?;
    let mut all = Vec::new();
    let count = run["jobs"].as_array().map_or(0, Vec::len);
    for index in 0..if steps { count } else { 0 } {
        let job = JobId { run: id, index: index as u16 };
        let attempts: Page<AttemptView> = client.get(&format!("/v1/jobs/{job}/attempts")).await?;
        run["jobs"][index]["history"] = json!(attempts.items);
        all.extend(attempts.items);
    }
    table::show(&run, &["id", "number", "name", "outcome", "error"], json)?;
    if !json {
        let names = Names::fetch(client).await?;
        jobs::name_nodes(&mut run["jobs"], &names);
        table::show(&run["jobs"], &jobs::COLUMNS, json)?;
    }
    if steps && !json {
        table::table(&["attempt", "step", "outcome", "exit", "signal", "duration"], rows(&all).into_iter())?;
    }
    Ok(exit_code(run["outcome"].as_str()))
}

/// One row per step.
fn rows(attempts: &[AttemptView]) -> Vec<Vec<String>> {
    fn shown(value: Option<impl ToString>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    }
    let mut rows = Vec::new();
    for attempt in attempts {
        for (index, step) in attempt.steps.iter().enumerate() {
            let times = step.started_at.zip(step.finished_at);
            rows.push(vec![
                attempt.id.clone(),
                index.to_string(),
                shown(step.outcome.as_ref()),
                shown(step.exit_code),
                shown(step.signal),
                shown(times.map(|(from, to)| table::duration(to.saturating_sub(from)))),
            ]);
        }
    }
    rows
}
