//! `troupe logs`: what jobs wrote, byte for byte, on the standard output; everything else on the standard error.
//!
//! Must not know where output is kept.

use domain::{AttemptId, JobId, RunId};

use super::events::Events;
use super::follow::{Patience, aloud};
use super::target::{self, Target, standing};
use super::{Client, Failure, runs, table};
use crate::api::dto::{JobView, RunView};

mod attempt;

use attempt::Reader;

/// `troupe logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A job as RUN.INDEX, or a run for all its jobs in order.
    target: Target,
    /// Only this attempt; the latest when none is named.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    attempt: Option<u16>,
    /// Waits for an attempt and for its output, goes on with later attempts, and ends when the job has; the exit code
    /// is 1 when it did not succeed.
    #[arg(long, short)]
    follow: bool,
    /// Begins at this byte.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

/// Runs the command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, args: &Args, json: bool) -> Result<u8, Failure> {
    let run = runs::fetch(client, args.target.run()).await?;
    let jobs = args.target.jobs(&run)?;
    if args.attempt.is_some() || args.from > 0 {
        args.target.job(&run)?;
    }
    let reader = Reader::new(client, json);
    if args.follow && matches!(args.target, Target::Run(_)) && args.attempt.is_none() {
        return follow_jobs(client, &reader, args.target.run(), &run, args.from).await;
    }
    let several = jobs.len() > 1;
    let mut code = 0;
    for (id, job) in jobs {
        header(several, job);
        code = if args.follow {
            let outcome = follow_job(client, &reader, id, args.attempt, args.from).await?;
            runs::exit_code(outcome.as_deref())
        } else {
            match target::attempt(id, job, args.attempt) {
                Ok(attempt) => reader.print(attempt, args.from).await?,
                // One job that was never placed is no reason to keep back what the others wrote.
                Err(failure) if several => table::say(&failure.to_string()),
                Err(failure) => return Err(failure),
            }
            0
        };
    }
    Ok(code)
}

/// Follows all jobs of a run, in order; the answer is the exit code that the run's outcome means.
///
/// # Errors
/// [`Failure`].
pub async fn follow_run(client: &Client, id: RunId, run: &RunView, json: bool) -> Result<u8, Failure> {
    follow_jobs(client, &Reader::new(client, json), id, run, 0).await
}

async fn follow_jobs(
    client: &Client,
    reader: &Reader,
    id: RunId,
    run: &RunView,
    from: u64,
) -> Result<u8, Failure> {
    for (job, view) in Target::Run(id).jobs(run)? {
        header(run.jobs.len() > 1, view);
        follow_job(client, reader, job, None, from).await?;
    }
    let run = Events::of(client, id, Patience::default(), aloud()).finished().await?;
    if let Some(error) = &run.error {
        table::say(error);
    }
    Ok(runs::exit_code(run.outcome.as_deref()))
}

fn header(several: bool, job: &JobView) {
    if several {
        eprintln!(
            "==> {} {} ({})",
            table::plain(&job.id),
            table::plain(&job.key),
            table::plain(standing(job))
        );
    }
}

/// What a job does next.
enum Next {
    /// There is an attempt of this number.
    Attempt(AttemptId),
    /// It is finished.
    Finished(Option<String>),
}

/// Waits until a job has another attempt than those seen, or is finished.
async fn next(client: &Client, job: JobId, seen: u16) -> Result<Next, Failure> {
    let mut events = Events::of(client, job.run, Patience::default(), aloud());
    loop {
        let run = events.next().await?;
        let (_, view) = Target::Job(job).job(&run)?;
        if view.attempts > seen {
            // The first that is seen is the latest; after that, none is left out.
            let number = if seen == 0 { view.attempts } else { seen + 1 };
            return Ok(Next::Attempt(AttemptId { job, number }));
        }
        if view.outcome.is_some() {
            return Ok(Next::Finished(view.outcome.clone()));
        }
    }
}

/// Follows a job's attempts to its end, or one attempt to that one's; the answer is the outcome.
async fn follow_job(
    client: &Client,
    reader: &Reader,
    job: JobId,
    only: Option<u16>,
    from: u64,
) -> Result<Option<String>, Failure> {
    if let Some(number) = only {
        return Ok(reader.follow(AttemptId { job, number }, from).await?.outcome);
    }
    let (mut seen, mut from) = (0, from);
    loop {
        match next(client, job, seen).await? {
            Next::Finished(outcome) => return Ok(outcome),
            Next::Attempt(attempt) => {
                if seen > 0 {
                    table::say(&format!("job {job} goes on with attempt {}", attempt.number));
                }
                let ended = reader.follow(attempt, from).await?;
                if ended.outcome.as_deref() == Some("lost") {
                    table::say(&format!("attempt {attempt} was lost: {}", ended.reason));
                }
                (seen, from) = (attempt.number, 0);
            }
        }
    }
}
