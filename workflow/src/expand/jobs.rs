//! Jobs of a workflow to jobs of a run: conditions that can be decided are, matrices and called workflows become groups, and what
//! depends on how other jobs end is left undecided.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use domain::{Condition, Form, GroupSpec, JobSpec, NewJob, SpecBytes, Undecided, limits};

use super::{Mint, Spec, concurrency, inputs};
use crate::compile::{
    DEFAULT_TIMEOUT_MINUTES, Extension, MAX_TIMEOUT_MINUTES, Unfolding, directory_of, extension, lint_of,
    seconds, spec, variables,
};
use crate::complaints::Complaints;
use crate::diagnostic::{Diagnostic, cut};
use crate::expression::{Environment, Expression, Object, Status, Value, Visit, to_json};
use crate::graph::{Before, job_runs};
use crate::library::Used;
use crate::model::{Call, Dynamic, Job, Located, Secrets, Steps, Work, Workflow};
use crate::template::{Content, Template};
use crate::variants::{Variant, variants};

/// Deepest nesting of called workflows, the first included; GitHub's.
const MAX_LEVELS: usize = 10;
/// Most bytes of what tells one job from others of its specification.
const MAX_CONTEXTS: usize = 64 * 1024;

/// A workflow and where its jobs are to stand.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) path: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) workflow: &'a Workflow,
    /// `github`, `inputs`, `vars`; of a called workflow `secrets`, as text.
    pub(super) contexts: &'a Object,
    /// Before the keys of its jobs.
    pub(super) prefix: &'a str,
    /// The group that stands for it.
    pub(super) group: Option<u16>,
    pub(super) depth: usize,
}

/// Jobs as they are made.
pub(super) struct Builder<'a> {
    /// The file of the run.
    path: &'a str,
    files: Used<'a>,
    mint: &'a dyn Mint,
    jobs: Vec<NewJob>,
    keys: HashSet<String>,
    specs: Vec<SpecBytes>,
    /// Bytes of them together.
    bytes: usize,
    /// Jobs with steps as text, by the path of their file and their id: variants, and calls of one workflow, differ in nothing of it.
    texts: HashMap<(String, String), Rc<Text>>,
    /// Workflows that are called, by the words of `uses`; in words why one is refused.
    called: HashMap<String, Rc<Result<Workflow, String>>>,
}

/// A job with steps as text.
struct Text {
    /// Its limit is the file's own; that of a variant may be another.
    spec: JobSpec,
    asks: Extension,
    /// Where it is among the specifications of the run, by its limit.
    places: RefCell<HashMap<u32, u16>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(path: &'a str, files: Used<'a>, mint: &'a dyn Mint) -> Self {
        Self {
            path,
            files,
            mint,
            jobs: Vec::new(),
            keys: HashSet::new(),
            specs: Vec::new(),
            bytes: 0,
            texts: HashMap::new(),
            called: HashMap::new(),
        }
    }

    pub(super) fn made(self) -> (Vec<NewJob>, Vec<SpecBytes>) {
        (self.jobs, self.specs)
    }

    /// All jobs of a workflow.
    pub(super) fn workflow(&mut self, place: &Place<'_>) -> Result<(), String> {
        let base = self.jobs.len();
        for job in &place.workflow.jobs {
            let key = format!("{}{}", place.prefix, job.id.value);
            self.push(NewJob { group: place.group, ..NewJob::named(&key) })?;
        }
        let index = |id: &str| place.workflow.jobs.iter().position(|job| job.id.value == id);
        for (number, job) in place.workflow.jobs.iter().enumerate() {
            let needs = job.needs.iter().filter_map(|need| index(&need.value));
            self.jobs[base + number].needs = needs.map(|need| (base + need) as u16).collect();
            self.job(base + number, job, place)?;
        }
        Ok(())
    }

    /// One that is to be decided anew: it stands first, alone.
    pub(super) fn only(&mut self, job: &Job, place: &Place<'_>, lasting: bool) -> Result<(), String> {
        self.push(NewJob { lasting, ..NewJob::named(&format!("{}{}", place.prefix, job.id.value)) })?;
        self.decided(0, job, place)
    }

    fn push(&mut self, job: NewJob) -> Result<usize, String> {
        if self.jobs.len() >= limits::MAX_JOBS_PER_RUN {
            return Err(format!("more than {} jobs with those of matrices", limits::MAX_JOBS_PER_RUN));
        }
        self.keys.insert(job.key.clone());
        self.jobs.push(job);
        Ok(self.jobs.len() - 1)
    }

