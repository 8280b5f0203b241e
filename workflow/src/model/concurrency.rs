//! `concurrency`: what must not run at the same time.

use super::fields::{Dynamic, Located, boolean, get, plain, text};
use crate::complaints::Complaints;
use crate::template::Template;

/// What is said of the two together.
pub(crate) const BOTH: &str = "queue: max and cancel-in-progress: true are not allowed together";

/// A group of which only one runs at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Concurrency {
    /// The group's name.
    pub group: Located<Dynamic<String>>,
    /// Whether one that comes later cancels the one that runs; false when it is not said.
    pub cancel_in_progress: Option<Located<Dynamic<bool>>>,
    /// How many wait.
    pub queue: Queue,
}

/// How many of a group may wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Queue {
    /// One: a later one takes the place of the one that waits.
    #[default]
    Single,
    /// All.
    Max,
}

pub(super) fn concurrency(template: &Template, c: &mut Complaints) -> Option<Concurrency> {
    if let Some(group) = text(template) {
        return Some(Concurrency { group, cancel_in_progress: None, queue: Queue::Single });
    }
    let cancel_in_progress = get(template, "cancel-in-progress").and_then(boolean);
    let queue = match get(template, "queue").and_then(plain) {
        Some(queue) if queue.value == "max" => {
            if cancel_in_progress.as_ref().is_some_and(|found| found.value == Dynamic::Is(true)) {
                c.invalid(queue.at, BOTH);
            }
            Queue::Max
        }
        _ => Queue::Single,
    };
    Some(Concurrency { group: text(get(template, "group")?)?, cancel_in_progress, queue })
}
