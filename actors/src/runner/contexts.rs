//! The contexts of a job's expressions that are known when it begins. Rules: GitHub, "Contexts".
//!
//! Must not know: expressions, how steps go.

use std::collections::BTreeMap;

use domain::{ClusterState, JobId};
use serde_json::{Map, Value as Json, json};
use workflow::expression::Value;
use workflow::steps::from_json;

use super::environment::{Facts, TOOL_CACHE, arch};
use crate::needs;

/// All of them, by name.
///
/// # Errors
/// What in the state makes no sense, in words.
pub fn of_job(
    state: &ClusterState,
    job: JobId,
    facts: &Facts<'_>,
    secrets: &BTreeMap<String, String>,
) -> Result<Vec<(String, Value)>, String> {
    let mut all = vec![
        ("github".to_owned(), github(facts)),
        ("runner".to_owned(), runner(facts)),
        ("secrets".to_owned(), json!(secrets)),
        ("vars".to_owned(), json!({})),
    ];
    if let Some(own) = state.contexts.get(&job).filter(|own| !own.is_empty()) {
        let own: Map<String, Json> = serde_json::from_str(own)
            .map_err(|error| format!("the contexts of job {job} cannot be read: {error}"))?;
        all.extend(own);
    }
    let value = |(name, json): (String, Json)| Ok((name, from_json(&json.to_string())?));
    let mut all = all.into_iter().map(value).collect::<Result<Vec<_>, String>>()?;
    all.push(("needs".to_owned(), needs::context(state, job)));
    Ok(all)
}

fn github(facts: &Facts<'_>) -> Json {
    let (run, event) = (facts.run, &facts.run.event);
    let (name, kind) = facts.ref_name();
    let (head, base) = facts.branches();
    let payload: Json = serde_json::from_str(&event.payload).unwrap_or_else(|_| json!({}));
    json!({
        "action": "",
        "actor": event.sender,
        "api_url": "",
        "base_ref": base,
        "event": payload,
        "event_name": event.kind.as_str(),
        "event_path": facts.event_path,
        "head_ref": head,
        "job": facts.job,
        "ref": event.git_ref,
        "ref_name": name,
        "ref_type": kind,
        "repository": facts.repository,
        "repository_owner": facts.repository.split_once('/').map_or("", |(owner, _)| owner),
        "run_attempt": facts.attempt.number.to_string(),
        "run_id": facts.attempt.job.run.to_string(),
        "run_number": run.number.to_string(),
        "server_url": "",
        "sha": event.commit,
        "token": "",
        "triggering_actor": event.sender,
        "workflow": &*run.name,
        "workspace": facts.workspace,
    })
}

fn runner(facts: &Facts<'_>) -> Json {
    json!({
        "arch": arch(),
        "environment": "self-hosted",
        "name": facts.node,
        "os": "Linux",
        "temp": facts.temp,
        "tool_cache": TOOL_CACHE,
    })
}