    fn job(&mut self, index: usize, job: &Job, place: &Place<'_>) -> Result<(), String> {
        if !job.needs.is_empty() && depends_on_needs(job) {
            return self.undecided(index, job, place);
        }
        let condition =
            job.condition.as_ref().map(|found| found.expression.text().trim().to_ascii_lowercase());
        self.jobs[index].condition = match condition.as_deref() {
            None | Some("success()") => Condition::Success,
            Some("failure()") => Condition::Failure,
            Some("always()") => Condition::Always,
            // Nothing is before it, so nothing can change the answer.
            Some(_) => match self.runs_now(job, place)? {
                true => Condition::Always,
                false => Condition::Never,
            },
        };
        self.jobs[index].lasting = self.lasts(job, place)?;
        if self.jobs[index].condition == Condition::Never {
            self.jobs[index].name = shown_name(job);
            self.jobs[index].spec = self.spec(Spec::Job(&JobSpec::default()))?;
            return Ok(());
        }
        self.decided(index, job, place)
    }

    fn runs_now(&self, job: &Job, place: &Place<'_>) -> Result<bool, String> {
        runs(job, &Before::default(), place.contexts).map_err(|found| format!("{}:{found}", place.path))
    }

    /// Whether it runs although its run is cancelled.
    fn lasts(&self, job: &Job, place: &Place<'_>) -> Result<bool, String> {
        let cancelled = Before { jobs: Vec::new(), cancelled: true };
        runs(job, &cancelled, place.contexts).map_err(|found| format!("{}:{found}", place.path))
    }

    fn undecided(&mut self, index: usize, job: &Job, place: &Place<'_>) -> Result<(), String> {
        let own = (format!("./{}", place.path), String::from_utf8_lossy(place.bytes).into_owned());
        let mut files = self.files.all();
        files.retain(|(path, _)| *path != own.0);
        files.insert(0, own);
        let undecided = Undecided { path: place.path.to_owned(), files };
        let spec = self.spec(Spec::Undecided(&undecided))?;
        let contexts = contexts_of(place.contexts)?;
        let name = shown_name(job);
        let new = &mut self.jobs[index];
        (new.form, new.name, new.spec, new.contexts) = (Form::Undecided, name, spec, contexts);
        Ok(())
    }

    fn decided(&mut self, index: usize, job: &Job, place: &Place<'_>) -> Result<(), String> {
        let at = |found: Diagnostic| format!("{}:{found}", place.path);
        let made = variants(job, place.contexts).map_err(at)?;
        let Some(first) = made.first() else { return Err(format!("{}: a job of no variants", place.path)) };
        if !matches!(first.contexts.get("matrix"), Some(Value::Object(_))) {
            return self.one(index, job, place, first);
        }
        let strategy = first.contexts.get("strategy").cloned().unwrap_or(Value::Null);
        let of = |name: &str| crate::contexts::of(&strategy, &[name]);
        let max_parallel = of("max-parallel").parse::<u16>().unwrap_or(0);
        // As many as there are is no limit.
        let max_parallel = if usize::from(max_parallel) >= made.len() { 0 } else { max_parallel };
        let spec = self.spec(Spec::Group(&GroupSpec::default()))?;
        let key = self.jobs[index].key.clone();
        let group = &mut self.jobs[index];
        (group.name, group.spec) = (shown_name(job), spec);
        group.form = Form::Group { fail_fast: of("fail-fast") == "true", max_parallel };
        for variant in &made {
            let key = self.free_key(&key, variant);
            let member = self.push(NewJob { group: Some(index as u16), ..NewJob::named(&key) })?;
            self.one(member, job, place, variant)?;
        }
        Ok(())
    }

    /// The group's key with what tells this one apart.
    fn free_key(&self, key: &str, variant: &Variant) -> String {
        let shown = match variant.contexts.get("matrix") {
            Some(Value::Object(matrix)) => crate::matrix::shown(matrix),
            _ => String::new(),
        };
        let wanted: String = format!("{key} {shown}").chars().take(200).collect();
        let numbered = |n: usize| if n == 0 { wanted.clone() } else { format!("{wanted} #{n}") };
        (0..).map(numbered).find(|key| !self.keys.contains(key)).unwrap_or(wanted.clone())
    }

    fn one(&mut self, index: usize, job: &Job, place: &Place<'_>, variant: &Variant) -> Result<(), String> {
        let at = |found: Diagnostic| format!("{}:{found}", place.path);
        self.jobs[index].name.clone_from(&variant.name);
        self.jobs[index].contexts = contexts_of(&variant.contexts)?;
        if let Some(found) = &job.concurrency {
            self.jobs[index].concurrency = concurrency(found, &variant.contexts).map_err(at)?;
        }
        match &job.work {
            Work::Steps(work) => self.steps(index, job, work, place, variant),
            Work::Call(call) => self.call(index, call, place, variant),
        }
    }

