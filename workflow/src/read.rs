//! A workflow file as a typed model, or everything that is wrong with it.

use std::collections::BTreeMap;

use domain::{Action, Condition, JobSpec, Resources, Shell, StepSpec, limits};

use crate::Diagnostic;
use crate::check::{Complaints, cut};
use crate::extension::{Extension, extension};
use crate::filter::Filter;
use crate::yaml::{self, At, Node, Value};

/// Limit of a job without `timeout-minutes`, as GitHub's.
const DEFAULT_TIMEOUT_MINUTES: u32 = 360;
const MAX_TIMEOUT_MINUTES: u32 = 7 * 24 * 60;
/// Most patterns of a filter, and most bytes of one: each becomes a regular expression.
const MAX_PATTERNS: usize = 100;
const MAX_PATTERN_BYTES: usize = 255;

/// A workflow.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// Its `name`; none when the file gives none.
    pub name: Option<String>,
    /// When it runs.
    pub triggers: Vec<Trigger>,
    /// In the order of the file.
    pub jobs: Vec<Job>,
}

/// One event of `on`.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// Commits pushed; to branches that the filters let through.
    Push {
        /// `branches`: only these.
        branches: Option<Filter>,
        /// `branches-ignore`: all but these.
        ignored: Option<Filter>,
    },
    /// Asked for by a person.
    WorkflowDispatch,
}

/// One job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its key.
    pub key: String,
    /// Indices of the jobs that it needs.
    pub needs: Vec<u16>,
    /// Its `if`.
    pub condition: Condition,
    /// Its `runs-on`.
    pub labels: Vec<String>,
    /// What it takes from a node; its `x-troupe.resources`.
    pub resources: Resources,
    /// Higher goes first, -100 to 100; its `x-troupe.priority`.
    pub priority: i8,
    /// Attempts when nodes are lost under it, from 1; its `x-troupe.attempts`.
    pub max_attempts: u16,
    /// What runs.
    pub spec: JobSpec,
}

/// Reads a workflow file.
///
/// # Errors
/// Everything that is wrong with it (the first 100 complaints found), in the order of the file. Never empty.
pub fn lint(bytes: &[u8]) -> Result<Workflow, Vec<Diagnostic>> {
    let root = yaml::parse(bytes).map_err(|one| vec![one])?;
    let mut complaints = Complaints::default();
    let workflow = workflow(&root, &mut complaints);
    let mut found = complaints.0;
    found.sort_by_key(|d| (d.line, d.column));
    match workflow {
        Some(workflow) if found.is_empty() => Ok(workflow),
        _ => Err(found),
    }
}

#[derive(Default, Clone)]
struct Defaults {
    shell: Shell,
    working_directory: String,
}

fn workflow(root: &Node, c: &mut Complaints) -> Option<Workflow> {
    let mut fields = c.fields(root, "the workflow")?;
    let name = fields.take("name").and_then(|node| c.text(node, "name"));
    let triggers = match fields.take("on") {
        Some(node) => triggers(node, c),
        None => {
            c.add(root.at, "\"on\" is missing: it says which events run the workflow");
            Vec::new()
        }
    };
    let env = fields.take("env").map(|node| c.text_map(node, "env")).unwrap_or_default();
    let defaults =
        fields.take("defaults").map(|node| defaults(node, c, Defaults::default())).unwrap_or_default();
    let jobs = match fields.take("jobs") {
        Some(node) => jobs(node, c, &env, &defaults),
        None => {
            c.add(root.at, "\"jobs\" is missing");
            Vec::new()
        }
    };
    c.rest(fields, &["name", "on", "env", "defaults", "jobs"]);
    Some(Workflow { name, triggers, jobs })
}

fn triggers(node: &Node, c: &mut Complaints) -> Vec<Trigger> {
    let Value::Map(entries) = &node.value else {
        let names = c.texts(node, "on");
        return names.into_iter().filter_map(|(at, name)| trigger(&name, at, None, c)).collect();
    };
    entries.iter().filter_map(|(key, value)| trigger(&key.text, key.at, Some(value), c)).collect()
}

