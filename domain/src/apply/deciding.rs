//! Undecided jobs become what the leader makes of them once all that they need is finished; runs of forks begin once
//! somebody approves them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::runs::record_of;
use super::{Answer, Applying, clipped, invalid, not_found, wrong_state};
use crate::{
    Condition, JobId, JobKind, JobState, NewJob, NewRun, Outcome, Refusal, Reply, RunId, SpecBytes, Verdict,
    limits, shared,
};

impl Applying<'_> {
    pub(super) fn decide_job(&mut self, id: JobId, verdict: &Verdict) -> Answer {
        let job = self.state.jobs.get(&id).ok_or_else(|| not_found("job", id))?;
        if job.state != JobState::Deciding {
            return Err(wrong_state(format!("job {id}"), job.state.as_str(), "deciding it"));
        }
        let cancelled = self.state.runs.get(&id.run).is_some_and(|run| run.cancel_requested);
        let lasts =
            matches!(verdict, Verdict::Become { jobs, .. } if jobs.first().is_some_and(|job| job.lasting));
        match verdict {
            // Decided before somebody asked for the end of the run, or not to run because of that.
            Verdict::Skip | Verdict::Become { .. } if cancelled && !lasts => self.cancel_job(id),
            Verdict::Skip => self.move_job(id, JobState::Finished(Outcome::Skipped)),
            Verdict::Fail { reason } => self.fail_undecided(id, reason),
            Verdict::Become { jobs, specs } => match self.check_become(id, jobs, specs) {
                Ok(()) => self.become_jobs(id, jobs, specs),
                // It would be refused for ever, and nobody would see why.
                Err(refusal) => self.fail_undecided(id, &refusal.to_string()),
            },
        }
        self.settle(id.run);
        Ok(Reply::Done)
    }

    fn fail_undecided(&mut self, id: JobId, reason: &str) {
        self.state.reasons.insert(id, clipped(reason));
        self.move_job(id, JobState::Finished(Outcome::Failed));
    }

    fn check_become(&self, id: JobId, jobs: &[NewJob], specs: &[SpecBytes]) -> Result<(), Refusal> {
        let run = self.state.runs.get(&id.run).ok_or_else(|| not_found("run", id.run))?;
        let total = usize::from(run.jobs) + jobs.len().saturating_sub(1);
        if total > limits::MAX_JOBS_PER_RUN {
            let why =
                format!("{total} jobs with those of this one, the limit is {}", limits::MAX_JOBS_PER_RUN);
            return Err(invalid("jobs", why));
        }
        self.validate(&NewRun::of(id.run, "", jobs.to_vec(), specs.to_vec()))?;
        let contexts = jobs.iter().map(|job| job.contexts.len()).sum::<usize>();
        let bytes = contexts + self.spec_bytes(id, specs);
        if bytes > limits::MAX_SPEC_BYTES {
            let why = format!(
                "{bytes} bytes of specification with those of the run's other jobs, the limit is {}",
                limits::MAX_SPEC_BYTES
            );
            return Err(invalid("jobs", why));
        }
        Ok(())
    }

    /// What the specifications of a run's jobs take with these in the place of one job's, equal ones once.
    fn spec_bytes(&self, of: JobId, new: &[SpecBytes]) -> usize {
        let mut specs: BTreeSet<_> = new.iter().collect();
        let mut contexts = 0;
        for (id, _) in self.state.jobs_of(of.run).filter(|(id, _)| *id != of) {
            specs.extend(self.state.specs.get(&id));
            contexts += self.state.contexts.get(&id).map_or(0, |text| text.len());
        }
        contexts + specs.iter().map(|spec| spec.0.len()).sum::<usize>()
    }

    fn become_jobs(&mut self, id: JobId, jobs: &[NewJob], specs: &[SpecBytes]) {
        let Some((first, others)) = jobs.split_first() else { return };
        let Some(run) = self.state.runs.get(&id.run) else { return };
        let (base, repo) = (run.jobs, run.repo);
        let known: BTreeSet<_> =
            self.state.jobs_of(id.run).filter_map(|(id, _)| self.state.specs.get(&id)).collect();
        let specs: Vec<_> = specs.iter().map(|spec| (*known.get(spec).unwrap_or(&spec)).clone()).collect();
        // Indices in the list are of the list: the first is this job, the others come after all that there are.
        let place = |index: u16| if index == 0 { id.index } else { base + index - 1 };
        let extra = repo.and_then(|repo| self.state.repos.get(&repo)).map(|repo| repo.labels.clone());
        if let Some(was) = self.state.specs.get(&id).cloned() {
            let contexts = self.state.contexts.get(&id).cloned().unwrap_or_else(|| shared(""));
            self.state.once_undecided.insert(id, (was, contexts));
        }
        let made = record_of(first, extra.as_ref());
        self.state.jobs.update(&id, |job| {
            let kind = JobKind {
                key: Arc::clone(&job.kind.key),
                needs: Arc::clone(&job.kind.needs),
                group: job.kind.group,
                condition: Condition::Always,
                ..(*made.kind).clone()
            };
            job.kind = Arc::new(kind);
        });
        self.put_spec(id, first, &specs);
        let added = others.len() as u16;
        self.state.open_jobs += u32::from(added);
        self.state.runs.update(&id.run, |run| {
            run.open_jobs += added;
            Arc::make_mut(&mut run.kind).jobs += added;
        });
        for (offset, job) in others.iter().enumerate() {
            let new = JobId { run: id.run, index: base + offset as u16 };
            let moved = NewJob {
                needs: job.needs.iter().map(|need| place(*need)).collect(),
                group: Some(job.group.map_or(id.index, place)),
                ..job.clone()
            };
            self.put_spec(new, job, &specs);
            self.state.put_job(new, record_of(&moved, extra.as_ref()));
        }
        self.move_job(id, JobState::Waiting(0));
    }

    /// What a job is to do, and what tells it apart from others that do the same.
    pub(super) fn put_spec(&mut self, id: JobId, job: &NewJob, specs: &[SpecBytes]) {
        let spec = specs.get(usize::from(job.spec)).cloned().unwrap_or_else(|| SpecBytes(Arc::new([])));
        self.state.specs.insert(id, spec);
        if job.contexts.is_empty() {
            self.state.contexts.remove(&id);
        } else {
            self.state.contexts.insert(id, shared(&job.contexts));
        }
    }

    /// What strangers ask for and nobody looks at does not fill the queue: the first of too many is cancelled.
    pub(super) fn make_room_for_unapproved(&mut self, new: RunId) {
        let repo = |id: &RunId| self.state.runs.get(id).and_then(|run| run.repo);
        let waiting = self.state.unapproved.iter().map(|(id, ())| *id);
        let waiting: Vec<_> = waiting.filter(|id| repo(id) == repo(&new)).collect();
        if waiting.len() >= limits::MAX_UNAPPROVED
            && let Some(first) = waiting.first().copied()
        {
            self.cancel_jobs(first, true);
            self.touched.push(first);
        }
    }

    pub(super) fn approve_run(&mut self, id: RunId, sender: &str) -> Answer {
        let run = self.state.runs.get(&id).ok_or_else(|| not_found("run", id))?;
        if run.outcome.is_some() {
            return Err(wrong_state(format!("run {id}"), "finished", "approving it"));
        }
        if self.state.unapproved.remove(&id).is_some() {
            self.state.approved.insert(id, shared(sender));
            // Only now: what strangers ask for stands in nobody's way.
            self.claim_of_run(id);
            self.notice(id, None);
            self.settle(id);
        }
        Ok(Reply::Done)
    }
}
