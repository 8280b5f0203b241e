//! Made-up histories for the oracle's tests: a good one, in which each test breaks one thing.

use std::collections::BTreeMap;

use serde_json::json;

use super::facts::MARK;
use super::{Invariant, judge};
use crate::history::{
    Action, Answer, Artifact, Attempt, Container, Gauges, History, Job, Nanos, Node, Operation, Output, Run,
    Sighting, View,
};
use crate::work::{ARTIFACT, Kind};

pub(super) const SECOND: Nanos = 1_000_000_000;

/// Runs that went well, unless a test says otherwise.
pub(super) struct Sample {
    pub history: History,
    runs: BTreeMap<String, Run>,
    attempts: BTreeMap<String, Vec<Attempt>>,
    kinds: BTreeMap<String, Kind>,
    /// The next moment that nothing has happened in.
    now: Nanos,
}

/// What is found in a sample, sorted.
pub(super) fn found(sample: &Sample) -> Vec<Invariant> {
    let violations = judge(&sample.history()).violations;
    let mut found: Vec<_> = violations.iter().map(|violation| violation.invariant).collect();
    found.sort();
    found
}

impl Sample {
    pub fn new() -> Self {
        let node = |number| Node { id: format!("n{number}"), name: format!("node-{number}"), slots: 2 };
        let gauges = |leads| Gauges { leads, slots: [("idle".to_owned(), 2)].into(), ..Gauges::default() };
        let history = History {
            nodes: [1, 2, 3].map(node).into(),
            lease_ms: 6000,
            gauges: [true, false, false].map(gauges).into(),
            ..History::default()
        };
        Self {
            history,
            runs: BTreeMap::new(),
            attempts: BTreeMap::new(),
            kinds: BTreeMap::new(),
            now: 1000 * SECOND,
        }
    }

    /// All of it, with the same on every node.
    pub fn history(&self) -> History {
        let runs = self.runs.iter().map(|(id, run)| (id.clone(), json!(run))).collect();
        let attempts =
            self.attempts.iter().map(|(job, all)| (job.clone(), json!({ "items": all }))).collect();
        let view = View { runs, attempts, state: (9, "hash".to_owned()) };
        History { views: vec![view.clone(), view.clone(), view], ended: self.now, ..self.history.clone() }
    }

    fn operation(&mut self, action: Action, answer: Answer) {
        let (asked, answered) = (self.now, self.now + SECOND / 10);
        self.now += SECOND / 5;
        self.history.operations.push(Operation { node: 0, action, asked, answered, answer });
    }

    fn submit(key: &str, kind: Kind) -> Action {
        let key = key.to_owned();
        if Kind::GRAPHS.contains(&kind) { Action::Push { key, kind } } else { Action::Submit { key, kind } }
    }

    /// A run that nobody was told of, with all that comes of it.
    pub fn run(&mut self, key: &str, kind: Kind) -> String {
        let id = format!("R{}", self.runs.len());
        let jobs = (0..).zip(kind.jobs()).map(|(index, job)| Job {
            id: format!("{id}.{index}"),
            key: job.key.to_owned(),
            state: "finished".to_owned(),
            outcome: kind.outcome(job.key).map(str::to_owned),
            ..Job::default()
        });
        let run = Run {
            id: id.clone(),
            name: format!("{MARK}{key}"),
            delivery: Some(format!("D-{id}")),
            jobs: jobs.collect(),
            outcome: Some("succeeded".to_owned()),
            ..Run::default()
        };
        self.runs.insert(id.clone(), run);
        self.kinds.insert(id.clone(), kind);
        for (index, job) in kind.jobs().into_iter().enumerate() {
            match kind.outcome(job.key) {
                Some(outcome @ ("succeeded" | "failed")) => self.placed(&id, index, outcome),
                _ => self.never_placed(&id, index),
            }
        }
        id
    }

    pub fn accepted(&mut self, key: &str, kind: Kind) -> String {
        let id = self.run(key, kind);
        let action = Self::submit(key, kind);
        let answer = if matches!(action, Action::Push { .. }) { format!("D-{id}") } else { id.clone() };
        self.operation(action, Answer::Done(answer));
        id
    }

    pub fn unknown(&mut self, key: &str, kind: Kind) {
        self.operation(Self::submit(key, kind), Answer::Perhaps("reset".to_owned()));
    }

    pub fn refused(&mut self, key: &str, kind: Kind) {
        self.operation(Self::submit(key, kind), Answer::Refused("unavailable".to_owned()));
    }

    pub fn cancel(&mut self, run: &str) {
        self.operation(Action::Cancel { run: run.to_owned() }, Answer::Done(run.to_owned()));
    }

    /// A run once more; asked for, or not.
    pub fn rerun(&mut self, of: &str, asked: bool) -> String {
        let key = self.runs[of].name[MARK.len()..].to_owned();
        let id = self.run(&key, Kind::Short);
        self.runs.get_mut(&id).expect("just made").rerun_of = Some(of.to_owned());
        if asked {
            self.operation(Action::Rerun { run: of.to_owned() }, Answer::Done(id.clone()));
        }
        id
    }

    /// Makes a run one that repeats another, by its delivery as well.
    pub fn repeats(&mut self, run: &str, of: &str) {
        let delivery = self.runs[of].delivery.clone();
        let repeated = self.runs.get_mut(run).expect("a run");
        (repeated.rerun_of, repeated.delivery) = (Some(of.to_owned()), delivery);
        self.operation(Action::Rerun { run: of.to_owned() }, Answer::Done(run.to_owned()));
    }