fn trigger(name: &str, at: At, value: Option<&Node>, c: &mut Complaints) -> Option<Trigger> {
    let value = value.filter(|value| !value.is_null());
    match name {
        "push" => {
            let (mut branches, mut ignored) = (None, None);
            if let Some(mut fields) = value.and_then(|value| c.fields(value, "on.push")) {
                branches = fields.take("branches").and_then(|node| filter(node, "on.push.branches", c));
                ignored = fields
                    .take("branches-ignore")
                    .and_then(|node| filter(node, "on.push.branches-ignore", c));
                if branches.is_some() && ignored.is_some() {
                    c.add(at, "branches and branches-ignore cannot both be given; use ! in branches");
                }
                c.rest(fields, &["branches", "branches-ignore"]);
            }
            Some(Trigger::Push { branches, ignored })
        }
        "workflow_dispatch" => {
            if let Some(fields) = value.and_then(|value| c.fields(value, "on.workflow_dispatch")) {
                c.rest(fields, &[]);
            }
            Some(Trigger::WorkflowDispatch)
        }
        other => {
            c.add(
                at,
                format!("the event {:?} is not supported. Allowed: push, workflow_dispatch", cut(other)),
            );
            None
        }
    }
}

fn filter(node: &Node, of: &str, c: &mut Complaints) -> Option<Filter> {
    let patterns = c.texts(node, of);
    if patterns.len() > MAX_PATTERNS {
        c.add(node.at, format!("{} patterns in {of}, the limit is {MAX_PATTERNS}", patterns.len()));
        return None;
    }
    if let Some((at, long)) = patterns.iter().find(|(_, text)| text.len() > MAX_PATTERN_BYTES) {
        c.add(*at, format!("a pattern of {} bytes in {of}, the limit is {MAX_PATTERN_BYTES}", long.len()));
        return None;
    }
    match Filter::new(patterns.iter().map(|(_, text)| text.as_str())) {
        Ok(filter) => Some(filter),
        Err(error) => {
            c.add(node.at, error.to_string());
            None
        }
    }
}

fn defaults(node: &Node, c: &mut Complaints, outer: Defaults) -> Defaults {
    let mut read = outer;
    let Some(mut fields) = c.fields(node, "defaults") else { return read };
    if let Some(mut run) = fields.take("run").and_then(|run| c.fields(run, "defaults.run")) {
        if let Some(shell) = run.take("shell").and_then(|node| shell(node, c)) {
            read.shell = shell;
        }
        if let Some(dir) = run.take("working-directory").and_then(|node| path(node, "working-directory", c)) {
            read.working_directory = dir;
        }
        c.rest(run, &["shell", "working-directory"]);
    }
    c.rest(fields, &["run"]);
    read
}

fn jobs(node: &Node, c: &mut Complaints, env: &BTreeMap<String, String>, outer: &Defaults) -> Vec<Job> {
    let Some(mut fields) = c.fields(node, "jobs") else { return Vec::new() };
    let entries = fields.take_all();
    if entries.is_empty() {
        c.add(node.at, "jobs is empty");
    }
    if entries.len() > limits::MAX_JOBS_PER_RUN {
        c.add(node.at, format!("{} jobs, the limit is {}", entries.len(), limits::MAX_JOBS_PER_RUN));
        return Vec::new();
    }
    let env_bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if env_bytes * entries.len() > limits::MAX_SPEC_BYTES {
        let (jobs, limit) = (entries.len(), limits::MAX_SPEC_BYTES);
        c.add(
            node.at,
            format!("an env of {env_bytes} bytes for each of {jobs} jobs, {limit} bytes are allowed in all"),
        );
        return Vec::new();
    }
    let keys: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    let mut read = Vec::new();
    for (key, node) in &entries {
        identifier(&key.text, key.at, "a job's key", c);
        read.extend(job(&key.text, node, &keys, c, env, outer));
    }
    if read.len() == entries.len() {
        refuse_cycle(&read, &entries.iter().map(|(key, _)| key.at).collect::<Vec<_>>(), c);
    }
    read
}

fn refuse_cycle(jobs: &[Job], at: &[At], c: &mut Complaints) {
    let mut done = vec![false; jobs.len()];
    loop {
        let free = |i: &usize| !done[*i] && jobs[*i].needs.iter().all(|need| done[usize::from(*need)]);
        let Some(next) = (0..jobs.len()).find(free) else { break };
        done[next] = true;
    }
    if let Some(stuck) = done.iter().position(|done| !done) {
        c.add(at[stuck], format!("the needs of job {:?} lead in a circle", jobs[stuck].key));
    }
}

const JOB_KEYS: [&str; 10] = [
    "name",
    "runs-on",
    "container",
    "needs",
    "if",
    "env",
    "timeout-minutes",
    "defaults",
    "steps",
    "x-troupe",
];

