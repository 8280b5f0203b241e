//! Expansion as tests ask for it: without other files, of everything changed, specifications as JSON.
#![allow(dead_code, reason = "each test uses some of it")]

use std::cell::Cell;
use std::collections::BTreeMap;

use domain::{Event, EventKind, JobSpec, NewJob, NewRun, RunId};
use workflow::contexts::Facts;
use workflow::model::{Files, Workflow};
use workflow::{Diagnostic, Mint, Occasion, Spec};

/// Files of a repository, by path, and how often one was asked for.
#[derive(Default)]
pub struct Tree(pub BTreeMap<String, String>, pub Cell<usize>);

impl Tree {
    pub fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self(files.collect(), Cell::default())
    }
}

impl Files for Tree {
    fn file(&self, uses: &str) -> Option<Vec<u8>> {
        self.1.set(self.1.get() + 1);
        self.0.get(&workflow::directory_of(uses)?).map(|text| text.clone().into_bytes())
    }
}

#[derive(Default)]
pub struct Ids(pub u128);

impl Mint for Ids {
    fn run_id(&mut self) -> RunId {
        self.0 += 1;
        RunId(self.0)
    }

    fn encode(&self, spec: Spec<'_>) -> Result<Vec<u8>, String> {
        let encoded = match spec {
            Spec::Job(spec) => serde_json::to_vec(spec),
            Spec::Group(spec) => serde_json::to_vec(spec),
            Spec::Undecided(spec) => serde_json::to_vec(spec),
        };
        encoded.map_err(|e| e.to_string())
    }
}

pub fn lint(bytes: &[u8]) -> Result<Workflow, Vec<Diagnostic>> {
    workflow::lint(bytes, &Tree::default())
}

pub fn event(kind: EventKind, git_ref: &str) -> Event {
    Event { git_ref: git_ref.to_owned(), ..Event::of(kind) }
}

pub fn expand(
    files: &[(String, Vec<u8>)],
    event: &Event,
    only_path: &str,
    mint: &mut dyn Mint,
) -> Vec<NewRun> {
    let (facts, tree, changed) = (Facts::default(), Tree::default(), || None);
    let occasion = Occasion { event, only_path, facts: &facts, files: &tree, changed: &changed };
    workflow::expand(files, &occasion, mint)
}

/// The run that an event makes of `ci.yml`, with these files around it.
pub fn run_of(text: &str, event: &Event, tree: &Tree) -> NewRun {
    let (facts, changed) = (Facts { repository: "o/r".to_owned(), ..Facts::default() }, || None);
    let occasion = Occasion { event, only_path: "", facts: &facts, files: tree, changed: &changed };
    let mut runs =
        workflow::expand(&[("ci.yml".to_owned(), text.as_bytes().to_vec())], &occasion, &mut Ids::default());
    assert_eq!(runs.len(), 1, "{text}");
    runs.remove(0)
}

pub fn job_spec(run: &NewRun, job: &NewJob) -> JobSpec {
    serde_json::from_slice(&run.specs[usize::from(job.spec)].0)
        .expect("a specification that was encoded here")
}
