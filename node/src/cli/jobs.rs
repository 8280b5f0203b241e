//! `troupe jobs`.

use serde_json::Value;

use super::nodes::Names;
use super::pages::{self, Limit};
use super::{Client, Failure};

/// Columns of a table of jobs.
pub const COLUMNS: [&str; 6] = ["id", "key", "state", "outcome", "node", "attempts"];

/// What of jobs is listed.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those that are waiting, queued, held, placed, running or finished.
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

/// Jobs, newest first.
///
/// # Errors
/// [`Failure`].
pub async fn list(client: &Client, what: &List, json: bool) -> Result<u8, Failure> {
    let filters = [("state", what.state.as_deref())];
    let mut list = pages::fetch(client, "/v1/jobs", &filters, what.limit).await?;
    if !json {
        let names = Names::fetch(client).await?;
        name_nodes(&mut list["items"], &names);
    }
    pages::show(&list, &COLUMNS, json)?;
    Ok(0)
}

/// Writes names of nodes for their ids.
pub fn name_nodes(jobs: &mut Value, names: &Names) {
    for job in jobs.as_array_mut().into_iter().flatten() {
        job["node"] = names.of(job["node"].as_str()).into();
    }
}
