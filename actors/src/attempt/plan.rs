//! A job's specification in init's terms. Pure.

use std::time::Duration;

use domain::{Action, Condition, JobSpec, Shell, StepSpec};
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
        Action::Checkout { .. } => StepKind::Host,
        Action::Run { script, shell, working_directory } => StepKind::Run {
            shell: match shell {
                Shell::Default => wire::Shell::Default,
                Shell::Bash => wire::Shell::Bash,
                Shell::Sh => wire::Shell::Sh,
            },
            script: script.as_bytes().to_vec(),
            cwd: working_directory.clone(),
        },
    };
    wire::Step {
        kind,
        env: step.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        condition: match step.condition {
            Condition::Success => wire::Condition::Success,
            Condition::Failure => wire::Condition::Failure,
            Condition::Always => wire::Condition::Always,
        },
        timeout_ms: u64::from(step.timeout_seconds) * 1000,
        continue_on_error: step.continue_on_error,
    }
}
