//! From a container that runs to one that has ended, with all that it wrote in the log.

use std::sync::Arc;
use std::time::Duration;

use domain::{Action, Outcome};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::end::{Cause, conclude};
use super::host::{Done, Hosts};
use super::life::{Life, RETRY};
use super::native::{self, Lines, NativeContext};
use super::pausing::Pausing;
use super::{Parts, plan};
use crate::clock;
use crate::executor::{ContainerId, Error, Exit};
use crate::faults::{self, Point};

/// Between two looks at the spool: none while there is more, short after output, longer while there is none.
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(160);

/// What goes on beside the container.
struct Watch {
    /// Why this node ends it, if it does.
    cause: Option<Cause>,
    /// Until when init may take; then the executor ends it.
    patience: Instant,
    pause: Duration,
    hosts: Hosts,
    /// The executor's end of it, in a task of its own: it may hang.
    stops: JoinSet<Result<(), Error>>,
    pausing: Pausing,
}

impl Life {
    /// Until the container has ended and all it wrote is in the log.
    pub(super) async fn follow(&mut self, id: &ContainerId, still: bool) -> (Outcome, String) {
        let parts = Arc::clone(&self.parts);
        let mut ended = Box::pin(wait(&parts, id));
        let mut watch = Watch {
            cause: None,
            patience: self.patience(),
            pause: Duration::ZERO,
            hosts: Hosts::default(),
            stops: JoinSet::new(),
            pausing: Pausing::of(still, self.note),
        };
        self.tap.stands_still(still.then(clock::now));
        let exit = loop {
            self.look(&mut watch).await;
            let killed = matches!(watch.cause, Some(Cause::Killed));
            // What is to be killed must not wake for that: its attempt may be over, and its next one under way.
            if !killed {
                self.pause_or_resume(id, &mut watch.pausing, watch.cause.is_some()).await;
            }
            // In this order, and after every look: a job that writes without end is ended like any other.
            tokio::select! {
                biased;
                () = self.task.kill.cancelled(), if !killed => {
                    watch.cause = Some(Cause::Killed);
                    watch.hosts.abort();
                    // Here and not only below: an engine that hangs with an earlier stop must not keep it alive.
                    self.tell("kill");
                    watch.patience = Instant::now();
                }
                () = self.task.cancel.cancelled(), if watch.cause.is_none() => {
                    watch.cause = Some(Cause::Cancelled);
                    watch.hosts.abort();
                    watch.patience = self.ask_to_end();
                }
                exit = &mut ended => break exit,
                Some((step, done)) = watch.hosts.next() => self.answer(step, done).await,
                Some(done) = watch.stops.join_next() => {
                    if !matches!(done, Ok(Ok(()))) {
                        tracing::error!(attempt = %self.task.attempt, ?done, "a container cannot be stopped");
                    }
                    watch.patience = Instant::now() + RETRY;
                }
                // Looked at above.
                Ok(()) = self.task.paused.changed() => {}
                Some(answer) = watch.pausing.answered() => {
                    let stood = self.paused_or_resumed(&mut watch.pausing, answer).await;
                    // One that is to end has its own time for that.
                    watch.patience += if watch.cause.is_none() { stood } else { Duration::ZERO };
                }
                () = tokio::time::sleep_until(watch.patience),
                    if watch.stops.is_empty() && (watch.cause.is_some() || !watch.pausing.is_still()) => {
                    watch.cause.get_or_insert(Cause::Overdue);
                    self.tell("kill");
                    let (parts, id, still) = (Arc::clone(&parts), id.clone(), watch.pausing.is_still());
                    watch.stops.spawn(async move {
                        if killed && still {
                            return parts.executor.remove(&id).await;
                        }
                        parts.executor.stop(&id, Duration::ZERO).await
                    });
                }
                () = rest(watch.pause) => {}
            }
        };
        faults::at(Point::Exited).await;
        watch.hosts.over().await;
        if !matches!(exit, Ok(_) | Err(Error::Gone(_))) {
            // The executor did not say that it has ended.
            parts.end_container(self.task.attempt, self.task.fence).await;
        }
        if let Err(cause) = self.drain().await {
            watch.cause.get_or_insert(cause);
        }
        conclude(watch.cause, self.tap.course.end.take(), &exit, self.asked(), self.given.resources)
    }

    /// Copies what is new in the spool, and begins or ends what the node does for it.
    async fn look(&mut self, watch: &mut Watch) {
        let more = self.tap.pump().await.unwrap_or_else(|error| {
            if matches!(watch.cause, None | Some(Cause::Cancelled)) {
                watch.cause = Some(Cause::of(error));
                watch.patience = Instant::now();
            }
            false
        });
        watch.pause = if more { Duration::ZERO } else { (watch.pause * 2).clamp(LOOK_MIN, LOOK_MAX) };
        if watch.hosts.under_way().is_some_and(|step| self.tap.course.is_over(step)) {
            watch.hosts.abort();
        }
        // Only when all is read: what an earlier life answered may stand behind what it was asked.
        let wanted = self.tap.course.host.filter(|_| !more && watch.cause.is_none());
        if let Some(step) = wanted.filter(|step| watch.hosts.ready_for(*step)) {
            self.host(step, &mut watch.hosts);
        }
    }

    /// Until when init may take, by the job's own limit; it keeps that itself, so this is for an init that hangs. Counted anew by
    /// each life of the node: how long the job has run already only the wall clocks of two moments could tell.
    fn patience(&self) -> Instant {
        Instant::now() + plan::longest(&self.given.spec, self.parts.options.grace)
    }

    /// Asks init to end; until when it may take.
    fn ask_to_end(&self) -> Instant {
        let told = self.tell("cancel");
        let may_take = if told { plan::winding_up(self.parts.options.grace) } else { Duration::ZERO };
        Instant::now() + may_take
    }

    fn host(&self, step: u16, hosts: &mut Hosts) {
        let action = self.given.spec.steps.get(usize::from(step)).map(|step| step.action.clone());
        let (parts, task, given) = (Arc::clone(&self.parts), &self.task, &self.given);
        let (attempt, fence, event) = (task.attempt, task.fence, Arc::clone(&given.event));
        let (repo, directories) = (given.repo.clone(), self.directories.clone());
        hosts.begin(step, |writing| async move {
            // Nobody reads what it says yet.
            let (lines, _unread) = tokio::sync::mpsc::channel(1);
            let context = NativeContext {
                parts,
                attempt,
                fence,
                repo,
                event,
                directories,
                order: u32::from(step),
                succeeding: true,
                env: Vec::new(),
                uploaded: Vec::new(),
                lines: Lines(lines),
                writing,
            };
            match action {
                Some(Action::Native { what, with }) => {
                    native::run(&context, what, &with.into_iter().collect()).await.map(drop)
                }
                _ => Err("this step is not the node's to do".to_owned()),
            }
        });
    }

    /// Tells init how its step went.
    async fn answer(&mut self, step: u16, done: Done) {
        if let Err(why) = &done {
            self.tap.say(step, why).await;
        }
        self.tell(&format!("host {step} {}", u8::from(done.is_err())));
    }
}

/// At once when there is nothing to rest.
async fn rest(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
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
