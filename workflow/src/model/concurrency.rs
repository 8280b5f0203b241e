//! `concurrency`: what must not run at the same time.

use super::fields::{Dynamic, Located, boolean, get, plain, text};
use crate::template::Template;

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

pub(super) fn concurrency(template: &Template) -> Option<Concurrency> {
    if let Some(group) = text(template) {
        return Some(Concurrency { group, cancel_in_progress: None, queue: Queue::Single });
    }
    let queue = match get(template, "queue").and_then(plain) {
        Some(queue) if queue.value == "max" => Queue::Max,
        _ => Queue::Single,
    };
    Some(Concurrency {
        group: text(get(template, "group")?)?,
        cancel_in_progress: get(template, "cancel-in-progress").and_then(boolean),
        queue,
    })
}
