//! What a workflow that follows another is told of the run that it follows: GitHub's `workflow_run` payload, as far as it is known.

use domain::{ClusterState, Event, EventKind, Outcome, RunId};
use serde_json::{Value, json};

/// The payload, of what was told then; empty when the run is not there any more.
pub(super) fn payload(state: &ClusterState, cause: RunId, told: &str) -> String {
    let Some(run) = state.runs.get(&cause) else { return String::new() };
    // As it was when this was told: the run may have ended since.
    let requested = told.contains("requested");
    let action = if requested { "requested" } else { "completed" };
    let conclusion = run.outcome.filter(|_| !requested).map(|outcome| match outcome {
        Outcome::Succeeded => "success",
        Outcome::Cancelled => "cancelled",
        Outcome::Skipped => "skipped",
        Outcome::TimedOut => "timed_out",
        Outcome::Failed | Outcome::Lost => "failure",
    });
    let of_run = json!({
        "id": cause.to_string(),
        "name": &*run.name,
        "display_title": &*run.title,
        "path": &*run.path,
        "run_number": run.number,
        "event": run.event.kind.as_str(),
        "status": action,
        "conclusion": conclusion,
        "head_branch": head_branch(&run.event),
        "head_sha": run.event.commit,
        "actor": { "login": run.event.sender },
    });
    json!({ "action": action, "workflow_run": of_run, "workflow": { "name": &*run.name, "path": &*run.path } }).to_string()
}

/// The branch that a run is about: of a pull request its head's, of a tag the tag's name, as on GitHub.
fn head_branch(event: &Event) -> String {
    let git_ref = &event.git_ref;
    if event.kind == EventKind::PullRequest {
        let payload: Value = serde_json::from_str(&event.payload).unwrap_or_default();
        return payload["pull_request"]["head"]["ref"].as_str().unwrap_or(git_ref).to_owned();
    }
    let named = ["refs/heads/", "refs/tags/"].into_iter().find_map(|kind| git_ref.strip_prefix(kind));
    named.unwrap_or(git_ref).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_of_a_run_is_its_heads_whatever_its_event() {
        let at = |kind, git_ref: &str, payload: &str| {
            head_branch(&Event {
                git_ref: git_ref.to_owned(),
                payload: payload.to_owned(),
                ..Event::of(kind)
            })
        };
        assert_eq!(at(EventKind::Push, "refs/heads/feature/x", ""), "feature/x");
        assert_eq!(at(EventKind::Push, "refs/tags/v1", ""), "v1");
        let payload = r#"{"pull_request":{"head":{"ref":"topic"}}}"#;
        assert_eq!(at(EventKind::PullRequest, "refs/pull/7/head", payload), "topic");
        assert_eq!(at(EventKind::PullRequest, "refs/pull/7/head", ""), "refs/pull/7/head");
    }
}
