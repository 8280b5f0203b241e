//! `troupe workflow plan`: the jobs that an event makes of a workflow, without a node.

use std::path::Path;

use domain::{Condition, Event, EventKind, Form, NewJob, NewRun, RunId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use workflow::contexts::Facts;
use workflow::model::Workflow;
use workflow::{Occasion, Spec};

use super::lint::Checkout;
use super::submit::bytes_of;
use super::{Failure, table};

/// What happened, as the file says it.
#[derive(Debug, Default, Deserialize)]
struct Told {
    event: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    sha: Option<String>,
    after: Option<String>,
    actor: Option<String>,
    base_ref: Option<String>,
    changed: Option<Vec<String>>,
    payload: Option<Map<String, Value>>,
    pull_request: Option<Value>,
}

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
pub fn run(file: &Path, event: Option<&Path>, json: bool) -> Result<u8, Failure> {
    let bytes = bytes_of(file)?;
    let (event, changed) = match event {
        None => (Event { git_ref: "refs/heads/main".to_owned(), ..Event::of(EventKind::Push) }, None),
        Some(path) => read_event(&bytes_of(path)?).map_err(|why| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, why);
            Failure::Input { path: path.to_owned(), source }
        })?,
    };
    let (name, files) = (file.display().to_string(), Checkout::around(file));
    let facts = Facts { repository: "owner/name".to_owned(), ..Facts::default() };
    let changed = || changed.clone();
    let occasion = Occasion { event: &event, only_path: "", facts: &facts, files: &files, changed: &changed };
    let run = workflow::expand(&[(name.clone(), bytes.clone())], &occasion, &mut Mint).pop();
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

fn read_event(bytes: &[u8]) -> Result<(Event, Option<Vec<String>>), String> {
    let whole: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("expected a JSON object: {error}"))?;
    let told: Told = serde_json::from_value(whole.clone()).map_err(|error| error.to_string())?;
    let kinds = [
        EventKind::Push,
        EventKind::PullRequest,
        EventKind::Schedule,
        EventKind::WorkflowDispatch,
        EventKind::RepositoryDispatch,
        EventKind::WorkflowRun,
    ];
    let name = told.event.clone().unwrap_or_else(|| {
        let default = if told.pull_request.is_some() { EventKind::PullRequest } else { EventKind::Push };
        default.as_str().to_owned()
    });
    let kind = kinds.into_iter().find(|kind| kind.as_str() == name);
    let kind = kind.ok_or_else(|| {
        format!("event: {name:?} is not one of {}", kinds.map(EventKind::as_str).join(", "))
    })?;
    let of_forge = told.event.is_none();
    let payload = match told.payload {
        Some(payload) => Value::Object(payload),
        None if of_forge => whole.clone(),
        None => json!({}),
    };
    let deep = |path: &str| whole.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let heads = |branch: Option<String>| {
        branch.map(|branch| match branch.starts_with("refs/") {
            true => branch,
            false => format!("refs/heads/{branch}"),
        })
    };
    let event = Event {
        git_ref: told.git_ref.unwrap_or_else(|| "refs/heads/main".to_owned()),
        commit: told.sha.or(told.after).or_else(|| deep("/pull_request/head/sha")).unwrap_or_default(),
        sender: told.actor.or_else(|| deep("/sender/login")).unwrap_or_default(),
        base_ref: heads(told.base_ref.or_else(|| deep("/pull_request/base/ref"))).unwrap_or_default(),
        payload: payload.to_string(),
        ..Event::of(kind)
    };
    Ok((event, told.changed))
}

fn no_run(name: &str, event: &Event, model: Option<&Workflow>, json: bool) -> Result<u8, Failure> {
    let kind = event.kind.as_str();
    let on: Vec<_> =
        model.iter().flat_map(|model| &model.on).map(|trigger| trigger.event.value.as_str()).collect();
    let why = if on.contains(&kind) {
        let at = if event.base_ref.is_empty() { &event.git_ref } else { &event.base_ref };
        format!("its filters for {kind} do not let {at} in")
    } else {
        format!("\"on\" has no {kind}; it has: {}", on.join(", "))
    };
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
