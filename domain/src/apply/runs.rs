//! Runs: made, submitted, run again, cancelled.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::environments::check_name as check_environment;
use super::{Answer, Applying, invalid, not_found, wrong_state};
use crate::{
    ClusterState, Concurrency, Condition, DeliveryId, Effect, Event, EventKind, Fence, Form, Job, JobId,
    JobKind, JobState, KeyTarget, Labels, NewJob, NewRun, NodeId, Notice, Outcome, Refusal, Reply, RepoId,
    Run, RunId, RunKind, SpecBytes, Timestamp, limits, shared,
};

/// Where a run comes from.
pub(super) struct Origin {
    pub(super) repo: Option<RepoId>,
    pub(super) number: u64,
    pub(super) delivery: Option<DeliveryId>,
    pub(super) rerun_of: Option<(RunId, String)>,
    pub(super) event: Arc<Event>,
}

impl ClusterState {
    /// Whether a job runs although its run is cancelled: it says so, is not decided yet, or is a member of a group that does.
    pub(crate) fn lasts(&self, id: JobId) -> bool {
        let of = |id: &JobId| self.jobs.get(id)?.group.map(|index| JobId { index, ..*id });
        std::iter::successors(Some(id), of)
            .any(|id| self.jobs.get(&id).is_some_and(|job| job.lasting || job.form == Form::Undecided))
    }
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
        let event = Arc::new(Event { sender: sender.to_owned(), ..Event::of(EventKind::AdHoc) });
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
        let (jobs, specs) = self.jobs_again(of, old.declared);
        let run = NewRun {
            id,
            name: old.name.to_string(),
            title: old.title.to_string(),
            path: old.path.to_string(),
            jobs,
            specs,
            concurrency: old.concurrency.as_deref().cloned(),
            error: None,
        };
        let number = self.take_number(repo);
        let (rerun_of, event) = (Some((of, sender.to_owned())), Arc::clone(&old.event));
        self.create_run(&run, Origin { repo, number, delivery: old.delivery, rerun_of, event });
        Ok(Reply::Run { id, number, duplicate: false })
    }

    /// A run's jobs as they were at its beginning.
    fn jobs_again(&self, of: RunId, declared: u16) -> (Vec<NewJob>, Vec<SpecBytes>) {
        let (mut jobs, mut specs) = (Vec::new(), Vec::<SpecBytes>::new());
        for (id, job) in self.state.jobs_of(of).take(usize::from(declared)) {
            let undecided = self.state.once_undecided.get(&id);
            let was = undecided.map(|(spec, _)| spec);
            let Some(spec) = was.or_else(|| self.state.specs.get(&id)) else { continue };
            let known = specs.iter().position(|other| other == spec);
            let spec = known.unwrap_or_else(|| {
                specs.push(spec.clone());
                specs.len() - 1
            });
            let contexts = undecided.map(|(_, contexts)| contexts).or_else(|| self.state.contexts.get(&id));
            jobs.push(NewJob {
                key: job.key.to_string(),
                name: job.name.to_string(),
                needs: job.needs.to_vec(),
                group: job.group,
                form: if undecided.is_some() { Form::Undecided } else { job.form },
                condition: job.condition,
                lasting: job.lasting,
                may_fail: job.may_fail,
                concurrency: job.concurrency.as_deref().cloned(),
                labels: job.labels.clone(),
                resources: job.resources,
                priority: job.priority,
                retry: job.retry,
                spread: job.spread,
                environment: job.environment.as_deref().map(ToOwned::to_owned),
                contexts: contexts.map_or_else(String::new, ToString::to_string),
                spec: spec as u16,
            });
        }
        (jobs, specs)
    }

    /// Jobs that have not started finish at once; running ones are told, again at each call. What lasts goes on, unless by force.
    pub(super) fn cancel_run(&mut self, id: RunId, force: bool) -> Answer {
        let run = self.state.runs.get(&id).ok_or_else(|| not_found("run", id))?;
        if run.outcome.is_some() {
            return Err(wrong_state(format!("run {id}"), "finished", "cancelling it"));
        }
        // Of what has not begun, or needs somebody's word to begin, nothing is to be cleaned up.
        let force = force || self.state.unapproved.contains(&id) || self.state.waits_in_its_group(id);
        self.cancel_jobs(id, force);
        self.settle(id);
        Ok(Reply::Done)
    }

    /// All jobs of a run; it is to be settled then.
    pub(super) fn cancel_jobs(&mut self, id: RunId, force: bool) {
        self.state.runs.update(&id, |run| run.cancel_requested = true);
        // What stands still could not end in order.
        self.state.paused_runs.remove(&id);
        let jobs: Vec<_> = self.state.jobs_of(id).map(|(id, _)| id).collect();
        for job in jobs {
            self.cancel_one(job, force);
        }
    }

    /// A job, or the members of a group, whatever lasts; its run is to be settled then.
    pub(super) fn cancel_job(&mut self, id: JobId) {
        self.cancel_one(id, true);
    }

    /// Nothing of what lasts, unless by force.
    fn cancel_one(&mut self, id: JobId, force: bool) {
        if !force && self.state.lasts(id) {
            return;
        }
        let Some(job) = self.state.jobs.get(&id) else { return };
        match job.state {
            JobState::Finished(_) => {}
            JobState::Placed | JobState::Running => {
                let attempt = job.attempt_id(id);
                let (node, fence) = (job.node, job.fence);
                self.state.jobs.update(&id, |job| job.cancel_requested = true);
                self.effects.push(Effect::CancelAttempt { node, attempt, fence });
            }
            JobState::Waiting(_) | JobState::Queued | JobState::Held | JobState::Deciding => {
                self.state.jobs.update(&id, |job| job.cancel_requested = true);
                self.move_job(id, JobState::Finished(Outcome::Cancelled));
            }
            JobState::Open => {
                self.state.jobs.update(&id, |job| job.cancel_requested = true);
                let members: Vec<_> = self.state.members(id.run, id.index).map(|(id, _)| id).collect();
                for member in members {
                    self.cancel_one(member, force);
                }
            }
        }
    }

    /// The number that the next of a repository's runs gets, or of the ad hoc runs.
    pub(super) fn next_number(&self, repo: Option<RepoId>) -> u64 {
        let of_repo = repo.and_then(|repo| self.state.repos.get(&repo));
        of_repo.map_or(self.state.ad_hoc_number + 1, |repo| repo.next_number)
    }

    /// Gives it to a run.
    pub(super) fn take_number(&mut self, repo: Option<RepoId>) -> u64 {
        let number = self.next_number(repo);
        match repo.filter(|repo| self.state.repos.contains(repo)) {
            Some(repo) => drop(self.state.repos.update(&repo, |repo| repo.next_number += 1)),
            None => self.state.ad_hoc_number += 1,
        }
        number
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
        let specs: usize = run.specs.iter().map(|spec| spec.0.len()).sum();
        let bytes = specs + run.jobs.iter().map(|job| job.contexts.len()).sum::<usize>();
        if bytes > limits::MAX_SPEC_BYTES {
            return Err(invalid(
                "jobs",
                format!("{bytes} bytes of specification, the limit is {}", limits::MAX_SPEC_BYTES),
            ));
        }
        let mut keys = BTreeSet::new();
        for (index, job) in run.jobs.iter().enumerate() {
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
            if !(1..=limits::MAX_ATTEMPTS).contains(&job.retry.attempts) {
                let why = format!("{}, 1 to {} are allowed", job.retry.attempts, limits::MAX_ATTEMPTS);
                return Err(invalid(&field("retry.attempts"), why));
            }
            if let Some(name) = &job.environment {
                check_environment(&field("environment"), name)?;
            }
            if job.needs.iter().any(|need| usize::from(*need) >= run.jobs.len()) {
                return Err(invalid(&field("needs"), "names a job that is not there"));
            }
            let group = job.group.map(|group| run.jobs.get(usize::from(group)).map(|group| group.form));
            // A group stands before its members, so that none is its own.
            let before = job.group.is_none_or(|group| usize::from(group) < index);
            if !before || group.is_some_and(|form| !matches!(form, Some(Form::Group { .. }))) {
                return Err(invalid(&field("group"), "is no group before it"));
            }
            if usize::from(job.spec) >= run.specs.len() {
                return Err(invalid(&field("spec"), "is a specification that is not there"));
            }
            check_group(job.concurrency.as_ref())?;
        }
        check_group(run.concurrency.as_ref())?;
        match cycle(&run.jobs) {
            Some(key) => Err(invalid(&format!("jobs.{key}.needs"), "is part of a cycle")),
            None => Ok(()),
        }
    }

    /// Makes the records of a valid run.
    pub(super) fn create_run(&mut self, new: &NewRun, origin: Origin) {
        let (now, from_fork) = (self.state.now, origin.event.from_fork);
        let extra = origin.repo.and_then(|repo| self.state.repos.get(&repo)).map(|repo| repo.labels.clone());
        let jobs = new.jobs.len() as u16;
        let kind = RunKind {
            repo: origin.repo,
            delivery: origin.delivery,
            rerun_of: origin.rerun_of.as_ref().map(|(of, _)| *of),
            rerun_by: origin.rerun_of.as_ref().map(|(_, by)| shared(by)),
            name: shared(&new.name),
            title: shared(&new.title),
            path: shared(&new.path),
            event: origin.event,
            jobs,
            declared: jobs,
            concurrency: new.concurrency.clone().map(Arc::new),
            error: new.error.as_deref().map(shared),
        };
        let run = Run {
            kind: Arc::new(kind),
            number: origin.number,
            open_jobs: jobs,
            created_at: now,
            finished_at: Timestamp(0),
            outcome: None,
            cancel_requested: false,
        };
        self.state.put_run(new.id, run);
        self.state.open_jobs += u32::from(jobs);
        for (index, job) in new.jobs.iter().enumerate() {
            let id = JobId { run: new.id, index: index as u16 };
            self.put_spec(id, job, &new.specs);
            self.state.put_job(id, record_of(job, extra.as_ref()));
        }
        let repo = origin.repo.and_then(|repo| self.state.repos.get(&repo));
        // One that somebody runs again by hand is approved by that.
        if from_fork && origin.rerun_of.is_none() && repo.is_some_and(|repo| repo.approve_forks) && jobs > 0 {
            self.make_room_for_unapproved(new.id);
            self.state.unapproved.insert(new.id, ());
        }
        if jobs > 0 && !self.state.unapproved.contains(&new.id) {
            self.claim_of_run(new.id);
        }
        self.notice(new.id, None);
        self.follow(new.id, None);
        self.settle(new.id);
    }

    /// Puts a run's state in the outbox, where its repository has commit statuses; the last state wins.
    pub(super) fn notice(&mut self, run: RunId, outcome: Option<Outcome>) {
        let repo = self.state.runs.get(&run).and_then(|run| self.state.repos.get(&run.repo?));
        if repo.is_some_and(|repo| repo.access.status.is_some()) {
            self.state.outbox.insert(run, Notice { run, outcome, at: self.state.now, fence: self.fence });
            self.effects.push(Effect::WakeOutbox);
        }
    }

    pub(super) fn notice_sent(&mut self, run: RunId, told: Fence) -> Answer {
        // A newer state came meanwhile: it is still to be told.
        if self.state.outbox.get(&run).is_some_and(|notice| notice.fence == told) {
            self.state.outbox.remove(&run);
        }
        Ok(Reply::Done)
    }
}

