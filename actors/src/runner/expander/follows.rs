//! What a workflow that follows another is told of the run that it follows: GitHub's `workflow_run` payload, as far as it is known.

use domain::{ClusterState, Outcome, RunId};
use serde_json::json;

/// The payload; empty when the run is not there any more.
pub(super) fn payload(state: &ClusterState, cause: RunId) -> String {
    let Some(run) = state.runs.get(&cause) else { return String::new() };
    let conclusion = run.outcome.map(|outcome| match outcome {
        Outcome::Succeeded => "success",
        Outcome::Cancelled => "cancelled",
        Outcome::Skipped => "skipped",
        Outcome::TimedOut => "timed_out",
        Outcome::Failed | Outcome::Lost => "failure",
    });
    let branch = run.event.git_ref.strip_prefix("refs/heads/").unwrap_or(&run.event.git_ref);
    let of_run = json!({
        "id": cause.to_string(),
        "name": &*run.name,
        "display_title": &*run.title,
        "path": &*run.path,
        "run_number": run.number,
        "event": run.event.kind.as_str(),
        "status": if run.outcome.is_some() { "completed" } else { "requested" },
        "conclusion": conclusion,
        "head_branch": branch,
        "head_sha": run.event.commit,
        "actor": { "login": run.event.sender },
    });
    let action = if run.outcome.is_some() { "completed" } else { "requested" };
    json!({ "action": action, "workflow_run": of_run, "workflow": { "name": &*run.name, "path": &*run.path } }).to_string()
}
