//! Concurrency groups: of each, one run or job runs, and others wait or are cancelled. Rules: GitHub, "Control the concurrency
//! of workflows and jobs".

use std::sync::Arc;

use super::Applying;
use crate::{Claimant, ClusterState, Concurrency, Group, GroupId, JobId, RepoId, RunId};

impl ClusterState {
    /// What a group of a run's repository is found by.
    pub(crate) fn group_id(&self, run: RunId, of: &Concurrency) -> GroupId {
        let repo = self.runs.get(&run).and_then(|run| run.repo).unwrap_or(RepoId(0));
        (repo, of.group.to_lowercase().into())
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
        // It stands in the row before others leave it, so that it is next.
        let waiting = group.waiting.iter().copied().chain([claimant]).collect();
        self.state.groups.update(&id, |group| group.waiting = waiting);
        if !of.queue_all {
            for earlier in group.waiting.iter() {
                self.end_claimant(*earlier);
            }
        }
        if of.cancel_in_progress {
            self.end_claimant(group.holder);
        }
        self.state.groups.get(&id).is_some_and(|group| group.holder == claimant)
    }

    fn end_claimant(&mut self, claimant: Claimant) {
        let Claimant { run, job } = claimant;
        match job {
            Some(index) => self.cancel_job(JobId { run, index }),
            None => self.cancel_jobs(run),
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
