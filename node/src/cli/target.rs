//! What a command about output is about: a job as `RUN.INDEX`, or a run.

use std::str::FromStr;

use domain::{AttemptId, JobId, ParseIdError, RunId};

use super::Failure;
use crate::api::dto::{JobView, RunView};

/// A job, or all jobs of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One job.
    Job(JobId),
    /// A run's jobs.
    Run(RunId),
}

impl FromStr for Target {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('.') { text.parse().map(Self::Job) } else { text.parse().map(Self::Run) }
    }
}

impl Target {
    /// The run that it is in.
    #[must_use]
    pub fn run(self) -> RunId {
        match self {
            Self::Job(job) => job.run,
            Self::Run(run) => run,
        }
    }

    /// The jobs that it means, in order.
    ///
    /// # Errors
    /// [`Failure::NoJob`].
    pub fn jobs(self, run: &RunView) -> Result<Vec<(JobId, &JobView)>, Failure> {
        let id = |index: usize| JobId { run: self.run(), index: index as u16 };
        let all = run.jobs.iter().enumerate().map(|(index, job)| (id(index), job));
        match self {
            // A group runs nowhere itself: its members are jobs of the run, too.
            Self::Run(_) => Ok(all.filter(|(_, job)| job.form != "group").collect()),
            Self::Job(wanted) => {
                let job = all.into_iter().find(|(id, _)| *id == wanted);
                job.map(|job| vec![job]).ok_or(Failure::NoJob { job: wanted })
            }
        }
    }

    /// The one job that it means.
    ///
    /// # Errors
    /// [`Failure::NoJob`], [`Failure::SeveralJobs`].
    pub fn job(self, run: &RunView) -> Result<(JobId, &JobView), Failure> {
        let jobs = self.jobs(run)?;
        match jobs.as_slice() {
            [] => Err(Failure::NoJob { job: JobId { run: self.run(), index: 0 } }),
            [one] => Ok(*one),
            more => Err(Failure::SeveralJobs { run: self.run(), count: more.len() }),
        }
    }
}

/// The latest attempt of a job, or the one of this number.
///
/// # Errors
/// [`Failure::NoAttempt`] when there was none yet.
pub fn attempt(job: JobId, view: &JobView, number: Option<u16>) -> Result<AttemptId, Failure> {
    match number.unwrap_or(view.attempts) {
        0 => {
            let (state, finished) = (standing(view).to_owned(), view.outcome.is_some());
            Err(Failure::NoAttempt { job, state, finished })
        }
        number => Ok(AttemptId { job, number }),
    }
}

/// How a job ended, or its state.
#[must_use]
pub fn standing(job: &JobView) -> &str {
    let still = job.paused_at.map(|_| "paused");
    job.outcome.as_deref().or(still).unwrap_or(&job.state)
}

/// Where the API has what an attempt left.
#[must_use]
pub fn path(attempt: AttemptId, rest: &str) -> String {
    format!("/v1/attempts/{}/{}{rest}", attempt.job, attempt.number)
}
