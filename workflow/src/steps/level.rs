//! A list of steps that is under way: a job's own, or those of an action within it.

use std::sync::Arc;

use domain::{Outcome, StepSpec, Variables};

use crate::expression::{Object, Value};

/// One list of steps, and how far it has come.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub(super) steps: Arc<[StepSpec]>,
    /// The next one, or the one that is under way.
    pub(super) at: usize,
    /// Steps with an id that are over.
    done: Vec<(String, Value)>,
    /// The first that was not good, without those that may fail.
    pub(super) outcome: Option<Outcome>,
    /// Of an action.
    pub(super) action: Option<Action>,
}

/// What an action is given, and gives.
#[derive(Debug, Clone)]
pub(super) struct Action {
    /// Where its files are, as its steps see them.
    pub(super) path: String,
    pub(super) inputs: Value,
    pub(super) outputs: Variables,
    /// Environment of the step that uses it, and of those around that.
    pub(super) env: Variables,
    /// The limit of that step, for all of its own together; 0 for none.
    pub(super) limit_ms: u64,
    /// When it is over; not known before the first of its own has begun.
    pub(super) ends_at: Option<u64>,
    /// That step may fail.
    pub(super) may_fail: bool,
}

impl Action {
    /// How much of its limit is left; none where it has none.
    pub(super) fn left(&self, now: u64) -> Option<u64> {
        let left = self.ends_at.map_or(self.limit_ms, |end| end.saturating_sub(now));
        (self.limit_ms > 0).then_some(left)
    }
}

impl Level {
    pub(super) fn new(steps: &[StepSpec], action: Option<Action>) -> Self {
        Self { steps: steps.into(), at: 0, done: Vec::new(), outcome: None, action }
    }

    /// The step that is next or under way.
    pub(super) fn step(&self) -> Option<&StepSpec> {
        self.steps.get(self.at)
    }

    /// The name of that step, as GitHub gives one to those without an id: after what it is, with a number from the second on.
    pub(super) fn called(&self) -> String {
        let Some(step) = self.step() else { return String::new() };
        if !step.id.is_empty() {
            return step.id.clone();
        }
        let name = kind(step);
        let alike = |other: &&StepSpec| other.id.is_empty() && kind(other) == name;
        match self.steps[..self.at].iter().filter(alike).count() {
            0 => name,
            before => format!("{name}_{}", before + 1),
        }
    }

    /// What is left of it is not done: its time is over.
    pub(super) fn run_out(&mut self) {
        self.outcome.get_or_insert(Outcome::TimedOut);
        self.at = self.steps.len();
    }

    pub(super) fn failed(&self) -> bool {
        self.outcome.is_some()
    }

    /// The context `steps`.
    pub(super) fn context(&self) -> Value {
        let mut all = Object::default();
        // A later step of the same id counts.
        for (id, end) in self.done.iter().rev() {
            all.insert(id, end.clone());
        }
        Value::Object(Arc::new(all))
    }

    /// The step that is under way is over; a failure that is allowed counts as none.
    pub(super) fn finish(
        &mut self,
        outcome: Outcome,
        may_fail: bool,
        outputs: &[(String, String)],
    ) -> Outcome {
        let conclusion = match outcome {
            Outcome::Failed | Outcome::TimedOut if may_fail => Outcome::Succeeded,
            other => other,
        };
        if let Some(id) = self.step().map(|step| step.id.clone()).filter(|id| !id.is_empty()) {
            let outputs =
                super::to_object(outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let end = Value::object([
                ("outputs", outputs),
                ("outcome", Value::text(word(outcome))),
                ("conclusion", Value::text(word(conclusion))),
            ]);
            self.done.push((id, end));
        }
        if !matches!(conclusion, Outcome::Succeeded | Outcome::Skipped) {
            self.outcome.get_or_insert(conclusion);
        }
        self.at += 1;
        conclusion
    }
}

/// What a step is, as a name.
fn kind(step: &StepSpec) -> String {
    let of = match &step.action {
        domain::Action::Run { .. } => "run",
        domain::Action::Native { what, .. } => what.as_str(),
        domain::Action::Docker { image, .. } => image,
        domain::Action::Composite { .. } => "self",
    };
    format!("__{}", of.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_"))
}

/// As contexts say it.
fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "success",
        Outcome::Skipped => "skipped",
        Outcome::Cancelled => "cancelled",
        Outcome::Failed | Outcome::TimedOut | Outcome::Lost => "failure",
    }
}
