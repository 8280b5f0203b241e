//! Runs: made, submitted, run again, cancelled.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Answer, Applying, invalid, not_found, wrong_state};
use crate::{
    Condition, DeliveryId, Effect, Event, EventKind, Fence, Job, JobId, JobKind, JobState, KeyTarget, Labels,
    NewJob, NewRun, NodeId, Notice, Outcome, Refusal, Reply, RepoId, Run, RunId, RunKind, Timestamp, limits,
    shared,
};

/// Where a run comes from.
pub(super) struct Origin {
    pub(super) repo: Option<RepoId>,
    pub(super) number: u64,
    pub(super) delivery: Option<DeliveryId>,
    pub(super) rerun_of: Option<RunId>,
    pub(super) event: Arc<Event>,
}

impl Applying<'_> {
    pub(super) fn submit_run(
        &mut self,
        key: &str,
        digest: [u8; 32],
        sender: &str,
        run: &NewRun,
        max_open_jobs: u32,
    ) -> Answer {
        if key.len() > limits::MAX_KEY_BYTES {
            return Err(invalid(
                "Idempotency-Key",
                format!("{} bytes, the limit is {}", key.len(), limits::MAX_KEY_BYTES),
            ));
        }
        let stored_key: Arc<str> = format!("submit:{key}").into();
        if let Some(known) = self.state.keys.get(&stored_key).filter(|_| !key.is_empty()) {
            let KeyTarget::Run(id) = known.target else {
                return Err(Refusal::KeyConflict { key: key.to_owned() });
            };
            if known.digest != digest {
                return Err(Refusal::KeyConflict { key: key.to_owned() });
            }
            let number = self.state.runs.get(&id).map_or(0, |run| run.number);
            return Ok(Reply::Run { id, number, duplicate: true });
        }
        if self.state.open_jobs >= max_open_jobs {
            return Err(Refusal::QueueFull { open: self.state.open_jobs, limit: max_open_jobs });
        }
        if run.jobs.len() != 1 || run.error.is_some() {
            return Err(invalid("run", "an ad hoc run has exactly one job"));
        }
        self.validate(run)?;
        if self.state.runs.contains(&run.id) {
            return Err(Refusal::AlreadyDone { what: format!("making the run {}", run.id) });
        }
        if !key.is_empty() {
            self.remember_key(stored_key, KeyTarget::Run(run.id), digest);
        }
        let number = self.take_number(None);
        let event = Arc::new(ad_hoc_event(sender));
        self.create_run(run, Origin { repo: None, number, delivery: None, rerun_of: None, event });
        Ok(Reply::Run { id: run.id, number, duplicate: false })
    }

    pub(super) fn rerun(&mut self, id: RunId, of: RunId, sender: &str) -> Answer {
        let old = self.state.runs.get(&of).ok_or_else(|| not_found("run", of))?.clone();
        if old.outcome.is_none() || old.jobs == 0 {
            let state = if old.jobs == 0 { "without jobs (push again)" } else { "not finished" };
            return Err(wrong_state(format!("run {of}"), state, "running it again"));
        }
        if self.state.runs.contains(&id) {
            return Err(Refusal::AlreadyDone { what: format!("making the run {id}") });
        }
        let repo = old.repo.filter(|repo| self.state.repos.contains(repo));
        let jobs: Vec<NewJob> =
            (0..old.jobs).filter_map(|index| self.job_again(JobId { run: of, index })).collect();
        let run = NewRun { id, name: old.name.to_string(), path: old.path.to_string(), jobs, error: None };
        let event = Arc::new(Event { sender: sender.to_owned(), ..(*old.event).clone() });
        let number = self.take_number(repo);
        self.create_run(&run, Origin { repo, number, delivery: old.delivery, rerun_of: Some(of), event });
        Ok(Reply::Run { id, number, duplicate: false })
    }

    fn job_again(&self, id: JobId) -> Option<NewJob> {
        let job = self.state.jobs.get(&id)?;
        Some(NewJob {
            key: job.key.to_string(),
            needs: job.needs.to_vec(),
            condition: job.condition,
            labels: job.labels.clone(),
            resources: job.resources,
            priority: job.priority,
            max_attempts: job.max_attempts,
            spec: self.state.specs.get(&id)?.clone(),
        })
    }

    /// Jobs that have not started finish at once, `always()` ones too; running ones are told, again at each call.
    pub(super) fn cancel_run(&mut self, id: RunId) -> Answer {
        let run = self.state.runs.get(&id).ok_or_else(|| not_found("run", id))?;
        if run.outcome.is_some() {
            return Err(wrong_state(format!("run {id}"), "finished", "cancelling it"));
        }
        let jobs = run.jobs;
        // What stands still could not end in order.
        self.state.paused_runs.remove(&id);
        for index in 0..jobs {
            let job_id = JobId { run: id, index };
            let Some(job) = self.state.jobs.get(&job_id) else { continue };
            match job.state {
                JobState::Finished(_) => {}
                JobState::Placed | JobState::Running => {
                    let attempt = job.attempt_id(job_id);
                    let (node, fence) = (job.node, job.fence);
                    self.state.jobs.update(&job_id, |job| job.cancel_requested = true);
                    self.effects.push(Effect::CancelAttempt { node, attempt, fence });
                }
                JobState::Waiting(_) | JobState::Queued | JobState::Held => {
                    self.state.jobs.update(&job_id, |job| job.cancel_requested = true);
                    self.move_job(job_id, JobState::Finished(Outcome::Cancelled));
                }
            }
        }
        self.settle(id);
        Ok(Reply::Done)
    }

    /// The next number of a repository's runs, or of the ad hoc runs.
    pub(super) fn take_number(&mut self, repo: Option<RepoId>) -> u64 {
        let of_repo = repo.and_then(|repo| {
            self.state.repos.update(&repo, |repo| {
                repo.next_number += 1;
                repo.next_number - 1
            })
        });
        of_repo.unwrap_or_else(|| {
            self.state.ad_hoc_number += 1;
            self.state.ad_hoc_number
        })
    }

    /// Checks a run against the limits; what it refuses would break an invariant.
    pub(super) fn validate(&self, run: &NewRun) -> Result<(), Refusal> {
        if run.jobs.len() > limits::MAX_JOBS_PER_RUN {
            return Err(invalid(
                "jobs",
                format!("{} jobs, the limit is {}", run.jobs.len(), limits::MAX_JOBS_PER_RUN),
            ));
        }
        if run.jobs.is_empty() && run.error.is_none() {
            return Err(invalid("jobs", "a run needs at least one job"));
        }
        let bytes: usize = run.jobs.iter().map(|job| job.spec.0.len()).sum();
        if bytes > limits::MAX_SPEC_BYTES {
            return Err(invalid(
                "jobs",
                format!("{bytes} bytes of specification, the limit is {}", limits::MAX_SPEC_BYTES),
            ));
        }
        let mut keys = BTreeSet::new();
        for job in &run.jobs {
            let field = |name: &str| format!("jobs.{}.{name}", job.key);
            if !keys.insert(&job.key) {
                return Err(invalid(&field("key"), "is used twice"));
            }
            if !(-100..=100).contains(&job.priority) {
                return Err(invalid(
                    &field("priority"),
                    format!("{}, -100 to 100 are allowed", job.priority),
                ));
            }
            if !(1..=limits::MAX_ATTEMPTS).contains(&job.max_attempts) {
                let why = format!("{}, 1 to {} are allowed", job.max_attempts, limits::MAX_ATTEMPTS);
                return Err(invalid(&field("max_attempts"), why));
            }
            if job.needs.iter().any(|need| usize::from(*need) >= run.jobs.len()) {
                return Err(invalid(&field("needs"), "names a job that is not there"));
            }
        }
        match cycle(&run.jobs) {
            Some(key) => Err(invalid(&format!("jobs.{key}.needs"), "is part of a cycle")),
            None => Ok(()),
        }
    }

    /// Makes the records of a valid run.
    pub(super) fn create_run(&mut self, new: &NewRun, origin: Origin) {
        let now = self.state.now;
        let extra = origin.repo.and_then(|repo| self.state.repos.get(&repo)).map(|repo| repo.labels.clone());
        let jobs = new.jobs.len() as u16;
        let kind = RunKind {
            repo: origin.repo,
            delivery: origin.delivery,
            rerun_of: origin.rerun_of,
            name: shared(&new.name),
            path: shared(&new.path),
            event: origin.event,
            jobs,
            error: new.error.as_deref().map(shared),
        };
        let run = Run {
            kind: Arc::new(kind),
            number: origin.number,
            open_jobs: jobs,
            created_at: now,
            finished_at: Timestamp(0),
            outcome: None,
        };
        self.state.put_run(new.id, run);
        self.state.open_jobs += u32::from(jobs);
        for (index, job) in new.jobs.iter().enumerate() {
            let id = JobId { run: new.id, index: index as u16 };
            self.state.specs.insert(id, job.spec.clone());
            self.state.put_job(id, record_of(job, extra.as_ref()));
        }
        for index in 0..jobs {
            let id = JobId { run: new.id, index };
            if self.state.jobs.get(&id).is_some_and(|job| job.needs.is_empty()) {
                self.ready(id);
            }
        }
        self.notice(new.id, None);
        self.settle(new.id);
    }

    /// Puts a run's state in the outbox; the last state wins.
    pub(super) fn notice(&mut self, run: RunId, outcome: Option<Outcome>) {
        if self.state.runs.get(&run).is_some_and(|run| run.repo.is_some()) {
            self.state.outbox.insert(run, Notice { run, outcome, at: self.state.now });
            self.effects.push(Effect::WakeOutbox);
        }
    }

    pub(super) fn notice_sent(&mut self, run: RunId, at: Timestamp) -> Answer {
        // A newer state came meanwhile: it is still to be told.
        if self.state.outbox.get(&run).is_some_and(|notice| notice.at == at) {
            self.state.outbox.remove(&run);
        }
        Ok(Reply::Done)
    }
}

