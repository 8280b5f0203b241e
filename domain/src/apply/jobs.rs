//! The one place where a job goes from one state to another, so that queue, holdings and counts stay right.

use std::collections::BTreeSet;

use super::runs::starts;
use super::{Applying, clipped};
use crate::{
    AttemptId, Claimant, ClusterState, Effect, Form, Job, JobId, JobState, NodeId, Outcome, QueueKey,
    Resources, RunId,
};

impl Job {
    /// Its place in the queue; jobs that were tried before go in front.
    pub(crate) fn queue_key(&self, job: JobId) -> QueueKey {
        let rank = (127 - i16::from(self.priority)) as u8;
        QueueKey { rank, back: u8::from(self.attempts == 0), since: self.queued_at, job }
    }

    /// The id of the present (or last) attempt.
    #[must_use]
    pub fn attempt_id(&self, job: JobId) -> AttemptId {
        AttemptId { job, number: self.attempts }
    }
}

impl ClusterState {
    /// How many of what a job waits for are not there yet: jobs that it needs and have not ended, and its group as long as
    /// that is neither open nor over.
    pub(crate) fn open_needs(&self, id: JobId, job: &Job) -> u16 {
        let of = |index: u16| self.jobs.get(&JobId { index, ..id });
        let needs = job.needs.iter().filter(|need| of(**need).is_some_and(|job| job.outcome().is_none()));
        let opens = |group: &Job| group.state == JobState::Open || group.outcome().is_some();
        let group = job.group.and_then(of).is_some_and(|group| !opens(group));
        needs.count() as u16 + u16::from(group)
    }

    /// The jobs that a node holds (placed or running there).
    pub fn held_jobs(&self, node: NodeId) -> impl Iterator<Item = (JobId, &Job)> {
        let first = JobId { run: RunId(0), index: 0 };
        let last = JobId { run: RunId(u128::MAX), index: u16::MAX };
        self.held
            .range((node, first)..=(node, last))
            .filter_map(|((_, job), ())| Some((*job, self.jobs.get(job)?)))
    }

    /// What the jobs held by a node take, and how many they are.
    #[must_use]
    pub fn used(&self, node: NodeId) -> (Resources, u16) {
        self.held_jobs(node).fold((Resources::default(), 0), |(sum, count), (_, job)| {
            let sum = Resources {
                cpu_millis: sum.cpu_millis.saturating_add(job.resources.cpu_millis),
                memory_mib: sum.memory_mib.saturating_add(job.resources.memory_mib),
            };
            (sum, count + 1)
        })
    }
}

