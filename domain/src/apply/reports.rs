//! What runners report: fenced, idempotent, never changing a finished state.

use super::{Answer, Applying, clipped, invalid, not_found, wrong_state};
use crate::{
    Annotation, AttemptReport, JobState, Outcome, Progress, Refusal, Reply, StepResult, limits, planted,
};

impl Applying<'_> {
    pub(super) fn report(&mut self, report: &AttemptReport) -> Answer {
        let id = report.attempt.job;
        let job = self.state.jobs.get(&id).ok_or_else(|| not_found("job", id))?;
        let present = job.fence;
        let is_present =
            present == report.fence && job.attempts == report.attempt.number && job.node == report.node;
        if !is_present && !planted::unfenced() {
            return Err(Refusal::StaleFence { given: report.fence, present });
        }
        match job.state {
            JobState::Placed | JobState::Running => self.progress(report),
            JobState::Finished(_) if !planted::again() => self.repeated(report),
            JobState::Finished(_) => self.progress(report),
            other => Err(wrong_state(format!("job {id}"), other.as_str(), "reporting about it")),
        }
    }

    fn progress(&mut self, report: &AttemptReport) -> Answer {
        let id = report.attempt.job;
        match &report.what {
            Progress::Started { at } => {
                if self.state.jobs.get(&id).is_some_and(|job| job.state == JobState::Placed) {
                    self.state.jobs.update(&id, |job| job.started_at = *at);
                    self.state.attempts.update(&report.attempt, |attempt| attempt.started_at = *at);
                    self.move_job(id, JobState::Running);
                }
            }
            Progress::Steps { steps } => {
                check_steps(steps)?;
                self.state
                    .attempts
                    .update(&report.attempt, |attempt| attempt.steps = steps.as_slice().into());
            }
            Progress::Paused { at } => self.attempt_paused(report.attempt, Some(*at)),
            Progress::Resumed => self.attempt_paused(report.attempt, None),
            Progress::Finished { outcome, reason, steps, artifacts, log_bytes, outputs, annotations } => {
                check_steps(steps)?;
                check_told(outputs, annotations)?;
                if *outcome == Outcome::Skipped {
                    return Err(invalid("outcome", "an attempt cannot be skipped"));
                }
                self.started_with(report, steps);
                self.state.attempts.update(&report.attempt, |attempt| {
                    attempt.steps = steps.as_slice().into();
                    attempt.artifacts = artifacts.as_slice().into();
                    attempt.log_bytes = *log_bytes;
                    attempt.annotations = annotations.as_slice().into();
                });
                if *outcome == Outcome::Lost {
                    self.lose_attempt(id, reason);
                } else if self.try_again(id, *outcome, reason) {
                    self.settle(id.run);
                } else {
                    self.end_attempt(id, *outcome, reason);
                    if !outputs.is_empty() {
                        self.state.outputs.insert(id, outputs.as_slice().into());
                    }
                    self.move_job(id, JobState::Finished(*outcome));
                    self.settle(id.run);
                }
            }
        }
        Ok(Reply::Done)
    }

    /// The end of a short job may overtake its start, or be told instead of it: its first step says when it was.
    fn started_with(&mut self, report: &AttemptReport, steps: &[StepResult]) {
        let id = report.attempt.job;
        let first = steps.iter().map(|step| step.started_at).find(|at| at.0 > 0);
        let untold = self.state.jobs.get(&id).is_some_and(|job| job.started_at.0 == 0);
        if let Some(at) = first.filter(|_| untold) {
            self.state.jobs.update(&id, |job| job.started_at = at);
            self.state.attempts.update(&report.attempt, |attempt| attempt.started_at = at);
        }
    }

    /// The same end again is a repeated report, anything else comes too late.
    fn repeated(&self, report: &AttemptReport) -> Answer {
        let attempt = self.state.attempts.get(&report.attempt);
        match (&report.what, attempt) {
            (Progress::Finished { outcome, reason, .. }, Some(attempt))
                if attempt.outcome == Some(*outcome) && attempt.reason == clipped(reason) =>
            {
                Ok(Reply::Done)
            }
            _ => Err(wrong_state(
                format!("attempt {}", report.attempt),
                "finished",
                "reporting something else",
            )),
        }
    }
}

fn check_told(outputs: &[(String, String)], annotations: &[Annotation]) -> Result<(), Refusal> {
    let bytes: usize = outputs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::MAX_OUTPUT_BYTES {
        return Err(invalid("outputs", format!("{bytes} bytes, the limit is {}", limits::MAX_OUTPUT_BYTES)));
    }
    let count = annotations.len();
    if count > limits::MAX_ANNOTATIONS {
        return Err(invalid("annotations", format!("{count}, the limit is {}", limits::MAX_ANNOTATIONS)));
    }
    let texts = annotations.iter().map(|one| one.message.len() + one.title.len() + one.file.len());
    let bytes: usize = texts.sum();
    if bytes > limits::MAX_ANNOTATION_BYTES {
        let limit = limits::MAX_ANNOTATION_BYTES;
        return Err(invalid("annotations", format!("{bytes} bytes of text, the limit is {limit}")));
    }
    Ok(())
}

fn check_steps(steps: &[StepResult]) -> Result<(), Refusal> {
    if steps.len() > limits::MAX_STEPS {
        return Err(invalid("steps", format!("{}, the limit is {}", steps.len(), limits::MAX_STEPS)));
    }
    Ok(())
}
