//! Steps of a job. Rules: actions/languageservices `workflow-parser/src/model/converter/steps.ts`.

use super::condition::{Condition, condition, without};
use super::fields::{Dynamic, Located, boolean, entries, get, keys, number, plain, plain_list, text};
use super::identifier::Ids;
use crate::complaints::Complaints;
use crate::diagnostic::{At, cut};
use crate::expression::Scope;
use crate::template::{Content, Template};

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where it begins.
    pub at: At,
    /// Its id; made up, beginning with `__`, when the file gives none.
    pub id: String,
    /// Its name as people see it.
    pub name: Option<Located<Dynamic<String>>>,
    /// When it runs.
    pub condition: Option<Condition>,
    /// What it does.
    pub action: Action,
    /// Variables.
    pub env: Option<Template>,
    /// Whether the job goes on when it fails.
    pub continue_on_error: Option<Located<Dynamic<bool>>>,
    /// Its limit.
    pub timeout_minutes: Option<Located<Dynamic<f64>>>,
    /// Whether the next step begins before this one has ended.
    pub background: bool,
    /// The keys that are there, with their places.
    pub keys: Vec<Located<String>>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A script.
    Run {
        /// Its lines.
        script: Located<Dynamic<String>>,
        /// What runs it.
        shell: Option<Located<Dynamic<String>>>,
        /// Where.
        working_directory: Option<Located<Dynamic<String>>>,
    },
    /// An action that somebody has written.
    Uses {
        /// Which.
        action: Located<String>,
        /// What it is given.
        with: Option<Template>,
    },
    /// Waits for steps in the background.
    Wait(Vec<Located<String>>),
    /// Waits for all steps in the background.
    WaitAll,
    /// Ends a step in the background.
    Cancel(Located<String>),
    /// Steps at the same time.
    Parallel(Vec<Step>),
}

/// Steps, whose conditions may name what is in the scope.
pub(super) fn steps(template: &Template, scope: &Scope, c: &mut Complaints) -> Vec<Step> {
    let Content::List(items) = &template.content else { return Vec::new() };
    let mut ids = Ids::default();
    let mut read: Vec<_> = items.iter().filter_map(|item| step(item, scope, &mut ids, c)).collect();
    // Only when all that the file gives are known can others be made up.
    for step in read.iter_mut().filter(|step| step.id.is_empty()) {
        step.id = ids.make(&base_of_id(&step.action));
    }
    read
}

fn step(template: &Template, scope: &Scope, ids: &mut Ids, c: &mut Complaints) -> Option<Step> {
    let id = get(template, "id").and_then(plain);
    if let Some(id) = &id
        && let Err(why) = ids.take(&id.value)
    {
        c.invalid(id.at, format!("{why}: a step's id is {:?}", cut(&id.value)));
    }
    let condition = match get(template, "if") {
        Some(node) => condition(node, scope, c),
        None => without(scope),
    };
    let Some(action) = action(template, scope, c) else {
        c.invalid(template.at, "Expected one of uses or run to be defined");
        return None;
    };
    Some(Step {
        at: template.at,
        id: id.map(|id| id.value).unwrap_or_default(),
        name: get(template, "name").and_then(text),
        condition,
        action,
        env: get(template, "env").cloned(),
        continue_on_error: get(template, "continue-on-error").and_then(boolean),
        timeout_minutes: get(template, "timeout-minutes").and_then(number),
        background: get(template, "background").is_some_and(|node| node.content == Content::Boolean(true)),
        keys: keys(template),
    })
}

fn action(template: &Template, scope: &Scope, c: &mut Complaints) -> Option<Action> {
    for entry in entries(template) {
        let action = match entry.key {
            "run" => Action::Run {
                script: text(entry.value)?,
                shell: get(template, "shell").and_then(text),
                working_directory: get(template, "working-directory").and_then(text),
            },
            "uses" => {
                let action = plain(entry.value)?;
                if !is_action(&action.value) {
                    let message = "Expected format {org}/{repo}[/path]@ref. Actual";
                    c.invalid(action.at, format!("{message} '{}'", cut(&action.value)));
                }
                Action::Uses { action, with: get(template, "with").cloned() }
            }
            "wait" => Action::Wait(plain_list(entry.value)),
            "wait-all" => Action::WaitAll,
            "cancel" => Action::Cancel(plain(entry.value)?),
            "parallel" => Action::Parallel(steps(entry.value, scope, c)),
            _ => continue,
        };
        return Some(action);
    }
    None
}

/// `docker://image`, `./path`, `$/path` or `org/repo[/path]@ref`.
fn is_action(uses: &str) -> bool {
    if uses.starts_with("docker://")
        || uses.starts_with("./")
        || uses.starts_with(".\\")
        || uses.starts_with("$/")
    {
        return true;
    }
    match uses.split('@').collect::<Vec<_>>().as_slice() {
        [path, version] => repository(path).is_some() && !version.is_empty(),
        _ => false,
    }
}

/// The first two parts of a path, which are the repository.
fn repository(path: &str) -> Option<(&str, &str)> {
    let mut parts = path.split(['/', '\\']).filter(|part| !part.is_empty());
    Some((parts.next()?, parts.next()?))
}

fn base_of_id(action: &Action) -> String {
    let base = match action {
        Action::Run { .. } => "run".to_owned(),
        Action::Uses { action, .. } => {
            let uses = action.value.as_str();
            if let Some(image) = uses.strip_prefix("docker://") {
                image.to_owned()
            } else if uses.starts_with("./") || uses.starts_with(".\\") || uses.starts_with("$/") {
                "self".to_owned()
            } else {
                let path = uses.split('@').next().unwrap_or_default();
                repository(path).map(|(owner, name)| format!("{owner}/{name}")).unwrap_or_default()
            }
        }
        Action::Wait(_) => "wait".to_owned(),
        Action::WaitAll => "wait-all".to_owned(),
        Action::Cancel(_) => "cancel".to_owned(),
        Action::Parallel(_) => "parallel".to_owned(),
    };
    if base.is_empty() { "run".to_owned() } else { base }
}
