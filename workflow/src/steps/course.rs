//! The course itself: see [`Course`].

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Action, Annotation, Container, Native, Outcome, StepSpec, Variables};

use super::commands::Command;
use super::end::{Annotations, End, Note};
use super::evaluate::Evaluator;
use super::level::{self, Level};
use super::order::{Given, Next, Order, What};
use super::over::{Over, Post};
use super::{shell, to_object};
use crate::expression::Environment;
use crate::graph;

/// Deepest nesting of actions, as GitHub has it.
const MAX_NESTING: usize = 10;
/// Bytes of the URL of an environment.
const MAX_URL: usize = 2048;
/// Characters of a computed name that are kept.
const MAX_NAME: usize = 100;
/// A value that holds a secret is not told to later jobs; a secret this short is in many values.
const MIN_SECRET: usize = 4;

/// What was ordered.
#[derive(Debug, Clone)]
struct Open {
    order: Order,
    may_fail: bool,
    /// The level of the action whose limit it has, when that comes before its own.
    limited_by: Option<usize>,
    /// What its output told in the old way.
    outputs: Vec<(String, String)>,
    refused: Option<&'static str>,
}

/// What an action left for the end.
#[derive(Debug, Clone)]
struct Later {
    step: u16,
    what: Native,
    with: BTreeMap<String, String>,
    env: Variables,
    post: Post,
}

/// The course of a job. Pure: it is asked [`Course::next`] and told [`Course::over`] in turn.
#[derive(Debug, Clone)]
pub struct Course {
    pub(super) given: Given,
    /// Environment of all steps, with what steps added.
    pub(super) env: Variables,
    paths: Vec<String>,
    pub(super) levels: Vec<Level>,
    later: Vec<Later>,
    open: Option<Open>,
    count: u32,
    /// Milliseconds, without those for which the job stood still.
    pub(super) now: u64,
    /// The step that was last said to have begun.
    begun: Option<u16>,
    /// Cancelled or out of time.
    pub(super) stopped: Option<Outcome>,
    /// The first thing that was not good.
    first: Option<(Outcome, String)>,
    annotations: Annotations,
    /// Why the action that is under way fails.
    why_within: Option<String>,
    notes: Vec<Note>,
    end: Option<End>,
}

impl Course {
    /// Of a job that has not begun.
    #[must_use]
    pub fn new(given: Given) -> Self {
        let steps = Level::new(&given.spec.steps, None);
        let mut course = Self {
            env: Variables::new(),
            paths: Vec::new(),
            levels: vec![steps],
            later: Vec::new(),
            open: None,
            count: 0,
            now: 0,
            begun: None,
            stopped: None,
            first: None,
            annotations: Annotations::default(),
            why_within: None,
            notes: Vec::new(),
            end: None,
            given,
        };
        // Without expressions it is in the container's own environment.
        if course.given.spec.expressions {
            let evaluator = course.before();
            match evaluator.variables("env", &course.given.spec.env) {
                Ok(env) => course.env = env,
                Err(why) => {
                    course.end = Some(End { outcome: Outcome::Failed, reason: why, outputs: Vec::new() })
                }
            }
        }
        course
    }

    /// A container of the job, computed.
    ///
    /// # Errors
    /// What cannot be computed, in words.
    pub fn container(&self, container: &Container) -> Result<Container, String> {
        let e = self.before();
        let texts = |field: &str, texts: &[String]| {
            texts.iter().map(|text| e.text(field, text)).collect::<Result<Vec<_>, _>>()
        };
        let (user, password) = &container.credentials;
        Ok(Container {
            image: e.text("image", &container.image)?,
            env: e.variables("env", &container.env)?,
            ports: texts("ports", &container.ports)?,
            volumes: texts("volumes", &container.volumes)?,
            options: e.text("options", &container.options)?,
            credentials: (e.text("credentials", user)?, e.text("credentials", password)?),
            entrypoint: e.text("entrypoint", &container.entrypoint)?,
            command: e.text("command", &container.command)?,
        })
    }