    pub fn saw(&mut self, run: &str, there: bool) {
        let seen = there.then(|| self.runs[run].clone());
        self.history.sightings.push(Sighting { node: 1, asked: self.now, run: run.to_owned(), seen });
    }

    pub fn saw_outcome(&mut self, run: &str, outcome: &str) {
        let mut seen = self.runs[run].clone();
        seen.outcome = Some(outcome.to_owned());
        seen.jobs[0].outcome = Some(outcome.to_owned());
        self.history.sightings.push(Sighting {
            node: 1,
            asked: self.now,
            run: run.to_owned(),
            seen: Some(seen),
        });
    }

    /// As if it had never been, but for what was answered.
    pub fn forget(&mut self, run: &str) {
        let run = self.runs.remove(run).expect("a run");
        for job in &run.jobs {
            self.attempts.remove(&job.id);
            let of_job = format!("{}/", job.id);
            self.history.containers.retain(|container| !container.attempt.starts_with(&of_job));
        }
    }

    pub fn job(&mut self, run: &str, index: usize) -> &mut Job {
        &mut self.runs.get_mut(run).expect("a run").jobs[index]
    }

    pub fn attempt(&mut self, run: &str, index: usize, number: usize) -> &mut Attempt {
        &mut self.attempts.get_mut(&format!("{run}.{index}")).expect("a job")[number - 1]
    }

    pub fn container(&mut self, run: &str, index: usize, number: usize) -> &mut Container {
        let id = format!("{run}.{index}/{number}");
        self.history.containers.iter_mut().find(|container| container.attempt == id).expect("a container")
    }

    pub fn output(&mut self, run: &str, index: usize, number: usize) -> &mut Output {
        self.history.outputs.entry(format!("{run}.{index}/{number}")).or_default()
    }

    /// How a job and its last attempt ended.
    pub fn ends(&mut self, run: &str, index: usize, outcome: &str) {
        let job = self.job(run, index);
        job.outcome = Some(outcome.to_owned());
        let last = job.attempts as usize;
        self.attempt(run, index, last).outcome = Some(outcome.to_owned());
    }

    pub fn never_placed(&mut self, run: &str, index: usize) {
        let job = self.job(run, index);
        job.attempts = 0;
        if job.outcome.as_deref() != Some("skipped") {
            job.outcome = Some("cancelled".to_owned());
        }
        let id = job.id.clone();
        self.attempts.insert(id.clone(), Vec::new());
        self.history.containers.retain(|container| !container.attempt.starts_with(&format!("{id}/")));
    }

    pub fn open(&mut self, run: &str, index: usize, state: &str) {
        let job = self.job(run, index);
        (job.state, job.outcome) = (state.to_owned(), None);
        self.runs.get_mut(run).expect("a run").outcome = None;
    }

    /// One more attempt of a job, that ends so.
    pub fn placed(&mut self, run: &str, index: usize, outcome: &str) {
        let planned = self.kinds[run].jobs()[index];
        let job = self.job(run, index);
        job.attempts += 1;
        job.outcome = Some(outcome.to_owned());
        let (number, job) = (job.attempts, job.id.clone());
        let id = format!("{job}/{number}");
        let node = self.history.nodes[self.now as usize % 3].id.clone();
        let (started, ended, fence) = (self.now, self.now + 2 * SECOND, self.now / SECOND);
        self.now += 3 * SECOND + 1;

        let time = |at: Nanos| at as f64 / 1e9;
        let head = |word, at| format!("{word} {run} {} {number} {:.2}\n", planned.key, time(at));
        let lines: String = (1..=planned.lines).map(|line| format!("line {line}\n")).collect();
        let log = head("begin", started + SECOND / 5) + &lines + &head("end", ended - SECOND / 5);
        let mut attempt = Attempt {
            id: id.clone(),
            node: node.clone(),
            fence,
            outcome: Some(outcome.to_owned()),
            // Late enough for all that tests do to its container.
            finished_at: u64::from(u32::MAX),
            log_bytes: log.len() as u64,
            ..Attempt::default()
        };
        let mut output = Output { log: Some(log), ..Output::default() };
        if planned.keeps {
            let (path, bytes) = (ARTIFACT.to_owned(), planned.artifact(run, number));
            let (size, sha256) = (bytes.len() as u64, format!("digest of {bytes}"));
            output.artifacts.insert(path.clone(), (sha256.clone(), bytes));
            attempt.artifacts.push(Artifact { path, size, sha256 });
        }
        self.history.outputs.insert(id.clone(), output);
        self.attempts.entry(job).or_default().push(attempt);
        let (started, ended) = (Some(started), Some(ended));
        self.history.containers.push(Container {
            id: format!("c-{id}"),
            node,
            attempt: id,
            fence,
            started,
            ended,
            cut_off: false,
            exit: Some(0),
            still: Vec::new(),
        });
    }

    /// The first attempt of a job was lost half-way, and a second one did what the first had done.
    pub fn lost_first(&mut self, run: &str, index: usize) {
        let outcome = self.job(run, index).outcome.clone().expect("it ended");
        self.attempt(run, index, 1).outcome = Some("lost".to_owned());
        self.attempt(run, index, 1).artifacts.clear();
        let output = self.output(run, index, 1);
        output.log = output.log.take().map(|text| text[..text.len() / 2].to_owned());
        self.placed(run, index, &outcome);
    }
}
