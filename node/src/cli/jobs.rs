//! `troupe jobs`, `troupe job`, and how jobs are shown elsewhere.

use domain::JobId;
use reqwest::Method;

use super::nodes::Names;
use super::pages::{self, Limit, Show};
use super::target::standing;
use super::{Client, Failure, table};
use crate::api::dto::JobView;

/// Columns of a table of jobs.
pub const COLUMNS: [&str; 7] = ["id", "key", "state", "node", "attempts", "took", "reason"];

/// What of jobs is listed.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those that are waiting, queued, held, placed, running or finished.
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

/// `troupe job`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lets a job begin that waits until somebody approves it for its environment.
    Approve {
        /// Its id.
        id: JobId,
    },
    /// Ends such a job as failed.
    Reject {
        /// Its id.
        id: JobId,
    },
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: &Command, json: bool) -> Result<u8, Failure> {
    let (id, what, done) = match command {
        Command::Approve { id } => (id, "approve", "is approved"),
        Command::Reject { id } => (id, "reject", "is not approved, and has failed"),
    };
    let answer = client.call(Method::POST, &format!("/v1/jobs/{id}/{what}"), &serde_json::json!({})).await?;
    client.told(&answer, &format!("job {id} {done}"), json)?;
    Ok(0)
}

/// Jobs, newest first.
///
/// # Errors
/// [`Failure`].
pub async fn list(client: &Client, what: &List, json: bool) -> Result<u8, Failure> {
    let filters = [("state", what.state.as_deref())];
    let list = pages::fetch(client, "/v1/jobs", &filters, what.limit).await?;
    let names = if json { Names::default() } else { Names::fetch(client).await? };
    let row = |job: JobView| row(&job, &names);
    Show { noun: "jobs", columns: &COLUMNS, row: &row }.list(client, list, json)?;
    Ok(0)
}

/// A job's cells.
#[must_use]
pub fn row(job: &JobView, names: &Names) -> Vec<String> {
    vec![
        job.id.clone(),
        job.key.clone(),
        state(job),
        names.of(node(job)).to_owned(),
        job.attempts.to_string(),
        table::took(job.started_at.filter(|_| node(job).is_some()), job.finished_at),
        table::or_dash(job.reason.as_deref()),
    ]
}

/// Its state or how it ended, and that someone asked for its end.
fn state(job: &JobView) -> String {
    let cancelling = job.cancel_requested && job.outcome.is_none();
    format!("{}{}", standing(job), if cancelling { ", cancelling" } else { "" })
}

/// The node that has the job, or had it at its end: one that waits again is on none.
#[must_use]
pub fn node(job: &JobView) -> Option<&str> {
    job.node.as_deref().filter(|_| matches!(job.state.as_str(), "placed" | "running" | "finished"))
}
