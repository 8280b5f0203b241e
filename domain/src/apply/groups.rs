//! Concurrency groups: of each, one run or job runs, and others wait or are cancelled. Rules: GitHub, "Control the concurrency
//! of workflows and jobs".

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Applying, clipped};
use crate::{Claimant, ClusterState, Concurrency, Group, GroupId, JobId, JobState, RepoId, RunId};

impl ClusterState {
    /// What a group of a run's repository is found by.
    pub(crate) fn group_id(&self, run: RunId, of: &Concurrency) -> GroupId {
        let repo = self.runs.get(&run).and_then(|run| run.repo).unwrap_or(RepoId(0));
        (repo, of.group.to_lowercase().into())
    }

    /// Whether another is before a run in its group.
    pub(crate) fn waits_in_its_group(&self, run: RunId) -> bool {
        let of = self.runs.get(&run).and_then(|run| run.concurrency.as_deref());
        let group = of.and_then(|of| self.groups.get(&self.group_id(run, of)));
        group.is_some_and(|group| group.holder != Claimant { run, job: None })
    }
}

impl ClusterState {
    /// Whether a job that waited in this group would wait for what ends only after itself: its own run, a group that it is a member
    /// of, or others that wait for those. Only whoever comes to wait closes such a circle, so it is looked for only then.
    fn would_wait_for_itself(&self, id: JobId, group: &Group) -> bool {
        let mut around = BTreeSet::from([Claimant { run: id.run, job: None }]);
        let mut inner = self.jobs.get(&id).and_then(|job| job.group);
        while let Some(index) = inner {
            around.insert(Claimant { run: id.run, job: Some(index) });
            inner = self.jobs.get(&JobId { index, ..id }).and_then(|job| job.group);
        }
        let mut open: Vec<_> = std::iter::once(group.holder).chain(group.waiting.iter().copied()).collect();
        let mut seen = BTreeSet::new();
        while let Some(next) = open.pop() {
            if around.contains(&next) {
                return true;
            }
            if seen.insert(next) {
                self.waits_of(next, &mut open);
            }
        }
        false
    }

    /// Those that something waits for, by itself or by its jobs.
    fn waits_of(&self, claimant: Claimant, found: &mut Vec<Claimant>) {
        let is_within = |other: &Claimant| match (claimant.job, other.job) {
            _ if other.run != claimant.run => false,
            (None, _) => true,
            (Some(outer), Some(mut inner)) => loop {
                if inner == outer {
                    break true;
                }
                match self.jobs.get(&JobId { run: claimant.run, index: inner }).and_then(|job| job.group) {
                    Some(group) => inner = group,
                    None => break false,
                }
            },
            (Some(_), None) => false,
        };
        for (_, group) in self.groups.iter() {
            if let Some(place) = group.waiting.iter().position(is_within) {
                found.push(group.holder);
                found.extend(group.waiting.iter().take(place));
            }
        }
        self.waits_for_its_matrix(claimant, found);
    }

    /// One that has its turn may still wait for another of its matrix, where one at a time runs. (Where several may, it waits for
    /// whichever ends first: no one of them can be said to be waited for.)
    fn waits_for_its_matrix(&self, claimant: Claimant, found: &mut Vec<Claimant>) {
        let Some((id, job)) = claimant.job.and_then(|index| {
            let id = JobId { run: claimant.run, index };
            Some((id, self.jobs.get(&id)?))
        }) else {
            return;
        };
        if job.state == JobState::Held
            && let [other] = self.before_in_matrix(id, job).as_slice()
        {
            found.push(Claimant { run: other.run, job: Some(other.index) });
        }
    }
}

impl Applying<'_> {
    /// Whether a new run may begin, as far as its group goes; else it waits for its turn.
    pub(super) fn claim_of_run(&mut self, run: RunId) -> bool {
        let of = self.state.runs.get(&run).and_then(|run| run.concurrency.clone());
        of.is_none_or(|of| self.claim(Claimant { run, job: None }, &of))
    }

    /// The same of a job that could begin else.
    pub(super) fn claim_of_job(&mut self, id: JobId) -> bool {
        let of = self.state.jobs.get(&id).and_then(|job| job.concurrency.clone());
        of.is_none_or(|of| self.claim(Claimant { run: id.run, job: Some(id.index) }, &of))
    }

    fn claim(&mut self, claimant: Claimant, of: &Concurrency) -> bool {
        let id = self.state.group_id(claimant.run, of);
        let Some(group) = self.state.groups.get(&id).cloned() else {
            self.state.groups.insert(id, Group { holder: claimant, waiting: Arc::new([]) });
            return true;
        };
        if group.holder == claimant {
            return true;
        }
        if group.waiting.contains(&claimant) {
            return false;
        }
        let circle = claimant.job.is_some_and(|index| {
            self.state.would_wait_for_itself(JobId { run: claimant.run, index }, &group)
        });
        if let Some(index) = claimant.job
            && !of.cancel_in_progress
            && circle
        {
            let reason = format!("it would wait for itself in the concurrency group {:?}", of.group);
            self.state.reasons.insert(JobId { run: claimant.run, index }, clipped(&reason));
            self.end_claimant(claimant, true);
            return false;
        }
        // It stands in the row before others leave it, so that it is next.
        let waiting = group.waiting.iter().copied().chain([claimant]).collect();
        self.state.groups.update(&id, |group| group.waiting = waiting);
        if !of.queue_all {
            for earlier in group.waiting.iter() {
                self.end_claimant(*earlier, true);
            }
        }
        if of.cancel_in_progress {
            // What lasts there is waited for, but not by itself.
            self.end_claimant(group.holder, circle);
        }
        self.state.groups.get(&id).is_some_and(|group| group.holder == claimant)
    }

    fn end_claimant(&mut self, claimant: Claimant, force: bool) {
        let Claimant { run, job } = claimant;
        match job {
            Some(index) => self.cancel_job(JobId { run, index }),
            None => self.cancel_jobs(run, force),
        }
        self.touched.push(run);
    }

    /// What is finished makes way for who is next.
    pub(super) fn leave(&mut self, claimant: Claimant, of: &Concurrency) {
        let id = self.state.group_id(claimant.run, of);
        let Some(group) = self.state.groups.get(&id) else { return };
        if group.holder != claimant {
            let waiting = group.waiting.iter().copied().filter(|other| *other != claimant).collect();
            self.state.groups.update(&id, |group| group.waiting = waiting);
            return;
        }
        let Some((next, rest)) = group.waiting.split_first() else {
            self.state.groups.remove(&id);
            return;
        };
        let next = Group { holder: *next, waiting: rest.into() };
        self.touched.push(next.holder.run);
        self.state.groups.insert(id, next);
    }
}
