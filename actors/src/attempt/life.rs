//! From a task to its end: begin ([`super::begin`]), follow ([`super::follow`]), keep what is to be kept.

use std::sync::Arc;
use std::time::Duration;

use domain::{Artifact, Outcome};

use super::begin::NoStart;
use super::control::Directories;
use super::end::{Cause, conclude};
use super::given::Given;
use super::hashes::Hashing;
use super::lead::{Lead, Noted};
use super::pausing::Note;
use super::permit::Permits;
use super::tap::{Left, Tap};
use super::{Parts, plan, variables};
use crate::artifacts;
use crate::artifacts::named::SUMMARY;
use crate::executor::{Error, Lease};
use crate::faults::{self, Point};
use crate::logs;
use crate::needs;
use crate::runner::environment::WORKSPACE;
use crate::runner::work::{Finished, Task};

/// Between two tries when the executor does not answer.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// One attempt on its way.
pub(super) struct Life {
    pub(super) parts: Arc<Parts>,
    pub(super) task: Task,
    pub(super) given: Given,
    pub(super) directories: Directories,
    pub(super) tap: Tap,
    pub(super) permits: Permits,
    /// What an earlier life knew of pauses.
    pub(super) note: Note,
    /// The executor was asked to start a container of it, so that there may be one whatever it answered.
    pub(super) exposed: bool,
}

/// Until when it may run.
pub(super) fn lease_of(task: &Task) -> Lease {
    Lease { until: task.lease.clone(), kill: task.kill.clone() }
}

/// Runs it. When it answers, nothing of the attempt runs any more: it may be given to another node.
pub(super) async fn run(parts: Arc<Parts>, task: Task) -> Finished {
    let (attempt, fence, adopted) = (task.attempt, task.fence, task.adopted);
    match Life::open(Arc::clone(&parts), task).await {
        Ok((life, workspace)) => life.run(workspace).await,
        Err(finished) => {
            if adopted {
                parts.end_container(attempt, fence).await;
            }
            finished
        }
    }
}

impl Life {
    /// With where the job sees its workspace.
    async fn open(parts: Arc<Parts>, task: Task) -> Result<(Self, String), Finished> {
        let attempt = task.attempt;
        let directories = Directories::of(parts.directory(attempt));
        let workspace = parts.seen(&directories.workspace, WORKSPACE);
        // What fails with this node's files is its trouble: another may do better.
        let trouble = |error: std::io::Error| {
            let why = format!("cannot make {}: {error}", directories.root.display());
            Finished::bare(Outcome::Lost, why)
        };
        let (state, own) = (parts.replica.state(), directories.clone());
        let of = state.runs.get(&attempt.job.run).and_then(|run| run.repo);
        let now = needs::variables(&state, of);
        let kept = tokio::task::spawn_blocking(move || {
            own.make()?;
            variables::kept(&own.root, now)
        });
        let kept = kept.await.unwrap_or_else(|join| Err(std::io::Error::other(join))).map_err(trouble)?;
        let given = Given::read(&parts, attempt, task.slot, (&workspace, &directories), &kept)
            .map_err(|why| Finished::bare(Outcome::Failed, why))?;
        let lead = Lead::new(given.course(&workspace));
        let (events, progress) = (plan::events(&given.spec), task.progress.clone());
        let leading = (lead, events, given.listening());
        let tap = Tap::open(&parts.logs, attempt, &directories.spool, leading, progress).await.map_err(
            |error| {
                let own = matches!(error, logs::Error::Unmasked { .. });
                Finished::bare(if own { Outcome::Failed } else { Outcome::Lost }, error.to_string())
            },
        )?;
        let of_note = directories.clone();
        let note = tokio::task::spawn_blocking(move || of_note.noted_pause()).await.unwrap_or_default();
        let permits = Permits::begin(attempt, directories.clone(), lease_of(&task), note.total);
        Ok((Self { parts, task, given, directories, tap, permits, note, exposed: false }, workspace))
    }

    async fn run(mut self, workspace: String) -> Finished {
        let (outcome, reason) = match self.begin(workspace).await {
            Ok((id, still)) => {
                faults::at(Point::Started).await;
                let end = self.follow(&id, still).await;
                if self.has_company() {
                    self.parts.end_beside(self.task.attempt, self.task.fence).await;
                }
                end
            }
            Err(NoStart::Ended(outcome, reason)) => self.unbegun(outcome, reason).await,
            Err(NoStart::Gone) => {
                self.parts.end_container(self.task.attempt, self.task.fence).await;
                let trouble = self.drain().await.err();
                self.conclude_gone(trouble)
            }
        };
        self.keep(outcome, reason).await
    }

