//! Steps, as far as they are supported.

use domain::{Action, Condition, Native, StepSpec, Variables, limits};

use super::text::{boolean, env, map, number, path, refuse_keys, text};
use crate::complaints::Complaints;
use crate::diagnostic::cut;
use crate::model::{self, Dynamic, Located, Step};
use crate::template::Template;

/// Longest limit of a job or step: a week.
pub(super) const MAX_TIMEOUT_MINUTES: u32 = 7 * 24 * 60;

const STEP_KEYS: [&str; 11] = [
    "name",
    "id",
    "if",
    "run",
    "shell",
    "working-directory",
    "uses",
    "with",
    "env",
    "timeout-minutes",
    "continue-on-error",
];

/// What steps take when they do not say.
#[derive(Default, Clone)]
pub(super) struct Defaults {
    shell: String,
    working_directory: String,
}

impl Defaults {
    /// These, where the file says nothing else.
    pub(super) fn with(mut self, found: &model::Defaults, c: &mut Complaints) -> Self {
        if let Some(shell) = found.shell.as_ref().and_then(|found| shell(found, c)) {
            self.shell = shell;
        }
        if let Some(path) = found.working_directory.as_ref().and_then(|found| directory(found, c)) {
            self.working_directory = path;
        }
        self
    }
}

pub(super) fn steps(steps: &[Step], defaults: &Defaults, c: &mut Complaints) -> Vec<StepSpec> {
    if let Some(over) = steps.get(limits::MAX_STEPS) {
        c.unsupported(over.at, format!("{} steps, the limit is {}", steps.len(), limits::MAX_STEPS));
        return Vec::new();
    }
    steps.iter().filter_map(|one| step(one, defaults, c)).collect()
}

fn step(step: &Step, defaults: &Defaults, c: &mut Complaints) -> Option<StepSpec> {
    refuse_keys(&step.keys, "a step", &STEP_KEYS, c);
    let name = step.name.as_ref().and_then(|found| text(found, "name", c));
    let action = match &step.action {
        model::Action::Run { script, shell: found, working_directory } => {
            let script = text(script, "run", c);
            let shell =
                found.as_ref().and_then(|found| shell(found, c)).unwrap_or_else(|| defaults.shell.clone());
            let directory = working_directory.as_ref().and_then(|found| directory(found, c));
            let working_directory = directory.unwrap_or_else(|| defaults.working_directory.clone());
            script.map(|script| Action::Run { script, shell, working_directory })
        }
        model::Action::Uses { action, with } => uses(action, with.as_ref(), c),
        // Their keys were refused.
        _ => None,
    };
    let env = env(step.env.as_ref(), "env", c);
    let condition = step.condition.as_ref().map(|found| condition(found, c)).unwrap_or_default();
    let minutes = step.timeout_minutes.as_ref();
    let minutes = minutes.and_then(|found| number(found, "timeout-minutes", (1, MAX_TIMEOUT_MINUTES), c));
    let continue_on_error = step.continue_on_error.as_ref();
    let continue_on_error = continue_on_error.and_then(|found| boolean(found, "continue-on-error", c));
    let action = action?;
    Some(StepSpec {
        name: name.unwrap_or_else(|| title(&action)),
        action,
        id: String::new(),
        at: (step.at.line as u32, step.at.column as u32),
        env: env.into_iter().collect(),
        condition: status(condition).to_owned(),
        timeout_minutes: minutes.map(|minutes| minutes.to_string()).unwrap_or_default(),
        continue_on_error: continue_on_error.map(|yes| yes.to_string()).unwrap_or_default(),
    })
}

/// The `if` of a job or a step: one status function, and nothing else yet.
pub(super) fn condition(found: &model::Condition, c: &mut Complaints) -> Condition {
    match found.written.to_ascii_lowercase().as_str() {
        "" | "success()" => Condition::Success,
        "failure()" => Condition::Failure,
        "always()" => Condition::Always,
        _ => {
            let shown = cut(&found.written);
            c.unsupported(
                found.at,
                format!("if is {shown:?}; supported so far: success(), failure(), always()"),
            );
            Condition::Success
        }
    }
}

fn status(condition: Condition) -> &'static str {
    match condition {
        Condition::Success => "",
        Condition::Failure => "failure()",
        Condition::Always => "always()",
    }
}

/// As GitHub names a step without a name, at most 100 characters of the script.
fn title(action: &Action) -> String {
    match action {
        Action::Run { script, .. } => {
            let line = script.lines().next().unwrap_or_default();
            format!("Run {}", line.chars().take(100).collect::<String>())
        }
        _ => "Checkout".to_owned(),
    }
}

fn uses(action: &Located<String>, with: Option<&Template>, c: &mut Complaints) -> Option<Action> {
    if !matches!(action.value.split_once('@'), Some(("actions/checkout", version)) if !version.is_empty()) {
        let name = cut(&action.value);
        let message = format!("the action {name:?} is not supported. Allowed: actions/checkout@VERSION");
        c.unsupported(action.at, message);
        return None;
    }
    let (mut to, mut git_ref, mut depth) = (String::new(), String::new(), 1);
    for (place, name, value) in map(with, "with", c) {
        let at = place.at;
        match name.as_str() {
            "path" => to = path(value, at, "with.path", c).unwrap_or_default(),
            "ref" => {
                if value.starts_with('-') || value.len() > 255 || value.contains(char::is_control) {
                    let message =
                        "with.ref must not begin with -, hold control characters or be over 255 bytes";
                    c.unsupported(at, message);
                }
                git_ref = value;
            }
            "fetch-depth" => match value.parse() {
                Ok(commits) if commits <= 1_000_000 => depth = commits,
                _ => {
                    let shown = cut(&value);
                    let expected = "expected a whole number from 0 to 1000000";
                    c.unsupported(at, format!("with.fetch-depth is {shown:?}, {expected}"));
                }
            },
            other => {
                let shown = cut(other);
                let allowed = "Allowed: path, ref, fetch-depth";
                c.unsupported(at, format!("{shown:?} is not supported in with. {allowed}"));
            }
        }
    }
    let with = [("path", to), ("ref", git_ref), ("fetch-depth", depth.to_string())];
    let with: Variables = with.map(|(name, value)| (name.to_owned(), value)).into();
    Some(Action::Native { what: Native::Checkout, with })
}

fn shell(found: &Located<Dynamic<String>>, c: &mut Complaints) -> Option<String> {
    match text(found, "shell", c)?.as_str() {
        known @ ("bash" | "sh") => Some(known.to_owned()),
        other => {
            let shown = cut(other);
            c.unsupported(found.at, format!("the shell {shown:?} is not supported. Allowed: bash, sh"));
            None
        }
    }
}

fn directory(found: &Located<Dynamic<String>>, c: &mut Complaints) -> Option<String> {
    let text = text(found, "working-directory", c)?;
    path(text, found.at, "working-directory", c)
}
