//! From a task to its end: prepare, start or adopt, follow, conclude.

use std::sync::Arc;
use std::time::Duration;

use domain::Outcome;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::control::Directories;
use super::end::{Cause, conclude};
use super::given::Given;
use super::host::{HostStep, OBJECTS};
use super::tap::Tap;
use super::{Parts, plan};
use crate::clock;
use crate::executor::{ContainerId, ContainerSpec, Error, Exit, FoundState};
use crate::runner::environment::WORKSPACE;
use crate::runner::work::{Finished, Task};

/// Between two looks at the spool: short after output, longer while there is none.
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(160);
/// Between two tries when the executor does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Tries of a start, when the executor does not answer; then the attempt is lost and may be placed elsewhere.
const TRIES: u32 = 30;

/// One attempt on its way.
struct Life {
    parts: Arc<Parts>,
    task: Task,
    given: Given,
    directories: Directories,
    tap: Tap,
}

/// Why there is no container to follow.
enum NoStart {
    /// Asked to end, or unable to go on.
    Ended(Outcome, String),
    /// It had one, which is gone.
    Gone,
}

/// Runs it.
pub(super) async fn run(parts: Arc<Parts>, task: Task) -> Finished {
    let attempt = task.attempt;
    let directories = Directories::of(parts.directory(attempt));
    let workspace = parts.seen(&directories.workspace, WORKSPACE);
    let given = match Given::read(&parts, attempt, &workspace) {
        Ok(given) => given,
        Err(why) => return Finished::bare(Outcome::Failed, why),
    };
    if let Err(error) = tokio::fs::create_dir_all(&directories.root).await {
        let why = format!("cannot make {}: {error}", directories.root.display());
        return Finished::bare(Outcome::Failed, why);
    }
    let (steps, progress) = (given.spec.steps.len(), task.progress.clone());
    let tap = match Tap::open(&parts.logs, attempt, &directories.spool, steps, progress).await {
        Ok(tap) => tap,
        Err(error) => return Finished::bare(Outcome::Failed, error.to_string()),
    };
    Life { parts, task, given, directories, tap }.run(workspace).await
}

impl Life {
    async fn run(mut self, workspace: String) -> Finished {
        let (outcome, reason) = match self.begin(workspace).await {
            Ok(id) => self.follow(&id).await,
            Err(NoStart::Ended(outcome, reason)) => {
                self.tap.say(0, &reason).await;
                (outcome, reason)
            }
            Err(NoStart::Gone) => {
                let read = self.drain().await;
                let gone = Err(Error::Gone(String::new()));
                conclude(read.err(), self.tap.course.end.take(), &gone, self.given.resources)
            }
        };
        self.keep(outcome, reason).await
    }

    /// The container, begun now or by an earlier life of this node.
    async fn begin(&mut self, workspace: String) -> Result<ContainerId, NoStart> {
        let (attempt, fence) = (self.task.attempt, self.task.fence);
        if self.task.adopted {
            let parts = Arc::clone(&self.parts);
            let found = self.patiently(|| parts.container(attempt, fence)).await?;
            match found {
                Some(found) if found.state == FoundState::Created => {
                    self.patiently(|| parts.executor.remove(&found.id)).await?;
                }
                Some(found) => return Ok(found.id),
                None if self.directories.begun() => return Err(NoStart::Gone),
                None => {}
            }
        }
        self.prepare(workspace).await.map_err(|why| NoStart::Ended(Outcome::Failed, why))?;
        let (parts, image) = (Arc::clone(&self.parts), self.given.image.clone());
        let limit = Duration::from_secs(u64::from(self.given.spec.timeout_seconds));
        let had = tokio::time::timeout(limit, self.patiently(|| parts.executor.ensure_image(&image)));
        self.unless_ended(had).await?.unwrap_or_else(|_| {
            let why = format!("the image {image} was not had within the job's limit of {limit:?}");
            Err(NoStart::Ended(Outcome::TimedOut, why))
        })?;
        let spec = self.container();
        self.patiently(|| parts.executor.start(spec.clone())).await
    }

