//! When a job or a step runs, given how those before it went. Rules: GitHub, "Status check functions" and "Using jobs".
//!
//! Must not know: how anything is run; outcomes come in as parameters.

use crate::diagnostic::Diagnostic;
use crate::expression::{Environment, Object, Options, Status, Value, evaluate};
use crate::model::Condition;

/// How a job ended, as `needs.*.result` says it. One with `continue-on-error` that failed counts as a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps succeeded.
    Success,
    /// A step failed, or the job could not be run.
    Failure,
    /// It was cancelled.
    Cancelled,
    /// Its condition was not met.
    Skipped,
}

impl Outcome {
    /// As contexts have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// What a job's condition is asked about: all jobs that must be over before it, those that its needs need included.
#[derive(Debug, Clone, Default)]
pub struct Before<'a> {
    /// Names and outcomes.
    pub jobs: Vec<(&'a str, Outcome)>,
    /// Whether the run was cancelled.
    pub cancelled: bool,
}

/// All jobs that a job waits for, directly or not, each once, the nearest first; `needs` gives those of each job. Of a
/// job that is not there, nothing; a circle is walked once.
#[must_use]
pub fn ancestors(job: usize, needs: &[Vec<usize>]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut seen = vec![false; needs.len()];
    let mut waiting: std::collections::VecDeque<usize> =
        needs.get(job).into_iter().flatten().copied().collect();
    while let Some(next) = waiting.pop_front() {
        if let Some(seen) = seen.get_mut(next)
            && !std::mem::replace(seen, true)
        {
            found.push(next);
            waiting.extend(&needs[next]);
        }
    }
    found
}

/// Whether a job runs; where it does not, it is skipped.
///
/// # Errors
/// A condition that cannot be computed, at its place.
pub fn job_runs(condition: &Condition, before: &Before<'_>, contexts: &Object) -> Result<bool, Diagnostic> {
    runs(condition, before, contexts)
}

/// What a step's condition is asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    /// Whether a step before it failed, and was not allowed to.
    pub failed: bool,
    /// Whether the job was cancelled.
    pub cancelled: bool,
}

/// Whether a step runs. `files` answers `hashFiles`.
///
/// # Errors
/// A condition that cannot be computed, at its place.
pub fn step_runs(
    condition: &Condition,
    steps: Steps,
    files: &dyn Environment,
    contexts: &Object,
) -> Result<bool, Diagnostic> {
    runs(condition, &StepEnvironment { steps, files }, contexts)
}

fn runs(condition: &Condition, environment: &dyn Environment, contexts: &Object) -> Result<bool, Diagnostic> {
    let value = evaluate(&condition.expression, contexts, environment, Options::default());
    value.map(|value| value.is_truthy()).map_err(|error| condition.at.invalid(error.to_string()))
}

impl Environment for Before<'_> {
    /// `success()` is true when all jobs before succeeded: one that was skipped, however far back, is none. With names,
    /// only those jobs count.
    fn status(&self, asked: Status, of: &[Value]) -> Result<bool, String> {
        let named: Vec<_> = of.iter().map(Value::as_text).collect();
        let counts = |name: &str| named.is_empty() || named.iter().any(|one| one.eq_ignore_ascii_case(name));
        let mut jobs = self.jobs.iter().filter(|(name, _)| counts(name)).map(|(_, outcome)| *outcome);
        Ok(match asked {
            Status::Always => true,
            Status::Cancelled => self.cancelled,
            Status::Success => !self.cancelled && jobs.all(|outcome| outcome == Outcome::Success),
            Status::Failure => !self.cancelled && jobs.any(|outcome| outcome == Outcome::Failure),
        })
    }

    fn hash_files(&self, _: &[String]) -> Result<String, String> {
        Err("a job has no workspace before it runs".to_owned())
    }
}

struct StepEnvironment<'a> {
    steps: Steps,
    files: &'a dyn Environment,
}

impl Environment for StepEnvironment<'_> {
    fn status(&self, asked: Status, _: &[Value]) -> Result<bool, String> {
        let Steps { failed, cancelled } = self.steps;
        Ok(match asked {
            Status::Always => true,
            Status::Cancelled => cancelled,
            Status::Success => !failed && !cancelled,
            Status::Failure => failed && !cancelled,
        })
    }

    fn hash_files(&self, patterns: &[String]) -> Result<String, String> {
        self.files.hash_files(patterns)
    }
}
