//! The node leads the steps of its attempt: from what init told, the output said and the node itself noted, to what comes next.
//!
//! Told the same in the same order it comes to the same, so that a node that starts again goes on where it was. Pure. Must not know how
//! orders reach init, nor the workspace: what it must know of that it asks ([`Lead::asked`]) and is told.

use std::cell::RefCell;

use domain::{Annotation, Artifact, Outcome, StepResult, Timestamp};
use init::wire::{self, FrameKind};
use raft_store::codec;
use serde::{Deserialize, Serialize};
use workflow::expression::{Environment, NoEnvironment, Status, Value};
use workflow::steps::{Answer, Course, End, Given, Next, Note, Order, Over, Post, What, Written};

use super::native::{DockerDone, NativeDone};
use crate::logs::Event;
use crate::runner::work::Told;

/// A step that has not begun.
const UNTOUCHED: StepResult = StepResult {
    exit_code: None,
    signal: None,
    name: String::new(),
    outcome: None,
    started_at: Timestamp(0),
    finished_at: Timestamp(0),
};
/// Characters of the reason that a job ended with which are kept: the job can have a part in it.
const MAX_REASON: usize = 1000;
/// Bytes of summaries that are kept.
const MAX_SUMMARIES: usize = 4 * 1024 * 1024;

/// What the node writes down for a later life of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Noted {
    /// What `hashFiles` says of these patterns, until the course has come to what it asked for.
    Hash(Vec<String>, Result<String, String>),
    /// How something went that the node did itself.
    Answer(u32, Result<Did, String>),
    /// For how many milliseconds the job has stood still, in all, when it is about to go on.
    Paused(u64),
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Did {
    /// Of an action.
    Native(NativeDone),
    /// Of a container for a step.
    Docker(DockerDone),
}

impl Noted {
    /// As it is written down.
    pub(super) fn encode(&self) -> Vec<u8> {
        // It cannot fail: there is nothing in it that has no form.
        codec::encode(self).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes, bytes.len()).ok()
    }
}

/// Where an attempt stands.
pub(super) struct Lead {
    /// What there is to tell.
    pub(super) told: Told,
    /// How the job ended, when all its steps are over.
    pub(super) end: Option<End>,
    /// What steps wrote for people to read.
    pub(super) summaries: Vec<(u16, Vec<u8>)>,
    /// What actions uploaded.
    pub(super) uploaded: Vec<Artifact>,
    course: Course,
    asks_for_files: bool,
    limit_ms: u64,
    /// What is to be done, or is being done.
    order: Option<Order>,
    /// Init has begun with it.
    started: bool,
    /// How it went, when the node did it.
    answer: Option<(u32, Result<Did, String>)>,
    /// The last order that init was given.
    given: u32,
    /// Init ends by itself.
    ends: bool,
    stopping: bool,
    written: [Vec<u8>; 5],
    /// What `hashFiles` says, as far as the course must know it to go on.
    hashes: Hashes,
    /// What it asks of `hashFiles` before it can go on.
    asked: Option<Vec<String>>,
    /// Time of the last frame.
    at: Timestamp,
    /// For how long the job had stood still until then.
    paused_ms: u64,
    /// What was told does not fit to what was ordered.
    astray: Option<String>,
}

impl Lead {
    /// Of a job that has not begun.
    pub(super) fn new(given: Given) -> Self {
        let steps = vec![UNTOUCHED; given.spec.steps.len()];
        let limit_ms = u64::from(given.spec.timeout_seconds) * 1000;
        let course = Course::new(given);
        Self {
            told: Told { steps, ..Told::default() },
            end: None,
            summaries: Vec::new(),
            uploaded: Vec::new(),
            asks_for_files: course.asks_for_files(),
            course,
            limit_ms,
            order: None,
            started: false,
            answer: None,
            given: 0,
            ends: false,
            stopping: false,
            written: Default::default(),
            hashes: Hashes::new(),
            asked: None,
            at: Timestamp(0),
            paused_ms: 0,
            astray: None,
        }
    }

