//! The environment of a job: what its file says, then the facts that GitHub documents, which a file cannot change (but for `CI`); the
//! same facts as `CI_*`. Values are data; no shell ever reads them as text.

use std::collections::BTreeMap;

use domain::JobSpec;

use super::contexts::{self, Facts};

/// Where a job finds its workspace.
pub const WORKSPACE: &str = "/workspace";
/// Of the context `github`, what is a variable, too; in lower case it is its name there.
const DOCUMENTED: [&str; 27] = [
    "ACTOR",
    "ACTOR_ID",
    "API_URL",
    "BASE_REF",
    "EVENT_NAME",
    "EVENT_PATH",
    "GRAPHQL_URL",
    "HEAD_REF",
    "JOB",
    "REF",
    "REF_NAME",
    "REF_PROTECTED",
    "REF_TYPE",
    "REPOSITORY",
    "REPOSITORY_ID",
    "REPOSITORY_OWNER",
    "REPOSITORY_OWNER_ID",
    "RUN_ATTEMPT",
    "RUN_ID",
    "RUN_NUMBER",
    "SERVER_URL",
    "SHA",
    "TRIGGERING_ACTOR",
    "WORKFLOW",
    "WORKFLOW_REF",
    "WORKFLOW_SHA",
    "WORKSPACE",
];

/// Environment of a job's container: of one without expressions, what its file says, too; else that comes with each step.
#[must_use]
pub fn of_job(spec: &JobSpec, facts: Facts<'_>) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<_, _> =
        if spec.expressions { BTreeMap::new() } else { spec.env.iter().cloned().collect() };
    environment.entry("CI".to_owned()).or_insert_with(|| "true".to_owned());
    environment.extend(self::facts(facts));
    environment
}

/// What no step can change.
#[must_use]
pub fn facts(facts: Facts<'_>) -> BTreeMap<String, String> {
    let fixed = [("TROUPE", "true"), ("GITHUB_ACTIONS", "true")];
    let mut environment: BTreeMap<_, _> =
        fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let github = contexts::github(&facts);
    for name in DOCUMENTED {
        let value = github.get(&name.to_ascii_lowercase()).map(|value| value.as_text().to_string());
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            environment.insert(format!("CI_{name}"), value.clone());
            environment.insert(format!("GITHUB_{name}"), value);
        }
    }
    let runner = contexts::runner(&facts);
    let runner = runner.iter().map(|(name, value)| (name.to_ascii_uppercase(), value.as_text().to_string()));
    environment.extend(runner.map(|(name, value)| (format!("RUNNER_{name}"), value)));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{AttemptId, Event, EventKind, JobId, Run, RunId, RunKind, Timestamp};

    #[test]
    fn a_file_adds_to_the_facts_and_cannot_change_them() {
        let event = Event {
            kind: EventKind::Push,
            git_ref: "refs/heads/feature/x".to_owned(),
            commit: "c".repeat(40),
            before: String::new(),
            sender: "ada".to_owned(),
            title: "$(rm -rf /)".to_owned(),
            ..Event::of(EventKind::Push)
        };
        let kind = RunKind {
            repo: None,
            delivery: None,
            rerun_of: Some(RunId(9)),
            rerun_by: Some("token:bob".into()),
            name: "build".into(),
            title: "".into(),
            declared: 1,
            concurrency: None,
            path: "".into(),
            event: event.into(),
            jobs: 1,
            error: None,
        };
        let run = Run {
            kind: kind.into(),
            number: 12,
            open_jobs: 1,
            created_at: Timestamp(1),
            finished_at: Timestamp(0),
            outcome: None,
            cancel_requested: false,
        };
        let env = [("GITHUB_SHA", "forged"), ("CI", "no"), ("MINE", "1")];
        let spec = JobSpec {
            env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            timeout_seconds: 1,
            ..JobSpec::default()
        };
        let attempt = AttemptId { job: JobId { run: RunId(1), index: 0 }, number: 2 };
        let facts = Facts {
            run: &run,
            job: "test",
            attempt,
            repo: None,
            node: "n1",
            workspace: WORKSPACE,
            event_path: "/troupe/event.json",
            temp: "/troupe/temp",
            debug: false,
        };
        let found = of_job(&spec, facts);
        for (name, wanted) in [
            ("CI", "no"),
            ("MINE", "1"),
            ("GITHUB_SHA", "c".repeat(40).as_str()),
            ("CI_SHA", "c".repeat(40).as_str()),
            ("GITHUB_REF_NAME", "feature/x"),
            ("GITHUB_REF_TYPE", "branch"),
            ("GITHUB_REF_PROTECTED", "false"),
            ("GITHUB_RUN_NUMBER", "12"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_JOB", "test"),
            ("GITHUB_ACTOR", "ada"),
            ("GITHUB_TRIGGERING_ACTOR", "token:bob"),
            ("RUNNER_NAME", "n1"),
        ] {
            assert_eq!(found.get(name).map(String::as_str), Some(wanted), "{name}");
        }
        assert!(found.values().all(|value| !value.contains("rm -rf")));
        let without = JobSpec { env: Vec::new(), ..spec };
        assert_eq!(of_job(&without, facts).get("CI").map(String::as_str), Some("true"));
    }
}
