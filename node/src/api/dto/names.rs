//! Closed sets of names and shapes of ids, for filters and for the API's description.
//!
//! Must not know what is filtered or described.

use schemars::{Schema, SchemaGenerator, json_schema};

/// How runs, jobs, attempts and steps end.
pub const OUTCOMES: [&str; 6] = ["succeeded", "failed", "cancelled", "timed_out", "skipped", "lost"];
/// What runs are filtered by: an outcome, or `open` for those that have none yet.
pub const RUN_OUTCOMES: [&str; 7] =
    ["open", "succeeded", "failed", "cancelled", "timed_out", "skipped", "lost"];
/// Where jobs stand.
pub const JOB_STATES: [&str; 8] =
    ["waiting", "queued", "held", "placed", "running", "finished", "deciding", "open"];
/// What jobs are.
pub const JOB_FORMS: [&str; 3] = ["job", "group", "undecided"];
/// How bad what a job says of a place is.
pub const LEVELS: [&str; 3] = ["notice", "warning", "error"];
/// Where deliveries stand.
pub const DELIVERY_STATES: [&str; 3] = ["pending", "expanding", "expanded"];
/// What runs are caused by.
pub const EVENTS: [&str; 7] = [
    "push",
    "workflow_dispatch",
    "ad_hoc",
    "pull_request",
    "schedule",
    "repository_dispatch",
    "workflow_run",
];

/// Ids of runs, deliveries, tokens and clusters: ULIDs.
pub const ULID: &str = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$";
/// `RUN.INDEX`.
pub const JOB_ID: &str = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}\.[0-9]{1,5}$";
/// `RUN.INDEX/NUMBER`.
pub const ATTEMPT_ID: &str = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}\.[0-9]{1,5}/[0-9]{1,5}$";
/// Ids of nodes.
pub const NODE_ID: &str = "^[0-9a-f]{16}$";
/// Names of repositories; no part is `.` or `..` or begins with `-`, which the pattern does not say.
pub const REPO_NAME: &str = "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,3}$";
/// SHA-256 in hexadecimal.
pub const SHA256: &str = "^[0-9a-f]{64}$";

/// Labels of one job or repository.
pub const MAX_LABELS: usize = 64;
/// Bytes of one label.
pub const MAX_LABEL_BYTES: usize = 100;

/// Whether labels are ones that a node could have.
///
/// # Errors
/// What is wrong, and what is allowed.
pub fn check_labels(labels: &[String]) -> Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("{} labels, at most {MAX_LABELS} are allowed", labels.len()));
    }
    let good = |label: &String| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && !label.contains(|c: char| c.is_control() || c.is_whitespace())
    };
    match labels.iter().find(|label| !good(label)) {
        None => Ok(()),
        Some(bad) => {
            let found: String = bad.chars().take(MAX_LABEL_BYTES).collect();
            Err(format!("{found:?} is no label: 1 to {MAX_LABEL_BYTES} bytes without spaces are allowed"))
        }
    }
}

/// An outcome, or none yet.
pub(super) fn outcome(_: &mut SchemaGenerator) -> Schema {
    let mut names: Vec<Option<&str>> = OUTCOMES.iter().copied().map(Some).collect();
    names.push(None);
    json_schema!({ "type": ["string", "null"], "enum": names })
}

#[cfg(test)]
mod tests {
    use domain::{EventKind, Outcome};

    use super::*;

    #[test]
    fn the_names_are_those_of_the_domain() {
        use Outcome::{Cancelled, Failed, Lost, Skipped, Succeeded, TimedOut};
        assert_eq!([Succeeded, Failed, Cancelled, TimedOut, Skipped, Lost].map(Outcome::as_str), OUTCOMES);
        assert_eq!(RUN_OUTCOMES[1..], OUTCOMES);
        let events = [
            EventKind::Push,
            EventKind::WorkflowDispatch,
            EventKind::AdHoc,
            EventKind::PullRequest,
            EventKind::Schedule,
            EventKind::RepositoryDispatch,
            EventKind::WorkflowRun,
        ];
        assert_eq!(events.map(EventKind::as_str), EVENTS);
    }
}
