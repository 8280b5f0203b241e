//! `on`, as far as it is supported.

use super::Trigger;
use super::text::refuse_keys;
use crate::complaints::Complaints;
use crate::diagnostic::cut;
use crate::filter::Filter;
use crate::model::{self, Located};

/// Most patterns of a filter, and most bytes of one: each becomes a regular expression.
const MAX_PATTERNS: usize = 100;
const MAX_PATTERN_BYTES: usize = 255;

pub(super) fn trigger(trigger: &model::Trigger, c: &mut Complaints) -> Option<Trigger> {
    match trigger.event.value.as_str() {
        "push" => {
            refuse_keys(&trigger.keys, "on.push", &["branches", "branches-ignore"], c);
            let branches = filter(trigger, trigger.branches.only.as_deref(), "on.push.branches", c);
            let ignored = filter(trigger, trigger.branches.ignored.as_deref(), "on.push.branches-ignore", c);
            if branches.is_some() && ignored.is_some() {
                let message = "branches and branches-ignore cannot both be given; use ! in branches";
                c.invalid(trigger.event.at, message);
            }
            Some(Trigger::Push { branches, ignored })
        }
        "workflow_dispatch" => {
            refuse_keys(&trigger.keys, "on.workflow_dispatch", &[], c);
            Some(Trigger::WorkflowDispatch)
        }
        other => {
            let event = cut(other);
            c.unsupported(
                trigger.event.at,
                format!("the event {event:?} is not supported. Allowed: push, workflow_dispatch"),
            );
            None
        }
    }
}

/// An empty list is a filter, too: one that lets nothing in.
fn filter(
    trigger: &model::Trigger,
    patterns: Option<&[Located<String>]>,
    of: &str,
    c: &mut Complaints,
) -> Option<Filter> {
    let patterns = patterns?;
    let at = patterns.first().map_or(trigger.event.at, |first| first.at);
    if patterns.len() > MAX_PATTERNS {
        c.unsupported(at, format!("{} patterns in {of}, the limit is {MAX_PATTERNS}", patterns.len()));
        return None;
    }
    if let Some(long) = patterns.iter().find(|pattern| pattern.value.len() > MAX_PATTERN_BYTES) {
        let bytes = long.value.len();
        c.unsupported(
            long.at,
            format!("a pattern of {bytes} bytes in {of}, the limit is {MAX_PATTERN_BYTES}"),
        );
        return None;
    }
    match Filter::new(patterns.iter().map(|pattern| pattern.value.as_str())) {
        Ok(filter) => Some(filter),
        Err(error) => {
            c.invalid(at, error.to_string());
            None
        }
    }
}
