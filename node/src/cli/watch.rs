//! `troupe run watch`: follows a run's events to its end.
//!
//! Must not know how the server makes them.

use std::collections::BTreeMap;
use std::io::Write as _;

use futures::StreamExt;
use reqwest::Method;

use super::{Client, Failure};
use crate::api::dto::RunView;

/// One event may not be longer than a run with all its jobs can be.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// Follows until the run is finished; 1 when it did not succeed. With `json`, one JSON object per line and change.
pub async fn run(client: &Client, id: &str, json: bool) -> Result<u8, Failure> {
    let response = client.send(client.request(Method::GET, &format!("/v1/runs/{id}/events"))).await?;
    let (mut stream, mut pending) = (response.bytes_stream(), Vec::new());
    let mut shown = BTreeMap::new();
    while let Some(part) = stream.next().await {
        pending.extend_from_slice(&part.map_err(|error| client.bad(error.without_url().to_string()))?);
        if pending.len() > MAX_EVENT_BYTES {
            return Err(client.bad(format!("an event of more than {MAX_EVENT_BYTES} bytes")));
        }
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            let run: RunView = serde_json::from_slice(data).map_err(|error| client.bad(error.to_string()))?;
            show(&run, &mut shown, json)?;
            if let Some(outcome) = &run.outcome {
                return Ok(u8::from(outcome != "succeeded"));
            }
        }
    }
    Err(client.bad("the events ended before the run did; the node may be stopping, try another".to_owned()))
}

fn show(run: &RunView, shown: &mut BTreeMap<String, String>, json: bool) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    if json {
        serde_json::to_writer(&mut out, run).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    for job in &run.jobs {
        let now = job.outcome.clone().unwrap_or_else(|| job.state.clone());
        if shown.insert(job.id.clone(), now.clone()).as_ref() != Some(&now) {
            writeln!(out, "{} {} {now}", job.id, job.key)?;
        }
    }
    if let Some(outcome) = &run.outcome {
        writeln!(out, "run {} {outcome}", run.id)?;
    }
    Ok(())
}