    fn steps(
        &mut self,
        index: usize,
        job: &Job,
        work: &Steps,
        place: &Place<'_>,
        variant: &Variant,
    ) -> Result<(), String> {
        let at = |found: Diagnostic| format!("{}:{found}", place.path);
        let may_fail = match &work.continue_on_error {
            Some(found) => flag(found, &variant.contexts).map_err(at)?,
            None => false,
        };
        let environment = match &work.environment {
            Some(found) => {
                Some(text(&found.name, &variant.contexts).map_err(at)?).filter(|name| !name.is_empty())
            }
            None => None,
        };
        let limit = seconds(match &work.timeout_minutes {
            Some(found) => minutes(found, &variant.contexts).map_err(at)?,
            None => DEFAULT_TIMEOUT_MINUTES,
        });
        let text = self.text(job, work, place);
        let known = text.places.borrow().get(&limit).copied();
        let spec = match known {
            Some(known) => known,
            None => self.spec(Spec::Job(&JobSpec { timeout_seconds: limit, ..text.spec.clone() }))?,
        };
        text.places.borrow_mut().insert(limit, spec);
        let new = &mut self.jobs[index];
        new.labels = variant.labels.iter().cloned().collect();
        (new.resources, new.priority) = (text.asks.resources, text.asks.priority);
        (new.retry, new.spread, new.environment) = (text.asks.retry, text.asks.spread, environment);
        (new.may_fail, new.spec) = (may_fail, spec);
        Ok(())
    }

    /// What a job says, whatever its variant. What is wrong with it was said when its file was looked at.
    fn text(&mut self, job: &Job, work: &Steps, place: &Place<'_>) -> Rc<Text> {
        let Self { texts, files, .. } = self;
        let made = || {
            let mut ignored = Complaints::default();
            let spec = spec(place.workflow, job, work, &mut Unfolding::new(files), &mut ignored);
            let asks = work.extension.as_ref().map(|found| extension(&found.0, &mut ignored));
            Rc::new(Text { spec, asks: asks.unwrap_or_default(), places: RefCell::default() })
        };
        let key = (place.path.to_owned(), job.id.value.clone());
        Rc::clone(texts.entry(key).or_insert_with(made))
    }

    /// The workflow that a call names.
    fn called(&mut self, uses: &str, path: &str) -> Rc<Result<Workflow, String>> {
        if let Some(known) = self.called.get(uses) {
            return Rc::clone(known);
        }
        let found = match self.files.file(uses) {
            None => Err(format!("there is no {:?} at this commit", cut(uses))),
            Some(bytes) => lint_of(&bytes, &self.files).map_err(|found| {
                let lines: Vec<_> = found.iter().take(20).map(|one| format!("{path}:{one}")).collect();
                format!("the called workflow is refused: {}", lines.join("; "))
            }),
        };
        let found = Rc::new(found);
        self.called.insert(uses.to_owned(), Rc::clone(&found));
        found
    }

    fn call(
        &mut self,
        index: usize,
        call: &Call,
        place: &Place<'_>,
        variant: &Variant,
    ) -> Result<(), String> {
        let at = |message: String| format!("{}:{}", place.path, call.workflow.at.invalid(message));
        let uses = &call.workflow.value;
        if place.depth >= MAX_LEVELS {
            return Err(at(format!("workflows call each other more than {MAX_LEVELS} levels deep")));
        }
        let path = directory_of(uses).unwrap_or_else(|| uses.clone());
        let called = self.called(uses, &path);
        let called = called.as_ref().as_ref().map_err(|why| at(why.clone()))?;
        let bytes = self.files.file(uses).unwrap_or_default();
        let trigger = called.on.iter().find(|trigger| trigger.event.value == "workflow_call");
        let trigger = trigger.ok_or_else(|| at(format!("{path} has no workflow_call")))?;
        let given = inputs::of_call(trigger, call.with.as_ref(), &variant.contexts);
        let given = given.map_err(|found| format!("{}:{found}", place.path))?;
        let mut contexts = Object::default();
        for (name, value) in place.contexts.iter().filter(|(name, _)| matches!(*name, "github" | "vars")) {
            contexts.insert(name, value.clone());
        }
        contexts.insert("inputs", given);
        // What its outputs are computed from when it has ended.
        self.jobs[index].contexts = contexts_of(&contexts)?;
        if let Some(found) = &called.concurrency {
            let own = concurrency(found, &contexts).map_err(|found| format!("{path}:{found}"))?;
            let of_call = &mut self.jobs[index].concurrency;
            if of_call.is_some() && own.is_some() && *of_call != own {
                let both = "this job has a concurrency, and the workflow that it calls has another";
                return Err(at(format!("{both} ({path}); one of the two is supported")));
            }
            *of_call = own.or(of_call.take());
        }
        if let Some(secrets) = secrets_of(call, &variant.contexts) {
            contexts.insert("secrets", secrets);
        }
        let group = GroupSpec { outputs: outputs_of(trigger.outputs.as_ref()), is_call: true };
        let spec = self.spec(Spec::Group(&group))?;
        let new = &mut self.jobs[index];
        (new.form, new.spec) = (Form::Group { fail_fast: false, max_parallel: 0 }, spec);
        let prefix = format!("{}/", new.key);
        self.workflow(&Place {
            path: &path,
            bytes: &bytes,
            workflow: called,
            contexts: &contexts,
            prefix: &prefix,
            group: Some(index as u16),
            depth: place.depth + 1,
        })
    }

