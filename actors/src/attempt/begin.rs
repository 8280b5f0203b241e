//! From a task to a container: prepare and start one, or find the one that an earlier life of this node left.

use std::sync::Arc;
use std::time::Duration;

use domain::Outcome;
use tokio::time::Instant;

use super::accept::accept;
use super::life::{Life, RETRY, lease_of};
use super::native::OBJECTS;
use super::plan;
use crate::executor::{ContainerId, ContainerSpec, Error, Found, FoundState, Mount};
use crate::faults::{self, Point};

/// Tries of a start, when the executor does not answer; then the attempt is lost and may be placed elsewhere.
const TRIES: u32 = 30;

/// Why there is no container to follow.
pub(super) enum NoStart {
    /// Asked to end, or unable to go on.
    Ended(Outcome, String),
    /// It had one, which is gone.
    Gone,
}

impl Life {
    /// The container, begun now or by an earlier life of this node, and whether it stands still.
    pub(super) async fn begin(&mut self, workspace: String) -> Result<(ContainerId, bool), NoStart> {
        if self.task.adopted {
            match self.left().await {
                Some(found) if found.state == FoundState::Created => {
                    self.parts.end_container(self.task.attempt, self.task.fence).await;
                }
                Some(found) => return Ok((found.id, found.state == FoundState::Paused)),
                None if self.directories.begun() => return Err(NoStart::Gone),
                None => {}
            }
        }
        // What cannot be computed before the first step needs no container.
        if let Some(end) = self.tap.end().filter(|end| end.outcome == Outcome::Failed) {
            return Err(NoStart::Ended(end.outcome, end.reason.clone()));
        }
        self.prepare(workspace).await.map_err(|why| NoStart::Ended(Outcome::Lost, why))?;
        faults::at(Point::Prepared).await;
        let (parts, image) = (Arc::clone(&self.parts), self.given.image.clone());
        let credentials = self.given.company.credentials.clone();
        let had = || async {
            match (credentials.as_ref(), parts.executor.beside()) {
                (Some(credentials), Some(beside)) => beside.ensure_image_as(&image, Some(credentials)).await,
                _ => parts.executor.ensure_image(&image).await,
            }
        };
        let mut deadline = Instant::now() + self.limit();
        self.until(deadline, &format!("the image {image} was not had"), self.patiently(had)).await?;
        faults::at(Point::Pulled).await;
        let paused = Instant::now();
        let (kill, cancel) = (self.task.kill.clone(), self.task.cancel.clone());
        tokio::select! {
            () = self.stand_by() => {}
            () = kill.cancelled() => return Err(killed()),
            () = cancel.cancelled() => return Err(cancelled()),
        }
        deadline += paused.elapsed();
        let accepted = self.unless_ended(accept(&self.parts, self.task.attempt, self.task.fence)).await?;
        accepted.map_err(|why| NoStart::Ended(Outcome::Lost, why))?;
        faults::at(Point::Accepted).await;
        let spec = self.container();
        self.exposed = true;
        self.begin_services(deadline).await?;
        Ok((self.patiently(|| parts.executor.start(spec.clone())).await?, false))
    }

