//! The contexts of a job's expressions that are known when it begins: what the workflow knows, and what only the node does. Rules: GitHub,
//! "Contexts reference".
//!
//! Must not know: expressions, how steps go.

use std::collections::BTreeMap;

use domain::{AttemptId, ClusterState, JobId, Repo, Run, RunId, Variables};
use serde_json::{Map, Value as Json, json};
use workflow::contexts;
use workflow::expression::{Object, Value};
use workflow::steps::from_json;

use super::urls;
use crate::needs;

/// Where tools are looked for that actions bring; an image may have it.
const TOOL_CACHE: &str = "/opt/hostedtoolcache";

/// Facts beside the specification.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The run.
    pub run: &'a Run,
    /// The job's key in its file.
    pub job: &'a str,
    /// The attempt.
    pub attempt: AttemptId,
    /// The repository; none for an ad hoc run.
    pub repo: Option<&'a Repo>,
    /// The node's name.
    pub node: &'a str,
    /// Where the job sees its workspace.
    pub workspace: &'a str,
    /// Where it finds the event's payload.
    pub event_path: &'a str,
    /// Where it finds a directory for what it needs only for a while.
    pub temp: &'a str,
    /// Somebody wants to see lines for debugging.
    pub debug: bool,
}

/// What is known of a run wherever its state is.
pub fn known(repo: Option<&Repo>, id: RunId, run: &Run) -> contexts::Facts {
    contexts::Facts {
        repository: repo.map(|repo| repo.name.to_string()).unwrap_or_default(),
        workflow: run.name.to_string(),
        run_id: id.to_string(),
        run_number: run.number,
        path: run.path.to_string(),
        rerun_by: run.rerun_by.as_deref().map(str::to_owned),
        urls: repo.map(urls::of).unwrap_or_default(),
        ..contexts::Facts::default()
    }
}

/// All of them, by name.
///
/// # Errors
/// What in the state makes no sense, in words.
pub fn of_job(
    state: &ClusterState,
    job: JobId,
    facts: &Facts<'_>,
    (secrets, variables): (&BTreeMap<String, String>, &Variables),
) -> Result<Vec<(String, Value)>, String> {
    let variables: BTreeMap<_, _> = variables.iter().cloned().collect();
    let mut all = vec![("secrets".to_owned(), json!(secrets)), ("vars".to_owned(), json!(variables))];
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
    all.push(("github".to_owned(), Value::Object(github(facts).into())));
    all.push(("runner".to_owned(), Value::Object(runner(facts).into())));
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

/// The secrets that a called workflow was given: texts over the contexts of its caller, which stand under the empty name. Those that
/// the caller was itself given are among them, where it was called, too; else it has those of the repository.
fn given_secrets(given: &Json, around: &[(String, Value)], level: usize) -> Result<Value, String> {
    let Json::Object(given) = given else { return Ok(Value::object(Vec::<(String, Value)>::new())) };
    if level > MAX_LEVELS {
        return Err("secrets: workflows call each other too deep".to_owned());
    }
    let mut contexts = Object::default();
    if let Some(Json::Object(caller)) = given.get("") {
        for (name, value) in caller {
            let value = match name.as_str() {
                "secrets" => given_secrets(value, around, level + 1)?,
                _ => from_json(&value.to_string())?,
            };
            contexts.insert(name, value);
        }
    }
    // Of what the called workflow has, only what is the same for the whole run. The first of a name is kept.
    for (name, value) in around.iter().filter(|(name, _)| matches!(&**name, "github" | "vars" | "secrets")) {
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

/// The context `github`.
pub fn github(facts: &Facts<'_>) -> Object {
    let known = contexts::Facts {
        run_attempt: u32::from(facts.attempt.number),
        ..known(facts.repo, facts.attempt.job.run, facts.run)
    };
    let mut github = contexts::github(&facts.run.event, &known);
    for (name, value) in
        [("job", facts.job), ("event_path", facts.event_path), ("workspace", facts.workspace)]
    {
        github.insert(name, Value::text(value));
    }
    github
}

/// The context `runner`.
pub fn runner(facts: &Facts<'_>) -> Object {
    let mut runner = Object::default();
    for (name, value) in [
        ("arch", arch()),
        ("environment", "self-hosted"),
        ("name", facts.node),
        ("os", "Linux"),
        ("temp", facts.temp),
        ("tool_cache", TOOL_CACHE),
    ] {
        runner.insert(name, Value::text(value));
    }
    if facts.debug {
        runner.insert("debug", Value::text("1"));
    }
    runner
}

/// The machine's architecture as GitHub calls it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "X64",
        "aarch64" => "ARM64",
        "arm" => "ARM",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(given: Json) -> Result<Vec<(String, String)>, String> {
        let own = json!({ "MINE": "a", "KEY": "the repository's" });
        let around = [("secrets", own), ("inputs", json!({ "e": "callee" }))]
            .map(|(name, value)| Ok((name.to_owned(), from_json(&value.to_string())?)))
            .into_iter()
            .collect::<Result<Vec<_>, String>>()?;
        Ok(secrets_of(&[("secrets".to_owned(), given_secrets(&given, &around, 0)?)]))
    }

    #[test]
    fn a_called_workflow_has_the_secrets_that_it_was_given_and_no_others() -> Result<(), String> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(secrets(json!({}))?, []);
        assert_eq!(secrets(json!({ "KEY": "${{ secrets.MINE }}!" }))?, [pair("KEY", "a!")]);
        // Called by one that was called: what that was given counts, not what the repository has.
        let outer = json!({ "KEY": "${{ secrets.MINE }}" });
        let inner =
            json!({ "X": "${{ secrets.KEY }}", "Y": "[${{ secrets.MINE }}]", "": { "secrets": outer } });
        assert_eq!(secrets(inner)?, [pair("X", "a"), pair("Y", "[]")]);
        assert!(secrets(json!({ "KEY": "${{ nope.X }}" })).is_err());
        // What else a text names is the caller's, whatever the called workflow has by that name.
        let named = "${{ secrets[format('{0}NE', inputs.e)] }}";
        let caller = json!({ "inputs": { "e": "MI" } });
        assert_eq!(secrets(json!({ "KEY": named, "": caller }))?, [pair("KEY", "a")]);
        assert_eq!(secrets(json!({ "KEY": named }))?, [pair("KEY", "")]);
        Ok(())
    }
}
