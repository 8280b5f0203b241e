//! What jobs take and nodes have: cpus, memory, slots, labels.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a job takes, or what is left of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a cpu.
    pub cpu_millis: u32,
    /// MiB of memory.
    pub memory_mib: u32,
}

/// What a node offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capacity {
    /// Cpus and memory for jobs.
    pub resources: Resources,
    /// Attempts at one time.
    pub slots: u16,
}

/// A set of labels, as in `runs-on`. Shared: many jobs carry the same set.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Labels(Arc<BTreeSet<String>>);

impl Labels {
    /// Takes the other's copy when it is equal.
    pub(crate) fn share(&mut self, other: &Labels) {
        crate::sharing::share(&mut self.0, &other.0);
    }

    #[cfg(test)]
    pub(crate) fn is_shared_with(&self, other: &Labels) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// True when `self` has every label of `wanted`.
    #[must_use]
    pub fn covers(&self, wanted: &Labels) -> bool {
        Arc::ptr_eq(&self.0, &wanted.0) || wanted.0.is_subset(&self.0)
    }

    /// The labels of `wanted` that `self` does not have.
    pub fn missing<'a>(&'a self, wanted: &'a Labels) -> impl Iterator<Item = &'a str> {
        wanted.0.difference(&self.0).map(String::as_str)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// True without any label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<String>> FromIterator<S> for Labels {
    fn from_iter<I: IntoIterator<Item = S>>(labels: I) -> Self {
        Self(Arc::new(labels.into_iter().map(Into::into).collect()))
    }
}