    /// What `hashFiles` is asked before anything goes on, if it is.
    pub(super) fn asked(&self) -> Option<&[String]> {
        self.asked.as_deref()
    }

    /// The job is cancelled, or out of time, and what comes next knows it.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// What steps said of places in the sources.
    pub(super) fn annotations(&self) -> Vec<Annotation> {
        self.course.annotations().to_vec()
    }

    /// Takes one event.
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Heard(command) => self.course.hear(command),
            Event::Noted(bytes) => match Noted::decode(&bytes) {
                Some(Noted::Answer(number, did)) => self.answer = Some((number, did)),
                Some(Noted::Paused(ms)) => self.paused_ms = ms,
                Some(Noted::Hash(patterns, hash)) => self.hashes.push((patterns, hash)),
                None => {}
            },
            Event::Told(frame) => self.frame(frame),
        }
    }

    fn frame(&mut self, frame: wire::Frame) {
        self.at = Timestamp(frame.at_ms);
        self.course.at(frame.at_ms.saturating_sub(self.paused_ms));
        self.told.started_at.get_or_insert(self.at);
        match frame.kind {
            FrameKind::Stdout(_) | FrameKind::Stderr(_) => {}
            FrameKind::OrderStarted { order } => {
                if self.order.as_ref().is_some_and(|open| open.number == order) {
                    self.look_astray(frame.step);
                    self.started = true;
                    self.written = Default::default();
                    self.course.started(order);
                }
            }
            FrameKind::File { file, bytes } => {
                if let Some(written) = self.written.get_mut(usize::from(file)) {
                    written.extend(bytes);
                }
            }
            FrameKind::Stopping { outcome } => {
                let (outcome, why) = match outcome {
                    wire::Outcome::TimedOut => {
                        (Outcome::TimedOut, format!("the job's limit of {} ms passed", self.limit_ms))
                    }
                    _ => (Outcome::Cancelled, "cancelled".to_owned()),
                };
                self.course.stop(outcome, &why);
                self.stopping = true;
            }
            FrameKind::OrderOver { order, exit_code, signal, outcome, bad_files } => {
                let Some(open) = self.order.take_if(|open| open.number == order) else { return };
                self.ends = open.last && outcome != wire::Outcome::Skipped;
                let over = self.over(&open, (exit_code, signal, outcome_of(outcome)), bad_files);
                self.started = false;
                self.course.over(order, over);
            }
        }
    }

    /// Another step has begun than the one that is ordered: the course of an earlier life of this node was another, for what the job
    /// was given has changed (a secret, say).
    fn look_astray(&mut self, told: u16) {
        if let Some(open) = self.order.as_ref().filter(|open| open.step != told) {
            let (told, ordered) = (told + 1, open.step + 1);
            self.astray.get_or_insert(format!(
                "step {told} was done where step {ordered} comes: what the job was given has changed since it began"
            ));
        }
    }

    /// Why this node cannot go on with the job, if it cannot.
    pub(super) fn astray(&self) -> Option<&str> {
        self.astray.as_deref()
    }

    fn over(
        &mut self,
        order: &Order,
        (exit_code, signal, mut outcome): (Option<i32>, Option<i32>, Outcome),
        mut bad_files: u8,
    ) -> Over {
        let mut written = std::mem::take(&mut self.written);
        let mut answer = Answer::default();
        if !matches!(order.what, What::Run { .. }) {
            // What the job itself says of it does not count.
            (written, bad_files) = Default::default();
            let answered = self.answer.take().filter(|(number, _)| *number == order.number);
            match answered.map(|(_, did)| did) {
                Some(Ok(Did::Native(done))) => {
                    answer.outputs = done.outputs.into_iter().collect();
                    answer.post = done.post.map(|p| Post { on_success: p.on_success, state: p.state });
                    // What has the name of an earlier one takes its place, whole.
                    let replaced = |old: &Artifact| done.artifacts.iter().any(|new| new.name == old.name);
                    self.uploaded.retain(|old| !replaced(old));
                    self.uploaded.extend(done.artifacts);
                }
                Some(Ok(Did::Docker(done))) => (written, bad_files) = (done.files, done.bad_files),
                Some(Err(why)) => answer.why = Some(why),
                None if outcome == Outcome::Succeeded => outcome = Outcome::Failed,
                None => {}
            }
        }
        let bad = wire::FILES.iter().enumerate().filter(|(at, _)| bad_files & (1 << at) != 0);
        let bad = bad.map(|(_, (_, variable))| *variable).collect();
        let [output, env, path, summary, _state] = written;
        Over { exit_code, signal, outcome, written: Written { output, env, path, summary, bad }, answer }
    }

    /// Looks what comes next; what is to be said of steps.
    pub(super) fn advance(&mut self) -> Vec<(Timestamp, Note)> {
        if self.order.is_none() && self.end.is_none() {
            match self.next() {
                None | Some(Next::Wait) => {}
                Some(Next::Order(order)) => (self.order, self.started) = (Some(order), false),
                Some(Next::Done(mut end)) => {
                    end.reason = end.reason.chars().take(MAX_REASON).collect();
                    self.end = Some(end);
                }
            }
        }
        let notes = self.course.notes();
        notes.into_iter().map(|note| (self.at, self.note(note))).collect()
    }

    /// What comes next, once all is known that it depends on.
    fn next(&mut self) -> Option<Next> {
        if !self.asks_for_files {
            return Some(self.course.next(&NoEnvironment));
        }
        let files = Files { known: &self.hashes, asked: RefCell::default() };
        // Where something is not known yet, the course has gone nowhere.
        let mut course = self.course.clone();
        let next = course.next(&files);
        self.asked = files.asked.into_inner();
        if self.asked.is_some() {
            return None;
        }
        self.course = course;
        self.hashes.clear();
        Some(next)
    }

    /// Takes it, and hands it on, or what is to be said in its place.
    fn note(&mut self, note: Note) -> Note {
        match &note {
            Note::Said { .. } => {}
            Note::Named { step, name } => {
                if let Some(result) = self.told.steps.get_mut(usize::from(*step)) {
                    result.name.clone_from(name);
                }
            }
            Note::Started { step } => {
                if let Some(result) = self.told.steps.get_mut(usize::from(*step)) {
                    result.started_at = self.at;
                }
            }
            Note::Finished { step, exit_code, signal, outcome } => {
                if let Some(result) = self.told.steps.get_mut(usize::from(*step)) {
                    (result.exit_code, result.signal) = (*exit_code, *signal);
                    (result.outcome, result.finished_at) = (Some(*outcome), self.at);
                }
            }
            Note::Summary { step, text } => {
                let bytes: usize = self.summaries.iter().map(|(_, text)| text.len()).sum();
                if bytes + text.len() > MAX_SUMMARIES {
                    let words = format!(
                        "its summary is not kept: those of the job have more than {} MiB in all",
                        MAX_SUMMARIES >> 20
                    );
                    return Note::Said { step: *step, words };
                }
                match self.summaries.iter_mut().find(|(of, _)| of == step) {
                    Some((_, before)) => before.extend(text),
                    None => self.summaries.push((*step, text.clone())),
                }
            }
        }
        note
    }

    /// A computed name that must not be shown: the step has the one of its specification.
    pub(super) fn unnamed(&mut self, step: u16) {
        if let Some(result) = self.told.steps.get_mut(usize::from(step)) {
            result.name.clear();
        }
    }

    /// What init has not been given yet: its number and content. It is then taken to be given.
    pub(super) fn give(&mut self, expressions: bool) -> Option<(u32, wire::Order)> {
        let (number, order) = match (&self.order, &self.end) {
            (Some(order), _) if !self.started => (order.number, to_wire(order, expressions)),
            (None, Some(end)) if !self.ends => {
                let work = wire::Work::Finish { success: end.outcome == Outcome::Succeeded };
                (u32::MAX, wire::Order { step: 0, stopping: true, timeout_ms: 0, work })
            }
            _ => return None,
        };
        let number = if number == u32::MAX { self.finish_number() } else { number };
        if self.given >= number {
            return None;
        }
        self.given = number;
        Some((number, order))
    }

    /// The number behind the last order.
    fn finish_number(&self) -> u32 {
        self.course.count() + 1
    }

    /// What the node is to do now, itself, if that is how it is.
    pub(super) fn wanted(&self) -> Option<&Order> {
        let order = self.order.as_ref().filter(|_| self.started)?;
        (!matches!(order.what, What::Run { .. })).then_some(order)
    }

    /// How that went, once it is known.
    pub(super) fn answered(&self) -> Option<(u32, i32)> {
        let order = self.wanted()?;
        let (number, did) = self.answer.as_ref().filter(|(number, _)| *number == order.number)?;
        let code = match did {
            Ok(Did::Docker(done)) => done.exit_code,
            Ok(Did::Native(_)) => 0,
            Err(_) => 1,
        };
        Some((*number, code))
    }

    /// Nothing of the job has failed so far.
    pub(super) fn is_succeeding(&self) -> bool {
        self.course.is_succeeding()
    }

    /// The steps when nothing more comes: one that was under way ended with the job.
    pub(super) fn closed(&mut self, outcome: Outcome, at: Timestamp) -> Vec<StepResult> {
        let mut steps = std::mem::take(&mut self.told.steps);
        for step in &mut steps {
            if step.outcome.is_none() {
                let began = step.started_at != Timestamp(0);
                step.outcome = Some(if began { outcome } else { Outcome::Skipped });
                step.finished_at = if began { at } else { Timestamp(0) };
            }
        }
        steps
    }
}

