//! The log of a running attempt, drawn from its init's spool, and the course that it tells ([`Lead`]).

use std::path::Path;
use std::sync::Arc;

use domain::{Annotation, Artifact, AttemptId, Outcome, StepResult, Timestamp};
use init::wire;
use tokio::sync::watch;
use workflow::steps::{End, Note, Order};

use super::lead::{Lead, Noted};
use crate::clock;
use crate::logs::{Content, Error, Event, Listening, LogStore, SpoolCopier, Stream};
use crate::runner::work::Told;

/// The one writer of an attempt's log, with what was read so far. Followers of the log end when it is dropped.
pub(super) struct Tap {
    attempt: AttemptId,
    logs: LogStore,
    // None only while a blocking call has it, or after one panicked.
    inner: Option<Box<Inner>>,
    progress: watch::Sender<Told>,
    paused: Option<Option<Timestamp>>,
    expressions: bool,
}

/// Log and course, which go together: what is said of steps stands behind what they wrote.
struct Inner {
    copier: SpoolCopier,
    lead: Lead,
    /// What was said of steps, and stands in the log already or is put there.
    said: usize,
}

/// What an attempt leaves behind.
pub(super) struct Left {
    pub(super) steps: Vec<StepResult>,
    /// Bytes of output.
    pub(super) log_bytes: u64,
    pub(super) annotations: Vec<Annotation>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.logs.end(self.attempt);
    }
}

impl Inner {
    /// Takes events in turn, and looks after each what comes next.
    fn take(&mut self, events: Vec<Event>) -> Result<(), Error> {
        for event in events {
            // A piece of a file or a command changes nothing yet, and of what the node notes, what it is asked for does.
            let looks = match &event {
                Event::Told(frame) => !matches!(frame.kind, wire::FrameKind::File { .. }),
                Event::Noted(_) => self.lead.asked().is_some(),
                Event::Heard(_) => false,
            };
            self.lead.take(event);
            if looks {
                self.advance()?;
            }
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Error> {
        let notes = self.lead.advance();
        for (_, note) in &notes {
            if let Note::Named { step, name } = note
                && self.copier.masked(name) != *name
            {
                self.lead.unnamed(*step);
            }
        }
        let mut words = String::new();
        for (at, note) in notes {
            let (step, content) = match note {
                Note::Summary { .. } | Note::Named { .. } => continue,
                Note::Said { step, words: more } => {
                    words.extend(["troupe: ", &more, "\n"]);
                    (step, None)
                }
                Note::Started { step } => (step, Some(Content::StepStarted)),
                Note::Finished { step, exit_code, signal, outcome } => {
                    (step, Some(Content::StepFinished { exit_code, signal, outcome }))
                }
            };
            // Words go with the note behind them: where that stands in the log already, so do they.
            let Some(content) = content else { continue };
            if self.said == self.copier.notes() {
                self.copier.say(at, step, &words, Some(content))?;
            }
            self.said += 1;
            words.clear();
        }
        if !words.is_empty() {
            self.copier.say(clock::now(), 0, &words, None)?;
        }
        Ok(())
    }
}

impl Inner {
    /// What steps said of places in the sources, and where the job's environment is: that is shown to people.
    fn annotations(&self) -> Vec<Annotation> {
        let mut all = self.lead.annotations();
        all.iter_mut().for_each(|one| one.message = self.copier.masked(&one.message));
        all
    }
}

impl Tap {
    /// Goes on where the log stands; what an earlier life of this node knew is part of the course.
    pub(super) async fn open(
        logs: &LogStore,
        attempt: AttemptId,
        spool: &Path,
        (lead, events, listening): (Lead, usize, Option<Listening>),
        progress: watch::Sender<Told>,
    ) -> Result<Self, Error> {
        let (store, spool, expressions) = (logs.clone(), spool.to_owned(), listening.is_some());
        let inner = blocking(move || {
            let mut seen = Vec::new();
            let copier =
                store.copier(attempt, &spool, events, listening.as_ref(), &mut |event| seen.push(event))?;
            let mut inner = Box::new(Inner { copier, lead, said: 0 });
            inner.advance()?;
            inner.take(seen)?;
            // Later, what does not fit is only what the job itself wrote into its spool.
            match inner.lead.astray() {
                Some(why) => Err(panicked(why.to_owned())),
                None => Ok(inner),
            }
        })
        .await?;
        progress.send_replace(inner.lead.told.clone());
        let paused = inner.lead.told.paused;
        Ok(Self { attempt, logs: logs.clone(), inner: Some(inner), progress, paused, expressions })
    }

    /// Copies what is new, up to a MiB; false when there was nothing.
    pub(super) async fn pump(&mut self) -> Result<bool, Error> {
        let progressed = self
            .with(|inner| {
                let pumped = inner.copier.pump()?;
                inner.take(pumped.events)?;
                Ok(pumped.progressed)
            })
            .await?;
        self.tell();
        Ok(progressed)
    }

    fn tell(&mut self) {
        let Some(inner) = &mut self.inner else { return };
        inner.lead.told.paused = self.paused;
        let told = &inner.lead.told;
        self.progress.send_if_modified(|last| {
            let news = last != told;
            if news {
                last.clone_from(told);
            }
            news
        });
    }

    /// It stands still since then, or runs.
    pub(super) fn stands_still(&mut self, since: Option<Timestamp>) {
        self.paused = Some(since);
        self.tell();
    }

    /// What init is to be given, once.
    pub(super) fn give(&mut self) -> Option<(u32, wire::Order)> {
        let expressions = self.expressions;
        self.inner.as_mut()?.lead.give(expressions)
    }

    /// What the node is to do itself, and how that went once it is known.
    pub(super) fn wanted(&self) -> Option<(&Order, Option<(u32, i32)>)> {
        let lead = &self.inner.as_ref()?.lead;
        Some((lead.wanted()?, lead.answered()))
    }

    /// What `hashFiles` is asked before anything goes on, if it is.
    pub(super) fn asked(&self) -> Option<Vec<String>> {
        self.inner.as_ref()?.lead.asked().map(<[String]>::to_vec)
    }

    /// The job is cancelled, or out of time, and what comes next knows it.
    pub(super) fn is_stopping(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.lead.is_stopping())
    }

    /// Nothing of the job has failed so far.
    pub(super) fn is_succeeding(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.lead.is_succeeding())
    }

