//! One attempt's output: read once, or followed over connections that break, so that each byte is written once.
//!
//! Must not know jobs: what comes after an attempt is another's to say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::AttemptId;
use futures::StreamExt;
use reqwest::Method;

use super::super::events::Events;
use super::super::follow::{Backoff, Follow, Patience, aloud};
use super::super::sse::Event;
use super::super::{Client, Failure, table, target};
use super::sink::Sink;
use crate::api::dto::AttemptView;

/// Reads output of attempts, and hands it on.
pub struct Reader {
    client: Client,
    sink: Box<dyn Sink>,
}

/// How one connection's stream of output ended.
enum Pass {
    /// As the server says: all is here, or the attempt goes on and the server does not.
    Ended,
    /// There is nothing of it on its node, or its node has gone.
    Nothing,
}

impl Reader {
    /// Hands output on to a sink.
    #[must_use]
    pub fn new(client: &Client, sink: Box<dyn Sink>) -> Self {
        Self { client: client.clone(), sink }
    }

    /// Ends what was written, before something else comes there.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn end(&self) -> Result<(), Failure> {
        self.sink.end()
    }

    /// Writes what there is now.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn print(&self, attempt: AttemptId, from: u64) -> Result<(), Failure> {
        let mut offset = from;
        let mut backoff = Backoff::new(Patience::default(), aloud());
        loop {
            let path = target::path(attempt, &format!("/log?from={offset}"));
            match self.client.send(Method::GET, &path, |request| request).await {
                Ok(response) => {
                    let mut stream = response.bytes_stream();
                    let failure = loop {
                        match stream.next().await {
                            None => return Ok(()),
                            Some(Err(error)) => break self.client.broken(&error),
                            Some(Ok(bytes)) => {
                                self.sink.put(attempt, offset, &bytes)?;
                                offset += bytes.len() as u64;
                                backoff.good();
                            }
                        }
                    };
                    backoff.wait(failure).await?;
                }
                // Before the first byte, whoever asks can decide better; after it, only the rest is missing.
                Err(failure) if offset == from || !failure.may_pass() => return Err(failure),
                Err(failure) => backoff.wait(failure).await?,
            }
        }
    }

    /// Writes what there is and what comes, until the attempt is finished; the answer is the attempt then.
    ///
    /// An attempt whose node is away is waited for as long as it is not finished: whether it goes on there or is lost
    /// is the cluster's to say.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn follow(&self, attempt: AttemptId, from: u64) -> Result<AttemptView, Failure> {
        let mut offset = from;
        let mut view = self.view(attempt).await?;
        let mut backoff = Backoff::new(Patience::default(), aloud());
        loop {
            let before = offset;
            // What is asked for after the attempt's end is all that there will ever be.
            let was_finished = view.outcome.is_some();
            let pass = self.pass(attempt, &mut offset).await;
            if offset > before {
                backoff.good();
            }
            let pass = match pass {
                Err(failure) if failure.is_away() => {
                    view = self.view(attempt).await?;
                    match view.outcome.as_deref() {
                        // Its node has gone for good, or does not tell.
                        Some("lost") if was_finished => Pass::Nothing,
                        Some("lost") => continue,
                        outcome => {
                            if outcome.is_none() {
                                backoff.endless();
                            }
                            backoff.wait(failure).await?;
                            continue;
                        }
                    }
                }
                pass => pass?,
            };
            if !was_finished {
                view = self.view(attempt).await?;
            }
            let whole = offset >= view.log_bytes || matches!(pass, Pass::Nothing);
            if view.outcome.is_some() && (whole || was_finished) {
                if offset < view.log_bytes {
                    let all = view.log_bytes;
                    table::say(&format!("attempt {attempt}: {} bytes of {all} cannot be had", all - offset));
                }
                return Ok(view);
            }
            if view.outcome.is_none() {
                self.changed(attempt).await?;
                view = self.view(attempt).await?;
            }
        }
    }

    async fn view(&self, attempt: AttemptId) -> Result<AttemptView, Failure> {
        let mut backoff = Backoff::new(Patience::default(), aloud());
        loop {
            match self.client.get(&target::path(attempt, "")).await {
                Err(failure) if failure.may_pass() => backoff.wait(failure).await?,
                answer => return answer,
            }
        }
    }

    /// Waits until the run changes, unless the attempt is finished by now.
    async fn changed(&self, attempt: AttemptId) -> Result<(), Failure> {
        let mut events = Events::of(&self.client, attempt.job.run, Patience::default(), aloud());
        // The first is the run as it is. Whatever comes after it was not known when the attempt was looked at below.
        let run = events.next().await?;
        if run.outcome.is_none() && self.view(attempt).await?.outcome.is_none() {
            events.next().await?;
        }
        Ok(())
    }

    /// Writes what one stream brings.
    async fn pass(&self, attempt: AttemptId, offset: &mut u64) -> Result<Pass, Failure> {
        let path = target::path(attempt, &format!("/log?follow=true&from={offset}"));
        let mut follow = Follow::new(&self.client, path, Patience::default(), aloud()).away_is_final();
        if *offset > 0 {
            follow = follow.after(*offset);
        }
        loop {
            let event = match follow.next().await {
                Ok(event) => event,
                Err(failure) if failure.is_absent() => return Ok(Pass::Nothing),
                Err(failure) => return Err(failure),
            };
            match event.kind.as_str() {
                "end" => return Ok(Pass::Ended),
                "output" => {
                    let (begin, bytes) = self.piece(&event)?;
                    if begin > *offset {
                        let why = format!("bytes {offset} to {begin} are missing");
                        return Err(self.client.bad(why));
                    }
                    // A piece may begin before what was asked for.
                    let known = ((*offset - begin) as usize).min(bytes.len());
                    if known < bytes.len() {
                        self.sink.put(attempt, *offset, &bytes[known..])?;
                        *offset = begin + bytes.len() as u64;
                    }
                }
                _ => {}
            }
        }
    }

    /// An event's bytes and where they begin: its id is where the next ones do.
    fn piece(&self, event: &Event) -> Result<(u64, Vec<u8>), Failure> {
        let bytes = STANDARD.decode(&event.data).map_err(|error| self.client.bad(error.to_string()))?;
        let next = event.id.as_deref().and_then(|id| id.parse::<u64>().ok());
        let begin = next.and_then(|next| next.checked_sub(bytes.len() as u64));
        let begin = begin.ok_or_else(|| self.client.bad(format!("output with the id {:?}", event.id)))?;
        Ok((begin, bytes))
    }
}
