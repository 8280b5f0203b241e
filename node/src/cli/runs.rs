//! `troupe runs`, `run show`, `run watch`, `run cancel`, `run pause`, `run resume`, `run rerun`.

use clap::Subcommand;
use domain::{JobId, RunId};
use reqwest::Method;
use serde_json::{Value, json};

use super::nodes::Names;
use super::pages::{self, Limit, Show};
use super::{Client, Failure, jobs, table, watch};
use crate::api::dto::{AnnotationView, AttemptView, RunMade, RunView};
use crate::api::page::Page;

/// What of runs is listed.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those of a repository.
    #[arg(long)]
    repo: Option<String>,
    /// Only those that ended so (succeeded, failed, cancelled, timed_out, skipped, lost), or are open.
    #[arg(long)]
    outcome: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

/// `troupe run`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows it with its jobs, and why they wait or failed; the exit code is 1 when it did not succeed.
    Show {
        /// Its id.
        id: RunId,
        /// Also every attempt and its steps.
        #[arg(long)]
        steps: bool,
    },
    /// Follows it to its end, live on a terminal, elsewhere one line per change; the exit code is 1 when it did not
    /// succeed.
    Watch {
        /// Its id.
        id: RunId,
    },
    /// Cancels what of it is not finished; jobs whose `if` says always() or cancelled() run on.
    Cancel {
        /// Its id.
        id: RunId,
        /// Cancels those, too.
        #[arg(long)]
        force: bool,
    },
    /// Lets it stand still: nothing of it is placed, and its containers do not run.
    Pause {
        /// Its id.
        id: RunId,
    },
    /// Lets it go on after a pause.
    Resume {
        /// Its id.
        id: RunId,
    },
    /// Lets it begin, when it comes from a fork and waits for that.
    Approve {
        /// Its id.
        id: RunId,
    },
    /// Repeats it as a new run, and prints that one's id.
    Rerun {
        /// Its id.
        id: RunId,
    },
}

/// Runs, newest first.
///
/// # Errors
/// [`Failure`].
pub async fn list(client: &Client, what: &List, json: bool) -> Result<u8, Failure> {
    let filters = [("repo", what.repo.as_deref()), ("outcome", what.outcome.as_deref())];
    let list = pages::fetch(client, "/v1/runs", &filters, what.limit).await?;
    let columns = ["id", "repo", "number", "workflow", "event", "outcome", "age", "took", "title"];
    Show { noun: "runs", columns: &columns, row: &row }.list(client, list, json)?;
    Ok(0)
}

fn row(run: RunView) -> Vec<String> {
    let (age, took) = (table::age(run.created_at), table::took(run.created_at, run.finished_at));
    let outcome = run.outcome.unwrap_or_else(|| "open".to_owned());
    let (repo, title) = (table::or_dash(run.repo.as_deref()), table::or_dash(Some(&run.title)));
    vec![run.id, repo, run.number.to_string(), run.name, run.event, outcome, age, took, title]
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Show { id, steps } => return show(client, id, steps, json).await,
        Command::Watch { id } => return watch::run(client, id, json).await,
        Command::Cancel { id, force } => {
            let path = format!("/v1/runs/{id}/cancel{}", if force { "?force=true" } else { "" });
            let answer = client.call(Method::POST, &path, &json!({})).await?;
            client.told(&answer, &format!("run {id} is being cancelled"), json)?;
        }
        Command::Pause { id } => {
            let answer = client.call(Method::POST, &format!("/v1/runs/{id}/pause"), &json!({})).await?;
            client.told(&answer, &format!("run {id} is being paused"), json)?;
        }
        Command::Resume { id } => {
            let answer = client.call(Method::POST, &format!("/v1/runs/{id}/resume"), &json!({})).await?;
            client.told(&answer, &format!("run {id} goes on"), json)?;
        }
        Command::Approve { id } => {
            let answer = client.call(Method::POST, &format!("/v1/runs/{id}/approve"), &json!({})).await?;
            client.told(&answer, &format!("run {id} is approved"), json)?;
        }
        Command::Rerun { id } => {
            let answer = client.call_once(&format!("/v1/runs/{id}/rerun"), &json!({})).await?;
            made(client, answer, json)?;
        }
    }
    Ok(0)
}

/// Prints the id of a run that was made.
///
/// # Errors
/// [`Failure`].
pub fn made(client: &Client, answer: Value, json: bool) -> Result<(), Failure> {
    if json {
        return table::pretty(&answer);
    }
    let made: RunMade = client.take(answer)?;
    if made.duplicate {
        table::say("the key was used before; this is the run of then");
    }
    table::print(&made.id)
}

/// A run with its jobs.
///
/// # Errors
/// [`Failure`].
pub async fn fetch(client: &Client, id: RunId) -> Result<RunView, Failure> {
    client.get(&format!("/v1/runs/{id}")).await
}

/// The exit code that an outcome means; none yet means 0.
#[must_use]
pub fn exit_code(outcome: Option<&str>) -> u8 {
    u8::from(outcome.is_some_and(|outcome| outcome != "succeeded"))
}

