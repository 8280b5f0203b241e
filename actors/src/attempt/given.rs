//! What the replicated state says of an attempt that is to run, at the time when it begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{
    Action, AttemptId, ClusterState, Event, JobSpec, Native, Repo, RepoId, Resources, Service, StepSpec,
    Variables,
};
use raft_store::codec;
use workflow::expression::Value;
use workflow::steps;

use super::Parts;
use super::control::Directories;
use super::services::Company;
use crate::executor::Part;
use crate::logs::Listening;
use crate::runner::contexts::{self, Facts};
use crate::runner::environment;

/// Largest specification that is read, in bytes.
const MAX_SPEC: usize = domain::limits::MAX_SPEC_BYTES;

/// What the names of secrets begin with that a called workflow was given.
const GIVEN: &str = "given:";

/// Everything about the job.
pub(super) struct Given {
    pub(super) spec: Arc<JobSpec>,
    pub(super) image: String,
    /// Its containers, and what each may have.
    pub(super) company: Company,
    /// Of the container.
    pub(super) env: BTreeMap<String, String>,
    pub(super) resources: Resources,
    pub(super) event: Arc<Event>,
    pub(super) repo: Option<(RepoId, Repo)>,
    /// Variables that no step can change.
    facts: Variables,
    contexts: Vec<(String, Value)>,
    secrets: BTreeMap<String, String>,
    /// Path of the workflow's file.
    path: Arc<str>,
}

impl Given {
    /// Reads it; `workspace` is where the job sees its workspace, `variables` what `vars` says. An error is in words.
    pub(super) fn read(
        parts: &Parts,
        attempt: AttemptId,
        slot: u16,
        (workspace, directories): (&str, &Directories),
        variables: &Variables,
    ) -> Result<Self, String> {
        let mut known = Vec::new();
        Self::made(parts, (attempt, slot), (workspace, directories), (variables, &mut known))
            .map_err(|why| without(why, known))
    }

    /// The same; `opened` gets the secrets as soon as they are, for an error may quote what was computed from them.
    fn made(
        parts: &Parts,
        (attempt, slot): (AttemptId, u16),
        (workspace, directories): (&str, &Directories),
        (variables, opened): (&Variables, &mut Vec<String>),
    ) -> Result<Self, String> {
        let state = parts.replica.state();
        let unknown = || format!("job {} is not in this node's state", attempt.job);
        let job = state.jobs.get(&attempt.job).ok_or_else(unknown)?;
        let run = state.runs.get(&attempt.job.run).ok_or_else(unknown)?;
        let bytes = state.specs.get(&attempt.job).ok_or_else(unknown)?;
        let spec: Arc<JobSpec> = codec::decode(&bytes.0, MAX_SPEC)
            .map(Arc::new)
            .map_err(|error| format!("the specification of job {} cannot be read: {error}", attempt.job))?;
        let repo = run.repo.and_then(|id| Some((id, state.repos.get(&id)?.clone())));
        let node = parts.options.name.as_str();
        let id = if spec.id.is_empty() { &job.key } else { spec.id.as_str() };
        let [event_path, temp] = directories.given().map(|mount| parts.seen(&mount.from, &mount.to));
        let of_repo = repo.as_ref().filter(|_| spec.expressions).map(|(id, _)| *id);
        let mut secrets = secrets(parts, &state, of_repo, &run.event)?;
        opened.extend(secrets.values().cloned());
        let facts = Facts {
            run,
            job: id,
            attempt,
            repo: repo.as_ref().map(|(_, repo)| repo),
            node,
            workspace,
            event_path: &event_path,
            temp: &temp,
            debug: is_debugged(&secrets),
        };
        let (known, contexts) = if spec.expressions {
            let contexts = contexts::of_job(&state, attempt.job, &facts, (&secrets, variables))?;
            // What a called workflow was given is not to be shown either.
            for (name, value) in contexts::secrets_of(&contexts) {
                opened.push(value.clone());
                secrets.entry(format!("{GIVEN}{name}")).or_insert(value);
            }
            (environment::facts(facts).into_iter().collect(), contexts)
        } else {
            (Variables::new(), Vec::new())
        };
        let mut given = Self {
            env: environment::of_job(&spec, facts),
            image: String::new(),
            company: Company::default(),
            resources: job.resources,
            event: Arc::clone(&run.event),
            repo: repo.clone(),
            facts: known,
            contexts,
            secrets,
            path: Arc::clone(&run.path),
            spec: Arc::clone(&spec),
        };
        let course = steps::Course::new(given.course(workspace));
        let container = course.container(&spec.container)?;
        let service = |service: &Service| {
            let container = course.container(&service.container);
            let named = |why| format!("services.{}: {why}", service.name);
            Ok(Service { name: service.name.clone(), container: container.map_err(named)? })
        };
        let services: Vec<_> = spec.services.iter().map(service).collect::<Result<_, String>>()?;
        // What a stranger's job left in a volume, the next job of the repository would find.
        let of_volumes = run.repo.filter(|_| !run.event.from_fork);
        given.company = Company::of(&container, &services, job.resources, of_volumes)?;
        if let Some(beside) = parts.executor.beside().filter(|_| spec.expressions) {
            let called = |part: &Part| beside.called(attempt, part, slot);
            given.contexts.push(("job".to_owned(), given.company.context(called)));
        }
        given.image = parts.options.image(&container.image, &job.labels).to_owned();
        given.env.extend(container.env);
        Ok(given)
    }

