//! The contexts of a run: what expressions know of what happened. Rules: GitHub, "Contexts reference".
//!
//! Pure data in, values out. Must not know where facts come from.

use crate::expression::{Object, Value};

/// What is known of a run when its jobs are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The repository's name.
    pub repository: String,
    /// The workflow's name.
    pub workflow: String,
    /// The run, its number.
    pub run_id: String,
    /// Counts up per repository.
    pub run_number: u64,
    /// Where people and machines find the forge: `https://HOST`; empty where it is not known.
    pub server_url: String,
    /// The repository's variables, name and value.
    pub variables: Vec<(String, String)>,
}

impl Facts {
    /// The context `vars`.
    #[must_use]
    pub fn vars(&self) -> Value {
        Value::object(self.variables.iter().map(|(name, value)| (name.clone(), Value::text(value))))
    }
}

/// The `github` context of an event, as far as it is known before any job runs.
#[must_use]
pub fn github(event: &domain::Event, facts: &Facts) -> Object {
    let name = |prefix: &str| event.git_ref.strip_prefix(prefix).map(str::to_owned);
    let (kind, ref_name) = match (name("refs/heads/"), name("refs/tags/")) {
        (Some(branch), _) => ("branch", branch),
        (None, Some(tag)) => ("tag", tag),
        // Of a pull request, as GitHub: `7/head`.
        (None, None) => ("branch", event.git_ref.trim_start_matches("refs/pull/").to_owned()),
    };
    let payload = payload(event);
    let base = event.base_ref.strip_prefix("refs/heads/").unwrap_or(&event.base_ref);
    let head = of(&payload, &["pull_request", "head", "ref"]);
    let texts = [
        ("event_name", event.kind.as_str()),
        ("sha", &event.commit),
        ("ref", &event.git_ref),
        ("ref_name", &ref_name),
        ("ref_type", kind),
        ("actor", &event.sender),
        ("triggering_actor", &event.sender),
        ("repository", &facts.repository),
        ("repository_owner", facts.repository.split_once('/').map_or("", |(owner, _)| owner)),
        ("workflow", &facts.workflow),
        ("run_id", &facts.run_id),
        ("head_ref", &head),
        ("base_ref", base),
        ("server_url", &facts.server_url),
        ("token", ""),
    ];
    let mut github = Object::default();
    for (name, value) in texts {
        github.insert(name, Value::text(value));
    }
    if facts.run_number > 0 {
        github.insert("run_number", Value::text(facts.run_number.to_string()));
    }
    github.insert("event", payload);
    github
}

/// What came with an event; an empty object where nothing did.
#[must_use]
pub fn payload(event: &domain::Event) -> Value {
    match crate::expression::from_json(&event.payload) {
        Ok(value @ Value::Object(_)) => value,
        _ => Value::Object(std::sync::Arc::default()),
    }
}

/// A text deep within a value; empty where there is none.
#[must_use]
pub fn of(value: &Value, path: &[&str]) -> String {
    let mut at = value;
    for name in path {
        let Value::Object(object) = at else { return String::new() };
        let Some(next) = object.get(name) else { return String::new() };
        at = next;
    }
    if at.is_primitive() { at.as_text().to_string() } else { String::new() }
}

/// Contexts as the cluster carries them, a JSON object; an empty text for none.
#[must_use]
pub fn read(text: &str) -> Object {
    match crate::expression::from_json(text) {
        Ok(Value::Object(object)) => (*object).clone(),
        _ => Object::default(),
    }
}