fn ad_hoc_event(sender: &str) -> Event {
    Event {
        kind: EventKind::AdHoc,
        git_ref: String::new(),
        commit: String::new(),
        before: String::new(),
        sender: sender.to_owned(),
        title: String::new(),
    }
}

fn record_of(new: &NewJob, extra: Option<&Labels>) -> Job {
    let labels = match extra {
        Some(extra) if !extra.is_empty() => new.labels.iter().chain(extra.iter()).collect(),
        _ => new.labels.clone(),
    };
    let kind = JobKind {
        key: shared(&new.key),
        priority: new.priority,
        condition: new.condition,
        max_attempts: new.max_attempts,
        labels,
        resources: new.resources,
        needs: new.needs.clone().into(),
    };
    Job {
        kind: Arc::new(kind),
        state: JobState::Waiting(new.needs.len() as u16),
        cancel_requested: false,
        attempts: 0,
        losses: 0,
        node: NodeId(0),
        fence: Fence(0),
        queued_at: Timestamp(0),
        placed_at: Timestamp(0),
        started_at: Timestamp(0),
        finished_at: Timestamp(0),
    }
}

/// The key of a job on a cycle of `needs`, if there is one (Kahn's algorithm: what is never free is on or behind one).
fn cycle(jobs: &[NewJob]) -> Option<&str> {
    let mut done = vec![false; jobs.len()];
    loop {
        let free = |job: &NewJob| job.needs.iter().all(|need| done[usize::from(*need)]);
        let Some(next) = (0..jobs.len()).find(|i| !done[*i] && free(&jobs[*i])) else { break };
        done[next] = true;
    }
    done.iter().position(|done| !done).map(|i| jobs[i].key.as_str())
}

