//! The environment of a job: what its file says, then the facts that GitHub documents, which a file cannot change; the
//! same facts as `CI_*`. Values are data; no shell ever reads them as text.

use std::collections::BTreeMap;

use domain::{AttemptId, JobSpec, Run};

/// Where tools are looked for that actions bring; an image may have it.
pub const TOOL_CACHE: &str = "/opt/hostedtoolcache";
/// Where a job finds its workspace.
pub const WORKSPACE: &str = "/workspace";

/// Facts beside the run and the specification.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The run.
    pub run: &'a Run,
    /// The job's key in its file.
    pub job: &'a str,
    /// The attempt.
    pub attempt: AttemptId,
    /// The repository's name; empty for an ad hoc run.
    pub repository: &'a str,
    /// The node's name.
    pub node: &'a str,
    /// Where the job sees its workspace.
    pub workspace: &'a str,
    /// Where it finds the event's payload.
    pub event_path: &'a str,
    /// Where it finds a directory for what it needs only for a while.
    pub temp: &'a str,
}

impl Facts<'_> {
    /// Name of what was pushed or is to be merged, and what it is.
    #[must_use]
    pub fn ref_name(&self) -> (String, &'static str) {
        let git_ref = self.run.event.git_ref.as_str();
        match (git_ref.strip_prefix("refs/heads/"), git_ref.strip_prefix("refs/tags/")) {
            (Some(branch), _) => (branch.to_owned(), "branch"),
            (None, Some(tag)) => (tag.to_owned(), "tag"),
            (None, None) => (git_ref.strip_prefix("refs/pull/").unwrap_or_default().to_owned(), ""),
        }
    }

    /// Of a pull request, the branches that it comes from and goes to.
    #[must_use]
    pub fn branches(&self) -> (String, String) {
        let event = &self.run.event;
        let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap_or_default();
        let head = payload["pull_request"]["head"]["ref"].as_str().unwrap_or_default();
        let base = event.base_ref.strip_prefix("refs/heads/").unwrap_or(&event.base_ref);
        (head.to_owned(), base.to_owned())
    }
}

/// The machine's architecture as GitHub calls it.
#[must_use]
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "X64",
        "aarch64" => "ARM64",
        "arm" => "ARM",
        other => other,
    }
}

/// Environment of a job's container: of one without expressions, what its file says, too; else that comes with each step.
#[must_use]
pub fn of_job(spec: &JobSpec, facts: Facts<'_>) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<_, _> =
        if spec.expressions { BTreeMap::new() } else { spec.env.iter().cloned().collect() };
    environment.extend(self::facts(facts));
    environment
}

/// What no step can change.
#[must_use]
pub fn facts(facts: Facts<'_>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (name, value) in documented(facts) {
        environment.insert(format!("CI_{name}"), value.clone());
        environment.insert(format!("GITHUB_{name}"), value);
    }
    let fixed = [
        ("CI", "true"),
        ("TROUPE", "true"),
        ("GITHUB_ACTIONS", "true"),
        ("RUNNER_OS", "Linux"),
        ("RUNNER_ARCH", arch()),
        ("RUNNER_NAME", facts.node),
        ("RUNNER_TEMP", facts.temp),
        ("RUNNER_TOOL_CACHE", TOOL_CACHE),
        ("RUNNER_ENVIRONMENT", "self-hosted"),
    ];
    environment.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment
}

fn documented(facts: Facts<'_>) -> Vec<(&'static str, String)> {
    let Facts { run, job, attempt, repository, .. } = facts;
    let event = &run.event;
    let (name, kind) = facts.ref_name();
    let (head, base) = facts.branches();
    let all = [
        ("SHA", event.commit.clone()),
        ("REF", event.git_ref.clone()),
        ("REF_NAME", name),
        ("REF_TYPE", kind.to_owned()),
        ("EVENT_NAME", event.kind.as_str().to_owned()),
        ("EVENT_PATH", facts.event_path.to_owned()),
        ("HEAD_REF", head),
        ("BASE_REF", base),
        ("ACTOR", event.sender.clone()),
        ("TRIGGERING_ACTOR", event.sender.clone()),
        ("REPOSITORY", repository.to_owned()),
        ("REPOSITORY_OWNER", repository.split_once('/').map_or("", |(owner, _)| owner).to_owned()),
        ("WORKFLOW", run.name.to_string()),
        ("JOB", job.to_owned()),
        ("RUN_ID", attempt.job.run.to_string()),
        ("RUN_NUMBER", run.number.to_string()),
        ("RUN_ATTEMPT", attempt.number.to_string()),
        ("WORKSPACE", facts.workspace.to_owned()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Event, EventKind, JobId, RunId, RunKind, Timestamp};

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
            rerun_of: None,
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
            repository: "team/app",
            node: "n1",
            workspace: WORKSPACE,
            event_path: "/troupe/event.json",
            temp: "/troupe/temp",
        };
        let found = of_job(&spec, facts);
        for (name, wanted) in [
            ("CI", "true"),
            ("MINE", "1"),
            ("GITHUB_SHA", "c".repeat(40).as_str()),
            ("CI_SHA", "c".repeat(40).as_str()),
            ("GITHUB_REF_NAME", "feature/x"),
            ("GITHUB_REF_TYPE", "branch"),
            ("GITHUB_REPOSITORY_OWNER", "team"),
            ("GITHUB_RUN_NUMBER", "12"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_JOB", "test"),
            ("RUNNER_NAME", "n1"),
        ] {
            assert_eq!(found.get(name).map(String::as_str), Some(wanted), "{name}");
        }
        assert!(found.values().all(|value| !value.contains("rm -rf")));
    }
}
