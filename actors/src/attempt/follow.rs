//! From a container that runs to one that has ended, with all that it wrote in the log.

use std::sync::Arc;
use std::time::Duration;

use domain::Outcome;
use init::wire;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use workflow::steps::{Order, What};

use super::end::{Cause, conclude};
use super::hashes::Hashing;
use super::host::{Done, Hosts};
use super::lead::{Did, Noted};
use super::life::{Life, RETRY, lease_of};
use super::native::{self, Line, Lines, NativeContext};
use super::pausing::Pausing;
use super::{Parts, plan};
use crate::clock;
use crate::executor::{ContainerId, Error, Exit, Part};
use crate::faults::{self, Point};
use crate::logs::Stream;

/// Between two looks at the spool: none while there is more, short after output, longer while there is none.
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(160);

/// What goes on beside the container.
struct Watch {
    /// Rung by init when it says more than output; none where it cannot be heard, and looks have to do.
    bell: Option<pipe::Receiver>,
    /// It was rung since the last look.
    rang: bool,
    /// It was rung for nothing: the job can do that without end, so it is heard again when there was something to read.
    deaf: bool,
    /// What the node's own part of a step says.
    lines: (mpsc::Sender<Line>, mpsc::Receiver<Line>),
    /// Why this node ends it, if it does.
    cause: Option<Cause>,
    /// Until when init may take; then the executor ends it.
    patience: Instant,
    pause: Duration,
    hosts: Hosts,
    hashing: Hashing,
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
            bell: self.directories.bell().ok(),
            rang: false,
            deaf: false,
            lines: mpsc::channel(64),
            cause: None,
            patience: self.patience(),
            pause: Duration::ZERO,
            hosts: Hosts::default(),
            hashing: Hashing::default(),
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
                    watch.gives_up();
                    // Here and not only below: an engine that hangs with an earlier stop must not keep it alive.
                    self.tell("kill");
                    watch.patience = Instant::now();
                }
                () = self.task.cancel.cancelled(), if watch.cause.is_none() => {
                    watch.cause = Some(Cause::Cancelled);
                    watch.gives_up();
                    watch.patience = self.ask_to_end();
                }
                exit = &mut ended => break exit,
                Some((order, done)) = watch.hosts.next() => {
                    while let Ok((stream, bytes)) = watch.lines.1.try_recv() {
                        self.output(&mut watch, stream, bytes).await;
                    }
                    self.answer(&mut watch, order, done).await;
                }
                Some((patterns, hash)) = watch.hashing.next() => {
                    if let Err(error) = self.tap.note(Noted::Hash(patterns, hash)).await {
                        watch.breaks(Cause::of(error));
                    }
                }
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
                Some((stream, bytes)) = watch.lines.1.recv() => self.output(&mut watch, stream, bytes).await,
                () = rung(&mut watch.bell), if !watch.deaf => watch.rang = true,
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
        conclude(watch.cause, self.said(), &exit, self.asked(), self.given.resources)
    }

    /// Copies what is new in the spool, gives init what comes next, and begins or ends what the node does itself.
    async fn look(&mut self, watch: &mut Watch) {
        let more = self.tap.pump().await.unwrap_or_else(|error| {
            watch.breaks(Cause::of(error));
            false
        });
        watch.pause = if more { Duration::ZERO } else { (watch.pause * 2).clamp(LOOK_MIN, LOOK_MAX) };
        watch.deaf = !more && (watch.deaf || watch.rang);
        watch.rang = false;
        if more {
            return;
        }
        // Only when all is read: what an earlier life ordered may stand behind what it was told.
        if let Some((number, order)) = self.tap.give()
            && let Err(cause) = self.order(number, order).await
        {
            watch.breaks(cause);
        }
        if watch.hashing.is_idle()
            && let Some(patterns) = self.tap.asked()
            && self.may_go_on(watch.cause.as_ref())
        {
            watch.hashing.begin(self.directories.workspace.clone(), patterns);
        }
        let (wanted, answered) = match self.tap.wanted() {
            Some((order, answered)) => (Some(order.clone()), answered),
            None => (None, None),
        };
        let number = wanted.as_ref().map(|order| order.number);
        if watch.hosts.under_way().is_some_and(|order| number != Some(order)) {
            watch.hosts.abort();
        }
        match (wanted, answered) {
            (Some(_), Some((number, code))) if watch.hosts.ready_for(number) => {
                watch.hosts.skip(number);
                self.tell(&format!("host {number} {code}"));
            }
            // What is to run after a cancel is ordered knowing of it.
            (Some(order), None)
                if matches!(watch.cause, None | Some(Cause::Cancelled))
                    && watch.hosts.ready_for(order.number) =>
            {
                self.host(order, watch);
            }
            _ => {}
        }
    }

    /// Something may be done for its steps: what is to run after a cancel is asked for knowing of it.
    fn may_go_on(&self, cause: Option<&Cause>) -> bool {
        match cause {
            None => true,
            Some(Cause::Cancelled) => self.tap.is_stopping(),
            Some(_) => false,
        }
    }

    /// Gives init an order.
    async fn order(&mut self, number: u32, order: wire::Order) -> Result<(), Cause> {
        let directories = self.directories.clone();
        let written = tokio::task::spawn_blocking(move || directories.order(number, &order)).await;
        match written.unwrap_or_else(|join| Err(std::io::Error::other(join))) {
            Ok(()) => {
                self.tell(&format!("order {number}"));
                Ok(())
            }
            Err(error) => Err(Cause::of_order(number, &error)),
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

    fn host(&self, order: Order, watch: &mut Watch) {
        let (parts, task, given) = (Arc::clone(&self.parts), &self.task, &self.given);
        let (attempt, fence, event) = (task.attempt, task.fence, Arc::clone(&given.event));
        let (repo, directories) = (given.repo.clone(), self.directories.clone());
        let (slot, lease, resources) = (task.slot, lease_of(task), given.company.resources);
        let (succeeding, uploaded) = (self.tap.is_succeeding(), self.tap.uploaded());
        let lines = Lines(watch.lines.0.clone());
        watch.hosts.begin(order.number, |writing| async move {
            let (number, what) = (order.number, order.what);
            let env = match &what {
                What::Native { env, .. } | What::Docker { env, .. } | What::Run { env, .. } => env.clone(),
            };
            let context = NativeContext {
                parts,
                attempt,
                fence,
                slot,
                lease,
                resources,
                repo,
                event,
                directories,
                order: number,
                succeeding,
                env,
                uploaded,
                lines,
                writing,
            };
            match what {
                What::Native { what, with, post: None, .. } => {
                    native::run(&context, what, &with).await.map(Did::Native)
                }
                What::Native { what, with, post: Some(state), .. } => {
                    native::post(&context, what, &with, &state).await.map(Did::Native)
                }
                What::Docker { image, with, .. } => {
                    native::container(&context, &image, &with).await.map(Did::Docker)
                }
                What::Run { .. } => Err("this step is not the node's to do".to_owned()),
            }
        });
    }

    /// Writes down how it went, and tells init.
    async fn answer(&mut self, watch: &mut Watch, order: u32, done: Done) {
        let done = done.map_err(|why| self.tap.masked(&why));
        let container = matches!(done, Ok(Did::Docker(_)));
        if let Err(error) = self.tap.note(Noted::Answer(order, done)).await {
            watch.breaks(Cause::of(error));
            return;
        }
        if let Some((number, code)) = self.tap.wanted().and_then(|(_, answered)| answered) {
            self.tell(&format!("host {number} {code}"));
        }
        if let (true, Ok(step)) = (container, u16::try_from(order)) {
            let (parts, attempt, fence) = (Arc::clone(&self.parts), self.task.attempt, self.task.fence);
            watch.hosts.afterwards(async move {
                let removed = parts.try_to_end(attempt, fence, |part| *part == Part::Step(step)).await;
                if let Err(error) = removed {
                    tracing::warn!(%attempt, %error, "the container of a step goes with its attempt");
                }
            });
        }
    }

    async fn output(&mut self, watch: &mut Watch, stream: Stream, bytes: Vec<u8>) {
        let Some(step) = self.tap.wanted().map(|(order, _)| order.step) else { return };
        if let Err(error) = self.tap.output(step, stream, bytes).await {
            watch.breaks(Cause::of(error));
        }
    }

    /// How the job ended, as its steps say.
    pub(super) fn said(&self) -> Option<(Outcome, String)> {
        self.tap.end().map(|end| (end.outcome, self.tap.masked(&end.reason)))
    }
}

impl Watch {
    /// What goes on for a step ends, soon.
    fn gives_up(&mut self) {
        self.hosts.abort();
        self.hashing = Hashing::default();
    }

    /// It cannot go on.
    fn breaks(&mut self, cause: Cause) {
        if matches!(self.cause, None | Some(Cause::Cancelled)) {
            self.cause = Some(cause);
            self.patience = Instant::now();
        }
    }
}

/// When the bell rings; never where there is none.
async fn rung(bell: &mut Option<pipe::Receiver>) {
    let Some(heard) = bell else { return std::future::pending().await };
    let mut strokes = [0; 256];
    // Others have a hand on it, too: what cannot be read any more is not listened to.
    if heard.read(&mut strokes).await.is_err() {
        *bell = None;
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
