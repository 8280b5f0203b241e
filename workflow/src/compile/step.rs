//! Steps, as text.

use domain::{Action, StepSpec};

use super::text::{checked, env, maybe, path, variables};
use super::uses::{Unfolding, uses};
use crate::complaints::Complaints;
use crate::model::{self, Step};

/// What steps take when they do not say.
#[derive(Default, Clone)]
pub(super) struct Defaults {
    shell: String,
    working_directory: String,
}

impl Defaults {
    /// These, where the file says nothing else.
    pub(super) fn with(mut self, found: &model::Defaults, c: &mut Complaints) -> Self {
        if let Some(shell) = &found.shell {
            self.shell = checked(shell, "defaults.run.shell", c);
        }
        if let Some(found) = &found.working_directory {
            self.working_directory = path(found, "defaults.run.working-directory", c);
        }
        self
    }
}

/// Steps of a job, or of an action.
pub(super) fn steps(
    steps: &[Step],
    defaults: &Defaults,
    unfolding: &mut Unfolding<'_>,
    c: &mut Complaints,
) -> Vec<StepSpec> {
    let mut made = Vec::new();
    for one in steps {
        if !unfolding.take(one.at, c) {
            break;
        }
        made.extend(step(one, defaults, unfolding, c));
    }
    made
}

fn step(
    step: &Step,
    defaults: &Defaults,
    unfolding: &mut Unfolding<'_>,
    c: &mut Complaints,
) -> Option<StepSpec> {
    if step.background {
        c.unsupported(step.at, "steps in the background are not supported");
    }
    let action = match &step.action {
        model::Action::Run { script, shell, working_directory } => Action::Run {
            script: checked(script, "run", c),
            shell: shell
                .as_ref()
                .map(|shell| checked(shell, "shell", c))
                .unwrap_or_else(|| defaults.shell.clone()),
            working_directory: match working_directory {
                Some(found) => path(found, "working-directory", c),
                None => defaults.working_directory.clone(),
            },
        },
        model::Action::Uses { action, with } => uses(action, with.as_ref(), unfolding, c)?,
        _ => {
            c.unsupported(step.at, "steps that wait, cancel or are parallel are not supported");
            return None;
        }
    };
    let condition = step.condition.as_ref().filter(|condition| condition.written != "success()");
    let made_up = step.id.starts_with("__");
    Some(StepSpec {
        id: if made_up { String::new() } else { step.id.clone() },
        name: match &step.name {
            Some(name) => checked(name, "name", c),
            None => title(&step.action),
        },
        at: (step.at.line as u32, step.at.column as u32),
        action,
        env: env(step.env.as_ref(), "env", c),
        // As it is evaluated, with the question for success that what does not ask gets.
        condition: condition.map(|condition| condition.expression.text().to_owned()).unwrap_or_default(),
        timeout_minutes: maybe(step.timeout_minutes.as_ref()),
        continue_on_error: maybe(step.continue_on_error.as_ref()),
    })
}

/// As GitHub names a step without a name, at most 100 characters of the script.
fn title(action: &model::Action) -> String {
    match action {
        model::Action::Run { script, .. } => {
            let text = super::text_of(script);
            let line = text.lines().next().unwrap_or_default();
            format!("Run {}", line.chars().take(100).collect::<String>())
        }
        model::Action::Uses { action, .. } => {
            format!("Run {}", action.value.chars().take(100).collect::<String>())
        }
        _ => String::new(),
    }
}

/// The inputs that a step gives.
pub(super) fn inputs(with: Option<&crate::template::Template>) -> domain::Variables {
    variables(with)
}