/// Patterns, and what `hashFiles` says of them.
type Hashes = Vec<(Vec<String>, Result<String, String>)>;

/// Answers what is known of the workspace, and keeps the first question to which there is no answer yet.
struct Files<'a> {
    known: &'a Hashes,
    asked: RefCell<Option<Vec<String>>>,
}

impl Environment for Files<'_> {
    fn status(&self, _: Status, _: &[Value]) -> Result<bool, String> {
        Err("how it went so far can only be asked in `if`".to_owned())
    }

    fn hash_files(&self, patterns: &[String]) -> Result<String, String> {
        let known = self.known.iter().find(|(of, _)| of == patterns);
        known.map(|(_, hash)| hash.clone()).unwrap_or_else(|| {
            self.asked.borrow_mut().get_or_insert_with(|| patterns.to_vec());
            Err("not known yet".to_owned())
        })
    }
}

fn to_wire(order: &Order, files: bool) -> wire::Order {
    let work = match &order.what {
        What::Run { argv, script, cwd, env, path } => wire::Work::Run(wire::Run {
            argv: argv.clone(),
            script: script.clone().into_bytes(),
            cwd: cwd.clone(),
            env: env.clone(),
            path: path.clone(),
            files,
            last: order.last,
        }),
        What::Native { .. } | What::Docker { .. } => wire::Work::Host,
    };
    wire::Order { step: order.step, stopping: order.stopping, timeout_ms: order.timeout_ms, work }
}

fn outcome_of(outcome: wire::Outcome) -> Outcome {
    match outcome {
        wire::Outcome::Succeeded => Outcome::Succeeded,
        wire::Outcome::Failed => Outcome::Failed,
        wire::Outcome::Cancelled => Outcome::Cancelled,
        wire::Outcome::TimedOut => Outcome::TimedOut,
        wire::Outcome::Skipped => Outcome::Skipped,
    }
}
