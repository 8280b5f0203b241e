//! A job's specification in init's terms. Pure.

use std::time::Duration;

use domain::{Action, JobSpec, StepSpec};
use init::wire::{self, StepKind};

/// Output of a step that is over is waited for so long while something that it left running keeps its pipes open.
const DRAIN: Duration = Duration::from_secs(2);

/// What init is to do, in a workspace that it sees at `workspace`.
pub(super) fn of(spec: &JobSpec, workspace: String, grace: Duration) -> wire::Plan {
    wire::Plan {
        workspace,
        timeout_ms: u64::from(spec.timeout_seconds) * 1000,
        grace_ms: grace.as_millis() as u64,
        drain_ms: DRAIN.as_millis() as u64,
        steps: spec.steps.iter().map(step).collect(),
    }
}

/// The longest that a job may take from its start to its last frame: what init itself sees to.
pub(super) fn longest(spec: &JobSpec, grace: Duration) -> Duration {
    Duration::from_secs(u64::from(spec.timeout_seconds)) + winding_up(grace)
}

/// The longest that init takes to end once it is told: grace for the step, grace for `always` steps and the last of
/// them, and their output.
pub(super) fn winding_up(grace: Duration) -> Duration {
    grace * 3 + DRAIN * 2 + Duration::from_secs(1)
}

fn step(step: &StepSpec) -> wire::Step {
    let kind = match &step.action {
        Action::Run { script, shell, working_directory } => StepKind::Run {
            shell: match shell.as_str() {
                "bash" => wire::Shell::Bash,
                "sh" => wire::Shell::Sh,
                _ => wire::Shell::Default,
            },
            script: script.as_bytes().to_vec(),
            cwd: working_directory.clone(),
        },
        _ => StepKind::Host,
    };
    wire::Step {
        kind,
        env: step.env.clone(),
        condition: match step.condition.as_str() {
            "failure()" => wire::Condition::Failure,
            "always()" => wire::Condition::Always,
            _ => wire::Condition::Success,
        },
        timeout_ms: (step.timeout_minutes.parse::<f64>().unwrap_or(0.0) * 60_000.0) as u64,
        continue_on_error: step.continue_on_error == "true",
    }
}
