//! What many records carry alike is kept once: a new run or job shares it with the one before it, and a key by age with
//! the key itself.
//!
//! Invisible: what is shared is equal, so that records, their hashes and their encoding are what they would be otherwise.
//! Decoding makes everything anew, for each entry and each record of a snapshot; without this, a million jobs with the
//! same labels had a million copies of them.

use std::sync::Arc;

use crate::{ClusterState, Job, JobId, Run, RunId, Timestamp};

impl ClusterState {
    /// Puts a run in place of the one before, if there is one.
    pub fn put_run(&mut self, id: RunId, mut run: Run) {
        if let Some(other) = self.runs.before(&id) {
            share(&mut run.name, &other.name);
            share(&mut run.path, &other.path);
            share(&mut run.event, &other.event);
            if let (Some(error), Some(others)) = (&mut run.error, &other.error) {
                share(error, others);
            }
        }
        self.runs.insert(id, run);
    }

    /// Puts a job in place of the one before, if there is one.
    pub fn put_job(&mut self, id: JobId, mut job: Job) {
        if let Some(other) = self.jobs.before(&id) {
            share(&mut job.key, &other.key);
            share(&mut job.needs, &other.needs);
            job.labels.share(&other.labels);
        }
        self.jobs.insert(id, job);
    }

    /// Puts a key in its place by age: the one that is remembered.
    pub fn put_key_age(&mut self, (at, mut key): (Timestamp, Arc<str>), (): ()) {
        if let Some(known) = self.keys.get_key(&key) {
            key = Arc::clone(known);
        }
        self.key_ages.insert((at, key), ());
    }
}

/// Takes the other's copy of an equal value.
pub(crate) fn share<T: PartialEq + ?Sized>(mine: &mut Arc<T>, other: &Arc<T>) {
    if !Arc::ptr_eq(mine, other) && **mine == **other {
        *mine = Arc::clone(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Labels;

    #[test]
    fn equal_values_are_kept_once_and_nothing_else_changes() {
        let mut first: Arc<str> = "a job".into();
        let (second, third): (Arc<str>, Arc<str>) = ("a job".into(), "another".into());
        share(&mut first, &third);
        assert!(!Arc::ptr_eq(&first, &third));
        share(&mut first, &second);
        assert!(Arc::ptr_eq(&first, &second));
        let (mut mine, others) = (Labels::from_iter(["x"]), Labels::from_iter(["x"]));
        mine.share(&others);
        assert_eq!(mine, others);
        assert!(mine.is_shared_with(&others));
    }
}