async fn show(client: &Client, id: RunId, steps: bool, json: bool) -> Result<u8, Failure> {
    let mut answer: Value = client.get(&format!("/v1/runs/{id}")).await?;
    let run: RunView = client.take(answer.clone())?;
    let mut all = Vec::new();
    for index in 0..if steps { run.jobs.len() } else { 0 } {
        let job = JobId { run: id, index: index as u16 };
        let attempts: Page<AttemptView> = client.get(&format!("/v1/jobs/{job}/attempts")).await?;
        answer["jobs"][index]["history"] = json!(attempts.items);
        all.extend(attempts.items);
    }
    if json {
        table::pretty(&answer)?;
        return Ok(exit_code(run.outcome.as_deref()));
    }
    describe(&run)?;
    let names = if run.jobs.is_empty() { Names::default() } else { Names::fetch(client).await? };
    if !run.jobs.is_empty() {
        table::print("")?;
        table::table(&jobs::COLUMNS, run.jobs.iter().map(|job| jobs::row(job, &names)))?;
    }
    if !run.annotations.is_empty() {
        table::print("")?;
        table::table(
            &["said", "job", "place", "message"],
            run.annotations.iter().map(|one| said(&run, one)),
        )?;
    }
    if !all.is_empty() {
        table::print("")?;
        let columns = ["attempt", "step", "outcome", "exit", "signal", "node", "took", "reason"];
        table::table(&columns, all.iter().flat_map(|attempt| attempt_rows(attempt, &names)))?;
    }
    Ok(exit_code(run.outcome.as_deref()))
}

/// A row for something that a job said.
fn said(run: &RunView, one: &AnnotationView) -> Vec<String> {
    let job = run.jobs.iter().find(|job| job.id == one.job);
    let numbers = [one.line, one.column].into_iter().flatten().map(|number| format!(":{number}"));
    let place = match one.file.is_empty() {
        true => format!("step {}", one.step),
        false => [one.file.clone()].into_iter().chain(numbers).collect(),
    };
    let title = if one.title.is_empty() { String::new() } else { format!("{}: ", one.title) };
    let key = job.map_or_else(|| one.job.clone(), |job| job.key.clone());
    vec![one.level.clone(), key, place, format!("{title}{}", one.message)]
}

/// What is known of a run beside its jobs.
fn describe(run: &RunView) -> Result<(), Failure> {
    let joined = |parts: &[(&str, &str)]| {
        let shown = parts.iter().filter(|(_, text)| !text.is_empty());
        shown.map(|(before, text)| format!("{before}{text}")).collect::<String>()
    };
    let commit: String = run.commit.chars().take(12).collect();
    table::fields(&[
        ("run", run.id.clone()),
        ("repo", run.repo.clone().unwrap_or_default()),
        ("number", run.number.to_string()),
        (
            "workflow",
            if run.name == run.path {
                run.path.clone()
            } else {
                joined(&[("", &run.name), (", ", &run.path)])
            },
        ),
        ("event", joined(&[("", &run.event), (" of ", &run.git_ref), (" by ", &run.sender)])),
        ("commit", joined(&[("", &commit), (" ", &run.title)])),
        ("delivery", run.delivery.clone().unwrap_or_default()),
        ("rerun of", rerun(run)),
        ("outcome", outcome(run)),
        ("paused", paused(run)),
        ("approval", approval(run)),
        ("age", table::age(run.created_at)),
        ("took", table::took(run.created_at, run.finished_at)),
        ("error", run.error.clone().unwrap_or_default()),
    ])
}

fn rerun(run: &RunView) -> String {
    let by = run.rerun_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    run.rerun_of.as_ref().map(|of| format!("{of}{by}")).unwrap_or_default()
}

fn outcome(run: &RunView) -> String {
    let open = if run.cancel_requested { "open, cancelling" } else { "open" };
    run.outcome.clone().unwrap_or_else(|| open.to_owned())
}

/// Whether it waits for that, and who gave it.
fn approval(run: &RunView) -> String {
    match (&run.approved_by, run.needs_approval) {
        (Some(by), _) => format!("by {by}"),
        (None, true) => format!("needed, it comes from a fork: troupe run approve {}", run.id),
        (None, false) => String::new(),
    }
}

/// For how long and by whom, while it is.
fn paused(run: &RunView) -> String {
    let by =
        run.paused_by.as_ref().filter(|by| !by.is_empty()).map(|by| format!(" by {by}")).unwrap_or_default();
    run.paused_at.map(|at| format!("for {}{by}", table::age(Some(at)))).unwrap_or_default()
}

/// Characters of a step that are shown.
const MAX_STEP: usize = 48;

/// A row for the attempt, and one for each of its steps.
fn attempt_rows(attempt: &AttemptView, names: &Names) -> Vec<Vec<String>> {
    fn shown(value: Option<impl ToString>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    }
    let dash = || "-".to_owned();
    let node = names.of(Some(&attempt.node)).to_owned();
    let took = table::took(attempt.started_at, attempt.finished_at);
    let reason = table::or_dash(Some(&attempt.reason));
    let whole =
        [attempt.id.clone(), dash(), shown(attempt.outcome.as_ref()), dash(), dash(), node, took, reason];
    let mut rows = vec![whole.to_vec()];
    // A step that was under way when the attempt was lost has no end of its own.
    let end = attempt.finished_at;
    for (index, step) in attempt.steps.iter().enumerate() {
        rows.push(vec![
            attempt.id.clone(),
            // As reasons count them.
            format!("{} {}", index + 1, table::plain(&step.name)).trim_end().chars().take(MAX_STEP).collect(),
            shown(step.outcome.as_ref()),
            shown(step.exit_code),
            shown(step.signal),
            dash(),
            table::took(step.started_at, step.finished_at.or(end)),
            dash(),
        ]);
    }
    rows
}