    /// What its course is made of.
    pub(super) fn course(&self, workspace: &str) -> steps::Given {
        steps::Given {
            spec: Arc::clone(&self.spec),
            path: self.path.to_string(),
            workspace: workspace.to_owned(),
            contexts: self.contexts.clone(),
            facts: self.facts.clone(),
            secrets: self.secrets.values().cloned().collect(),
        }
    }

    /// What its output may say, and what must not be shown of it; nothing for an ad hoc job.
    pub(super) fn listening(&self) -> Option<Listening> {
        let debug = is_debugged(&self.secrets);
        let named =
            |(name, value): (&String, &String)| (name.trim_start_matches(GIVEN).to_owned(), value.clone());
        let secrets = || self.secrets.iter().map(named).collect();
        self.spec.expressions.then(|| Listening { secrets: secrets(), debug })
    }

    /// The repository whose objects the container must see: only when a step checks it out.
    pub(super) fn checked_out(&self) -> Option<RepoId> {
        self.repo.as_ref().filter(|_| checks_out(&self.spec.steps)).map(|(id, _)| *id)
    }
}

/// Words without these secrets in them.
fn without(words: String, mut secrets: Vec<String>) -> String {
    secrets.retain(|secret| !secret.is_empty());
    // One that holds another goes whole.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(words, |words, secret| words.replace(secret.as_str(), "***"))
}

/// Somebody wants to see lines for debugging; said as GitHub has it, in a secret.
fn is_debugged(secrets: &BTreeMap<String, String>) -> bool {
    secrets.get("ACTIONS_STEP_DEBUG").is_some_and(|value| value == "true")
}

fn checks_out(steps: &[StepSpec]) -> bool {
    steps.iter().any(|step| match &step.action {
        Action::Native { what: Native::Checkout, .. } => true,
        Action::Composite { steps, .. } => checks_out(steps),
        _ => false,
    })
}

/// The secrets of a job's repository, by name. The one place where they enter a job; one whose commits are of somebody who may
/// not push there has none.
fn secrets(
    parts: &Parts,
    state: &ClusterState,
    repo: Option<RepoId>,
    event: &Event,
) -> Result<BTreeMap<String, String>, String> {
    match (parts.secrets.get(), repo) {
        (Some(secrets), Some(repo)) if !event.from_fork => secrets(state, repo, event),
        _ => Ok(BTreeMap::new()),
    }
}