    /// An attempt that was not seen to begin, and that may have begun all the same when a start was asked.
    async fn unbegun(&mut self, outcome: Outcome, reason: String) -> (Outcome, String) {
        if self.exposed {
            self.parts.end_container(self.task.attempt, self.task.fence).await;
            let trouble = self.drain().await.err();
            if self.tap.end().is_some() {
                let wanted = match (self.task.kill.is_cancelled(), self.task.cancel.is_cancelled()) {
                    (true, _) => Some(Cause::Killed),
                    (false, true) => Some(Cause::Cancelled),
                    (false, false) => None,
                };
                return self.conclude_gone(trouble.or(wanted));
            }
        }
        // What the engine says may quote what was computed from secrets.
        let reason = self.tap.masked(&reason);
        self.tap.say(0, &reason).await;
        (outcome, reason)
    }

    /// The end of one whose container is not there any more.
    fn conclude_gone(&mut self, cause: Option<Cause>) -> (Outcome, String) {
        let gone = Err(Error::Gone(String::new()));
        conclude(cause, self.said(), &gone, self.asked(), self.given.resources)
    }

    /// True when someone asked for its end, whether or not this node has been told.
    pub(super) fn asked(&self) -> bool {
        let state = self.parts.replica.state();
        let requested = state.jobs.get(&self.task.attempt.job).is_some_and(|job| job.cancel_requested);
        requested || self.task.cancel.is_cancelled()
    }

    /// Copies what is left in the spool, and answers what is still asked of the workspace.
    pub(super) async fn drain(&mut self) -> Result<(), Cause> {
        let mut hashing = Hashing::default();
        loop {
            if self.tap.pump().await.map_err(Cause::of)? {
                continue;
            }
            let Some(patterns) = self.tap.asked() else { return Ok(()) };
            hashing.begin(self.directories.workspace.clone(), patterns);
            let hash = tokio::select! {
                () = self.task.kill.cancelled() => None,
                hash = hashing.next() => hash,
            };
            let Some((patterns, hash)) = hash else { return Ok(()) };
            self.tap.note(Noted::Hash(patterns, hash)).await.map_err(Cause::of)?;
        }
    }

    /// Keeps artifacts and closes the log.
    async fn keep(mut self, mut outcome: Outcome, mut reason: String) -> Finished {
        let (workspace, patterns) = (self.directories.workspace.clone(), self.given.spec.artifacts.clone());
        let mut kept = Vec::new();
        if outcome != Outcome::Lost && !patterns.is_empty() && self.directories.begun() {
            let blobs = self.parts.blobs.clone();
            let room = self.parts.options.artifacts.beside(&self.tap.uploaded());
            let collected = tokio::task::spawn_blocking(move || {
                artifacts::collect(&workspace, &patterns, room, &blobs).map_err(|error| {
                    // A disk that is full, say: another node may do better.
                    let lost = matches!(error, artifacts::Error::Io { .. });
                    (if lost { Outcome::Lost } else { Outcome::Failed }, error.to_string())
                })
            });
            match collected.await.unwrap_or_else(|join| Err((Outcome::Failed, join.to_string()))) {
                Ok(artifacts) => kept = artifacts,
                Err((instead, why)) => {
                    self.tap.say(0, &why).await;
                    if outcome == Outcome::Succeeded {
                        (outcome, reason) = (instead, why);
                    }
                }
            }
        }
        kept.extend(self.tap.uploaded());
        kept.extend(self.keep_summaries().await);
        let outputs = self.tap.end().map(|end| end.outputs.clone()).unwrap_or_default();
        let Left { steps, log_bytes, annotations } = self.tap.close(outcome).await;
        Finished { outcome, reason, steps, artifacts: kept, log_bytes, outputs, annotations }
    }

    /// What steps wrote for people to read, as an artifact of its own.
    async fn keep_summaries(&mut self) -> Vec<Artifact> {
        let (summaries, blobs) = (self.tap.summaries(), self.parts.blobs.clone());
        if summaries.is_empty() {
            return Vec::new();
        }
        let texts: Vec<_> = summaries
            .into_iter()
            .map(|(step, text)| (step, self.tap.masked(&String::from_utf8_lossy(&text))))
            .collect();
        let stored = tokio::task::spawn_blocking(move || {
            let store = |(step, text): (u16, String)| {
                let (size, digest) = blobs.put(text.as_bytes())?;
                let (path, name) = (format!("step-{}.md", step + 1), SUMMARY.to_owned());
                Ok::<_, std::io::Error>(Artifact { path, name, size, digest })
            };
            texts.into_iter().map(store).collect::<Result<Vec<_>, _>>()
        });
        let stored = stored.await.unwrap_or_else(|join| Err(std::io::Error::other(join)));
        stored.unwrap_or_else(|error| {
            tracing::warn!(attempt = %self.task.attempt, %error, "summaries of steps cannot be kept");
            Vec::new()
        })
    }
}