    /// Everything that was said of steps since it was asked last.
    pub fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// What steps said of places in the sources.
    #[must_use]
    pub fn annotations(&self) -> &[Annotation] {
        &self.annotations.kept
    }

    /// True when something in it asks for files of the workspace.
    #[must_use]
    pub fn asks_for_files(&self) -> bool {
        self.given.spec.expressions
            && format!("{:?}", self.given.spec).to_ascii_lowercase().contains("hashfiles")
    }

    /// So many things were ordered.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Nothing of the job has failed so far.
    #[must_use]
    pub fn is_succeeding(&self) -> bool {
        self.first.is_none() && self.stopped.is_none()
    }

    /// The job is cancelled, or out of time: only steps that want to run then do.
    pub fn stop(&mut self, outcome: Outcome, reason: &str) {
        if self.stopped.is_none() && self.end.is_none() {
            self.stopped = Some(outcome);
            self.first = Some((outcome, reason.to_owned()));
        }
    }

    /// What was ordered has begun.
    pub fn started(&mut self, number: u32) {
        if let Some(step) =
            self.open.as_ref().filter(|open| open.order.number == number).map(|o| o.order.step)
        {
            self.begin_limits();
            self.begin(step);
        }
    }

    /// The output of a step gave a command.
    pub fn hear(&mut self, command: Command) {
        let Some(open) = &mut self.open else { return };
        match command {
            Command::Annotate(annotation) => self.annotations.add(open.order.step, annotation),
            Command::Output(name, value) => open.outputs.push((name, value)),
            Command::Refused(name) => open.refused = Some(name),
            Command::Mask(secret) => self.given.secrets.push(secret),
            Command::State(..) | Command::Stop(_) | Command::Debug | Command::Shown => {}
        }
    }

    /// What was ordered is over. What was not ordered, or is over already, says nothing.
    pub fn over(&mut self, number: u32, over: Over) {
        let Some(open) = self.open.take_if(|open| open.order.number == number) else { return };
        let step = open.order.step;
        if over.outcome == Outcome::TimedOut {
            self.end_limit(open.limited_by);
        }
        if over.outcome == Outcome::Skipped {
            // Ordered before the stop was known: what it may do now is looked at again.
            let again = self.stopped.is_some() && !open.order.stopping;
            // What an action left for the end is of a step that is over.
            let later = matches!(open.order.what, What::Native { post: Some(_), .. });
            if !again && !later {
                self.finish((None, None, Outcome::Skipped), open.may_fail, &[], String::new());
            }
            return;
        }
        let mut understood = over.written.understand();
        if let Some(name) = open.refused {
            understood.wrong.push(format!(
                "the command {name} is switched off; write to the file GITHUB_ENV or GITHUB_PATH"
            ));
        }
        let mut reason = over.answer.why.unwrap_or_default();
        if !reason.is_empty() {
            self.say(step, &reason);
        }
        let (mut outcome, mut exit_code) = (over.outcome, over.exit_code);
        for why in understood.wrong {
            self.say(step, &why);
            if outcome == Outcome::Succeeded {
                (outcome, exit_code, reason) = (Outcome::Failed, None, why);
            }
        }
        if let Some(why) = understood.left_out {
            self.say(step, &why);
            self.annotations.warn(step, why);
        }
        for (name, value) in understood.env {
            self.env.retain(|(known, _)| *known != name);
            self.env.push((name, value));
        }
        self.paths.extend(understood.paths);
        if !over.written.summary.is_empty() {
            self.notes.push(Note::Summary { step, text: over.written.summary });
        }
        let outputs = [open.outputs, understood.outputs, over.answer.outputs].concat();
        let native = if let What::Native { what, with, env, post } = open.order.what {
            if post.is_some() {
                return self.later_over(step, outcome, &reason);
            }
            Some((what, with, env))
        } else {
            None
        };
        if let (Some(post), Some((what, with, env))) = (over.answer.post, native) {
            self.later.push(Later { step, what, with, env, post });
        }
        let reason = if reason.is_empty() { describe(step, exit_code, over.signal, outcome) } else { reason };
        self.finish((exit_code, over.signal, outcome), open.may_fail, &outputs, reason);
    }