    async fn prepare(&self, workspace: String) -> Result<(), String> {
        let (attempt, fence, directories) = (self.task.attempt, self.task.fence, self.directories.clone());
        let plan = plan::of(&self.given.spec, workspace, self.parts.options.grace).encode();
        let objects = self.given.checked_out().map(|repo| self.parts.mirrors.dir(repo).join("objects"));
        let prepared = tokio::task::spawn_blocking(move || {
            if let Some(objects) = objects {
                std::fs::create_dir_all(objects)?;
            }
            directories.prepare(attempt, fence, &plan)
        });
        let prepared = prepared.await.unwrap_or_else(|join| Err(std::io::Error::other(join)));
        prepared.map_err(|error| format!("cannot prepare {}: {error}", self.directories.root.display()))
    }

    fn container(&self) -> ContainerSpec {
        let mirror = |repo| (self.parts.mirrors.dir(repo).join("objects"), OBJECTS.to_owned());
        ContainerSpec {
            attempt: self.task.attempt,
            fence: self.task.fence,
            node: self.parts.options.node,
            image: self.given.image.clone(),
            control_dir: self.directories.control.clone(),
            workspace: self.directories.workspace.clone(),
            read_only: self.given.checked_out().map(mirror).into_iter().collect(),
            env: self.given.env.clone(),
            resources: self.given.resources,
            pids: self.parts.options.pids,
            slot: self.task.slot,
        }
    }

