//! The contexts of a job's expressions that are known when it begins. Rules: GitHub, "Contexts".
//!
//! Must not know: expressions, how steps go.

use std::collections::BTreeMap;

use domain::{ClusterState, JobId};
use serde_json::{Map, Value as Json, json};
use workflow::expression::{Object, Value};
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
        (
            "vars".to_owned(),
            json!(needs::variables(state, facts.run.repo).into_iter().collect::<BTreeMap<_, _>>()),
        ),
    ];
    let mut given = None;
    if let Some(own) = state.contexts.get(&job).filter(|own| !own.is_empty()) {
        let mut own: Map<String, Json> = serde_json::from_str(own)
            .map_err(|error| format!("the contexts of job {job} cannot be read: {error}"))?;
        // A called workflow has the secrets that it was given, and no others.
        given = own.remove("secrets");
        all.extend(own);
    }
    let value = |(name, json): (String, Json)| Ok((name, from_json(&json.to_string())?));
    let mut all = all.into_iter().map(value).collect::<Result<Vec<_>, String>>()?;
    all.push(("needs".to_owned(), needs::context(state, job)));
    if let Some(given) = given {
        let of_caller = given_secrets(&given, &all, 0)?;
        all.retain(|(name, _)| name != "secrets");
        all.push(("secrets".to_owned(), of_caller));
    }
    Ok(all)
}

/// Deepest nesting of called workflows.
const MAX_LEVELS: usize = 10;

/// The secrets that a called workflow was given: texts that its caller's secrets fill in. Those of the caller stand under the
/// empty name, where it was itself called and given some.
fn given_secrets(given: &Json, around: &[(String, Value)], level: usize) -> Result<Value, String> {
    let Json::Object(given) = given else { return Ok(Value::object(Vec::<(String, Value)>::new())) };
    if level > MAX_LEVELS {
        return Err("secrets: workflows call each other too deep".to_owned());
    }
    let mut contexts = Object::default();
    if let Some(outer) = given.get("") {
        contexts.insert("secrets", given_secrets(outer, around, level + 1)?);
    }
    // The first of a name is kept.
    for (name, value) in around {
        contexts.insert(name, value.clone());
    }
    let texts = given.iter().filter(|(name, _)| !name.is_empty());
    let one = |(name, text): (&String, &Json)| {
        let text = text.as_str().unwrap_or_default();
        let value = workflow::secret(text, &contexts).map_err(|why| format!("secrets.{name}: {why}"))?;
        Ok((name.clone(), value))
    };
    Ok(Value::object(texts.map(one).collect::<Result<Vec<_>, String>>()?))
}

/// The secrets among contexts, by name.
pub fn secrets_of(contexts: &[(String, Value)]) -> Vec<(String, String)> {
    let found = contexts.iter().find(|(name, _)| name == "secrets");
    let Some((_, Value::Object(secrets))) = found else { return Vec::new() };
    secrets.iter().map(|(name, value)| (name.to_owned(), value.as_text().to_string())).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(given: Json) -> Result<Vec<(String, String)>, String> {
        let own = json!({ "MINE": "a", "KEY": "the repository's" });
        let around = vec![("secrets".to_owned(), from_json(&own.to_string())?)];
        Ok(secrets_of(&[("secrets".to_owned(), given_secrets(&given, &around, 0)?)]))
    }

    #[test]
    fn a_called_workflow_has_the_secrets_that_it_was_given_and_no_others() -> Result<(), String> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(secrets(json!({}))?, []);
        assert_eq!(secrets(json!({ "KEY": "${{ secrets.MINE }}!" }))?, [pair("KEY", "a!")]);
        // Called by one that was called: what that was given counts, not what the repository has.
        let outer = json!({ "KEY": "${{ secrets.MINE }}" });
        let inner = json!({ "X": "${{ secrets.KEY }}", "Y": "[${{ secrets.MINE }}]", "": outer });
        assert_eq!(secrets(inner)?, [pair("X", "a"), pair("Y", "[]")]);
        assert!(secrets(json!({ "KEY": "${{ nope.X }}" })).is_err());
        Ok(())
    }
}
