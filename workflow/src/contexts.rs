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
    /// How often it was begun; 0 counts as once.
    pub run_attempt: u32,
    /// Who asked for the run once more; none of one that nobody did.
    pub rerun_by: Option<String>,
    /// The workflow's file.
    pub path: String,
    /// Where the forge is.
    pub urls: Urls,
    /// The repository's variables, name and value.
    pub variables: Vec<(String, String)>,
}

/// Where people and machines find a forge; empty where it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Urls {
    /// `https://HOST`.
    pub server: String,
    /// Where its API begins.
    pub api: String,
    /// The same of GraphQL.
    pub graphql: String,
}

impl Facts {
    /// The context `vars`.
    #[must_use]
    pub fn vars(&self) -> Value {
        Value::object(self.variables.iter().map(|(name, value)| (name.clone(), Value::text(value))))
    }
}

/// The `github` context of an event, as far as it is known before any job runs. Of what GitHub documents `retention_days` and the ids of an
/// action's repository are not there, for nothing here is like them; `env` and `path` are where a step's own variables say.
#[must_use]
pub fn github(event: &domain::Event, facts: &Facts) -> Object {
    let (kind, ref_name) = named(&event.git_ref);
    let payload = payload(event);
    let base = event.base_ref.strip_prefix("refs/heads/").unwrap_or(&event.base_ref);
    let head = of(&payload, &["pull_request", "head", "ref"]);
    // Of a fork, the workflow is the base's; at which of its commits is not kept.
    let (workflow_at, workflow_sha) =
        if event.from_fork { (&event.base_ref, "") } else { (&event.git_ref, event.commit.as_str()) };
    let path = format!("{}/{}@{workflow_at}", facts.repository, facts.path);
    let host = facts.urls.server.split_once("://").map(|(_, host)| host);
    let texts = [
        ("event_name", event.kind.as_str()),
        ("sha", &event.commit),
        ("ref", &event.git_ref),
        ("ref_name", ref_name),
        ("ref_type", kind),
        ("actor", &event.sender),
        ("actor_id", &of(&payload, &["sender", "id"])),
        ("triggering_actor", facts.rerun_by.as_ref().unwrap_or(&event.sender)),
        ("repository", &facts.repository),
        ("repository_id", &of(&payload, &["repository", "id"])),
        ("repository_owner", facts.repository.split_once('/').map_or("", |(owner, _)| owner)),
        ("repository_owner_id", &of(&payload, &["repository", "owner", "id"])),
        (
            "repositoryUrl",
            &host.map_or(String::new(), |host| format!("git://{host}/{}.git", facts.repository)),
        ),
        ("workflow", &facts.workflow),
        ("workflow_ref", if facts.path.is_empty() { "" } else { &path }),
        ("workflow_sha", if facts.path.is_empty() { "" } else { workflow_sha }),
        ("run_id", &facts.run_id),
        ("run_attempt", &facts.run_attempt.max(1).to_string()),
        ("head_ref", &head),
        ("base_ref", base),
        ("server_url", &facts.urls.server),
        ("api_url", &facts.urls.api),
        ("graphql_url", &facts.urls.graphql),
        ("secret_source", if event.from_fork { "None" } else { "Actions" }),
        ("token", ""),
    ];
    let mut github = Object::default();
    for (name, value) in texts {
        github.insert(name, Value::text(value));
    }
    // No forge tells.
    github.insert("ref_protected", Value::Boolean(false));
    if facts.run_number > 0 {
        github.insert("run_number", Value::text(facts.run_number.to_string()));
    }
    github.insert("event", payload);
    github
}

/// What a ref is, and its name; of a pull request as GitHub has it: `7/head`, which is no tag.
fn named(git_ref: &str) -> (&'static str, &str) {
    if let Some(tag) = git_ref.strip_prefix("refs/tags/") {
        return ("tag", tag);
    }
    let of_branches = ["refs/heads/", "refs/pull/", "refs/merge-requests/", "refs/pull-requests/"];
    let name = of_branches.iter().find_map(|prefix| git_ref.strip_prefix(prefix));
    ("branch", name.unwrap_or(git_ref))
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

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Event, EventKind};

    fn known(event: &Event) -> Object {
        let urls = Urls {
            server: "https://forge.example:8443".to_owned(),
            api: "https://forge.example:8443/api/v3".to_owned(),
            graphql: String::new(),
        };
        let path = ".github/workflows/ci.yml".to_owned();
        github(event, &Facts { repository: "team/app".to_owned(), path, urls, ..Facts::default() })
    }

    #[test]
    fn what_a_ref_is_and_which_workflow_it_is_is_known_of_every_event() {
        let commit = "c".repeat(40);
        let event = |kind, git_ref: &str, from_fork| Event {
            git_ref: git_ref.to_owned(),
            commit: commit.clone(),
            base_ref: "refs/heads/main".to_owned(),
            payload: r#"{"sender":{"id":5},"repository":{"id":7,"owner":{"id":9}}}"#.to_owned(),
            from_fork,
            ..Event::of(kind)
        };
        let (push, request) = (EventKind::Push, EventKind::PullRequest);
        let of_file = |at: &str| format!("team/app/.github/workflows/ci.yml@{at}");
        for (event, kind, name, workflow, sha) in [
            (event(push, "refs/heads/a/b", false), "branch", "a/b", "refs/heads/a/b", commit.as_str()),
            (event(push, "refs/tags/v1", false), "tag", "v1", "refs/tags/v1", &commit),
            (event(request, "refs/pull/7/head", false), "branch", "7/head", "refs/pull/7/head", &commit),
            (event(request, "refs/merge-requests/7/head", true), "branch", "7/head", "refs/heads/main", ""),
            (
                event(request, "refs/pull-requests/7/from", false),
                "branch",
                "7/from",
                "refs/pull-requests/7/from",
                &commit,
            ),
        ] {
            let found = Value::Object(known(&event).into());
            for (key, wanted) in [
                ("ref_type", kind),
                ("ref_name", name),
                ("workflow_ref", &of_file(workflow)),
                ("workflow_sha", sha),
                ("secret_source", if event.from_fork { "None" } else { "Actions" }),
                ("run_attempt", "1"),
                ("actor_id", "5"),
                ("repository_id", "7"),
                ("repository_owner_id", "9"),
                ("repositoryUrl", "git://forge.example:8443/team/app.git"),
                ("server_url", "https://forge.example:8443"),
                ("api_url", "https://forge.example:8443/api/v3"),
                ("ref_protected", "false"),
            ] {
                assert_eq!(of(&found, &[key]), wanted, "{key} of {}", event.git_ref);
            }
        }
    }
}
