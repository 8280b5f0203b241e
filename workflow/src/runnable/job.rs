//! Jobs, as far as they are supported.

use std::collections::{BTreeMap, HashMap};

use domain::{JobSpec, limits};

use super::Job;
use super::action::{Defaults, MAX_TIMEOUT_MINUTES, condition, steps};
use super::extension::{Extension, extension};
use super::text::{env, number, refuse_keys, text};
use crate::complaints::Complaints;
use crate::diagnostic::cut;
use crate::model::{self, Container, Located, Steps, Work};
use crate::template::Content;

/// Limit of a job without `timeout-minutes`, as GitHub's.
const DEFAULT_TIMEOUT_MINUTES: u32 = 360;

const JOB_KEYS: [&str; 10] = [
    "name",
    "runs-on",
    "container",
    "needs",
    "if",
    "env",
    "timeout-minutes",
    "defaults",
    "steps",
    "x-troupe",
];

/// What a job takes from the workflow around it.
struct Around {
    env: BTreeMap<String, String>,
    defaults: Defaults,
    /// Where each job is in the file.
    places: HashMap<String, u16>,
}

pub(super) fn jobs(workflow: &model::Workflow, c: &mut Complaints) -> Vec<Job> {
    let (at, count) = (workflow.jobs_at, workflow.jobs.len());
    if count > limits::MAX_JOBS_PER_RUN {
        c.unsupported(at, format!("{count} jobs, the limit is {}", limits::MAX_JOBS_PER_RUN));
        return Vec::new();
    }
    let env = env(workflow.env.as_ref(), "env", c);
    let env_bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if env_bytes * count > limits::MAX_SPEC_BYTES {
        let limit = limits::MAX_SPEC_BYTES;
        c.unsupported(
            at,
            format!("an env of {env_bytes} bytes for each of {count} jobs, {limit} bytes are allowed in all"),
        );
        return Vec::new();
    }
    let places =
        workflow.jobs.iter().enumerate().map(|(at, job)| (job.id.value.clone(), at as u16)).collect();
    let around = Around { env, defaults: Defaults::default().with(&workflow.defaults, c), places };
    workflow.jobs.iter().filter_map(|one| job(one, &around, c)).collect()
}

fn job(job: &model::Job, around: &Around, c: &mut Complaints) -> Option<Job> {
    refuse_keys(&job.keys, "a job", &JOB_KEYS, c);
    let Work::Steps(work) = &job.work else { return None };
    let key = job.id.value.clone();
    let name = job.name.as_ref().and_then(|found| text(found, "name", c)).unwrap_or_else(|| key.clone());
    let labels = work.runs_on.iter().flat_map(|runs_on| &runs_on.labels);
    let labels = labels.filter_map(|label| text(label, "runs-on", c)).collect();
    if let Some(group) = work.runs_on.as_ref().and_then(|runs_on| runs_on.group.as_ref()) {
        c.unsupported(group.at, "groups of runners are not supported; name labels");
    }
    let mut variables = around.env.clone();
    let image = work.container.as_ref().map(|found| container(found, &mut variables, c)).unwrap_or_default();
    variables.extend(env(work.env.as_ref(), "env", c));
    let minutes = work.timeout_minutes.as_ref();
    let minutes = minutes.and_then(|found| number(found, "timeout-minutes", (1, MAX_TIMEOUT_MINUTES), c));
    let defaults = around.defaults.clone().with(&work.defaults, c);
    refuse_without_steps(job, work, c);
    let extension = work.extension.as_ref().map(|found| extension(&found.0, c)).unwrap_or_default();
    let Extension { artifacts, priority, resources, attempts: max_attempts } = extension;
    let spec = JobSpec {
        expressions: false,
        id: key.clone(),
        container: domain::Container { image, ..Default::default() },
        services: Vec::new(),
        outputs: Vec::new(),
        env: variables.into_iter().collect(),
        timeout_seconds: minutes.unwrap_or(DEFAULT_TIMEOUT_MINUTES) * 60,
        steps: steps(&work.steps, &defaults, c),
        artifacts,
    };
    let needs = job.needs.iter().filter_map(|need| needed(need, &job.id.value, around, c)).collect();
    let condition = job.condition.as_ref().map(|found| condition(found, c)).unwrap_or_default();
    Some(Job { key, name, needs, condition, labels, resources, priority, max_attempts, spec })
}

/// A name that is no job's is wrong for GitHub, too; where it says only that no job can begin, the name is still said here.
fn needed(need: &Located<String>, key: &str, around: &Around, c: &mut Complaints) -> Option<u16> {
    let place = around.places.get(&need.value).copied();
    if place.is_none() {
        let (key, need_name) = (cut(key), cut(&need.value));
        c.unsupported(
            need.at,
            format!("job {key:?} needs {need_name:?}, which is not a job of this workflow"),
        );
    }
    place
}

/// GitHub takes a job without steps; there is nothing to run in it.
fn refuse_without_steps(job: &model::Job, work: &Steps, c: &mut Complaints) {
    if job.keys.iter().all(|key| key.value != "steps") {
        c.unsupported(job.at, format!("\"steps\" is missing in job {:?}", cut(&job.id.value)));
    } else if work.steps.is_empty() {
        c.unsupported(job.at, format!("steps is empty in job {:?}", cut(&job.id.value)));
    }
}

fn container(found: &Container, variables: &mut BTreeMap<String, String>, c: &mut Complaints) -> String {
    refuse_keys(&found.keys, "container", &["image", "env"], c);
    variables.extend(env(found.env.as_ref(), "container.env", c));
    match &found.image {
        Some(image) => text(image, "container.image", c).unwrap_or_default(),
        None => {
            if matches!(found.written.content, Content::Expression(_)) {
                c.unsupported(found.written.at, "container uses an expression, which is not supported yet");
            }
            String::new()
        }
    }
}
