//! Computes the texts of a step. A complaint names the field and where its step stands.

use std::sync::Arc;

use domain::{StepSpec, Variables};

use crate::complaints::Complaints;
use crate::diagnostic::At;
use crate::expression::{Environment, Expression, Function, NoEnvironment, Object, Scope, Value};
use crate::graph;
use crate::model::Condition;
use crate::{expression, schema};

const CONTEXTS: &[&str] =
    &["github", "inputs", "vars", "needs", "strategy", "matrix", "secrets", "steps", "job", "runner", "env"];
const HASH_FILES: Function = Function::new("hashFiles", 1, 255);
/// Where any text of a step or a job stands; a file that names what is not allowed in a place was refused when it was read.
const TEXT: Scope = Scope { contexts: CONTEXTS, functions: &[HASH_FILES] };
const CONDITION: Scope = Scope {
    contexts: CONTEXTS,
    functions: &[
        HASH_FILES,
        Function::new("always", 0, 0),
        Function::new("failure", 0, 0),
        Function::new("cancelled", 0, 0),
        Function::new("success", 0, 0),
    ],
};

/// What texts are computed from.
pub(super) struct Evaluator<'a> {
    pub(super) contexts: Object,
    pub(super) files: &'a dyn Environment,
    /// Texts may hold expressions.
    pub(super) expressions: bool,
    /// Path, line and column, for complaints.
    pub(super) place: String,
}

impl Evaluator<'_> {
    /// Where a step stands, for complaints.
    pub(super) fn place(path: &str, step: &StepSpec) -> String {
        match step.at {
            (0, _) => path.to_owned(),
            (line, column) => format!("{path}:{line}:{column}"),
        }
    }

    fn complain(&self, field: &str, why: impl std::fmt::Display) -> String {
        let place = if self.place.is_empty() { String::new() } else { format!("{}: ", self.place) };
        format!("{place}{field}: {why}")
    }

    /// The value of a text.
    fn value(&self, field: &str, text: &str) -> Result<Value, String> {
        if !self.expressions || !text.contains("${{") {
            return Ok(Value::text(text));
        }
        let mut complaints = Complaints::default();
        let template = schema::read_text(text, At::START, TEXT, &mut complaints);
        if let Some(first) = complaints.sorted().first() {
            return Err(self.complain(field, &first.message));
        }
        template.resolve(&self.contexts, self.files).map_err(|(_, error)| self.complain(field, error))
    }

    /// A text, computed.
    pub(super) fn text(&self, field: &str, text: &str) -> Result<String, String> {
        Ok(self.value(field, text)?.as_text().to_string())
    }

    /// Names and values; one without a name is a map of them.
    pub(super) fn variables(&self, field: &str, variables: &Variables) -> Result<Variables, String> {
        let mut found = Variables::new();
        for (name, text) in variables {
            if !name.is_empty() {
                found.push((name.clone(), self.text(&format!("{field}.{name}"), text)?));
                continue;
            }
            match self.value(field, text)? {
                Value::Object(map) => {
                    found.extend(
                        map.iter().map(|(name, value)| (name.to_owned(), value.as_text().to_string())),
                    );
                }
                Value::Null => {}
                other if other.as_text().is_empty() => {}
                _ => return Err(self.complain(field, "expected a map of names and values")),
            }
        }
        Ok(found)
    }

    /// True or false; empty is false.
    pub(super) fn boolean(&self, field: &str, text: &str) -> Result<bool, String> {
        match &*self.text(field, text)? {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            other => Err(self.complain(field, format!("expected true or false, found {other:?}"))),
        }
    }

    /// Minutes, in milliseconds; empty is 0, which is no limit.
    pub(super) fn minutes(&self, field: &str, text: &str) -> Result<u64, String> {
        let text = self.text(field, text)?;
        if text.is_empty() {
            return Ok(0);
        }
        let minutes = text.trim().parse::<f64>().ok().filter(|minutes| *minutes > 0.0 && minutes.is_finite());
        let bad = || self.complain(field, format!("expected a number of minutes above 0, found {text:?}"));
        Ok(((minutes.ok_or_else(bad)? * 60_000.0) as u64).max(1))
    }

    /// Whether a step runs.
    pub(super) fn condition(&self, text: &str, steps: graph::Steps) -> Result<bool, String> {
        let text = text.trim();
        if text.is_empty() || text.eq_ignore_ascii_case("success()") {
            return Ok(!steps.failed && !steps.cancelled);
        }
        let parsed = Expression::parse(text, &CONDITION).and_then(|expression| {
            if expression.asks_for_status() {
                return Ok(expression);
            }
            Expression::parse(&format!("success() && ({text})"), &CONDITION)
        });
        let expression = parsed.map_err(|error| self.complain("if", error))?;
        let condition = Condition { at: At::START, expression, written: text.to_owned() };
        graph::step_runs(&condition, steps, self.files, &self.contexts)
            .map_err(|error| self.complain("if", error.message))
    }

    /// A text that the files of a workspace cannot be asked in.
    pub(super) fn before_the_job(contexts: Object, expressions: bool, place: &str) -> Evaluator<'static> {
        Evaluator { contexts, files: &NoEnvironment, expressions, place: place.to_owned() }
    }
}

/// Names and values as a context has them; of equal names the last one counts.
pub fn to_object<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for (name, value) in variables {
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => found.push((name, value)),
        }
    }
    Value::Object(Arc::new(found.into_iter().fold(Object::default(), |mut object, (name, value)| {
        object.insert(name, Value::text(value));
        object
    })))
}

/// A value in JSON.
///
/// # Errors
/// What is wrong with it, in words.
pub fn from_json(text: &str) -> Result<Value, String> {
    expression::from_json(text)
}
