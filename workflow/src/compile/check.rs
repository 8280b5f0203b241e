//! What of a workflow is not supported here, wherever it stands.

use domain::limits;

use super::job;
use super::uses::Unfolding;
use crate::complaints::Complaints;
use crate::diagnostic::{At, cut, nearest};
use crate::filter::Filter;
use crate::library::Used;
use crate::model::{Call, Located, Patterns, Permissions, Trigger, Work, Workflow, calls};
use crate::schema::{Definition, Whole, wholes};
use crate::template::Template;

/// Most patterns of a filter, and most bytes of one: each becomes a regular expression.
const MAX_PATTERNS: usize = 100;
const MAX_PATTERN_BYTES: usize = 255;

/// Events that start workflows here.
const EVENTS: [&str; 7] = [
    "push",
    "pull_request",
    "schedule",
    "workflow_dispatch",
    "repository_dispatch",
    "workflow_run",
    "workflow_call",
];

/// Complains of everything that is not supported.
pub(crate) fn check(workflow: &Workflow, files: &Used<'_>, c: &mut Complaints) {
    for event in &workflow.on {
        trigger(event, c);
    }
    let count = workflow.jobs.len();
    if count > limits::MAX_JOBS_PER_RUN {
        c.unsupported(workflow.jobs_at, format!("{count} jobs, the limit is {}", limits::MAX_JOBS_PER_RUN));
        return;
    }
    let mut unfolding = Unfolding::new(files);
    for one in &workflow.jobs {
        match &one.work {
            Work::Steps(work) => job::check(workflow, one, work, &mut unfolding, c),
            Work::Call(call) => called(call, c),
        }
    }
    // What its token may do is nobody's to give here.
    let is_there = |call: &Call| files.workflow(&call.workflow.value).is_some();
    for one in &workflow.jobs {
        if let Work::Call(call) = &one.work
            && call.workflow.value.starts_with("./")
            && !is_there(call)
        {
            let name = cut(&call.workflow.value);
            c.unsupported(call.workflow.at, format!("there is no {name:?} beside this file, at this commit"));
        }
    }
    let found = workflow.jobs.iter().all(|one| {
        matches!(&one.work, Work::Call(call) if is_there(call)) || matches!(one.work, Work::Steps(_))
    });
    if found {
        calls(workflow, files, &Permissions::WriteAll).into_iter().for_each(|one| c.add(one));
    }
}

/// Complains of maps and lists that are computed as a whole, or have keys that are, where nothing would be made of them.
pub(crate) fn computed(template: &Template, definition: &'static Definition, c: &mut Complaints) {
    for Whole { at, of, is_key } in wholes(template, definition) {
        let of = cut(&of);
        let (what, instead) = match is_key {
            true => (format!("a key in {of} is computed"), "write it out, and compute its value"),
            false => (format!("{of} is computed as a whole"), "write it out, and compute what stands in it"),
        };
        c.unsupported(at, format!("{what}, which is not supported; {instead}"));
    }
}

fn called(call: &Call, c: &mut Complaints) {
    let uses = &call.workflow;
    if !uses.value.starts_with("./") {
        let name = cut(&uses.value);
        let instead = "only workflows of the same repository are called: ./.github/workflows/FILE.yml";
        c.unsupported(uses.at, format!("the workflow {name:?} is not supported; {instead}"));
    }
}

fn trigger(trigger: &Trigger, c: &mut Complaints) {
    let event = trigger.event.value.as_str();
    if !EVENTS.contains(&event) {
        let near = nearest(EVENTS, event).map(|near| format!(" Did you mean {near:?}?")).unwrap_or_default();
        let allowed = EVENTS.join(", ");
        let shown = cut(event);
        c.unsupported(
            trigger.event.at,
            format!("the event {shown:?} is not supported.{near} Allowed: {allowed}"),
        );
    }
    for (patterns, of) in
        [(&trigger.branches, "branches"), (&trigger.tags, "tags"), (&trigger.paths, "paths")]
    {
        filters(patterns, &format!("on.{event}.{of}"), trigger.event.at, c);
    }
    let kinds: &[&str] = if event == "workflow_run" { &["completed", "requested"] } else { &[] };
    for kind in trigger.types.iter().filter(|kind| !kinds.is_empty() && !kinds.contains(&kind.value.as_str()))
    {
        let message = format!(
            "the type {:?} of {event} is not supported. Allowed: {}",
            cut(&kind.value),
            kinds.join(", ")
        );
        c.unsupported(kind.at, message);
    }
    if trigger.schedules.len() > limits::MAX_SCHEDULES {
        let found = trigger.schedules.len();
        c.unsupported(trigger.event.at, format!("{found} schedules, the limit is {}", limits::MAX_SCHEDULES));
    }
}

fn filters(patterns: &Patterns, of: &str, at: At, c: &mut Complaints) {
    if patterns.only.is_some() && patterns.ignored.is_some() {
        c.invalid(at, format!("{of} and {of}-ignore cannot both be given; use ! in {of}"));
    }
    for list in [&patterns.only, &patterns.ignored].into_iter().flatten() {
        filter(list, of, at, c);
    }
}

fn filter(patterns: &[Located<String>], of: &str, at: At, c: &mut Complaints) {
    let at = patterns.first().map_or(at, |first| first.at);
    if patterns.len() > MAX_PATTERNS {
        c.unsupported(at, format!("{} patterns in {of}, the limit is {MAX_PATTERNS}", patterns.len()));
        return;
    }
    if let Some(long) = patterns.iter().find(|pattern| pattern.value.len() > MAX_PATTERN_BYTES) {
        let bytes = long.value.len();
        c.unsupported(
            long.at,
            format!("a pattern of {bytes} bytes in {of}, the limit is {MAX_PATTERN_BYTES}"),
        );
        return;
    }
    if let Err(error) = Filter::new(patterns.iter().map(|pattern| pattern.value.as_str())) {
        c.invalid(at, error.to_string());
    }
}
