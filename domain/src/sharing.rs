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
            share(&mut kind.title, &other.title);
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
    use crate::{
        Condition, Event, EventKind, Fence, JobKind, JobState, KeyRecord, KeyTarget, Labels, NodeId,
        Resources, Retry, RunKind,
    };

    /// As it comes out of a snapshot: with a copy of everything.
    fn job(key: &str) -> Job {
        let kind = JobKind {
            key: key.into(),
            name: key.into(),
            group: None,
            form: crate::Form::Job,
            may_fail: false,
            concurrency: None,
            priority: 0,
            condition: Condition::Success,
            lasting: false,
            retry: Retry::of_losses(3),
            spread: false,
            environment: None,
            labels: Labels::from_iter(["linux"]),
            resources: Resources::default(),
            needs: Arc::new([]),
        };
        let at = Timestamp(0);
        Job {
            kind: Arc::new(kind),
            state: JobState::Queued,
            cancel_requested: false,
            attempts: 0,
            losses: 0,
            failures: 0,
            node: NodeId(0),
            fence: Fence(0),
            queued_at: at,
            placed_at: at,
            started_at: at,
            finished_at: at,
        }
    }

    fn run(number: u64, jobs: u16) -> Run {
        let event = Event { sender: "someone".to_owned(), ..Event::of(EventKind::AdHoc) };
        let kind = RunKind {
            repo: None,
            delivery: None,
            rerun_of: None,
            rerun_by: None,
            name: "a run".into(),
            title: "".into(),
            path: "".into(),
            event: Arc::new(event),
            jobs,
            declared: jobs,
            concurrency: None,
            error: None,
        };
        let (created_at, finished_at) = (Timestamp(number), Timestamp(0));
        let kind = Arc::new(kind);
        Run { kind, number, open_jobs: jobs, created_at, finished_at, outcome: None, cancel_requested: false }
    }

    #[test]
    fn equal_values_are_kept_once_and_nothing_else_changes() {
        let mut first: Arc<str> = "a job".into();
        let (second, third): (Arc<str>, Arc<str>) = ("a job".into(), "another".into());
        assert!(!share(&mut first, &third) && !Arc::ptr_eq(&first, &third));
        assert!(share(&mut first, &second) && Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn runs_and_jobs_share_their_kinds_or_what_is_alike_in_them() {
        let mut state = ClusterState::default();
        for number in 1..=3 {
            let id = RunId(u128::from(number));
            // The last is of another number of jobs, so of another kind; its name is not.
            state.put_run(id, run(number, if number == 3 { 1 } else { 2 }));
            state.put_job(JobId { run: id, index: 0 }, job("build"));
            state.put_job(JobId { run: id, index: 1 }, job("test"));
        }
        let runs: Vec<_> = state.runs.iter().map(|(_, run)| run).collect();
        assert_eq!((runs[0], runs[2]), (&run(1, 2), &run(3, 1)));
        assert!(Arc::ptr_eq(&runs[0].kind, &runs[1].kind) && !Arc::ptr_eq(&runs[1].kind, &runs[2].kind));
        assert!(Arc::ptr_eq(&runs[1].name, &runs[2].name) && Arc::ptr_eq(&runs[1].event, &runs[2].event));
        let jobs: Vec<_> = state.jobs.iter().map(|(_, job)| job).collect();
        assert!(jobs[0].labels.is_shared_with(&jobs[1].labels));
        for (number, other) in jobs.iter().enumerate().skip(2) {
            assert!(Arc::ptr_eq(&jobs[number % 2].kind, &other.kind));
            assert_eq!(**other, job(if number % 2 == 0 { "build" } else { "test" }));
        }
    }

    #[test]
    fn a_key_by_age_is_the_key_itself() {
        let mut state = ClusterState::default();
        let (key, copy): (Arc<str>, Arc<str>) = ("a key".into(), "a key".into());
        let record = KeyRecord { target: KeyTarget::Run(RunId(1)), digest: [0; 32], at: Timestamp(1) };
        state.keys.insert(Arc::clone(&key), record);
        state.put_key_age((Timestamp(1), copy), ());
        let by_age: Vec<_> = state.key_ages.iter().map(|((_, key), ())| key).collect();
        assert!(by_age.len() == 1 && Arc::ptr_eq(by_age[0], &key));
    }
}
