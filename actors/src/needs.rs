//! What a job knows of those before it: their results and outputs, as the context `needs` has them. Pure in the state.

use std::collections::BTreeSet;

use domain::{ClusterState, Form, GroupSpec, Job, JobId, Outcome, RepoId, limits};
use raft_store::codec;
use workflow::contexts::Facts;
use workflow::expression::{Object, Value};
use workflow::graph;

use crate::runner::contexts::known;

/// The variables of a repository, name and value.
#[must_use]
pub fn variables(state: &ClusterState, repo: Option<RepoId>) -> Vec<(String, String)> {
    let of = repo.into_iter().flat_map(|repo| state.variables_of(repo));
    of.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The context `needs` of a job: of a member of a matrix, that of the matrix.
#[must_use]
pub fn context(state: &ClusterState, id: JobId) -> Value {
    let at = asker(state, id);
    let needs = state.jobs.get(&at).map(|job| job.needs.clone());
    let entry = |index: &u16| {
        let id = JobId { index: *index, ..at };
        let job = state.jobs.get(&id)?;
        Some((name_of(job).to_owned(), told(state, id, job)))
    };
    Value::object(needs.iter().flat_map(|needs| needs.iter()).filter_map(entry))
}

/// How all jobs before a job ended, those that its needs need among them.
#[must_use]
pub fn before(state: &ClusterState, id: JobId) -> Vec<(String, graph::Outcome)> {
    let mut seen = BTreeSet::new();
    let mut open = vec![asker(state, id)];
    while let Some(next) = open.pop() {
        let needs = state.jobs.get(&next).map(|job| job.needs.clone());
        for need in needs.iter().flat_map(|needs| needs.iter()) {
            let need = JobId { index: *need, ..id };
            if seen.insert(need) {
                open.push(need);
            }
        }
    }
    let of = |id: JobId| {
        let job = state.jobs.get(&id)?;
        Some((name_of(job).to_owned(), result(job)?))
    };
    seen.into_iter().filter_map(of).collect()
}

/// The job whose needs count: a member of a matrix has those of the matrix.
fn asker(state: &ClusterState, id: JobId) -> JobId {
    let group = state.jobs.get(&id).and_then(|job| job.group).map(|index| JobId { index, ..id });
    match group {
        Some(group) if !group_spec(state, group).is_some_and(|spec| spec.is_call) => asker(state, group),
        _ => id,
    }
}

fn group_spec(state: &ClusterState, id: JobId) -> Option<GroupSpec> {
    matches!(state.jobs.get(&id)?.form, Form::Group { .. }).then_some(())?;
    codec::decode(&state.specs.get(&id)?.0, limits::MAX_SPEC_BYTES).ok()
}

/// The job's id in its own file.
fn name_of(job: &Job) -> &str {
    job.key.rsplit('/').next().unwrap_or(&job.key)
}

fn result(job: &Job) -> Option<graph::Outcome> {
    Some(match job.result()? {
        Outcome::Succeeded => graph::Outcome::Success,
        Outcome::Failed | Outcome::TimedOut | Outcome::Lost => graph::Outcome::Failure,
        Outcome::Cancelled => graph::Outcome::Cancelled,
        Outcome::Skipped => graph::Outcome::Skipped,
    })
}

fn told(state: &ClusterState, id: JobId, job: &Job) -> Value {
    let result = result(job).map_or("", graph::Outcome::as_str);
    Value::object([("result", Value::text(result)), ("outputs", outputs(state, id))])
}

/// What a job told; what a matrix told is what its members did, later ones first; what a called workflow told is computed
/// from its jobs.
fn outputs(state: &ClusterState, id: JobId) -> Value {
    let mut all = Object::default();
    match group_spec(state, id) {
        None => {
            for (name, value) in state.outputs.get(&id).iter().flat_map(|outputs| outputs.iter()) {
                all.insert(name, Value::text(value));
            }
        }
        Some(spec) if spec.is_call => {
            let contexts = of_called(state, id);
            for (name, text) in &spec.outputs {
                // One that cannot be computed is empty, as what was never told.
                all.insert(name, workflow::output(text, &contexts).unwrap_or(Value::Null));
            }
        }
        Some(_) => {
            let mut members: Vec<_> = state.members(id.run, id.index).collect();
            members.sort_by_key(|(_, job)| std::cmp::Reverse(job.finished_at));
            for (member, job) in members {
                // Of called workflows, one that did not succeed tells nothing.
                let is_call = matches!(job.form, Form::Group { .. });
                if is_call && job.result() != Some(Outcome::Succeeded) {
                    continue;
                }
                let Value::Object(told) = outputs(state, member) else { continue };
                // The first that says something is kept.
                for (name, value) in told.iter().filter(|(_, value)| !value.as_text().is_empty()) {
                    all.insert(name, value.clone());
                }
            }
        }
    }
    Value::Object(all.into())
}

/// What the outputs of a called workflow are computed from: its own inputs, the run, and its jobs.
fn of_called(state: &ClusterState, id: JobId) -> Object {
    let mut contexts = workflow::contexts::read(state.contexts.get(&id).map_or("", |text| text));
    let members = state.members(id.run, id.index);
    let jobs = members.map(|(id, job)| (name_of(job).to_owned(), told(state, id, job)));
    contexts.insert("jobs", Value::object(jobs));
    if let Some(run) = state.runs.get(&id.run) {
        let repo = run.repo.and_then(|repo| state.repos.get(&repo));
        let known = known(repo, id.run, run);
        let facts = Facts { variables: variables(state, run.repo), ..known };
        contexts.insert("vars", facts.vars());
        contexts.insert("github", Value::Object(workflow::contexts::github(&run.event, &facts).into()));
    }
    contexts
}

#[cfg(test)]
mod tests;