impl Applying<'_> {
    /// Moves a job that is not finished to another state. Does not look at the jobs that need it: see
    /// [`Applying::settle`].
    pub(super) fn move_job(&mut self, id: JobId, to: JobState) {
        let Some(job) = self.state.jobs.get(&id) else { return };
        debug_assert!(!matches!(job.state, JobState::Finished(_)), "a finished job never changes: {id}");
        let holds = |state: JobState| matches!(state, JobState::Placed | JobState::Running);
        let (from, node) = (job.state, job.node);
        if from == JobState::Queued {
            self.state.queue.remove(&job.queue_key(id));
        }
        if from == JobState::Deciding {
            self.state.undecided.remove(&id);
        }
        if holds(from) && !holds(to) {
            self.state.held.remove(&(node, id));
            self.effects.push(Effect::WakeScheduler);
        }
        let now = self.state.now;
        self.state.jobs.update(&id, |job| {
            job.state = to;
            match to {
                JobState::Queued => job.queued_at = now,
                JobState::Finished(_) => job.finished_at = now,
                _ => {}
            }
        });
        match to {
            JobState::Queued => {
                if let Some(key) = self.state.jobs.get(&id).map(|job| job.queue_key(id)) {
                    self.state.queue.insert(key, ());
                }
                self.effects.push(Effect::WakeScheduler);
            }
            JobState::Placed | JobState::Running => {
                self.state.held.insert((node, id), ());
            }
            JobState::Finished(outcome) => {
                self.state.open_jobs -= 1;
                self.state.runs.update(&id.run, |run| run.open_jobs -= 1);
                self.effects.push(Effect::JobFinished { job: id, outcome });
                self.state.backoffs.remove(&id);
                self.end_review(id);
                if let Some(of) = self.state.jobs.get(&id).and_then(|job| job.concurrency.clone()) {
                    self.leave(Claimant { run: id.run, job: Some(id.index) }, &of);
                }
            }
            JobState::Deciding => {
                self.state.undecided.insert(id, ());
                self.effects.push(Effect::WakeDecider);
            }
            JobState::Waiting(_) | JobState::Held | JobState::Open => {}
        }
    }

    /// A job whose needs are all finished begins, is decided, or is skipped.
    pub(super) fn ready(&mut self, id: JobId) {
        let Some(job) = self.state.jobs.get(&id) else { return };
        if job.form == Form::Undecided {
            self.move_job(id, JobState::Deciding);
            return;
        }
        let go = starts(job.condition, self.ancestors(id).into_iter().filter_map(|job| self.result(job)));
        if go {
            self.admit(id);
        } else {
            self.move_job(id, JobState::Finished(Outcome::Skipped));
        }
    }

    /// Carries the ends of a run's jobs on to those that need them, until nothing changes; then ends the run if all its
    /// jobs are finished.
    pub(super) fn settle(&mut self, run: RunId) {
        loop {
            let Some(jobs) = self.state.runs.get(&run).map(|run| run.jobs) else { return };
            let mut changed = false;
            for index in 0..jobs {
                let id = JobId { run, index };
                changed |= self.settle_job(id);
            }
            if !changed {
                break;
            }
        }
        self.finish_run(run);
    }

    /// Takes a job as far as the others of its run let it; whether that may matter to them.
    fn settle_job(&mut self, id: JobId) -> bool {
        let Some(job) = self.state.jobs.get(&id) else { return false };
        match job.state {
            JobState::Waiting(before) => {
                let group = job.group.and_then(|index| self.state.jobs.get(&JobId { index, ..id }));
                if let Some(JobState::Finished(outcome)) = group.map(|group| group.state) {
                    // It never opened, or was ended before this one began.
                    let cancelled = outcome == Outcome::Cancelled;
                    let outcome = if cancelled { outcome } else { Outcome::Skipped };
                    self.move_job(id, JobState::Finished(outcome));
                    return true;
                }
                let open = self.state.open_needs(id, job);
                if open == 0 {
                    self.ready(id);
                } else if open != before {
                    self.move_job(id, JobState::Waiting(open));
                }
                open == 0
            }
            JobState::Held => {
                self.admit(id);
                self.state.jobs.get(&id).is_some_and(|job| job.state != JobState::Held)
            }
            JobState::Open => self.settle_group(id),
            _ => false,
        }
    }

    /// A member that failed ends the others, where its group says so; a group ends with the last of its members.
    fn settle_group(&mut self, id: JobId) -> bool {
        let form = self.state.jobs.get(&id).map(|job| job.form);
        let members: Vec<_> =
            self.state.members(id.run, id.index).map(|(id, job)| (id, job.outcome())).collect();
        let failed = |outcome| matches!(outcome, Outcome::Failed | Outcome::TimedOut | Outcome::Lost);
        if matches!(form, Some(Form::Group { fail_fast: true, .. }))
            && members.iter().any(|(id, _)| self.result(*id).is_some_and(failed))
        {
            for (member, _) in members.iter().filter(|(_, outcome)| outcome.is_none()) {
                self.cancel_job(*member);
            }
        }
        let results: Option<Vec<_>> = members.iter().map(|(id, _)| self.result(*id)).collect();
        let Some(results) = results else { return false };
        self.move_job(id, JobState::Finished(worst(results.into_iter())));
        true
    }

    fn finish_run(&mut self, id: RunId) {
        let open = |run: &&crate::Run| run.open_jobs == 0 && run.outcome.is_none();
        let Some(run) = self.state.runs.get(&id).filter(open).cloned() else { return };
        // A group speaks for its members.
        let of_all = self.state.jobs_of(id).filter(|(_, job)| job.group.is_none());
        let outcomes: Vec<_> = of_all.filter_map(|(_, job)| job.result()).collect();
        let outcome = if run.error.is_some() { Outcome::Failed } else { worst(outcomes.into_iter()) };
        let now = self.state.now;
        self.state.runs.update(&id, |run| {
            run.outcome = Some(outcome);
            run.finished_at = now;
        });
        self.state.paused_runs.remove(&id);
        self.state.unapproved.remove(&id);
        self.notice(id, Some(outcome));
        self.follow(id, Some(outcome));
        if let Some(of) = &run.concurrency {
            self.leave(Claimant { run: id, job: None }, of);
        }
    }

    /// An attempt ends because its node is gone or in trouble: its job is queued again in front, unless it was lost too often
    /// (it may well be the job that does this to nodes) or is to be cancelled anyway. What a node ends because its time to
    /// drain is over is no loss that counts: its job did nothing to bring it about. (No job is queued so for ever: a node that
    /// drains takes none.)
    pub(super) fn lose_attempt(&mut self, id: JobId, reason: &str) {
        let (fence, now) = (self.fence, self.state.now);
        let node = self.state.jobs.get(&id).and_then(|job| self.state.nodes.get(&job.node));
        let counts = !node.is_some_and(|node| node.is_drained_by(now));
        let Some((node, losses, cancelled, lost_too_often)) = self.state.jobs.update(&id, |job| {
            job.losses += u16::from(counts);
            job.fence = fence;
            let again = !counts || job.retry.again(Outcome::Lost, job.losses + job.failures);
            (job.node, job.losses, job.cancel_requested, !again)
        }) else {
            return;
        };
        if lost_too_often && !cancelled {
            let reason = format!(
                "lost {losses} times, on whichever node it was tried, and not tried again; last: {reason}"
            );
            self.end_attempt(id, Outcome::Lost, &reason);
        } else {
            self.end_attempt(id, Outcome::Lost, reason);
        }
        if counts {
            self.effects.push(Effect::AttemptLost { node });
        }
        match (cancelled, lost_too_often) {
            (true, _) => self.move_job(id, JobState::Finished(Outcome::Cancelled)),
            (false, true) => self.move_job(id, JobState::Finished(Outcome::Lost)),
            (false, false) => self.admit(id),
        }
        self.settle(id.run);
    }

    /// Marks the present attempt as ended.
    pub(super) fn end_attempt(&mut self, id: JobId, outcome: Outcome, reason: &str) {
        let Some(attempt) = self.state.jobs.get(&id).map(|job| job.attempt_id(id)) else { return };
        let now = self.state.now;
        self.state.paused_attempts.remove(&attempt);
        self.state.attempts.update(&attempt, |attempt| {
            attempt.outcome = Some(outcome);
            attempt.finished_at = now;
            attempt.reason = clipped(reason);
        });
    }

    /// How a job ended, as far as others are concerned: the failure of one that may fail is none.
    fn result(&self, id: JobId) -> Option<Outcome> {
        self.state.jobs.get(&id)?.result()
    }

    fn ancestors(&self, id: JobId) -> BTreeSet<JobId> {
        let mut found = BTreeSet::new();
        let mut open = vec![id];
        while let Some(next) = open.pop() {
            let Some(job) = self.state.jobs.get(&next) else { continue };
            for need in job.needs.iter() {
                let need = JobId { run: id.run, index: *need };
                if found.insert(need) {
                    open.push(need);
                }
            }
        }
        found
    }
}

/// The worst of a run's outcomes: failed, timed out, lost, cancelled, succeeded; skipped only when all were.
fn worst(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let badness = |outcome: &Outcome| match outcome {
        Outcome::Skipped => 0,
        Outcome::Succeeded => 1,
        Outcome::Cancelled => 2,
        Outcome::Lost => 3,
        Outcome::TimedOut => 4,
        Outcome::Failed => 5,
    };
    outcomes.max_by_key(badness).unwrap_or(Outcome::Skipped)
}
