//! Files and an event to runs.

use domain::{Event, EventKind, JobSpec, Labels, NewJob, NewRun, RunId, SpecBytes, limits};

use crate::runnable::{Job, Trigger, Workflow, lint};

/// What expansion may not make itself.
pub trait Mint {
    /// A fresh run id.
    fn run_id(&mut self) -> RunId;
    /// The specification as the cluster stores it.
    ///
    /// # Errors
    /// In words, when it cannot be encoded.
    fn encode(&self, spec: &JobSpec) -> Result<Vec<u8>, String>;
}

/// The runs that an event makes of a commit's workflow files (path and bytes each): one for each workflow that wants the
/// event, and one that failed for each file that cannot be read, so that the person who pushed sees why.
///
/// With `only_path`, only the workflow at that path, or of that file name: it was asked for by hand, so that there is
/// always a run, which failed when there is no such workflow or it does not want to be asked.
pub fn expand(
    files: &[(String, Vec<u8>)],
    event: &Event,
    only_path: &str,
    mint: &mut dyn Mint,
) -> Vec<NewRun> {
    if only_path.is_empty() {
        return files.iter().filter_map(|(path, bytes)| run_of(path, bytes, event, mint)).collect();
    }
    let Some((path, bytes)) = files.iter().find(|(path, _)| is_at(path, only_path)) else {
        let paths: Vec<_> = files.iter().map(|(path, _)| path.as_str()).collect();
        let there = if paths.is_empty() { "none".to_owned() } else { paths.join(", ") };
        let why = format!("there is no workflow {only_path} at this commit; there are: {there}");
        return vec![failed(only_path, mint.run_id(), why)];
    };
    let run = run_of(path, bytes, event, mint);
    vec![run.unwrap_or_else(|| {
        let why = format!("{path}: \"on\" has no {}, so it is not run by hand", event.kind.as_str());
        failed(path, mint.run_id(), why)
    })]
}

/// True for the whole path, and for the file's name alone.
fn is_at(path: &str, wanted: &str) -> bool {
    path == wanted || path.rsplit_once('/').is_some_and(|(_, name)| name == wanted)
}

fn failed(path: &str, id: RunId, why: String) -> NewRun {
    NewRun::failed(id, path.to_owned(), why)
}

fn run_of(path: &str, bytes: &[u8], event: &Event, mint: &mut dyn Mint) -> Option<NewRun> {
    match lint(bytes) {
        Ok(workflow) if !wants(&workflow, event) => None,
        Ok(workflow) => {
            let id = mint.run_id();
            let specs: Result<Vec<_>, _> = workflow.jobs.iter().map(|job| mint.encode(&job.spec)).collect();
            let run = specs.and_then(|specs| {
                let name = workflow.name.unwrap_or_else(|| path.to_owned());
                let jobs =
                    workflow.jobs.iter().enumerate().map(|(at, job)| new_job(job, at as u16)).collect();
                let specs = specs.into_iter().map(|spec| SpecBytes(spec.into())).collect();
                let path = path.to_owned();
                let title = event.title.clone();
                small_enough(NewRun { id, name, title, path, jobs, specs, concurrency: None, error: None })
            });
            Some(run.unwrap_or_else(|why| failed(path, id, format!("{path}: {why}"))))
        }
        Err(found) => {
            let lines: Vec<_> = found.iter().take(20).map(|one| format!("{path}:{one}")).collect();
            Some(failed(path, mint.run_id(), lines.join("\n")))
        }
    }
}

/// A run that the cluster would refuse for its size fails here, where the person who pushed sees it.
fn small_enough(run: NewRun) -> Result<NewRun, String> {
    let job = |job: &NewJob| {
        let labels: usize = job.labels.iter().map(str::len).sum();
        job.key.len() + labels + 2 * job.needs.len()
    };
    let specs: usize = run.specs.iter().map(|spec| spec.0.len()).sum();
    let bytes = run.name.len() + specs + run.jobs.iter().map(job).sum::<usize>();
    if bytes <= limits::MAX_SPEC_BYTES {
        return Ok(run);
    }
    Err(format!("the run takes {bytes} bytes, the limit is {}", limits::MAX_SPEC_BYTES))
}

fn new_job(job: &Job, spec: u16) -> NewJob {
    NewJob {
        key: job.key.clone(),
        name: job.name.clone(),
        needs: job.needs.clone(),
        group: None,
        form: domain::Form::Job,
        condition: job.condition,
        may_fail: false,
        concurrency: None,
        labels: Labels::from_iter(job.labels.iter().cloned()),
        resources: job.resources,
        priority: job.priority,
        max_attempts: job.max_attempts,
        contexts: String::new(),
        spec,
    }
}

fn wants(workflow: &Workflow, event: &Event) -> bool {
    workflow.triggers.iter().any(|trigger| match (trigger, event.kind) {
        (Trigger::WorkflowDispatch, EventKind::WorkflowDispatch) => true,
        (Trigger::Push { branches, ignored }, EventKind::Push) => {
            match event.git_ref.strip_prefix("refs/heads/") {
                Some(branch) => {
                    branches.as_ref().is_none_or(|filter| filter.matches(branch))
                        && !ignored.as_ref().is_some_and(|filter| filter.matches(branch))
                }
                // A tag: only a push without branch filters wants it, as on GitHub.
                None => branches.is_none() && ignored.is_none(),
            }
        }
        _ => false,
    })
}
