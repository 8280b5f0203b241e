//! Whether something that happened starts a workflow. Rules: GitHub, "Events that trigger workflows" and "Using filters".
//!
//! Must not know: forges, how what happened was learned.

use crate::filter::{Filter, InvalidPattern};
use crate::model::{Located, Patterns, Trigger};

/// Something that happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Happened<'a> {
    /// The event, as `push`.
    pub event: &'a str,
    /// Its kind, as `opened`; empty for an event that has none.
    pub action: &'a str,
    /// The ref that was pushed; of a pull request the branch it is to go into; whole, as `refs/heads/main`.
    pub git_ref: &'a str,
    /// The files that changed; none where that is not known, which is as if any had.
    pub changed: Option<&'a [String]>,
    /// Of `workflow_run`, the workflow's name.
    pub workflow: &'a str,
}

/// The kinds of a pull request that count when the file does not say.
const USUAL: [&str; 3] = ["opened", "synchronize", "reopened"];

/// Whether this starts the workflow.
///
/// # Errors
/// [`InvalidPattern`] for the first of the filters that cannot be read.
pub fn starts(trigger: &Trigger, happened: &Happened<'_>) -> Result<bool, InvalidPattern> {
    if trigger.event.value != happened.event || !wants_action(trigger, happened) {
        return Ok(false);
    }
    let named = |names: &[Located<String>]| names.iter().any(|name| name.value == happened.workflow);
    if !trigger.workflows.is_empty() && !named(&trigger.workflows) {
        return Ok(false);
    }
    let (branches, tags) = (Selection::of(&trigger.branches)?, Selection::of(&trigger.tags)?);
    if let Some(tag) = happened.git_ref.strip_prefix("refs/tags/") {
        // Filters for branches alone leave all tags out, and the other way round. Files do not count for tags.
        return Ok(if tags.is_some() { lets_in(tags.as_ref(), tag) } else { branches.is_none() });
    }
    let branch = happened.git_ref.strip_prefix("refs/heads/").unwrap_or(happened.git_ref);
    if (branches.is_none() && tags.is_some()) || !lets_in(branches.as_ref(), branch) {
        return Ok(false);
    }
    Ok(match (Selection::of(&trigger.paths)?, happened.changed) {
        (Some(paths), Some(changed)) => changed.iter().any(|path| paths.lets_in(path)),
        _ => true,
    })
}

fn wants_action(trigger: &Trigger, happened: &Happened<'_>) -> bool {
    if !trigger.types.is_empty() {
        return trigger.types.iter().any(|kind| kind.value == happened.action);
    }
    let is_pull_request = matches!(happened.event, "pull_request" | "pull_request_target");
    !is_pull_request || USUAL.contains(&happened.action)
}

fn lets_in(selection: Option<&Selection>, name: &str) -> bool {
    selection.is_none_or(|selection| selection.lets_in(name))
}

/// The two forms of a filter, read.
struct Selection {
    only: Option<Filter>,
    ignored: Option<Filter>,
}

impl Selection {
    /// None when there is no filter.
    fn of(patterns: &Patterns) -> Result<Option<Self>, InvalidPattern> {
        let read = |patterns: &Option<Vec<Located<String>>>| {
            let read = |patterns: &Vec<Located<String>>| {
                Filter::new(patterns.iter().map(|pattern| pattern.value.as_str()))
            };
            patterns.as_ref().map(read).transpose()
        };
        let (only, ignored) = (read(&patterns.only)?, read(&patterns.ignored)?);
        Ok((only.is_some() || ignored.is_some()).then_some(Self { only, ignored }))
    }

    fn lets_in(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.matches(name))
            && !self.ignored.as_ref().is_some_and(|ignored| ignored.matches(name))
    }
}