    /// Asks the executor until it answers, someone wants the end, or it was too often. A question that is out is waited
    /// for: a start that nobody waits for would leave a container that nobody knows.
    async fn patiently<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, NoStart>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut tries = 0;
        loop {
            if self.task.kill.is_cancelled() {
                return Err(killed());
            }
            if self.task.cancel.is_cancelled() {
                return Err(cancelled());
            }
            match ask().await {
                Ok(value) => return Ok(value),
                Err(error @ Error::Unreachable(_)) if tries < TRIES => {
                    tries += 1;
                    tracing::warn!(attempt = %self.task.attempt, %error, "an attempt waits for its executor");
                    self.unless_ended(tokio::time::sleep(RETRY)).await?;
                }
                Err(error @ Error::Unreachable(_)) => {
                    return Err(NoStart::Ended(Outcome::Lost, error.to_string()));
                }
                Err(error) => return Err(NoStart::Ended(Outcome::Failed, error.to_string())),
            }
        }
    }

    /// What can be left half-way at any time when someone wants the end.
    async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Result<T, NoStart> {
        tokio::select! {
            done = work => Ok(done),
            () = self.task.kill.cancelled() => Err(killed()),
            () = self.task.cancel.cancelled() => Err(cancelled()),
        }
    }

    /// Until the container has ended and all it wrote is in the log.
    async fn follow(&mut self, id: &ContainerId) -> (Outcome, String) {
        let parts = Arc::clone(&self.parts);
        let mut ended = Box::pin(wait(&parts, id));
        let (mut cause, mut hosts, mut hosting) = (None, JoinSet::new(), None);
        let (mut pause, mut patience) = (LOOK_MIN, self.patience());
        let exit = loop {
            match self.tap.pump().await {
                Ok(true) => {
                    pause = LOOK_MIN;
                    continue;
                }
                Ok(false) => {}
                Err(error) => {
                    let first = cause.replace(Cause::Broken(error.to_string())).is_none();
                    if first {
                        patience = Instant::now();
                    }
                }
            }
            // Only when all is read: what an earlier life answered may stand behind what it was asked.
            if let Some(step) = self.tap.course.host.filter(|step| hosting != Some(*step) && cause.is_none())
            {
                hosting = Some(step);
                self.host(step, &mut hosts);
            }
            tokio::select! {
                exit = &mut ended => break exit,
                Some(done) = hosts.join_next() => self.answer(hosting, done).await,
                () = self.task.kill.cancelled(), if !matches!(cause, Some(Cause::Killed)) => {
                    cause = Some(Cause::Killed);
                    patience = Instant::now();
                }
                () = self.task.cancel.cancelled(), if cause.is_none() => {
                    cause = Some(Cause::Cancelled);
                    hosts.abort_all();
                    patience = self.ask_to_end();
                }
                () = tokio::time::sleep_until(patience) => {
                    cause.get_or_insert(Cause::Overdue);
                    if let Err(error) = parts.executor.stop(id, Duration::ZERO).await {
                        tracing::error!(attempt = %self.task.attempt, %error, "a container cannot be stopped");
                    }
                    patience = Instant::now() + RETRY;
                }
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LOOK_MAX),
            }
        };
        if let Err(error) = self.drain().await {
            cause.get_or_insert(error);
        }
        conclude(cause, self.tap.course.end.take(), &exit, self.given.resources)
    }

    /// Until when init may take, by the job's own limit; it keeps that itself, so this is for an init that hangs.
    fn patience(&self) -> Instant {
        let longest = plan::longest(&self.given.spec, self.parts.options.grace);
        let began = self.tap.course.told.started_at;
        let passed = began.map_or(0, |at| clock::now().millis_since(at));
        Instant::now() + longest.saturating_sub(Duration::from_millis(passed))
    }

    /// Asks init to end; until when it may take.
    fn ask_to_end(&self) -> Instant {
        match self.directories.tell("cancel") {
            Ok(()) => Instant::now() + plan::winding_up(self.parts.options.grace),
            Err(error) => {
                tracing::warn!(attempt = %self.task.attempt, %error, "an attempt cannot be asked to end; it is killed");
                Instant::now()
            }
        }
    }

    fn host(&self, step: u16, hosts: &mut JoinSet<Result<(), String>>) {
        let work = HostStep {
            parts: Arc::clone(&self.parts),
            repo: self.given.repo.clone(),
            event: Arc::clone(&self.given.event),
            directories: self.directories.clone(),
        };
        let action = self.given.spec.steps.get(usize::from(step)).map(|step| step.action.clone());
        hosts.spawn(async move {
            match action {
                Some(action) => work.run(action).await,
                None => Err("there is no such step".to_owned()),
            }
        });
    }

    /// Tells init how its step went.
    async fn answer(&mut self, step: Option<u16>, done: Result<Result<(), String>, tokio::task::JoinError>) {
        let Some(step) = step else { return };
        let failed = match done {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            // Cancelled: init ends the step by itself.
            Err(join) if join.is_cancelled() => return,
            Err(join) => Some(format!("the node's part of this step panicked: {join}")),
        };
        if let Some(why) = &failed {
            self.tap.say(step, why).await;
        }
        if let Err(error) = self.directories.tell(&format!("host {step} {}", u8::from(failed.is_some()))) {
            tracing::warn!(attempt = %self.task.attempt, %error, "an attempt cannot be told how its step went");
        }
    }

    async fn drain(&mut self) -> Result<(), Cause> {
        loop {
            match self.tap.pump().await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(Cause::Broken(error.to_string())),
            }
        }
    }

    /// Keeps artifacts and closes the log.
    async fn keep(mut self, mut outcome: Outcome, mut reason: String) -> Finished {
        let (workspace, patterns) = (self.directories.workspace.clone(), self.given.spec.artifacts.clone());
        let mut artifacts = Vec::new();
        if outcome != Outcome::Lost && !patterns.is_empty() && self.directories.begun() {
            let (limits, blobs) = (self.parts.options.artifacts, self.parts.blobs.clone());
            let kept = tokio::task::spawn_blocking(move || {
                crate::artifacts::collect(&workspace, &patterns, limits, &blobs).map_err(|e| e.to_string())
            });
            match kept.await.unwrap_or_else(|join| Err(join.to_string())) {
                Ok(kept) => artifacts = kept,
                Err(why) => {
                    self.tap.say(0, &why).await;
                    if outcome == Outcome::Succeeded {
                        (outcome, reason) = (Outcome::Failed, why);
                    }
                }
            }
        }
        let (steps, log_bytes) = self.tap.close(outcome).await;
        Finished { outcome, reason, steps, artifacts, log_bytes }
    }
}

fn cancelled() -> NoStart {
    NoStart::Ended(Outcome::Cancelled, "cancelled before it began".to_owned())
}

fn killed() -> NoStart {
    NoStart::Ended(Outcome::Lost, "given up by its node before it began".to_owned())
}

/// Asks again when the executor's own patience ends before the container does.
async fn wait(parts: &Parts, id: &ContainerId) -> Result<Exit, Error> {
    loop {
        match parts.executor.wait(id).await {
            Err(error @ Error::Unreachable(_)) => {
                tracing::debug!(%error, "the wait for a container is taken up again");
                tokio::time::sleep(RETRY).await;
            }
            answer => return answer,
        }
    }
}