fn job(
    key: &str,
    node: &Node,
    keys: &[&str],
    c: &mut Complaints,
    outer_env: &BTreeMap<String, String>,
    outer: &Defaults,
) -> Option<Job> {
    let mut fields = c.fields(node, "a job")?;
    let name = fields.take("name").and_then(|node| c.text(node, "name")).unwrap_or_else(|| key.to_owned());
    let labels = match fields.take("runs-on") {
        Some(node) => c.texts(node, "runs-on").into_iter().map(|(_, label)| label).collect(),
        None => {
            c.add(
                node.at,
                format!("\"runs-on\" is missing in job {key:?}: it says which labels a node must have"),
            );
            Vec::new()
        }
    };
    let mut env = outer_env.clone();
    let image = fields.take("container").map(|node| container(node, c, &mut env)).unwrap_or_default();
    env.extend(fields.take("env").map(|node| c.text_map(node, "env")).unwrap_or_default());
    let wanted = fields.take("needs").map(|node| c.texts(node, "needs")).unwrap_or_default();
    let needs = wanted.iter().filter_map(|(at, need)| needed(need, *at, key, keys, c)).collect();
    let condition = fields.take("if").and_then(|node| condition(node, c)).unwrap_or_default();
    let minutes = fields
        .take("timeout-minutes")
        .and_then(|node| c.number(node, "timeout-minutes", 1, MAX_TIMEOUT_MINUTES))
        .unwrap_or(DEFAULT_TIMEOUT_MINUTES);
    let inner = match fields.take("defaults") {
        Some(node) => defaults(node, c, outer.clone()),
        None => outer.clone(),
    };
    let steps = match fields.take("steps") {
        Some(node) => steps(node, c, &inner),
        None => {
            c.add(node.at, format!("\"steps\" is missing in job {key:?}"));
            Vec::new()
        }
    };
    let extension = fields.take("x-troupe").map(|node| extension(node, c)).unwrap_or_default();
    c.rest(fields, &JOB_KEYS);
    let Extension { artifacts, priority, resources, attempts: max_attempts } = extension;
    let spec = JobSpec { name, image, env, timeout_seconds: minutes * 60, steps, artifacts };
    Some(Job { key: key.to_owned(), needs, condition, labels, resources, priority, max_attempts, spec })
}

fn needed(need: &str, at: At, key: &str, keys: &[&str], c: &mut Complaints) -> Option<u16> {
    let index = keys.iter().position(|known| *known == need);
    if index.is_none() {
        // Some of them, so that many wrong names in a workflow of many jobs stay cheap.
        let known: Vec<_> = keys.iter().take(10).map(|known| cut(known)).collect();
        let (key, need, known) = (cut(key), cut(need), known.join(", "));
        c.add(at, format!("job {key:?} needs {need:?}, which is not a job of this workflow: {known}"));
    }
    index.map(|index| index as u16)
}

fn container(node: &Node, c: &mut Complaints, env: &mut BTreeMap<String, String>) -> String {
    if let Value::Scalar { .. } = node.value {
        return c.text(node, "container").unwrap_or_default();
    }
    let Some(mut fields) = c.fields(node, "container") else { return String::new() };
    let image = fields.take("image").and_then(|node| c.text(node, "container.image"));
    if image.is_none() {
        c.add(node.at, "\"image\" is missing in container");
    }
    env.extend(fields.take("env").map(|node| c.text_map(node, "container.env")).unwrap_or_default());
    c.rest(fields, &["image", "env"]);
    image.unwrap_or_default()
}

fn condition(node: &Node, c: &mut Complaints) -> Option<Condition> {
    let Value::Scalar { text, .. } = &node.value else {
        c.add(node.at, format!("if is {}, expected success(), failure() or always()", node.kind()));
        return None;
    };
    let bare = text.trim();
    let bare = bare.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(bare).trim();
    match bare.to_ascii_lowercase().as_str() {
        "success()" => Some(Condition::Success),
        "failure()" => Some(Condition::Failure),
        "always()" => Some(Condition::Always),
        _ => {
            c.add(
                node.at,
                format!("if is {:?}; supported so far: success(), failure(), always()", cut(text)),
            );
            None
        }
    }
}

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

fn steps(node: &Node, c: &mut Complaints, defaults: &Defaults) -> Vec<StepSpec> {
    let Value::List(items) = &node.value else {
        c.add(node.at, format!("steps is {}, expected a list", node.kind()));
        return Vec::new();
    };
    if items.is_empty() {
        c.add(node.at, "steps is empty");
    }
    if items.len() > limits::MAX_STEPS {
        c.add(node.at, format!("{} steps, the limit is {}", items.len(), limits::MAX_STEPS));
        return Vec::new();
    }
    items.iter().filter_map(|item| step(item, c, defaults)).collect()
}