    fn later_over(&mut self, step: u16, outcome: Outcome, why: &str) {
        if outcome != Outcome::Succeeded {
            let reason = format!("what step {} left for the end failed: {why}", step + 1);
            self.first.get_or_insert((outcome, reason));
        }
    }

    /// What comes next. `files` is asked for the files of the workspace.
    pub fn next(&mut self, files: &dyn Environment) -> Next {
        loop {
            if self.open.is_some() {
                return Next::Wait;
            }
            if let Some(end) = &self.end {
                return Next::Done(end.clone());
            }
            let is_late = self.is_late();
            let last = self.levels.len() - 1;
            let level = &mut self.levels[last];
            if is_late && level.step().is_some() {
                level.run_out();
            }
            let Some(step) = level.step() else {
                match (self.levels.len() > 1).then(|| self.levels.pop()).flatten() {
                    Some(level) => self.leave(level, files),
                    None => match self.next_later() {
                        Some(later) => return self.order(later.step, 0, false, later_what(later), false),
                        None => self.end = Some(self.conclude(files)),
                    },
                }
                continue;
            };
            let step = step.clone();
            match self.prepare(&step, files) {
                Ok(None) => {}
                Ok(Some(next)) => return next,
                Err(why) => {
                    let at = self.index();
                    self.begin(at);
                    self.say(at, &why);
                    self.finish((None, None, Outcome::Failed), false, &[], why);
                }
            }
        }
    }