/// Whether a job with this condition starts, given how its ancestors ended: as GitHub's status functions, which look at
/// all ancestors, not only at the direct ones.
pub(super) fn starts(condition: Condition, mut ancestors: impl Iterator<Item = Outcome>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Success => ancestors.all(|outcome| outcome == Outcome::Succeeded),
        Condition::Failure => {
            ancestors.any(|outcome| matches!(outcome, Outcome::Failed | Outcome::TimedOut | Outcome::Lost))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Cancelled, Failed, Lost, Skipped, Succeeded, TimedOut};

    /// GitHub's documentation of `success()`, `failure()` and `always()` for jobs, as a table.
    #[test]
    fn conditions_look_at_all_ancestors() {
        let cases: [(&[Outcome], bool, bool); 8] = [
            (&[], true, false),
            (&[Succeeded, Succeeded], true, false),
            (&[Succeeded, Failed], false, true),
            (&[Skipped], false, false),
            (&[Cancelled], false, false),
            (&[TimedOut], false, true),
            (&[Lost], false, true),
            (&[Failed, Skipped], false, true),
        ];
        for (ancestors, success, failure) in cases {
            let holds = |condition| starts(condition, ancestors.iter().copied());
            assert_eq!(holds(Condition::Success), success, "success() after {ancestors:?}");
            assert_eq!(holds(Condition::Failure), failure, "failure() after {ancestors:?}");
            assert!(holds(Condition::Always), "always() after {ancestors:?}");
        }
    }
}
