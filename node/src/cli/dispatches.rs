//! `troupe dispatch`, `troupe event`: workflows that are asked for, and events of other systems.

use domain::RepoName;
use serde_json::{Map, Value};

use super::repos::at;
use super::{Client, Failure, table};
use crate::api::dto::{Accepted, Dispatch, Input, RepositoryEvent};

/// `NAME=VALUE`.
///
/// # Errors
/// What is expected.
pub fn input(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    parts
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

/// A JSON object.
///
/// # Errors
/// What is wrong with it.
pub fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("expected a JSON object: {error}"))
}

/// Runs a workflow by hand; prints the delivery's id.
///
/// # Errors
/// [`Failure`].
pub async fn dispatch(
    client: &Client,
    repo: &RepoName,
    (workflow, git_ref, inputs): (String, String, Vec<(String, String)>),
    json: bool,
) -> Result<u8, Failure> {
    let inputs = inputs.into_iter().map(|(name, value)| (name, Input::Text(value))).collect();
    let body = Dispatch { workflow, git_ref, inputs };
    let answer = client.call_once(&format!("{}/dispatch", at(repo)), &body).await?;
    accepted(client, answer, json)
}

/// Tells of an event of another system; prints the delivery's id.
///
/// # Errors
/// [`Failure`].
pub async fn event(
    client: &Client,
    repo: &RepoName,
    (event_type, client_payload): (String, Map<String, Value>),
    json: bool,
) -> Result<u8, Failure> {
    let body = RepositoryEvent { event_type, client_payload };
    let answer = client.call_once(&format!("{}/events", at(repo)), &body).await?;
    accepted(client, answer, json)
}

fn accepted(client: &Client, answer: Value, json: bool) -> Result<u8, Failure> {
    if json {
        table::pretty(&answer)?;
    } else {
        let accepted: Accepted = client.take(answer)?;
        table::print(&accepted.delivery.unwrap_or_default())?;
    }
    Ok(0)
}
