//! `troupe logs`: what jobs wrote, byte for byte, on the standard output; everything else on the standard error.
//!
//! Must not know where output is kept.

use std::collections::BTreeSet;

use domain::{AttemptId, JobId, RunId};

use super::events::Events;
use super::follow::{Patience, aloud};
use super::target::{self, Target, standing};
use super::{Client, Failure, runs, table};
use crate::api::dto::{AttemptView, JobView, RunView};

pub mod attempt;
pub mod screen;
pub mod sink;

use attempt::Reader;

/// `troupe logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A job as RUN.INDEX, or a run for all its jobs in order.
    target: Target,
    /// Only this attempt; the latest when none is named.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    attempt: Option<u16>,
    /// Waits for an attempt and for its output, goes on with later attempts, and ends when the job has; the exit code
    /// is 1 when it did not succeed.
    #[arg(long, short)]
    follow: bool,
    /// Begins at this byte.
    #[arg(long, value_name = "BYTE", default_value_t = 0)]
    from: u64,
    /// Writes every byte as it is to a terminal, too: it may clear the screen, or worse.
    #[arg(long)]
    raw: bool,
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
    let reader = Reader::new(client, sink::standard(json, args.raw));
    if args.follow && matches!(args.target, Target::Run(_)) && args.attempt.is_none() {
        return follow_jobs(client, &reader, args.target.run(), &run, args.from).await;
    }
    let several = jobs.len() > 1;
    let mut code = 0;
    for (id, job) in jobs {
        if several {
            header(job, Some(standing(job)));
        }
        code = if args.follow {
            let ended = follow_job(client, &reader, id, args.attempt, args.from).await?;
            runs::exit_code(ended.outcome.as_deref())
        } else {
            match target::attempt(id, job, args.attempt) {
                Ok(attempt) => match reader.print(attempt, args.from).await {
                    // Nor one whose node is away; but what was asked for is not all here.
                    Err(failure) if several && (failure.is_away() || failure.is_absent()) => {
                        table::say(&format!("attempt {attempt}: {failure}"));
                        code = failure.exit_code();
                    }
                    printed => printed?,
                },
                // One job that was never placed is no reason to keep back what the others wrote.
                Err(failure) if several => table::say(&failure.to_string()),
                Err(failure) => return Err(failure),
            }
            reader.end()?;
            code
        };
    }
    if let Some(error) = &run.error {
        table::say(error);
    }
    Ok(code)
}

/// Follows all jobs of a run, in order; the answer is the exit code that the run's outcome means.
///
/// # Errors
/// [`Failure`].
pub async fn follow_run(client: &Client, id: RunId, run: &RunView, json: bool) -> Result<u8, Failure> {
    follow_jobs(client, &Reader::new(client, sink::standard(json, false)), id, run, 0).await
}

async fn follow_jobs(
    client: &Client,
    reader: &Reader,
    id: RunId,
    run: &RunView,
    from: u64,
) -> Result<u8, Failure> {
    let (mut run, mut followed) = (run.clone(), BTreeSet::new());
    // Jobs may come while others are followed: those that were undecided become several.
    loop {
        let mut news = false;
        for (job, view) in Target::Run(id).jobs(&run)? {
            if !followed.insert(job) {
                continue;
            }
            news = true;
            if run.jobs.len() > 1 {
                header(view, None);
            }
            follow_job(client, reader, job, None, from).await?;
        }
        if !news {
            break;
        }
        run = runs::fetch(client, id).await?;
    }
    let run = Events::of(client, id, Patience::default(), aloud()).finished().await?;
    if let Some(error) = &run.error {
        table::say(error);
    }
    Ok(runs::exit_code(run.outcome.as_deref()))
}

/// Says whose output comes, and, when it is not followed, how far the job is.
fn header(job: &JobView, standing: Option<&str>) {
    let standing = standing.map(|standing| format!(" ({standing})")).unwrap_or_default();
    eprintln!("{}", table::plain(&format!("==> {} {}{standing}", job.id, job.key)));
}

/// How a job ended, and why.
struct Ended {
    outcome: Option<String>,
    reason: String,
}

impl From<AttemptView> for Ended {
    fn from(attempt: AttemptView) -> Self {
        Self { outcome: attempt.outcome, reason: attempt.reason }
    }
}

impl Ended {
    /// Output alone does not tell how it ended.
    fn say(self, what: impl std::fmt::Display) -> Self {
        if let Some(outcome) = self.outcome.as_deref().filter(|outcome| *outcome != "succeeded") {
            let colon = if self.reason.is_empty() { "" } else { ": " };
            table::say(&format!("{what} {}{colon}{}", outcome.replace('_', " "), self.reason));
        }
        self
    }
}

/// What a job does next.
enum Next {
    /// There is an attempt of this number.
    Attempt(AttemptId),
    /// It is finished.
    Finished(Ended),
}

/// Waits until a job has another attempt than those seen, or is finished; says why it waits.
async fn next(client: &Client, job: JobId, seen: u16) -> Result<Next, Failure> {
    let mut events = Events::of(client, job.run, Patience::default(), aloud());
    let mut said = None;
    loop {
        let run = events.next().await?;
        let (_, view) = Target::Job(job).job(&run)?;
        if view.attempts > seen {
            // The first that is seen is the latest; after that, none is left out.
            let number = if seen == 0 { view.attempts } else { seen + 1 };
            return Ok(Next::Attempt(AttemptId { job, number }));
        }
        if view.outcome.is_some() {
            let reason = view.reason.clone().unwrap_or_default();
            return Ok(Next::Finished(Ended { outcome: view.outcome.clone(), reason }));
        }
        if let Some(why) = view.reason.as_ref().filter(|_| view.reason != said) {
            table::say(&format!("job {job} is {}: {why}", view.state));
            said = view.reason.clone();
        }
    }
}

/// Follows a job's attempts to its end, or one attempt to that one's.
async fn follow_job(
    client: &Client,
    reader: &Reader,
    job: JobId,
    only: Option<u16>,
    from: u64,
) -> Result<Ended, Failure> {
    if let Some(number) = only {
        let attempt = AttemptId { job, number };
        let ended = reader.follow(attempt, from).await?;
        reader.end()?;
        return Ok(Ended::from(ended).say(format!("attempt {attempt}")));
    }
    let (mut seen, mut from) = (0, from);
    loop {
        match next(client, job, seen).await? {
            Next::Finished(ended) => return Ok(ended.say(format!("job {job}"))),
            Next::Attempt(attempt) => {
                if seen > 0 {
                    table::say(&format!("job {job} goes on with attempt {}", attempt.number));
                }
                let ended = reader.follow(attempt, from).await?;
                reader.end()?;
                if ended.outcome.as_deref() == Some("lost") {
                    table::say(&format!("attempt {attempt} was lost: {}", ended.reason));
                }
                (seen, from) = (attempt.number, 0);
            }
        }
    }
}