    /// Where a specification is among those of the run; equal ones are there once.
    fn spec(&mut self, spec: Spec<'_>) -> Result<u16, String> {
        let bytes = SpecBytes(self.mint.encode(spec)?.into());
        if let Some(known) = self.specs.iter().position(|other| *other == bytes) {
            return Ok(known as u16);
        }
        self.bytes += bytes.0.len();
        // No more of them is made than the cluster takes.
        if self.bytes > limits::MAX_SPEC_BYTES {
            return Err(too_large(self.path, self.bytes));
        }
        self.specs.push(bytes);
        Ok((self.specs.len() - 1) as u16)
    }
}

/// Whether a job runs, given what was before it: without a condition, after a success.
pub(super) fn runs(job: &Job, before: &Before<'_>, contexts: &Object) -> Result<bool, Diagnostic> {
    match &job.condition {
        Some(condition) => job_runs(condition, before, contexts),
        None => before.status(Status::Success, &[]).map_err(|why| job.id.at.invalid(why)),
    }
}

/// What is said of a run that the cluster would refuse for its size.
pub(super) fn too_large(path: &str, bytes: usize) -> String {
    format!("{path}: the run takes {bytes} bytes, the limit is {}", limits::MAX_SPEC_BYTES)
}

/// The job's own name, where it is not computed.
fn shown_name(job: &Job) -> String {
    let name = job.name.as_ref().and_then(|name| name.value.known());
    name.unwrap_or(&job.id.value).clone()
}

/// Whether what a job is depends on how those that it needs end, beyond its place in their row.
fn depends_on_needs(job: &Job) -> bool {
    let mut asks = false;
    let mut look = |expression: &Expression| {
        expression.visit(&mut |seen| {
            asks |= matches!(seen, Visit::Context(name) if name.eq_ignore_ascii_case("needs"))
        });
    };
    let mut texts: Vec<&Located<Dynamic<String>>> = job.name.iter().collect();
    if let Some(strategy) = &job.strategy {
        strategy.whole.iter().chain(&strategy.matrix).for_each(|found| each(found, &mut look));
        computed(strategy.fail_fast.as_ref()).into_iter().for_each(&mut look);
        computed(strategy.max_parallel.as_ref()).into_iter().for_each(&mut look);
    }
    if let Some(group) = &job.concurrency {
        texts.push(&group.group);
        computed(group.cancel_in_progress.as_ref()).into_iter().for_each(&mut look);
    }
    match &job.work {
        Work::Steps(work) => {
            texts.extend(work.runs_on.iter().flat_map(|runs_on| &runs_on.labels));
            texts.extend(work.environment.iter().map(|environment| &environment.name));
            computed(work.timeout_minutes.as_ref()).into_iter().for_each(&mut look);
            computed(work.continue_on_error.as_ref()).into_iter().for_each(&mut look);
        }
        Work::Call(call) => {
            call.with.iter().for_each(|with| each(with, &mut look));
            if let Secrets::Given(given) = &call.secrets {
                each(given, &mut look);
            }
        }
    }
    texts.into_iter().filter_map(|text| computed(Some(text))).for_each(&mut look);
    let plain = |text: &str| {
        matches!(text.trim().to_ascii_lowercase().as_str(), "success()" | "failure()" | "always()")
    };
    asks || job.condition.as_ref().is_some_and(|condition| !plain(condition.expression.text()))
}

fn computed<T>(found: Option<&Located<Dynamic<T>>>) -> Option<&Expression> {
    match &found?.value {
        Dynamic::Is(_) => None,
        Dynamic::Computed(expression) => Some(expression),
    }
}

