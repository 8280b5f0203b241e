//! A job's specification in init's terms, and how long it may take. Pure.

use std::time::Duration;

use domain::{Action, JobSpec, StepSpec};
use init::wire;

/// Output of a step that is over is waited for so long while something that it left running keeps its pipes open.
const DRAIN: Duration = Duration::from_secs(2);
/// Frames that init writes of one order, its files left out, and of one that it refused before.
const EVENTS_OF_AN_ORDER: usize = 3;
/// Orders of one step: it, and what it leaves for the end.
const ORDERS_OF_A_STEP: usize = 2;

/// What is the same for all of it, in a workspace that init sees at `workspace`.
pub(super) fn of(spec: &JobSpec, workspace: String, grace: Duration) -> wire::Plan {
    wire::Plan {
        workspace,
        timeout_ms: u64::from(spec.timeout_seconds) * 1000,
        grace_ms: grace.as_millis() as u64,
        drain_ms: DRAIN.as_millis() as u64,
    }
}

/// Frames, other than output and files, that init can have reason to write.
pub(super) fn events(spec: &JobSpec) -> usize {
    steps(&spec.steps) * ORDERS_OF_A_STEP * EVENTS_OF_AN_ORDER + 1
}

fn steps(all: &[StepSpec]) -> usize {
    let of = |step: &StepSpec| match &step.action {
        Action::Composite { steps: inner, .. } => steps(inner),
        _ => 1,
    };
    all.iter().map(of).sum()
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
