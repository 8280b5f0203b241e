//! Pausing a run: an intent that is committed. Its jobs are not placed; what runs stands still, as soon as its node has seen
//! to it and says so.

use super::{Answer, Applying, not_found, wrong_state};
use crate::{AttemptId, Effect, JobId, JobState, Pause, Refusal, Reply, RunId, Timestamp};

impl Applying<'_> {
    pub(super) fn pause_run(&mut self, id: RunId, sender: &str) -> Answer {
        self.open_run(id, "pausing it")?;
        if !self.state.paused_runs.contains(&id) {
            let pause = Pause { at: self.state.now, sender: sender.to_owned() };
            self.state.paused_runs.insert(id, pause);
            self.hold_queued(id);
            self.tell_attempts(id, true);
        }
        Ok(Reply::Done)
    }

    pub(super) fn resume_run(&mut self, id: RunId) -> Answer {
        self.open_run(id, "resuming it")?;
        if self.state.paused_runs.remove(&id).is_some() {
            self.settle(id);
            self.tell_attempts(id, false);
        }
        Ok(Reply::Done)
    }

    fn open_run(&self, id: RunId, wanted: &str) -> Result<(), Refusal> {
        let run = self.state.runs.get(&id).ok_or_else(|| not_found("run", id))?;
        if run.outcome.is_some() {
            return Err(wrong_state(format!("run {id}"), "finished", wanted));
        }
        Ok(())
    }

    /// Its queued jobs are held.
    fn hold_queued(&mut self, run: RunId) {
        let jobs = self.state.runs.get(&run).map_or(0, |run| run.jobs);
        for index in 0..jobs {
            let id = JobId { run, index };
            if self.state.jobs.get(&id).is_some_and(|job| job.state == JobState::Queued) {
                self.move_job(id, JobState::Held);
            }
        }
    }

    fn tell_attempts(&mut self, run: RunId, pause: bool) {
        let jobs = self.state.runs.get(&run).map_or(0, |run| run.jobs);
        for index in 0..jobs {
            let id = JobId { run, index };
            if let Some(job) = self.state.jobs.get(&id)
                && matches!(job.state, JobState::Placed | JobState::Running)
            {
                let attempt = job.attempt_id(id);
                self.effects.push(Effect::PauseAttempt { attempt, pause });
            }
        }
    }

    /// An attempt stands still, or goes on, as its node says.
    pub(super) fn attempt_paused(&mut self, attempt: AttemptId, since: Option<Timestamp>) {
        let news = match since {
            Some(at) if !self.state.paused_attempts.contains(&attempt) => {
                self.state.paused_attempts.insert(attempt, at);
                true
            }
            Some(_) => false,
            None => self.state.paused_attempts.remove(&attempt).is_some(),
        };
        if news {
            self.effects.push(Effect::AttemptPaused { attempt, paused: since.is_some() });
        }
    }
}
