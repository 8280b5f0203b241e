//! A whole workflow. Rules: actions/languageservices `workflow-parser/src/model/convert.ts`.

use super::concurrency::{Concurrency, concurrency};
use super::fields::{Dynamic, Located, entries, get, keys, plain, text};
use super::identifier::Ids;
use super::job::{Job, job};
use super::needs;
use super::permissions::{Permissions, permissions};
use super::trigger::{Trigger, triggers};
use crate::complaints::Complaints;
use crate::diagnostic::At;
use crate::template::{Content, Template};

/// A workflow file.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// Where it begins.
    pub at: At,
    /// Its name.
    pub name: Option<Located<String>>,
    /// The name of its runs.
    pub run_name: Option<Located<Dynamic<String>>>,
    /// What starts it.
    pub on: Vec<Trigger>,
    /// Variables of all jobs.
    pub env: Option<Template>,
    /// What steps without their own take.
    pub defaults: Defaults,
    /// What the run's token may do.
    pub permissions: Option<Permissions>,
    /// What must not run at the same time.
    pub concurrency: Option<Concurrency>,
    /// In the order of the file.
    pub jobs: Vec<Job>,
    /// Where the jobs begin.
    pub jobs_at: At,
    /// The keys that are there, with their places.
    pub keys: Vec<Located<String>>,
}

/// What steps that run a script take when they do not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Defaults {
    /// What runs it.
    pub shell: Option<Located<Dynamic<String>>>,
    /// Where.
    pub working_directory: Option<Located<Dynamic<String>>>,
}

pub(crate) fn workflow(template: &Template, c: &mut Complaints) -> Workflow {
    let of = |key: &str| get(template, key);
    let mut jobs = Vec::new();
    if let Some(node) = of("jobs") {
        let mut ids = Ids::default();
        jobs.extend(entries(node).map(|entry| job(&entry, &mut ids, c)));
        if matches!(node.content, Content::Map(_)) {
            needs::check(&jobs, node.at, c);
        }
    }
    Workflow {
        at: template.at,
        name: of("name").and_then(plain),
        run_name: of("run-name").and_then(text),
        on: of("on").map(|node| triggers(node, c)).unwrap_or_default(),
        env: of("env").cloned(),
        defaults: defaults(of("defaults")),
        permissions: of("permissions").and_then(permissions),
        concurrency: of("concurrency").and_then(|node| concurrency(node, c)),
        jobs_at: of("jobs").map_or(template.at, |node| node.at),
        jobs,
        keys: keys(template),
    }
}

pub(super) fn defaults(template: Option<&Template>) -> Defaults {
    let Some(run) = template.and_then(|node| get(node, "run")) else { return Defaults::default() };
    Defaults {
        shell: get(run, "shell").and_then(text),
        working_directory: get(run, "working-directory").and_then(text),
    }
}