fn check_group(of: Option<&Concurrency>) -> Result<(), Refusal> {
    match of.map(|of| of.group.len()) {
        None | Some(1..=limits::MAX_NAME_BYTES) => Ok(()),
        Some(found) => {
            let why = format!("its name has {found} bytes, 1 to {} are allowed", limits::MAX_NAME_BYTES);
            Err(invalid("concurrency.group", why))
        }
    }
}

pub(super) fn record_of(new: &NewJob, extra: Option<&Labels>) -> Job {
    let labels = match extra {
        Some(extra) if !extra.is_empty() => new.labels.iter().chain(extra.iter()).collect(),
        _ => new.labels.clone(),
    };
    let kind = JobKind {
        key: shared(&new.key),
        name: shared(&new.name),
        group: new.group,
        form: new.form,
        may_fail: new.may_fail,
        concurrency: new.concurrency.clone().map(Arc::new),
        priority: new.priority,
        condition: new.condition,
        lasting: new.lasting,
        retry: new.retry,
        spread: new.spread,
        environment: new.environment.as_deref().map(shared),
        labels,
        resources: new.resources,
        needs: new.needs.clone().into(),
    };
    Job {
        kind: Arc::new(kind),
        state: JobState::Waiting(new.needs.len() as u16 + u16::from(new.group.is_some())),
        cancel_requested: false,
        attempts: 0,
        losses: 0,
        failures: 0,
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
        Condition::Never => false,
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
