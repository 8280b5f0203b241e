//! Streams that outlive their connection: broken ones are taken up again where they were, for a bounded time.
//!
//! Must not know what the events mean, but for `error`, which ends every stream of this API.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::Method;

use super::sse::{Event, Parser};
use super::{Client, Failure, table};

/// Tells people what goes on.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Tells it on the standard error.
#[must_use]
pub fn aloud() -> Say {
    Arc::new(table::say)
}

/// How long to go on after failures: the first wait, which doubles up to `most`, and failures in a row at most.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
    /// Failures in a row until the last one is final.
    pub tries: u32,
}

impl Default for Patience {
    /// About half a minute in all: longer than a node takes to start again, or a cluster to elect.
    fn default() -> Self {
        Self { first: Duration::from_millis(250), most: Duration::from_secs(5), tries: 10 }
    }
}

/// Counts failures in a row, and waits after each.
pub struct Backoff {
    patience: Patience,
    failures: u32,
    said: String,
    say: Say,
}

impl Backoff {
    /// None so far.
    #[must_use]
    pub fn new(patience: Patience, say: Say) -> Self {
        Self { patience, failures: 0, said: String::new(), say }
    }

    /// Something went well.
    pub fn good(&mut self) {
        self.failures = 0;
        self.said.clear();
    }

    /// What failed so far does not count, for how long it may go on is another's to say; waits get no shorter.
    pub fn endless(&mut self) {
        self.failures = self.failures.min(self.patience.tries.saturating_sub(1));
    }

    /// Waits, and says so once for the same words.
    ///
    /// # Errors
    /// The failure itself, when it is one too many.
    pub async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        if self.failures < self.patience.tries {
            let words = format!("{failure}; trying again");
            if self.said != words {
                (self.say)(&words);
                self.said = words;
            }
        }
        self.wait_silently(failure).await
    }

    /// Waits.
    ///
    /// # Errors
    /// The failure itself, when it is one too many.
    pub async fn wait_silently(&mut self, failure: Failure) -> Result<(), Failure> {
        if self.failures >= self.patience.tries {
            return Err(failure);
        }
        let wait = self.patience.first.saturating_mul(1 << self.failures.min(20)).min(self.patience.most);
        self.failures += 1;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// A stream of events.
pub struct Follow {
    client: Client,
    path: String,
    last: Option<String>,
    open: Option<(BoxStream<'static, reqwest::Result<Bytes>>, Parser)>,
    backoff: Backoff,
    may_be_absent: bool,
    away_is_final: bool,
}

impl Follow {
    /// The stream at a path.
    #[must_use]
    pub fn new(client: &Client, path: String, patience: Patience, say: Say) -> Self {
        let backoff = Backoff::new(patience, say);
        Self {
            client: client.clone(),
            path,
            last: None,
            open: None,
            backoff,
            may_be_absent: false,
            away_is_final: false,
        }
    }

    /// Only what follows the event of this id.
    #[must_use]
    pub fn after(mut self, id: impl ToString) -> Self {
        self.last = Some(id.to_string());
        self
    }

    /// What the stream is about was made a moment ago at another node, and may not be known here yet.
    #[must_use]
    pub fn may_be_absent(mut self) -> Self {
        self.may_be_absent = true;
        self
    }

    /// A failure because what is read is away (or was cut off) is the caller's to wait for.
    #[must_use]
    pub fn away_is_final(mut self) -> Self {
        self.away_is_final = true;
        self
    }

    /// The next event, over as many connections as it takes. Never an `error`: that is a broken connection.
    ///
    /// # Errors
    /// What cannot pass, or did not within the patience.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            match self.read().await {
                Ok(event) if event.kind == "error" => {
                    let addr = self.client.addr().to_owned();
                    self.again(Failure::Broken { addr, why: event.data }).await?;
                }
                Ok(event) => {
                    self.backoff.good();
                    self.may_be_absent = false;
                    if event.id.is_some() {
                        self.last.clone_from(&event.id);
                    }
                    return Ok(event);
                }
                Err(failure) => self.again(failure).await?,
            }
        }
    }

    /// Drops the connection for a reason; the next event comes over another one.
    ///
    /// # Errors
    /// The reason itself, when it cannot pass or is one too many.
    pub async fn again(&mut self, failure: Failure) -> Result<(), Failure> {
        self.open = None;
        if failure.may_pass() {
            self.client.elsewhere();
            if self.away_is_final && failure.is_away() {
                return Err(failure);
            }
        } else if self.may_be_absent && failure.is_absent() {
            // A node that is a moment behind is nothing to tell people of.
            return self.backoff.wait_silently(failure).await;
        } else {
            return Err(failure);
        }
        self.backoff.wait(failure).await
    }

    async fn read(&mut self) -> Result<Event, Failure> {
        let (stream, parser) = match &mut self.open {
            Some(open) => open,
            None => {
                let last = self.last.as_deref();
                let with = |request: reqwest::RequestBuilder| match last {
                    Some(id) => request.header("last-event-id", id),
                    None => request,
                };
                let response = self.client.send(Method::GET, &self.path, with).await?;
                self.open.insert((response.bytes_stream().boxed(), Parser::default()))
            }
        };
        loop {
            if let Some(event) = parser.next().map_err(|error| self.client.bad(error.to_string()))? {
                return Ok(event);
            }
            match stream.next().await {
                Some(Ok(bytes)) => parser.push(&bytes),
                Some(Err(error)) => return Err(self.client.broken(&error)),
                None => {
                    let why = "the stream ended before what it tells of did".to_owned();
                    return Err(Failure::Broken { addr: self.client.addr().to_owned(), why });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::api::{Code, Problem};

    fn patience(tries: u32) -> Patience {
        Patience { first: Duration::ZERO, most: Duration::ZERO, tries }
    }

    #[tokio::test]
    async fn what_does_not_pass_in_time_is_final_and_each_reason_is_said_once() {
        let said = Arc::new(Mutex::new(0));
        let count = said.clone();
        let say: Say = Arc::new(move |_| *count.lock().unwrap() += 1);
        let mut backoff = Backoff::new(patience(3), say);
        let busy = || Failure::from(Problem::new(Code::Unavailable, "busy"));
        for _ in 0..3 {
            backoff.wait(busy()).await.unwrap();
        }
        assert!(backoff.wait(busy()).await.is_err());
        backoff.good();
        assert!(backoff.wait(busy()).await.is_ok(), "something went well in between");
        assert_eq!(*said.lock().unwrap(), 2);
        backoff.wait(Problem::new(Code::Unavailable, "no leader").into()).await.unwrap();
        assert_eq!(*said.lock().unwrap(), 3);
    }

    #[tokio::test]
    async fn only_what_may_pass_is_waited_for() {
        let client = Client::new(&["http://127.0.0.1:1".to_owned()], "").unwrap();
        let stream = || Follow::new(&client, "/v1/x".to_owned(), patience(1), Arc::new(|_| {}));
        let absent = || Failure::from(Problem::new(Code::NotFound, "no run"));
        assert!(stream().again(absent()).await.is_err());
        assert!(stream().may_be_absent().again(absent()).await.is_ok());
        assert!(stream().again(Problem::new(Code::Unauthorized, "no").into()).await.is_err());
        assert!(stream().again(Problem::new(Code::OutputUnavailable, "no").into()).await.is_ok());
        // Nobody listens on port 1: one more try, then that is the answer.
        assert!(matches!(stream().next().await, Err(Failure::Unreachable { .. })));
    }
}
