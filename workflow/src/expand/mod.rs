//! Files and an event to runs.

mod decide;
mod inputs;
mod jobs;
mod triggers;

use domain::{
    Concurrency, Event, EventKind, GroupSpec, JobSpec, NewRun, RunId, SpecBytes, Undecided, limits,
};

pub use decide::{Asked, decide};
pub use inputs::with_inputs;
pub use triggers::triggers;

use crate::compile::lint_of;
use crate::contexts::{self, Facts};
use crate::events::{Happened, starts};
use crate::expression::{NoEnvironment, Object, Value};
use crate::library::{Library, Used};
use crate::model::{Dynamic, Files, Queue, Workflow};
use jobs::Builder;

/// Bytes of the name of a workflow that a run which failed shows; a longer one may be why it failed.
const MAX_SHOWN_NAME: usize = 200;

/// A specification that is to be stored.
#[derive(Debug, Clone, Copy)]
pub enum Spec<'a> {
    /// Of a job.
    Job(&'a JobSpec),
    /// Of a group.
    Group(&'a GroupSpec),
    /// Of a job that is decided later.
    Undecided(&'a Undecided),
}

/// What expansion may not make itself.
pub trait Mint {
    /// A fresh run id.
    fn run_id(&mut self) -> RunId;
    /// The specification as the cluster stores it.
    ///
    /// # Errors
    /// In words, when it cannot be encoded.
    fn encode(&self, spec: Spec<'_>) -> Result<Vec<u8>, String>;
}

/// What happened, and what can be looked up about it.
#[derive(Clone, Copy)]
pub struct Occasion<'a> {
    /// The event, with its commit.
    pub event: &'a Event,
    /// Only the workflow at this path, or of this file name; it was asked for by itself. Empty for all.
    pub only_path: &'a str,
    /// What else is known; of the first run that is made, its number, and of the others the next ones. 0 where it is not known.
    pub facts: &'a Facts,
    /// Files of the repository at the commit whose workflows are read.
    pub files: &'a dyn Files,
    /// The paths that changed; none where that is not known, which is as if any had. Asked only when a workflow filters by them.
    pub changed: &'a dyn Fn() -> Option<Vec<String>>,
}

/// The runs that an event makes of a commit's workflow files (path and bytes each): one for each workflow that wants the
/// event, and one that failed for each file that cannot be read, so that the person who pushed sees why.
///
/// With `only_path` there is always a run: one that failed when there is no such workflow or it does not want to be asked.
pub fn expand(files: &[(String, Vec<u8>)], occasion: &Occasion<'_>, mint: &mut dyn Mint) -> Vec<NewRun> {
    let only = occasion.only_path;
    let library = Library::new(occasion.files);
    if only.is_empty() {
        let mut runs = Vec::new();
        for (path, bytes) in files {
            runs.extend(run_of(path, bytes, (&library, runs.len()), occasion, mint));
        }
        return runs;
    }
    let Some((path, bytes)) = files.iter().find(|(path, _)| is_at(path, only)) else {
        let paths: Vec<_> = files.iter().map(|(path, _)| path.as_str()).collect();
        let there = if paths.is_empty() { "none".to_owned() } else { paths.join(", ") };
        let why = format!("there is no workflow {only} at this commit; there are: {there}");
        return vec![NewRun::failed(mint.run_id(), only.to_owned(), why)];
    };
    let run = run_of(path, bytes, (&library, 0), occasion, mint);
    // Nobody asked for one that follows another, and its filters may hold it back.
    if run.is_none() && occasion.event.kind == EventKind::WorkflowRun {
        return Vec::new();
    }
    vec![run.unwrap_or_else(|| {
        let kind = occasion.event.kind.as_str();
        let why = format!("{path}: \"on\" has no {kind} for it, so it is not run");
        NewRun::failed(mint.run_id(), path.clone(), why)
    })]
}

/// Whether a workflow is asked for by this text: true for its whole path, and for the file's name alone.
#[must_use]
pub fn is_at(path: &str, wanted: &str) -> bool {
    path == wanted || path.rsplit_once('/').is_some_and(|(_, name)| name == wanted)
}

fn run_of(
    path: &str,
    bytes: &[u8],
    (library, before): (&Library<'_>, usize),
    occasion: &Occasion<'_>,
    mint: &mut dyn Mint,
) -> Option<NewRun> {
    let files = Used::new(library);
    match lint_of(bytes, &files) {
        Ok(workflow) => match wants(&workflow, occasion) {
            Ok(false) => None,
            Ok(true) => {
                let id = mint.run_id();
                let number = match occasion.facts.run_number {
                    0 => 0,
                    first => first + before as u64,
                };
                let made = new_run((id, number), (path, bytes, &workflow), occasion, (files, mint));
                let run = made.and_then(small_enough);
                Some(run.unwrap_or_else(|why| {
                    let name = Some(name_of(&workflow, path)).filter(|name| name.len() <= MAX_SHOWN_NAME);
                    let failed = NewRun::failed(id, path.to_owned(), why);
                    NewRun { name: name.unwrap_or_else(|| path.to_owned()), ..failed }
                }))
            }
            Err(why) => Some(NewRun::failed(mint.run_id(), path.to_owned(), format!("{path}: {why}"))),
        },
        // What only others call is no run of its own, but a file that cannot be read is said, whoever it is for.
        Err(found) => {
            let lines: Vec<_> = found.iter().take(20).map(|one| format!("{path}:{one}")).collect();
            Some(NewRun::failed(mint.run_id(), path.to_owned(), lines.join("\n")))
        }
    }
}

fn name_of(workflow: &Workflow, path: &str) -> String {
    let name = workflow.name.as_ref().map(|name| name.value.clone()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| path.to_owned())
}

fn wants(workflow: &Workflow, occasion: &Occasion<'_>) -> Result<bool, String> {
    let event = occasion.event;
    let payload = contexts::payload(event);
    let action = contexts::of(&payload, &["action"]);
    // Of what follows a run, the branch of that run.
    let followed = contexts::of(&payload, &["workflow_run", "head_branch"]);
    let followed = format!("refs/heads/{followed}");
    let git_ref = match event.kind {
        EventKind::PullRequest => &event.base_ref,
        EventKind::WorkflowRun => &followed,
        _ => &event.git_ref,
    };
    let filtered = |one: &crate::model::Trigger| one.paths.only.is_some() || one.paths.ignored.is_some();
    let asks_for_paths =
        workflow.on.iter().any(|one| one.event.value == event.kind.as_str() && filtered(one));
    let changed = if asks_for_paths { (occasion.changed)() } else { None };
    let happened = Happened {
        event: event.kind.as_str(),
        action: &action,
        git_ref,
        changed: changed.as_deref(),
        workflow: if event.kind == EventKind::WorkflowRun { &event.title } else { "" },
    };
    let mut wanted = false;
    for trigger in &workflow.on {
        wanted |= starts(trigger, &happened).map_err(|error| error.to_string())?;
    }
    Ok(wanted)
}

fn new_run(
    (id, run_number): (RunId, u64),
    (path, bytes, workflow): (&str, &[u8], &Workflow),
    occasion: &Occasion<'_>,
    (files, mint): (Used<'_>, &dyn Mint),
) -> Result<NewRun, String> {
    let name = name_of(workflow, path);
    let facts = Facts {
        workflow: name.clone(),
        run_id: id.to_string(),
        run_number,
        path: path.to_owned(),
        ..occasion.facts.clone()
    };
    let mut known = Object::default();
    known.insert("github", Value::Object(contexts::github(occasion.event, &facts).into()));
    known.insert(
        "inputs",
        inputs::of_event(workflow, occasion.event).map_err(|why| format!("{path}: {why}"))?,
    );
    known.insert("vars", facts.vars());
    let at = |found: crate::Diagnostic| format!("{path}:{found}");
    let title = match &workflow.run_name {
        Some(found) => jobs::text(found, &known).map_err(at)?,
        None => String::new(),
    };
    // A title is one line, also where a whole message is asked for.
    let title = title.trim().lines().next().unwrap_or(&occasion.event.title).to_owned();
    let concurrency =
        workflow.concurrency.as_ref().map(|one| concurrency(one, &known)).transpose().map_err(at)?;
    let mut builder = Builder::new(path, files, mint);
    builder.workflow(&jobs::Place {
        path,
        bytes,
        workflow,
        contexts: &known,
        prefix: "",
        group: None,
        depth: 1,
    })?;
    let (jobs, specs) = builder.made();
    Ok(NewRun {
        id,
        name,
        title: title.chars().take(200).collect(),
        path: path.to_owned(),
        jobs,
        specs,
        concurrency: concurrency.flatten(),
        error: None,
    })
}

/// A group's name and what to do; none when its name is computed to be empty.
fn concurrency(
    found: &crate::model::Concurrency,
    contexts: &Object,
) -> Result<Option<Concurrency>, crate::Diagnostic> {
    let group = jobs::text(&found.group, contexts)?;
    let cancel_in_progress = match &found.cancel_in_progress {
        None => false,
        Some(flag) => jobs::flag(flag, contexts)?,
    };
    let queue_all = found.queue == Queue::Max;
    if queue_all && cancel_in_progress {
        return Err(found.group.at.invalid(crate::model::BOTH));
    }
    Ok((!group.is_empty()).then_some(Concurrency { group, cancel_in_progress, queue_all }))
}

/// A run that the cluster would refuse for its size fails here, where the person who pushed sees it.
fn small_enough(run: NewRun) -> Result<NewRun, String> {
    let job = |job: &domain::NewJob| {
        let labels: usize = job.labels.iter().map(str::len).sum();
        job.key.len() + job.name.len() + job.contexts.len() + labels + 2 * job.needs.len()
    };
    let specs: usize = run.specs.iter().map(|spec: &SpecBytes| spec.0.len()).sum();
    let bytes = run.name.len() + specs + run.jobs.iter().map(job).sum::<usize>();
    if bytes <= limits::MAX_SPEC_BYTES {
        return Ok(run);
    }
    Err(jobs::too_large(&run.path, bytes))
}

/// What a text is when it is computed without any environment.
pub(crate) fn resolved(
    found: &crate::model::Located<Dynamic<String>>,
    contexts: &Object,
) -> Result<Value, crate::Diagnostic> {
    match &found.value {
        Dynamic::Is(text) => Ok(Value::text(text)),
        Dynamic::Computed(expression) => {
            let options = crate::expression::Options::default();
            crate::expression::evaluate(expression, contexts, &NoEnvironment, options)
                .map_err(|error| found.at.invalid(error.to_string()))
        }
    }
}

/// A secret that a called workflow is given: a text over the contexts of its caller, computed.
///
/// # Errors
/// In words, when it cannot be.
pub fn secret(text: &str, contexts: &Object) -> Result<Value, String> {
    computed(text, crate::schema::JOB_SECRETS, contexts)
}

/// An output of a called workflow: a text over the context `jobs`, computed.
///
/// # Errors
/// In words, when it cannot be.
pub fn output(text: &str, contexts: &Object) -> Result<Value, String> {
    computed(text, crate::schema::WORKFLOW_OUTPUT, contexts)
}

fn computed(text: &str, scope: crate::expression::Scope, contexts: &Object) -> Result<Value, String> {
    let mut complaints = crate::complaints::Complaints::default();
    let template = crate::schema::read_text(text, crate::diagnostic::At::START, scope, &mut complaints);
    if let Some(first) = complaints.sorted().first() {
        return Err(first.message.clone());
    }
    template.resolve(contexts, &NoEnvironment).map_err(|(_, error)| error.to_string())
}
