//! Whether a job whose needs are finished may begin, or is held: its run is paused, is to be approved or waits for its
//! group, or others of its matrix or group are before it.
//!
//! Why a job is held is never stored: it follows from the rest of the state.

use super::Applying;
use crate::{Claimant, ClusterState, Form, Job, JobId, JobState, RunId};

/// Why a job is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Somebody paused its run.
    Paused,
    /// Nobody has approved its run yet.
    Approval,
    /// Another run of its run's concurrency group is before it.
    RunGroup,
    /// Its environment asks for a review.
    Review,
    /// It failed, and is tried again after a while.
    Backoff,
    /// So many of its matrix run as may at one time.
    Parallel,
    /// Another job or run of its concurrency group is before it.
    JobGroup,
}

impl Hold {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "its run is paused",
            Self::Approval => "its run comes from a fork and waits for approval",
            Self::RunGroup => "its run waits for another of its concurrency group",
            Self::Review => "it waits until somebody approves it for its environment",
            Self::Backoff => "it failed and is tried again after a while",
            Self::Parallel => "as many jobs of its matrix run as max-parallel allows",
            Self::JobGroup => "it waits for another of its concurrency group",
        }
    }
}

impl ClusterState {
    /// Why a job that could begin else is held; none when it is not.
    #[must_use]
    pub fn hold(&self, id: JobId) -> Option<Hold> {
        let (job, run) = (self.jobs.get(&id)?, self.runs.get(&id.run)?);
        let own = Claimant { run: id.run, job: Some(id.index) };
        if self.paused_runs.contains(&id.run) {
            return Some(Hold::Paused);
        }
        if self.unapproved.contains(&id.run) {
            return Some(Hold::Approval);
        }
        if self.waits_in_its_group(id.run) {
            return Some(Hold::RunGroup);
        }
        if self.waits_for_review(id, job, run) {
            return Some(Hold::Review);
        }
        if self.backoffs.contains(&id) {
            return Some(Hold::Backoff);
        }
        if self.is_full(id, job) {
            return Some(Hold::Parallel);
        }
        // One that has not asked yet is not held for that.
        let waits =
            |group: &crate::GroupId| self.groups.get(group).is_some_and(|group| group.waiting.contains(&own));
        job.concurrency
            .as_deref()
            .is_some_and(|of| waits(&self.group_id(id.run, of)))
            .then_some(Hold::JobGroup)
    }

    /// Whether as many members of this job's group are under way as may be.
    fn is_full(&self, id: JobId, job: &Job) -> bool {
        !self.before_in_matrix(id, job).is_empty()
    }

    /// Members of this job's group that are under way, when they are as many as may be; else none.
    pub(crate) fn before_in_matrix(&self, id: JobId, job: &Job) -> Vec<JobId> {
        let Some(group) = job.group else { return Vec::new() };
        let of = self.jobs.get(&JobId { index: group, ..id }).map(|group| group.form);
        let Some(Form::Group { max_parallel: most @ 1.., .. }) = of else { return Vec::new() };
        let active = |job: &Job| {
            matches!(job.state, JobState::Queued | JobState::Placed | JobState::Running | JobState::Open)
        };
        let others = self.members(id.run, group).filter(|(other, job)| *other != id && active(job));
        let others: Vec<_> = others.map(|(other, _)| other).collect();
        if others.len() >= usize::from(most) { others } else { Vec::new() }
    }

    /// The members of a group of a run.
    pub fn members(&self, run: RunId, group: u16) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs_of(run).filter(move |(_, job)| job.group == Some(group))
    }

    /// The jobs of a run, in order.
    pub fn jobs_of(&self, run: RunId) -> impl Iterator<Item = (JobId, &Job)> {
        let jobs = self.runs.get(&run).map_or(0, |run| run.jobs);
        (0..jobs).filter_map(move |index| {
            let id = JobId { run, index };
            Some((id, self.jobs.get(&id)?))
        })
    }
}

impl Applying<'_> {
    /// Begins a job whose turn it is, or holds it.
    pub(super) fn admit(&mut self, id: JobId) {
        let hold = self.state.hold(id);
        let held = hold.is_some() || !self.claim_of_job(id);
        let Some(job) = self.state.jobs.get(&id) else { return };
        let to = match (held, job.form) {
            (true, _) => JobState::Held,
            (false, Form::Group { .. }) => JobState::Open,
            (false, _) => JobState::Queued,
        };
        // A claim may have ended it: by its own run, when that is what it was to cancel.
        if job.state != to && !matches!(job.state, JobState::Finished(_)) {
            self.move_job(id, to);
        }
        match hold {
            Some(Hold::Review) => self.ask_for_review(id),
            Some(_) => {}
            None => self.end_review(id),
        }
    }
}