    /// How the job ended, when all its steps are over.
    pub(super) fn end(&self) -> Option<&End> {
        self.inner.as_ref()?.lead.end.as_ref()
    }

    /// What actions uploaded so far.
    pub(super) fn uploaded(&self) -> Vec<Artifact> {
        self.inner.as_ref().map(|inner| inner.lead.uploaded.clone()).unwrap_or_default()
    }

    /// What steps wrote for people to read.
    pub(super) fn summaries(&mut self) -> Vec<(u16, Vec<u8>)> {
        self.inner.as_mut().map(|inner| std::mem::take(&mut inner.lead.summaries)).unwrap_or_default()
    }

    /// Writes down what the node did, for this life and a later one.
    pub(super) async fn note(&mut self, noted: Noted) -> Result<(), Error> {
        self.with(move |inner| {
            let bytes = noted.encode();
            inner.copier.keep(bytes.clone())?;
            inner.take(vec![Event::Noted(bytes)])
        })
        .await
    }

    /// Adds words of the node, for whoever reads the log.
    pub(super) async fn say(&mut self, step: u16, words: &str) {
        let line: Arc<str> = format!("troupe: {words}\n").into();
        if let Err(error) = self.with(move |inner| inner.copier.say(clock::now(), step, &line, None)).await {
            tracing::warn!(attempt = %self.attempt, %error, "cannot write into the log of an attempt");
        }
    }

    /// Adds output of what the node does itself for a step.
    pub(super) async fn output(&mut self, step: u16, stream: Stream, bytes: Vec<u8>) -> Result<(), Error> {
        self.with(move |inner| {
            let heard = inner.copier.output(clock::now(), step, stream, bytes)?;
            inner.take(heard)
        })
        .await
    }

    /// Words without secrets.
    pub(super) fn masked(&self, words: &str) -> String {
        self.inner.as_ref().map_or_else(|| words.to_owned(), |inner| inner.copier.masked(words))
    }

    /// Copies the rest, puts it on disk, and ends the log.
    pub(super) async fn close(mut self, outcome: Outcome) -> Left {
        if let Err(error) = self.with(|inner| inner.copier.sync()).await {
            tracing::warn!(attempt = %self.attempt, %error, "the log of an attempt may not survive a power failure");
        }
        let Some(mut inner) = self.inner.take() else {
            return Left { steps: Vec::new(), log_bytes: 0, annotations: Vec::new() };
        };
        Left {
            steps: inner.lead.closed(outcome, clock::now()),
            log_bytes: inner.copier.output_bytes(),
            annotations: inner.annotations(),
        }
    }

    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(mut inner) = self.inner.take() else {
            return Err(panicked("an earlier write panicked"));
        };
        let (inner, done) = blocking(move || {
            let done = work(&mut inner);
            Ok((inner, done))
        })
        .await?;
        self.inner = Some(inner);
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
