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
        if let Some((_, other)) = self.runs.before(&id)
            && !share(&mut run.kind, &other.kind)
        {
            let kind = Arc::make_mut(&mut run.kind);
            share(&mut kind.name, &other.name);
            share(&mut kind.path, &other.path);
            share(&mut kind.event, &other.event);
        }
        self.runs.insert(id, run);
    }

    /// Puts a job in place of the one before, if there is one.
    pub fn put_job(&mut self, id: JobId, mut job: Job) {
        if let Some((_, other)) = self.jobs.before(&id)
            && !share(&mut job.kind, &other.kind)
            && !self.like_in_the_run_before(id).is_some_and(|like| share(&mut job.kind, &like.kind))
        {
            Arc::make_mut(&mut job.kind).labels.share(&other.labels);
        }
        self.jobs.insert(id, job);
    }

    /// The job of the same place in the run before: of several jobs, those next to each other are of different kinds.
    fn like_in_the_run_before(&self, id: JobId) -> Option<&Job> {
        let (run, _) = self.runs.before(&RunId(id.run.0.checked_sub(1)?))?;
        self.jobs.get(&JobId { run: *run, index: id.index })
    }

    /// Puts a key in its place by age: the one that is remembered.
    pub fn put_key_age(&mut self, (at, mut key): (Timestamp, Arc<str>), (): ()) {
        if let Some(known) = self.keys.get_key(&key) {
            key = Arc::clone(known);
        }
        self.key_ages.insert((at, key), ());
    }
}

/// Takes the other's copy of an equal value; answers whether it is equal.
pub(crate) fn share<T: PartialEq + ?Sized>(mine: &mut Arc<T>, other: &Arc<T>) -> bool {
    let equal = Arc::ptr_eq(mine, other) || **mine == **other;
    if equal {
        *mine = Arc::clone(other);
    }
    equal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Labels;

    #[test]
    fn equal_values_are_kept_once_and_nothing_else_changes() {
        let mut first: Arc<str> = "a job".into();
        let (second, third): (Arc<str>, Arc<str>) = ("a job".into(), "another".into());
        assert!(!share(&mut first, &third) && !Arc::ptr_eq(&first, &third));
        assert!(share(&mut first, &second) && Arc::ptr_eq(&first, &second));
        let (mut mine, others) = (Labels::from_iter(["x"]), Labels::from_iter(["x"]));
        mine.share(&others);
        assert_eq!(mine, others);
        assert!(mine.is_shared_with(&others));
    }
}
