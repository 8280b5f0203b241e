//! A history, sorted for its judges.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Action, Answer, Attempt, Container, History, Job, Operation, Run};
use crate::work::{self, Kind};

/// In front of the key in a run's name or title.
pub const MARK: &str = "chaos ";

/// What all judges ask for. Final states are those of the first node that has them; that all have the same is one judge's.
pub(super) struct Facts<'a> {
    pub history: &'a History,
    /// By id.
    pub runs: BTreeMap<String, Run>,
    /// By job, first to last.
    pub attempts: BTreeMap<String, Vec<Attempt>>,
    /// What was asked for, by key.
    pub kinds: BTreeMap<&'a str, Kind>,
    /// Requests by key.
    pub by_key: BTreeMap<&'a str, Vec<&'a Operation>>,
    /// Runs whose end somebody asked for, whatever the answer.
    pub cancelled: BTreeSet<&'a str>,
    /// By job, in the order of their starts.
    pub containers: BTreeMap<&'a str, Vec<&'a Container>>,
}

impl<'a> Facts<'a> {
    pub fn of(history: &'a History) -> Self {
        let (mut kinds, mut by_key) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        let mut cancelled = BTreeSet::new();
        for operation in &history.operations {
            match &operation.action {
                Action::Submit { key, kind } | Action::Push { key, kind } => {
                    kinds.insert(key.as_str(), *kind);
                    by_key.entry(key.as_str()).or_default().push(operation);
                }
                Action::Cancel { run } => drop(cancelled.insert(run.as_str())),
                Action::Rerun { .. } | Action::Pause { .. } | Action::Resume { .. } => {}
            }
        }
        let mut containers = BTreeMap::<_, Vec<_>>::new();
        for container in &history.containers {
            let job = container.attempt.split('/').next().unwrap_or_default();
            containers.entry(job).or_default().push(container);
        }
        for of_job in containers.values_mut() {
            of_job.sort_by_key(|container| container.started);
        }
        let (mut runs, mut attempts) = (BTreeMap::new(), BTreeMap::new());
        if let Some(view) = history.views.first() {
            let run = |value: &serde_json::Value| serde_json::from_value::<Run>(value.clone()).ok();
            runs = view.runs.iter().filter_map(|(id, value)| Some((id.clone(), run(value)?))).collect();
            let of_job = |value: &serde_json::Value| serde_json::from_value(value["items"].clone()).ok();
            let all = view.attempts.iter();
            attempts = all.filter_map(|(job, value)| Some((job.clone(), of_job(value)?))).collect();
        }
        Self { history, runs, attempts, kinds, by_key, cancelled, containers }
    }

    /// The key that a run carries; those of the harness itself have none.
    pub fn key(run: &Run) -> Option<&str> {
        run.name.strip_prefix(MARK).or_else(|| run.title.strip_prefix(MARK))
    }

    /// What a run is.
    pub fn kind(&self, run: &Run) -> Option<Kind> {
        self.kinds.get(Self::key(run)?).copied()
    }

    /// All jobs of the clients' runs, each with its run and what it was asked to be.
    pub fn jobs(&self) -> impl Iterator<Item = (&Run, &Job, work::Job)> {
        self.runs.values().flat_map(move |run| {
            let planned = self.kind(run).map(Kind::jobs).unwrap_or_default();
            run.jobs.iter().filter_map(move |job| {
                let planned = planned.iter().find(|planned| planned.key == job.key)?;
                Some((run, job, *planned))
            })
        })
    }

    /// Attempts of a job, first to last.
    pub fn attempts_of(&self, job: &str) -> &[Attempt] {
        self.attempts.get(job).map_or(&[], Vec::as_slice)
    }

    /// Containers of a job that started, in order.
    pub fn started(&self, job: &str) -> impl Iterator<Item = &'a Container> {
        let all = self.containers.get(job).map_or(&[][..], Vec::as_slice);
        all.iter().copied().filter(|container| container.started.is_some())
    }

    /// What an id that was answered for this key stands for: the run, or that of the delivery.
    pub fn made(&self, operation: &Operation) -> Option<&Run> {
        let Answer::Done(id) = &operation.answer else { return None };
        match operation.action {
            // A rerun names the delivery of the run that it repeats.
            Action::Push { .. } => {
                self.runs.values().find(|run| run.delivery.as_ref() == Some(id) && run.rerun_of.is_none())
            }
            _ => self.runs.get(id),
        }
    }
}