    /// The order for a step, or nothing when it is skipped or gone into.
    fn prepare(&mut self, step: &StepSpec, files: &dyn Environment) -> Result<Option<Next>, String> {
        let place = Evaluator::place(&self.given.path, step);
        let around = self.env_around();
        let mut e = self.evaluator(&around, files, place);
        let own = e.variables("env", &step.env)?;
        let env = [around, own.clone()].concat();
        e.contexts = self.contexts(&env);
        if self.levels.len() == 1 && step.name.contains("${{") {
            // One that cannot be computed, or that would show a secret, stays as it is written.
            let name = e.text("name", &step.name).ok().filter(|name| !self.holds_secret(name));
            let name = name.map(|name| name.chars().take(MAX_NAME).collect());
            self.notes.extend(name.map(|name| Note::Named { step: self.index(), name }));
        }
        let failed = self.levels.last().is_some_and(Level::failed);
        let cancelled = self.stopped.is_some();
        if !e.condition(&step.condition, graph::Steps { failed, cancelled })? {
            self.finish((None, None, Outcome::Skipped), false, &[], String::new());
            return Ok(None);
        }
        let may_fail = e.boolean("continue-on-error", &step.continue_on_error)?;
        let own_limit = e.minutes("timeout-minutes", &step.timeout_minutes)?;
        let what = match &step.action {
            Action::Composite { path, inputs, steps, outputs } => {
                let inputs = e.variables("with", inputs)?;
                if self.levels.len() > MAX_NESTING {
                    return Err(format!("{path}: actions are nested more than {MAX_NESTING} deep"));
                }
                let inputs = to_object(inputs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                let path = format!("{}/{path}", self.given.workspace);
                let (outputs, index) = (outputs.clone(), self.index());
                let env = [self.env_of_actions(), own].concat();
                let (limit_ms, ends_at) = (own_limit, None);
                let action = level::Action { path, inputs, outputs, env, limit_ms, ends_at, may_fail };
                self.begin(index);
                self.levels.push(Level::new(steps, Some(action)));
                return Ok(None);
            }
            Action::Run { script, shell, working_directory } => What::Run {
                argv: shell::argv(&e.text("shell", shell)?)?,
                script: e.text("run", script)?,
                cwd: e.text("working-directory", working_directory)?,
                env: self.with_facts(env),
                path: self.paths.clone(),
            },
            Action::Native { what, with } => What::Native {
                what: *what,
                with: e.variables("with", with)?.into_iter().collect(),
                env: self.with_facts(env),
                post: None,
            },
            Action::Docker { image, with } => What::Docker {
                image: e.text("uses", image)?,
                with: e.variables("with", with)?.into_iter().collect(),
                env: self.with_facts(env),
                path: self.paths.clone(),
            },
        };
        let last = self.levels.len() == 1
            && self.later.is_empty()
            && self.levels[0].at + 1 == self.levels[0].steps.len()
            && matches!(what, What::Run { .. });
        let (timeout_ms, limited_by) = self.limit(own_limit);
        let next = self.order(self.index(), timeout_ms, may_fail, what, last);
        if let Some(open) = &mut self.open {
            open.limited_by = limited_by;
        }
        Ok(Some(next))
    }

    fn order(&mut self, step: u16, timeout_ms: u64, may_fail: bool, what: What, last: bool) -> Next {
        self.count += 1;
        let stopping = self.stopped.is_some();
        let order = Order { number: self.count, step, stopping, timeout_ms, last, what };
        let (outputs, limited_by, refused) = (Vec::new(), None, None);
        self.open = Some(Open { order: order.clone(), may_fail, limited_by, outputs, refused });
        Next::Order(order)
    }

    /// The last thing that was left for the end, and that is still wanted.
    fn next_later(&mut self) -> Option<Later> {
        while let Some(later) = self.later.pop() {
            if self.is_succeeding() || !later.post.on_success {
                return Some(later);
            }
        }
        None
    }

    /// The step that is under way, or would be, is over.
    fn finish(
        &mut self,
        (exit_code, signal, outcome): (Option<i32>, Option<i32>, Outcome),
        may_fail: bool,
        outputs: &[(String, String)],
        reason: String,
    ) {
        let (index, top) = (self.index(), self.levels.len() == 1);
        let last = self.levels.len() - 1;
        let conclusion = self.levels[last].finish(outcome, may_fail, outputs);
        if !top {
            // Whether the step may fail does not help when it is the action's time that is over.
            if outcome == Outcome::TimedOut && self.is_late() {
                self.levels[last].outcome.get_or_insert(outcome);
            }
            // What failed within an action is why the action failed.
            if let Some(why) =
                Some(reason).filter(|_| conclusion == Outcome::Failed || conclusion == Outcome::TimedOut)
            {
                self.why_within = Some(why);
            }
            return;
        }
        self.notes.push(Note::Finished { step: index, exit_code, signal, outcome });
        if !matches!(conclusion, Outcome::Succeeded | Outcome::Skipped) {
            self.first.get_or_insert((conclusion, reason));
        }
    }

    /// All steps of an action are over.
    fn leave(&mut self, level: Level, files: &dyn Environment) {
        let Some(action) = &level.action else { return };
        let (mut outcome, may_fail) = (level.outcome.unwrap_or(Outcome::Succeeded), action.may_fail);
        let (variables, env) = (action.outputs.clone(), [self.env.clone(), action.env.clone()].concat());
        // Its outputs are computed from its own steps and inputs.
        self.levels.push(level);
        let step = self.levels.get(self.levels.len() - 2).and_then(Level::step);
        let place = step.map(|step| Evaluator::place(&self.given.path, step)).unwrap_or_default();
        let outputs = self.evaluator(&env, files, place).variables("outputs", &variables);
        self.levels.pop();
        let mut reason = self.why_within.take();
        let outputs = outputs.unwrap_or_else(|why| {
            self.say(self.index(), &why);
            if outcome == Outcome::Succeeded {
                (outcome, reason) = (Outcome::Failed, Some(why));
            }
            Vec::new()
        });
        let reason = reason.unwrap_or_else(|| describe(self.index(), None, None, outcome));
        self.finish((None, None, outcome), may_fail, &outputs, reason);
    }

    fn conclude(&mut self, files: &dyn Environment) -> End {
        let spec = Arc::clone(&self.given.spec);
        let (mut outcome, mut reason) = self.first.clone().unwrap_or((Outcome::Succeeded, String::new()));
        let last = (spec.steps.len().max(1) - 1) as u16;
        let computed =
            self.evaluator(&self.env, files, self.given.path.clone()).variables("outputs", &spec.outputs);
        let outputs = computed.unwrap_or_else(|why| {
            self.say(last, &why);
            if outcome == Outcome::Succeeded {
                (outcome, reason) = (Outcome::Failed, why);
            }
            Vec::new()
        });
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for (name, value) in outputs {
            let secret = self.holds_secret(&value);
            bytes += name.len() + value.len();
            if secret {
                self.say(last, &format!("the output {name} is not told to later jobs: it may hold a secret"));
            } else if bytes > domain::limits::MAX_OUTPUT_BYTES {
                let why = format!("outputs: more than {} bytes in all", domain::limits::MAX_OUTPUT_BYTES);
                self.say(last, &why);
                return End { outcome: Outcome::Failed, reason: why, outputs: Vec::new() };
            } else {
                kept.push((name, value));
            }
        }
        self.tell_of_environment(last, files);
        End { outcome, reason, outputs: kept }
    }

    /// Where what the job did for its environment can be looked at.
    fn tell_of_environment(&mut self, step: u16, files: &dyn Environment) {
        let evaluator = self.evaluator(&self.env, files, self.given.path.clone());
        match evaluator.text("environment.url", &self.given.spec.environment_url) {
            Ok(url) if url.is_empty() => {}
            Ok(url) if self.holds_secret(&url) => {
                self.say(step, "environment.url is not shown: it may hold a secret");
            }
            Ok(url) if url.len() > MAX_URL => {
                self.say(step, &format!("environment.url is not shown: it has more than {MAX_URL} bytes"))
            }
            Ok(url) => self.annotations.put(Annotation {
                level: domain::Level::Notice,
                title: "Environment".to_owned(),
                message: url,
                file: String::new(),
                line: 0,
                column: 0,
                step,
            }),
            Err(why) => self.say(step, &why),
        }
    }

    fn holds_secret(&self, text: &str) -> bool {
        self.given.secrets.iter().any(|secret| secret.len() >= MIN_SECRET && text.contains(secret.as_str()))
    }

    /// The job's step that all of this is for.
    fn index(&self) -> u16 {
        self.levels[0].at as u16
    }

    fn begin(&mut self, step: u16) {
        if self.begun != Some(step) && usize::from(step) >= self.levels[0].at {
            self.begun = Some(step);
            self.notes.push(Note::Started { step });
        }
    }

    fn say(&mut self, step: u16, words: &str) {
        self.notes.push(Note::Said { step, words: words.to_owned() });
    }
}

fn later_what(later: Later) -> What {
    let Later { what, with, env, post, .. } = later;
    What::Native { what, with, env, post: Some(post.state) }
}

fn describe(index: u16, exit_code: Option<i32>, signal: Option<i32>, outcome: Outcome) -> String {
    let step = index + 1;
    match (outcome, exit_code, signal) {
        (Outcome::TimedOut, ..) => format!("step {step} passed its limit of time"),
        (_, Some(code), _) => format!("step {step} exited with {code}"),
        (_, _, Some(signal)) => format!("step {step} was ended by signal {signal}"),
        (Outcome::Cancelled, ..) => format!("step {step} was cancelled"),
        _ => format!("step {step} could not start"),
    }
}
