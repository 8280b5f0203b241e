//! A job that has steps, as text.

use domain::{JobSpec, limits};

use super::container::{container, services};
use super::extension::extension;
use super::step::{Defaults, steps};
use super::text::{env, maybe, variables};
use super::uses::Unfolding;
use crate::complaints::Complaints;
use crate::diagnostic::cut;
use crate::model::{self, Dynamic, Steps, Workflow};

/// Longest limit of a job or step: a week.
pub(crate) const MAX_TIMEOUT_MINUTES: f64 = 7.0 * 24.0 * 60.0;
/// GitHub's.
pub(crate) const DEFAULT_TIMEOUT_MINUTES: f64 = 360.0;

/// Keys that GitHub knows and nothing here is like, and why.
const IGNORED: [(&str, &str); 2] = [
    ("cancel-timeout-minutes", "how long what was cancelled may take to end is for each node to say"),
    ("snapshot", "jobs run in containers, of which no image is made"),
];

/// Complains of what is not supported in a job.
pub(super) fn check(
    workflow: &Workflow,
    job: &model::Job,
    work: &Steps,
    unfolding: &mut Unfolding<'_>,
    c: &mut Complaints,
) {
    if let Some(group) = work.runs_on.as_ref().and_then(|runs_on| runs_on.group.as_ref()) {
        c.unsupported(group.at, "groups of runners are not supported; name labels");
    }
    if let Some(environment) = &work.environment
        && let Dynamic::Is(name) = &environment.name.value
        && (name.len() > limits::MAX_ENVIRONMENT_NAME_BYTES || name.contains(char::is_control))
    {
        let most = limits::MAX_ENVIRONMENT_NAME_BYTES;
        c.unsupported(
            environment.name.at,
            format!(
                "the environment's name is {:?}, {most} bytes without control characters are allowed",
                cut(name)
            ),
        );
    }
    if let Some(minutes) = &work.timeout_minutes
        && let Dynamic::Is(value) = minutes.value
        && !(value > 0.0 && value <= MAX_TIMEOUT_MINUTES)
    {
        let shown = crate::yaml::number_text(value);
        c.unsupported(
            minutes.at,
            format!("timeout-minutes is {shown:?}, expected a number up to {MAX_TIMEOUT_MINUTES}"),
        );
    }
    for (name, why) in IGNORED {
        if let Some(key) = job.keys.iter().find(|key| key.value == name) {
            c.unsupported(key.at, format!("{name} is not supported: {why}"));
        }
    }
    let places: Vec<_> = workflow.jobs.iter().map(|job| job.id.value.as_str()).collect();
    for need in job.needs.iter().filter(|need| !places.contains(&need.value.as_str())) {
        // For GitHub such a name is wrong, too; where it says only that no job can begin, the name is still said here.
        let (key, name) = (cut(&job.id.value), cut(&need.value));
        c.unsupported(need.at, format!("job {key:?} needs {name:?}, which is not a job of this workflow"));
    }
    if job.keys.iter().all(|key| key.value != "steps") {
        c.unsupported(job.at, format!("\"steps\" is missing in job {:?}", cut(&job.id.value)));
    } else if work.steps.is_empty() {
        c.unsupported(job.at, format!("steps is empty in job {:?}", cut(&job.id.value)));
    }
    if let Some(over) = work.steps.get(limits::MAX_STEPS) {
        c.unsupported(over.at, format!("{} steps, the limit is {}", work.steps.len(), limits::MAX_STEPS));
        return;
    }
    spec(workflow, job, work, unfolding, c);
}

/// What runs. Its limit is the file's own, where that is not computed.
pub(crate) fn spec(
    workflow: &Workflow,
    job: &model::Job,
    work: &Steps,
    unfolding: &mut Unfolding<'_>,
    c: &mut Complaints,
) -> JobSpec {
    let mut all = env(workflow.env.as_ref(), "env", c);
    all.extend(env(work.env.as_ref(), "env", c));
    let defaults = Defaults::default().with(&workflow.defaults, c).with(&work.defaults, c);
    let extension = work.extension.as_ref().map(|found| extension(&found.0, c)).unwrap_or_default();
    let minutes = work.timeout_minutes.as_ref().and_then(|minutes| minutes.value.known().copied());
    JobSpec {
        expressions: true,
        id: job.id.value.clone(),
        container: work.container.as_ref().map(|one| container(one, "container", c)).unwrap_or_default(),
        services: services(&work.services, c),
        env: all,
        timeout_seconds: seconds(minutes.unwrap_or(DEFAULT_TIMEOUT_MINUTES)),
        steps: steps(&work.steps, &defaults, unfolding, c),
        outputs: variables(work.outputs.as_ref()),
        environment_url: maybe(work.environment.as_ref().and_then(|environment| environment.url.as_ref())),
        artifacts: extension.artifacts,
    }
}

/// Minutes as seconds, at least one.
pub(crate) fn seconds(minutes: f64) -> u32 {
    (minutes * 60.0).clamp(1.0, MAX_TIMEOUT_MINUTES * 60.0) as u32
}