/// Every expression in a value.
fn each(template: &Template, look: &mut impl FnMut(&Expression)) {
    match &template.content {
        Content::Expression(expression) => look(expression),
        Content::List(items) => items.iter().for_each(|item| each(item, look)),
        Content::Map(entries) => entries.iter().for_each(|(key, value)| {
            each(key, look);
            each(value, look);
        }),
        _ => {}
    }
}

/// What tells a job apart: `matrix`, `strategy`, `inputs`, `secrets`.
fn contexts_of(contexts: &Object) -> Result<String, String> {
    let mut kept = Object::default();
    for (name, value) in contexts.iter() {
        let empty = matches!(value, Value::Null)
            || matches!(value, Value::Object(object) if object.is_empty() && name != "secrets");
        if matches!(name, "matrix" | "strategy" | "inputs" | "secrets") && !empty {
            kept.insert(name, value.clone());
        }
    }
    if kept.is_empty() {
        return Ok(String::new());
    }
    to_json(&Value::Object(Arc::new(kept)), MAX_CONTEXTS)
        .ok_or_else(|| format!("the matrix and the inputs of a job take more than {MAX_CONTEXTS} bytes"))
}

/// The secrets of a called workflow, as text; none when it has all that its caller has. Under the empty name stands what the texts
/// are about: of the contexts of the job that calls, those that they name.
fn secrets_of(call: &Call, caller: &Object) -> Option<Value> {
    match &call.secrets {
        Secrets::Inherit => caller.get("secrets").cloned(),
        Secrets::Nothing => Some(Value::Object(Arc::default())),
        Secrets::Given(given) => {
            let mut named = HashSet::new();
            each(given, &mut |expression| {
                expression.visit(&mut |seen| {
                    if let Visit::Context(name) = seen {
                        named.insert(name.to_ascii_lowercase());
                    }
                });
            });
            let of_caller = ["inputs", "matrix", "strategy", "needs", "secrets"].into_iter();
            let of_caller = of_caller.filter(|name| named.contains(*name));
            let of_caller = of_caller.filter_map(|name| Some((name, caller.get(name)?.clone())));
            let around = (String::new(), Value::object(of_caller));
            let given = variables(Some(given)).into_iter().filter(|(name, _)| !name.is_empty());
            let given = given.map(|(name, text)| (name, Value::text(text)));
            Some(Value::object(given.chain([around])))
        }
    }
}

fn outputs_of(outputs: Option<&Template>) -> domain::Variables {
    let Some(Template { content: Content::Map(entries), .. }) = outputs else { return Vec::new() };
    let value = |(key, output): &(Template, Template)| {
        let Content::Map(of) = &output.content else { return None };
        let (_, value) = of.iter().find(|(name, _)| name.text().as_deref() == Some("value"))?;
        let map = Template { at: key.at, content: Content::Map(vec![(key.clone(), value.clone())]) };
        variables(Some(&map)).pop()
    };
    entries.iter().filter_map(value).collect()
}

/// Text that is computed here.
pub(super) fn text(found: &Located<Dynamic<String>>, contexts: &Object) -> Result<String, Diagnostic> {
    match super::resolved(found, contexts)? {
        Value::Array(_) => Err(found.at.invalid("it is computed to be a list, expected text")),
        Value::Object(_) => Err(found.at.invalid("it is computed to be a map, expected text")),
        value => Ok(value.as_text().to_string()),
    }
}

/// True or false, computed here.
pub(super) fn flag(found: &Located<Dynamic<bool>>, contexts: &Object) -> Result<bool, Diagnostic> {
    Ok(match &found.value {
        Dynamic::Is(value) => *value,
        Dynamic::Computed(expression) => {
            let found = Located { at: found.at, value: Dynamic::Computed(expression.clone()) };
            super::resolved(&found, contexts)?.is_truthy()
        }
    })
}

/// A limit in minutes.
fn minutes(found: &Located<Dynamic<f64>>, contexts: &Object) -> Result<f64, Diagnostic> {
    let value = match &found.value {
        Dynamic::Is(value) => *value,
        Dynamic::Computed(expression) => {
            let text = Located { at: found.at, value: Dynamic::Computed(expression.clone()) };
            super::resolved(&text, contexts)?.as_number()
        }
    };
    if value > 0.0 && value <= MAX_TIMEOUT_MINUTES {
        return Ok(value);
    }
    Err(found
        .at
        .invalid(format!("timeout-minutes is {value}, expected a number up to {MAX_TIMEOUT_MINUTES}")))
}
