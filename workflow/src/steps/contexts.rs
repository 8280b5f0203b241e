//! What the texts of a step are computed from: the contexts and variables as they are when the course comes to it.

use std::sync::Arc;

use domain::Variables;

use super::evaluate::Evaluator;
use super::level::{Action, Level};
use super::{Course, to_object};
use crate::expression::{Environment, Object, Value};

impl Course {
    /// The environment that a step finds, without its own.
    pub(super) fn env_around(&self) -> Variables {
        [self.env.clone(), self.env_of_actions()].concat()
    }

    /// What the actions around a step were given.
    pub(super) fn env_of_actions(&self) -> Variables {
        self.levels.last().and_then(|level| level.action.as_ref()).map(|a| a.env.clone()).unwrap_or_default()
    }

    /// Later ones win: what a file can change, what it says, and what it cannot change.
    pub(super) fn with_facts(&self, env: Variables) -> Variables {
        let mut env = [env, self.given.facts.clone()].concat();
        if self.given.spec.expressions {
            env.insert(0, ("CI".to_owned(), "true".to_owned()));
            env.push(("GITHUB_ACTION".to_owned(), self.called()));
            if let Some(action) = self.levels.last().and_then(|level| level.action.as_ref()) {
                env.push(("GITHUB_ACTION_PATH".to_owned(), action.path.clone()));
            }
        }
        env
    }

    pub(super) fn before(&self) -> Evaluator<'static> {
        Evaluator::before_the_job(self.contexts(&[]), self.given.spec.expressions, &self.given.path)
    }

    pub(super) fn evaluator<'a>(
        &self,
        env: &[(String, String)],
        files: &'a dyn Environment,
        place: String,
    ) -> Evaluator<'a> {
        Evaluator { contexts: self.contexts(env), files, expressions: self.given.spec.expressions, place }
    }

    /// The name of the step that is next or under way.
    fn called(&self) -> String {
        self.levels.last().map(Level::called).unwrap_or_default()
    }

    /// The context `github` as that step has it.
    fn of_step(&self, github: &Value, action: Option<&Action>) -> Value {
        let own = with(github, [("action", Value::text(self.called()))]);
        let Some(action) = action else { return own };
        let failed = self.levels.last().is_some_and(Level::failed);
        let status = if failed { "failure" } else { "success" };
        with(&own, [("action_path", Value::text(&action.path)), ("action_status", Value::text(status))])
    }

    pub(super) fn contexts(&self, env: &[(String, String)]) -> Object {
        let mut all = Object::default();
        let action = self.levels.last().and_then(|level| level.action.as_ref());
        if let Some(action) = action {
            all.insert("inputs", action.inputs.clone());
        }
        let status = match (self.stopped, self.levels[0].failed()) {
            (Some(_), _) => "cancelled",
            (None, true) => "failure",
            (None, false) => "success",
        };
        // An action is told what it is given, and is the same wherever it is used.
        let kept = |name: &str| action.is_none() || !matches!(name, "secrets" | "vars" | "needs");
        for (name, value) in self.given.contexts.iter().filter(|(name, _)| kept(name)) {
            let value = match (name.as_str(), action) {
                ("github", _) => self.of_step(value, action),
                ("job", _) => with(value, [("status", Value::text(status))]),
                _ => value.clone(),
            };
            all.insert(name, value);
        }
        all.insert("job", Value::object([("status", Value::text(status))]));
        all.insert("env", to_object(env.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
        if let Some(level) = self.levels.last() {
            all.insert("steps", level.context());
        }
        all
    }
}

/// A map with more names, or with other values for them.
fn with(value: &Value, added: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut object = Object::default();
    added.into_iter().for_each(|(name, value)| object.insert(name, value));
    if let Value::Object(map) = value {
        map.iter().for_each(|(name, value)| object.insert(name, value.clone()));
    }
    Value::Object(Arc::new(object))
}
