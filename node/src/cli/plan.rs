//! `troupe workflow plan`: the jobs that an event makes of a workflow, without a node.

use std::path::Path;

use domain::{Condition, Event, EventKind, Form, NewJob, NewRun, RunId};
use serde_json::{Value, json};
use workflow::contexts::Facts;
use workflow::model::Workflow;
use workflow::{Occasion, Spec};

use super::lint::Checkout;
use super::submit::bytes_of;
use super::told::{self, Told};
use super::{Failure, table};

/// Specifications are not looked at, but the same ones are to be the same.
struct Mint;

impl workflow::Mint for Mint {
    fn run_id(&mut self) -> RunId {
        RunId(0)
    }

    fn encode(&self, spec: Spec<'_>) -> Result<Vec<u8>, String> {
        Ok(format!("{spec:?}").into_bytes())
    }
}

/// Prints the plan; the answer is the exit code: 2 when the file is wrong.
///
/// # Errors
/// [`Failure::Input`], [`Failure::Output`].
pub fn run(
    file: &Path,
    event: Option<&Path>,
    variables: Vec<(String, String)>,
    json: bool,
) -> Result<u8, Failure> {
    let bytes = bytes_of(file)?;
    let Told { mut event, changed } = match event {
        None => Told { event: Event::of(EventKind::Push), changed: None },
        Some(path) => told::read(path)?,
    };
    if event.git_ref.is_empty() {
        event.git_ref = "refs/heads/main".to_owned();
    }
    let name = file.display().to_string();
    let event = workflow::with_inputs(event, &bytes);
    let run = planned((&name, &bytes), &Checkout::around(file), &event, changed, variables);
    let model = workflow::read(&bytes).0;
    match run {
        None => no_run(&name, &event, model.as_ref(), json),
        Some(NewRun { error: Some(error), .. }) => {
            if json {
                table::pretty(&json!({ "run": false, "error": error }))?;
            } else {
                table::print(&error)?;
            }
            Ok(2)
        }
        Some(run) => shown(&run, model.as_ref(), json),
    }
}

/// The run that an event makes of a workflow file, by its name and bytes, with what `vars` says; none when it wants no such event.
#[must_use]
pub fn planned(
    (name, bytes): (&str, &[u8]),
    files: &Checkout,
    event: &Event,
    changed: Option<Vec<String>>,
    variables: Vec<(String, String)>,
) -> Option<NewRun> {
    let repository = "owner/name".to_owned();
    let facts = Facts { repository, run_number: 1, variables, ..Facts::default() };
    let changed = || changed.clone();
    let occasion = Occasion { event, only_path: "", facts: &facts, files, changed: &changed };
    workflow::expand(&[(name.to_owned(), bytes.to_owned())], &occasion, &mut Mint).pop()
}

/// Why an event makes no run of a workflow.
#[must_use]
pub fn why_no_run(event: &Event, model: Option<&Workflow>) -> String {
    let kind = event.kind.as_str();
    let on: Vec<_> =
        model.iter().flat_map(|model| &model.on).map(|trigger| trigger.event.value.as_str()).collect();
    if on.contains(&kind) {
        let at = if event.base_ref.is_empty() { &event.git_ref } else { &event.base_ref };
        format!("its filters for {kind} do not let {at} in")
    } else {
        format!("\"on\" has no {kind}; it has: {}", on.join(", "))
    }
}

fn no_run(name: &str, event: &Event, model: Option<&Workflow>, json: bool) -> Result<u8, Failure> {
    let why = why_no_run(event, model);
    if json {
        table::pretty(&json!({ "run": false, "reason": why }))?;
    } else {
        table::print(&format!("{name}: no run, because {why}"))?;
    }
    Ok(0)
}

/// What becomes of a job, in words.
fn fate(job: &NewJob, model: Option<&Workflow>) -> String {
    let id = job.key.rsplit('/').next().unwrap_or(&job.key);
    let own = model.and_then(|model| model.jobs.iter().find(|one| one.id.value == id));
    let condition = own.and_then(|job| job.condition.as_ref()).map(|condition| condition.written.clone());
    let condition = condition.unwrap_or_default();
    match (job.form, job.condition) {
        (Form::Undecided, _) if condition == "success()" => "decided when what it needs has ended".to_owned(),
        (Form::Undecided, _) => format!("decided when what it needs has ended: if {condition}"),
        (_, Condition::Never) => format!("skipped: {condition} is false"),
        (Form::Group { max_parallel: 0, .. }, _) => "group".to_owned(),
        (Form::Group { max_parallel, .. }, _) => format!("group, {max_parallel} at one time"),
        (_, Condition::Failure) => "runs when something before it failed".to_owned(),
        (_, Condition::Always) if !job.needs.is_empty() => "runs whatever happens before it".to_owned(),
        _ => "runs".to_owned(),
    }
}

fn shown(run: &NewRun, model: Option<&Workflow>, json: bool) -> Result<u8, Failure> {
    let key = |index: &u16| run.jobs.get(usize::from(*index)).map(|job| job.key.clone());
    let rows: Vec<_> = run
        .jobs
        .iter()
        .map(|job| {
            let needs: Vec<_> = job.needs.iter().filter_map(key).collect();
            let labels: Vec<_> = job.labels.iter().map(str::to_owned).collect();
            (job, needs, labels, job.group.as_ref().and_then(key))
        })
        .collect();
    if json {
        let jobs: Vec<_> = rows
            .iter()
            .map(|(job, needs, labels, group)| {
                json!({ "key": job.key, "name": job.name, "needs": needs, "group": group, "labels": labels,
                    "plan": fate(job, model), "may_fail": job.may_fail,
                    "contexts": serde_json::from_str::<Value>(&job.contexts).unwrap_or(Value::Null) })
            })
            .collect();
        let concurrency = run.concurrency.as_ref().map(|one| one.group.clone());
        table::pretty(
            &json!({ "run": true, "name": run.name, "title": run.title, "concurrency": concurrency, "jobs": jobs }),
        )?;
        return Ok(0);
    }
    let rows = rows.into_iter().map(|(job, needs, labels, _)| {
        let labels = table::or_dash(Some(&labels.join(",")));
        vec![job.key.clone(), table::or_dash(Some(&needs.join(","))), labels, fate(job, model)]
    });
    table::table(&["job", "needs", "runs_on", "plan"], rows)?;
    Ok(0)
}
