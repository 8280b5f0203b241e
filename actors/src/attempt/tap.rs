//! The log of a running attempt, drawn from its init's spool, and the course that it tells.

use std::path::Path;
use std::sync::Arc;

use domain::{AttemptId, Outcome, StepResult, Timestamp};
use tokio::sync::watch;

use super::course::Course;
use crate::clock;
use crate::logs::{Error, LogStore, SpoolCopier};
use crate::runner::work::Told;

/// The one writer of an attempt's log, with what was read so far. Followers of the log end when it is dropped.
pub(super) struct Tap {
    attempt: AttemptId,
    logs: LogStore,
    // None only while a blocking call has it, or after one panicked.
    copier: Option<Box<SpoolCopier>>,
    progress: watch::Sender<Told>,
    pub(super) course: Course,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.logs.end(self.attempt);
    }
}

impl Tap {
    /// Goes on where the log stands; what an earlier life of this node copied is part of the course.
    pub(super) async fn open(
        logs: &LogStore,
        attempt: AttemptId,
        spool: &Path,
        steps: usize,
        progress: watch::Sender<Told>,
    ) -> Result<Self, Error> {
        let (store, spool) = (logs.clone(), spool.to_owned());
        let (copier, course) = blocking(move || {
            let mut course = Course::new(steps);
            let copier = store.copier(attempt, &spool, steps, &mut |frame| course.take(frame))?;
            Ok((copier, course))
        })
        .await?;
        progress.send_replace(course.told.clone());
        Ok(Self { attempt, logs: logs.clone(), copier: Some(Box::new(copier)), progress, course })
    }

    /// Copies what is new, up to a MiB; false when there was nothing.
    pub(super) async fn pump(&mut self) -> Result<bool, Error> {
        let pumped = self.with(|copier| copier.pump()).await?;
        for frame in &pumped.events {
            self.course.take(frame);
        }
        let told = &self.course.told;
        self.progress.send_if_modified(|last| {
            let news = last != told;
            if news {
                last.clone_from(told);
            }
            news
        });
        Ok(pumped.progressed)
    }

    /// It stands still since then, or runs.
    pub(super) fn stands_still(&mut self, since: Option<Timestamp>) {
        self.course.told.paused = Some(since);
        self.progress.send_replace(self.course.told.clone());
    }

    /// Adds words of the node, for whoever reads the log.
    pub(super) async fn say(&mut self, step: u16, words: &str) {
        let line: Arc<str> = format!("troupe: {words}\n").into();
        if let Err(error) = self.with(move |copier| copier.say(clock::now(), step, &line)).await {
            tracing::warn!(attempt = %self.attempt, %error, "cannot write into the log of an attempt");
        }
    }

    /// Copies the rest, puts it on disk, and ends the log: the steps and the bytes of output.
    pub(super) async fn close(mut self, outcome: Outcome) -> (Vec<StepResult>, u64) {
        if let Err(error) = self.with(SpoolCopier::sync).await {
            tracing::warn!(attempt = %self.attempt, %error, "the log of an attempt may not survive a power failure");
        }
        let bytes = self.copier.as_ref().map_or(0, |copier| copier.output_bytes());
        (std::mem::take(&mut self.course).closed(outcome, clock::now()), bytes)
    }

    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut SpoolCopier) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(mut copier) = self.copier.take() else {
            return Err(panicked("an earlier write panicked"));
        };
        let (copier, done) = blocking(move || {
            let done = work(&mut copier);
            Ok((copier, done))
        })
        .await?;
        self.copier = Some(copier);
        done
    }
}

fn panicked(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Io { path: "log".into(), action: "write", source: std::io::Error::other(why) }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|join| Err(panicked(join)))
}
