//! What a repository's default branch says of times, and of workflows that follow others.

use domain::{Follow, Schedule, Timestamp, Triggers};

use crate::read;

/// The schedules and followers of workflow files (path and bytes each) on a branch. Files that cannot be read say nothing: whoever
/// pushed them sees why in a run that failed.
#[must_use]
pub fn triggers(files: &[(String, Vec<u8>)], git_ref: &str) -> Triggers {
    let (mut schedules, mut follows) = (Vec::new(), Vec::new());
    for (path, bytes) in files {
        let (Some(workflow), wrong) = read(bytes) else { continue };
        if !wrong.is_empty() {
            continue;
        }
        for trigger in &workflow.on {
            for schedule in &trigger.schedules {
                let zone = schedule.timezone.as_ref().map(|zone| zone.value.clone()).unwrap_or_default();
                let cron = schedule.cron.value.clone();
                schedules.push(Schedule { path: path.clone(), cron, zone, last: Timestamp(0) });
            }
            if trigger.event.value == "workflow_run" {
                let has = |kind: &str| trigger.types.iter().any(|one| one.value == kind);
                let workflows = trigger.workflows.iter().map(|name| name.value.clone()).collect();
                let all = trigger.types.is_empty();
                let (requested, completed) = (all || has("requested"), all || has("completed"));
                follows.push(Follow { path: path.clone(), workflows, requested, completed });
            }
        }
    }
    Triggers {
        git_ref: git_ref.to_owned(),
        schedules: schedules.into(),
        follows: follows.into(),
        ..Triggers::default()
    }
}