fn step(node: &Node, c: &mut Complaints, defaults: &Defaults) -> Option<StepSpec> {
    let mut fields = c.fields(node, "a step")?;
    if let Some((at, id)) = fields.take("id").and_then(|node| Some((node.at, c.text(node, "id")?))) {
        identifier(&id, at, "a step's id", c);
    }
    let name = fields.take("name").and_then(|node| c.text(node, "name"));
    let (run, uses) = (fields.take("run"), fields.take("uses"));
    let action = match (run, uses) {
        (Some(run), None) => {
            let script = c.text(run, "run");
            let shell = fields.take("shell").and_then(|node| shell(node, c)).unwrap_or(defaults.shell);
            let dir = fields.take("working-directory").and_then(|node| path(node, "working-directory", c));
            let working_directory = dir.unwrap_or_else(|| defaults.working_directory.clone());
            script.map(|script| Action::Run { script, shell, working_directory })
        }
        (None, Some(uses)) => action(uses, fields.take("with"), c),
        _ => {
            c.add(node.at, "a step has either \"run\" or \"uses\"");
            None
        }
    };
    let env = fields.take("env").map(|node| c.text_map(node, "env")).unwrap_or_default();
    let condition = fields.take("if").and_then(|node| condition(node, c)).unwrap_or_default();
    let minutes = fields
        .take("timeout-minutes")
        .and_then(|node| c.number(node, "timeout-minutes", 1, MAX_TIMEOUT_MINUTES));
    let continue_on_error = fields
        .take("continue-on-error")
        .and_then(|node| c.boolean(node, "continue-on-error"))
        .unwrap_or(false);
    c.rest(fields, &STEP_KEYS);
    let action = action?;
    let name = name.unwrap_or_else(|| title(&action));
    Some(StepSpec {
        name,
        action,
        env,
        condition,
        timeout_seconds: minutes.unwrap_or(0) * 60,
        continue_on_error,
    })
}

/// As GitHub names a step without a name, at most 100 characters of the script.
fn title(action: &Action) -> String {
    match action {
        Action::Run { script, .. } => {
            let line = script.lines().next().unwrap_or_default();
            format!("Run {}", line.chars().take(100).collect::<String>())
        }
        Action::Checkout { .. } => "Checkout".to_owned(),
    }
}

fn action(uses: &Node, with: Option<&Node>, c: &mut Complaints) -> Option<Action> {
    let name = c.text(uses, "uses")?;
    if !matches!(name.split_once('@'), Some(("actions/checkout", version)) if !version.is_empty()) {
        let message =
            format!("the action {:?} is not supported. Allowed: actions/checkout@VERSION", cut(&name));
        c.add(uses.at, message);
        return None;
    }
    let (mut to, mut git_ref, mut depth) = (String::new(), String::new(), 1);
    if let Some(mut fields) = with.and_then(|with| c.fields(with, "with")) {
        to = fields.take("path").and_then(|node| path(node, "with.path", c)).unwrap_or_default();
        if let Some(node) = fields.take("ref") {
            git_ref = c.text(node, "with.ref").unwrap_or_default();
            if git_ref.starts_with('-') || git_ref.len() > 255 || git_ref.contains(|ch: char| ch.is_control())
            {
                c.add(
                    node.at,
                    "with.ref must not begin with -, hold control characters or be over 255 bytes",
                );
            }
        }
        depth = fields
            .take("fetch-depth")
            .and_then(|node| c.number(node, "with.fetch-depth", 0, 1_000_000))
            .unwrap_or(1);
        c.rest(fields, &["path", "ref", "fetch-depth"]);
    }
    Some(Action::Checkout { path: to, git_ref, depth })
}

fn shell(node: &Node, c: &mut Complaints) -> Option<Shell> {
    let name = c.text(node, "shell")?;
    match name.as_str() {
        "bash" => Some(Shell::Bash),
        "sh" => Some(Shell::Sh),
        other => {
            c.add(node.at, format!("the shell {:?} is not supported. Allowed: bash, sh", cut(other)));
            None
        }
    }
}

/// A path within the workspace.
fn path(node: &Node, of: &str, c: &mut Complaints) -> Option<String> {
    let text = c.text(node, of)?;
    let outside = text.starts_with('/') || text.split('/').any(|part| part == "..");
    if outside || text.len() > 1024 {
        c.add(
            node.at,
            format!("{of} is {:?}, expected a relative path without .. of at most 1024 bytes", cut(&text)),
        );
        return None;
    }
    Some(text)
}

/// A job's key or a step's id, with GitHub's rule.
fn identifier(text: &str, at: At, of: &str, c: &mut Complaints) {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !first || !rest || text.len() > 100 {
        let rule = "letters, digits, _ and -, a letter or _ first, at most 100";
        c.add(at, format!("{of} is {:?}, expected {rule}", cut(text)));
    }
}
