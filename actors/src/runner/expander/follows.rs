//! What a workflow that follows another is told of the run that it follows: GitHub's `workflow_run` payload, as far as it is known.

use domain::{ClusterState, Outcome, RunId};
use serde_json::json;

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
    let branch = run.event.git_ref.strip_prefix("refs/heads/").unwrap_or(&run.event.git_ref);
    let of_run = json!({
        "id": cause.to_string(),
        "name": &*run.name,
        "display_title": &*run.title,
        "path": &*run.path,
        "run_number": run.number,
        "event": run.event.kind.as_str(),
        "status": action,
        "conclusion": conclusion,
        "head_branch": branch,
        "head_sha": run.event.commit,
        "actor": { "login": run.event.sender },
    });
    json!({ "action": action, "workflow_run": of_run, "workflow": { "name": &*run.name, "path": &*run.path } }).to_string()
}
