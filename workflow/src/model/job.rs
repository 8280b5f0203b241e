//! Jobs. Rules: actions/languageservices `workflow-parser/src/model/converter/job.ts`.

use super::concurrency::{Concurrency, concurrency};
use super::condition::{Condition, condition, without};
use super::container::{Container, Service, container, services};
use super::environment::{Deployment, deployment};
use super::fields::{Dynamic, Entry, Located, boolean, get, keys, number, plain, plain_list, text};
use super::identifier::Ids;
use super::permissions::{Permissions, permissions};
use super::runs_on::{RunsOn, runs_on};
use super::step::{Step, steps};
use super::strategy::{Strategy, strategy};
use super::workflow::{Defaults, defaults};
use crate::complaints::Complaints;
use crate::diagnostic::At;
use crate::schema::{JOB_CONDITION, STEP_CONDITION};
use crate::template::{Content, Foreign, Template};

/// One job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its key in the file.
    pub id: Located<String>,
    /// Where what it is begins.
    pub at: At,
    /// Its name as people see it; its id when the file gives none.
    pub name: Option<Located<Dynamic<String>>>,
    /// The jobs that must be over before it begins.
    pub needs: Vec<Located<String>>,
    /// When it runs.
    pub condition: Option<Condition>,
    /// In how many variants it runs.
    pub strategy: Option<Strategy>,
    /// What must not run at the same time.
    pub concurrency: Option<Concurrency>,
    /// What its token may do; as the workflow says when it is not said.
    pub permissions: Option<Permissions>,
    /// What it does.
    pub work: Work,
    /// The keys that are there, with their places.
    pub keys: Vec<Located<String>>,
}

/// What a job does.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Steps on a machine.
    Steps(Box<Steps>),
    /// Another workflow.
    Call(Call),
}

/// Steps and what they run in.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// Which machines; none when the file does not say, which is an error.
    pub runs_on: Option<RunsOn>,
    /// The container they run in; the machine itself, or its label's image, when it is not said.
    pub container: Option<Container>,
    /// Containers beside it.
    pub services: Vec<Service>,
    /// Variables of all steps.
    pub env: Option<Template>,
    /// What steps without their own take.
    pub defaults: Defaults,
    /// What it deploys to.
    pub environment: Option<Deployment>,
    /// What jobs that need it can see.
    pub outputs: Option<Template>,
    /// Its limit.
    pub timeout_minutes: Option<Located<Dynamic<f64>>>,
    /// Whether the run goes on as if it had succeeded when it fails.
    pub continue_on_error: Option<Located<Dynamic<bool>>>,
    /// In order.
    pub steps: Vec<Step>,
    /// Troupe's own: `x-troupe`.
    pub extension: Option<Foreign>,
}

/// A call of another workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which: `./.github/workflows/x.yml`, or `owner/repo/.github/workflows/x.yml@ref`.
    pub workflow: Located<String>,
    /// Its inputs.
    pub with: Option<Template>,
    /// Its secrets.
    pub secrets: Secrets,
}

/// Secrets that a called workflow is given.
#[derive(Debug, Clone, PartialEq)]
pub enum Secrets {
    /// None.
    Nothing,
    /// All that the caller has.
    Inherit,
    /// These.
    Given(Template),
}

pub(super) fn job(entry: &Entry<'_>, ids: &mut Ids, c: &mut Complaints) -> Job {
    let template = entry.value;
    if let Err(why) = ids.take(entry.key) {
        c.invalid(entry.at, why);
    }
    let of = |key: &str| get(template, key);
    let condition = match of("if") {
        Some(node) => condition(node, &JOB_CONDITION, c),
        None => without(&JOB_CONDITION),
    };
    let work = match of("uses").and_then(plain) {
        Some(workflow) if of("runs-on").is_none() => {
            Work::Call(Call { workflow, with: of("with").cloned(), secrets: secrets(of("secrets")) })
        }
        _ => Work::Steps(Box::new(with_steps(template, c))),
    };
    Job {
        id: entry.name(),
        at: template.at,
        name: of("name").and_then(text).filter(|name| name.value != Dynamic::Is(String::new())),
        needs: of("needs").map(plain_list).unwrap_or_default(),
        condition,
        strategy: of("strategy").map(|node| strategy(node, c)),
        concurrency: of("concurrency").and_then(|node| concurrency(node, c)),
        permissions: of("permissions").and_then(permissions),
        work,
        keys: keys(template),
    }
}

fn with_steps(template: &Template, c: &mut Complaints) -> Steps {
    let of = |key: &str| get(template, key);
    Steps {
        runs_on: of("runs-on").map(|node| runs_on(node, c)),
        container: of("container").map(|node| container(node, c)),
        services: of("services").map(|node| services(node, c)).unwrap_or_default(),
        env: of("env").cloned(),
        defaults: defaults(of("defaults")),
        environment: of("environment").and_then(deployment),
        outputs: of("outputs").cloned(),
        timeout_minutes: of("timeout-minutes").and_then(number),
        continue_on_error: of("continue-on-error").and_then(boolean),
        steps: of("steps").map(|node| steps(node, &STEP_CONDITION, c)).unwrap_or_default(),
        extension: of("x-troupe").and_then(|node| match &node.content {
            Content::Foreign(foreign) => Some(foreign.clone()),
            _ => None,
        }),
    }
}

fn secrets(template: Option<&Template>) -> Secrets {
    match template {
        None => Secrets::Nothing,
        Some(node) if node.text().as_deref() == Some("inherit") => Secrets::Inherit,
        Some(node) => Secrets::Given(node.clone()),
    }
}
