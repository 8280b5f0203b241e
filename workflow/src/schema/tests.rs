//! Whoever adds a key to the schema says here what becomes of it: none is accepted and passed over.

use std::collections::BTreeSet;

use super::events::ON;
use super::workflow::PERMISSIONS;
use super::{Definition, Form, WORKFLOW};
use crate::compile::{NoFiles, lint};

/// What the model has, and what is made of it.
const READ: &[&str] = &[
    "concurrency.cancel-in-progress",
    "concurrency.group",
    "concurrency.queue",
    "container.credentials",
    "container.env",
    "container.image",
    "container.options",
    "container.ports",
    "container.volumes",
    "credentials.password",
    "credentials.username",
    "defaults.run",
    "environment.name",
    "environment.url",
    "jobs.concurrency",
    "jobs.container",
    "jobs.continue-on-error",
    "jobs.defaults",
    "jobs.env",
    "jobs.environment",
    "jobs.if",
    "jobs.name",
    "jobs.needs",
    "jobs.outputs",
    "jobs.permissions",
    "jobs.runs-on",
    "jobs.secrets",
    "jobs.services",
    "jobs.steps",
    "jobs.strategy",
    "jobs.timeout-minutes",
    "jobs.uses",
    "jobs.with",
    "jobs.x-troupe",
    "matrix.exclude",
    "matrix.include",
    "run.shell",
    "run.working-directory",
    "runs-on.labels",
    "services.command",
    "services.credentials",
    "services.entrypoint",
    "services.env",
    "services.image",
    "services.options",
    "services.ports",
    "services.volumes",
    "steps.continue-on-error",
    "steps.env",
    "steps.id",
    "steps.if",
    "steps.name",
    "steps.run",
    "steps.shell",
    "steps.timeout-minutes",
    "steps.uses",
    "steps.with",
    "steps.working-directory",
    "strategy.fail-fast",
    "strategy.matrix",
    "strategy.max-parallel",
    "the file.concurrency",
    "the file.defaults",
    "the file.env",
    "the file.jobs",
    "the file.name",
    "the file.on",
    "the file.permissions",
    "the file.run-name",
];

/// What is for people, or about what there is nothing like here.
const NOTHING: &[&str] = &["environment.deployment", "the file.description"];

/// What is refused, in a job with the first text in it, or with the second as its step.
const REFUSED: &[(&str, &str, &str)] = &[
    ("jobs.cancel-timeout-minutes", "cancel-timeout-minutes: 1", "run: x"),
    ("jobs.snapshot", "snapshot: x", "run: x"),
    ("runs-on.group", "runs-on: {group: x}", "run: x"),
    ("snapshot.if", "snapshot: {image-name: x, if: 'true'}", "run: x"),
    ("snapshot.image-name", "snapshot: {image-name: x}", "run: x"),
    ("snapshot.version", "snapshot: {image-name: x, version: '1'}", "run: x"),
    ("steps.background", "", "run: x, background: true"),
    ("steps.cancel", "", "cancel: x"),
    ("steps.parallel", "", "parallel: [{run: x}]"),
    ("steps.wait", "", "wait: x"),
    ("steps.wait-all", "", "wait-all: true"),
];

fn collect(
    of: &str,
    definition: &'static Definition,
    seen: &mut Vec<*const Definition>,
    found: &mut BTreeSet<String>,
) {
    // Events that are not supported are refused one and all; permissions are names and levels.
    if std::ptr::eq(definition, &raw const ON) || std::ptr::eq(definition, &raw const PERMISSIONS) {
        return;
    }
    if seen.contains(&std::ptr::from_ref(definition)) {
        return;
    }
    seen.push(definition);
    for form in definition.forms {
        match form {
            Form::List(item) => collect(of, item, seen, found),
            Form::Map(map) => {
                for property in map.properties {
                    found.insert(format!("{of}.{}", property.name));
                    collect(property.name, property.definition, seen, found);
                }
                if let Some((_, value)) = map.others {
                    collect(of, value, seen, found);
                }
            }
            _ => {}
        }
    }
    seen.pop();
}

#[test]
fn every_key_is_read_or_refused() {
    let mut found = BTreeSet::new();
    collect("the file", &WORKFLOW, &mut Vec::new(), &mut found);
    let refused = REFUSED.iter().map(|(name, ..)| name);
    let said: BTreeSet<String> =
        READ.iter().chain(NOTHING).chain(refused).map(|name| (*name).to_owned()).collect();
    assert_eq!(found, said);
    for (name, job, step) in [&("", "", "run: x")].into_iter().chain(REFUSED) {
        let runs_on = if job.starts_with("runs-on") { "" } else { "runs-on: x" };
        let text = format!("on: push\njobs:\n  a:\n    {runs_on}\n    {job}\n    steps: [{{{step}}}]\n");
        assert_eq!(lint(text.as_bytes(), &NoFiles).is_err(), !name.is_empty(), "{name}");
    }
}