    /// What an earlier life left. Asks until the executor answers: as long as it does not, a container may run, and that
    /// is no time to say that the attempt is over. Whoever wants its end is obeyed by its init in the meantime.
    async fn left(&self) -> Option<Found> {
        let (attempt, fence) = (self.task.attempt, self.task.fence);
        let (mut cancelled, mut killed) = (false, false);
        loop {
            match self.parts.container(attempt, fence).await {
                Ok(found) => return found,
                Err(error) => tracing::warn!(%attempt, %error, "an adopted attempt waits for its executor"),
            }
            tokio::select! {
                biased;
                () = self.task.kill.cancelled(), if !killed => {
                    killed = true;
                    self.tell("kill");
                }
                () = self.task.cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    self.tell("cancel");
                }
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Tells its init a line; false, said in this node's log, when that cannot be.
    pub(super) fn tell(&self, line: &str) -> bool {
        let told = self.directories.tell(line);
        if let Err(error) = &told {
            tracing::warn!(attempt = %self.task.attempt, line, %error, "the init of an attempt cannot be told");
        }
        told.is_ok()
    }

    async fn prepare(&mut self, workspace: String) -> Result<(), String> {
        let (attempt, fence, directories) = (self.task.attempt, self.task.fence, self.directories.clone());
        let plan = plan::of(&self.given.spec, workspace, self.parts.options.grace).encode();
        let (permit, first) = (self.permits.now(), self.tap.give());
        let event = Arc::clone(&self.given.event);
        let objects = self.given.checked_out().map(|repo| self.parts.mirrors.dir(repo).join("objects"));
        let prepared = tokio::task::spawn_blocking(move || {
            if let Some(objects) = objects {
                std::fs::create_dir_all(objects)?;
            }
            let payload = if event.payload.is_empty() { "{}" } else { &event.payload };
            directories.prepare(attempt, fence, (&plan, permit, payload))?;
            // Before the container is there: its first step waits for nobody.
            first.map_or(Ok(()), |(number, order)| directories.order(number, &order))
        });
        let prepared = prepared.await.unwrap_or_else(|join| Err(std::io::Error::other(join)));
        prepared.map_err(|error| format!("cannot prepare {}: {error}", self.directories.root.display()))
    }

    fn container(&self) -> ContainerSpec {
        let mirror = |repo| Mount::readable(self.parts.mirrors.dir(repo).join("objects"), OBJECTS);
        let mut mounts = vec![self.directories.given_permit()];
        mounts.extend(self.directories.given());
        mounts.extend(self.given.checked_out().map(mirror));
        ContainerSpec {
            attempt: self.task.attempt,
            fence: self.task.fence,
            node: self.parts.options.node,
            image: self.given.image.clone(),
            control_dir: self.directories.control.clone(),
            workspace: self.directories.workspace.clone(),
            mounts,
            env: self.given.env.clone(),
            resources: self.given.company.resources,
            pids: self.parts.options.pids,
            slot: self.task.slot,
            extras: self.given.company.extras.clone(),
            lease: lease_of(&self.task),
        }
    }

    /// For the job; what comes before its first step has as long, all together.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.given.spec.timeout_seconds))
    }

    /// What takes longer than the job may before it begins ends with it.
    pub(super) async fn until<T>(
        &self,
        deadline: Instant,
        otherwise: &str,
        work: impl Future<Output = Result<T, NoStart>>,
    ) -> Result<T, NoStart> {
        let done = self.unless_ended(tokio::time::timeout_at(deadline, work)).await?;
        done.unwrap_or_else(|_| {
            let why = format!("{otherwise} within the job's limit of {:?}", self.limit());
            Err(NoStart::Ended(Outcome::TimedOut, why))
        })
    }

    /// Asks for an image or a start until the executor answers, someone wants the end, or it was too often. A question
    /// that is out is waited for: its answer is the only one that says for sure.
    pub(super) async fn patiently<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, NoStart>
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
                Err(error @ (Error::Unreachable(_) | Error::NoLease)) if tries < TRIES => {
                    tries += 1;
                    tracing::warn!(attempt = %self.task.attempt, %error, "an attempt waits for its executor");
                    self.unless_ended(tokio::time::sleep(RETRY)).await?;
                }
                Err(
                    error @ (Error::Unreachable(_) | Error::NoLease | Error::Machine { .. } | Error::Gone(_)),
                ) => {
                    return Err(NoStart::Ended(Outcome::Lost, error.to_string()));
                }
                // What the job asks for cannot be: no such image, or one that cannot be started.
                Err(error @ (Error::ImageMissing { .. } | Error::Refused { .. })) => {
                    return Err(NoStart::Ended(Outcome::Failed, error.to_string()));
                }
            }
        }
    }

    /// What can be left half-way at any time when someone wants the end.
    pub(super) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Result<T, NoStart> {
        tokio::select! {
            done = work => Ok(done),
            () = self.task.kill.cancelled() => Err(killed()),
            () = self.task.cancel.cancelled() => Err(cancelled()),
        }
    }
}

fn cancelled() -> NoStart {
    NoStart::Ended(Outcome::Cancelled, "cancelled before it began".to_owned())
}

fn killed() -> NoStart {
    NoStart::Ended(Outcome::Lost, "given up by its node before it began".to_owned())
}
