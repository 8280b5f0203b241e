//! What of a workflow can be run today: the typed model brought down to what the cluster knows, the rest refused as
//! unsupported, with its place.
//!
//! Must not know: how jobs run, how specifications are encoded.

mod action;
mod extension;
mod fields;
mod job;
mod text;
mod trigger;

pub use extension::check_artifacts;

use domain::{Condition, JobSpec, Resources};

use crate::complaints::Complaints;
use crate::diagnostic::Diagnostic;
use crate::filter::Filter;
use crate::model;

/// A workflow that can be run.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// Its `name`; none when the file gives none.
    pub name: Option<String>,
    /// When it runs.
    pub triggers: Vec<Trigger>,
    /// In the order of the file.
    pub jobs: Vec<Job>,
}

/// One event of `on`.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// Commits pushed; to branches that the filters let through.
    Push {
        /// `branches`: only these.
        branches: Option<Filter>,
        /// `branches-ignore`: all but these.
        ignored: Option<Filter>,
    },
    /// Asked for by a person.
    WorkflowDispatch,
}

/// One job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its key.
    pub key: String,
    /// The name as people see it.
    pub name: String,
    /// Indices of the jobs that it needs.
    pub needs: Vec<u16>,
    /// Its `if`.
    pub condition: Condition,
    /// Its `runs-on`.
    pub labels: Vec<String>,
    /// What it takes from a node; its `x-troupe.resources`.
    pub resources: Resources,
    /// Higher goes first, -100 to 100; its `x-troupe.priority`.
    pub priority: i8,
    /// Attempts when nodes are lost under it, from 1; its `x-troupe.attempts`.
    pub max_attempts: u16,
    /// What runs.
    pub spec: JobSpec,
}

/// Reads a workflow file that is to be run here.
///
/// # Errors
/// Everything that is wrong with it (the first 100 complaints found), in the order of the file. Never empty.
pub fn lint(bytes: &[u8]) -> Result<Workflow, Vec<Diagnostic>> {
    let (workflow, mut complaints) = crate::read::read_all(bytes);
    let runnable = workflow.map(|workflow| runnable(&workflow, &mut complaints));
    let found = complaints.sorted();
    match runnable {
        Some(runnable) if found.is_empty() => Ok(runnable),
        _ => Err(found),
    }
}

fn runnable(workflow: &model::Workflow, c: &mut Complaints) -> Workflow {
    text::refuse_keys(&workflow.keys, "the workflow", &["name", "on", "env", "defaults", "jobs"], c);
    Workflow {
        name: workflow.name.as_ref().map(|name| text::plain(name, "name", c)),
        triggers: workflow.on.iter().filter_map(|one| trigger::trigger(one, c)).collect(),
        jobs: job::jobs(workflow, c),
    }
}
