//! One stage of submits: so many clients, each sending the next as soon as the one before is answered.
//!
//! The jobs ask for a label that no node has, so that only their durable acceptance is measured. What was or may have
//! been accepted is given back, for whoever withdraws it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::RunId;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::{Client, Failure};
use super::figures::Latencies;
use crate::api::dto::{RunMade, Submit};
use crate::api::{Code, Problem};

/// What a refused client waits when it is not told how long.
const PAUSE: Duration = Duration::from_secs(1);

/// What is submitted.
#[derive(Debug, Clone)]
pub struct Work {
    body: Arc<str>,
    /// Begins every key, so that no key is used twice, in this run or another.
    prefix: Arc<str>,
}

/// A submit with its key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Its key.
    pub key: String,
    body: Arc<str>,
}

impl Keyed {
    /// The same request with every call: the key makes it one run.
    ///
    /// # Errors
    /// [`Failure::Unreachable`].
    pub async fn send(&self, client: &Client) -> Result<Response, Failure> {
        let with = |request: RequestBuilder| {
            request.header(header::CONTENT_TYPE, "application/json").body(self.body.to_string())
        };
        client.try_once("/v1/runs", &self.key, with).await
    }
}

impl Work {
    /// A job of which nothing but its label is unlike any other small one.
    ///
    /// # Errors
    /// [`Failure::Output`] never in practice: a job that is no JSON.
    pub fn new() -> Result<Self, Failure> {
        let prefix = format!("bench-{:016x}", rand::random::<u64>());
        let job = Submit {
            name: "troupe bench submit".to_owned(),
            image: String::new(),
            script: "true".to_owned(),
            env: BTreeMap::new(),
            labels: vec![format!("{prefix}-nowhere")],
            cpu_millis: 1000,
            memory_mib: 512,
            priority: 0,
            timeout_seconds: 60,
            artifacts: Vec::new(),
        };
        let body = serde_json::to_string(&job).map_err(std::io::Error::from)?;
        Ok(Self { body: body.into(), prefix: prefix.into() })
    }

    fn keyed(&self, stage: usize, number: usize) -> Keyed {
        Keyed { key: format!("{}-{stage}-{number}", self.prefix), body: self.body.clone() }
    }
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// Which one; part of the keys.
    pub number: usize,
    /// Clients at one time.
    pub clients: usize,
    /// Nothing is begun after so long.
    pub length: Duration,
    /// Submits at most.
    pub most: usize,
}

/// What came of a stage.
#[derive(Debug, Default)]
pub struct Done {
    /// From the first submit until the last answer.
    pub elapsed: Duration,
    /// Of accepted submits, from sending until the whole answer is there.
    pub latencies: Latencies,
    /// What was accepted.
    pub accepted: Vec<RunId>,
    /// What may have been accepted.
    pub unsure: Vec<Keyed>,
    /// How many were not, by status and code.
    pub errors: BTreeMap<String, usize>,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.accepted.extend(other.accepted);
        self.unsure.extend(other.unsure);
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }
}

/// Runs a stage to its end, or to the end of what is under way when told to `stop`.
///
/// # Errors
/// [`Failure`] when a client cannot reach its node to begin with.
pub async fn run(
    client: &Client,
    work: &Work,
    stage: Stage,
    stop: &CancellationToken,
) -> Result<Done, Failure> {
    connect(client, stage.clients).await?;
    let (begun, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for index in 0..stage.clients {
        let one = One {
            client: client.only(index),
            work: work.clone(),
            stage,
            until: begun + stage.length,
            next: next.clone(),
            stop: stop.clone(),
            done: Done::default(),
        };
        clients.spawn(one.run());
    }
    let mut all = Done::default();
    while let Some(done) = clients.join_next().await {
        all.add(done.map_err(std::io::Error::other)?);
    }
    all.elapsed = begun.elapsed();
    Ok(all)
}

/// Opens the connections: opening them is no part of a submit.
async fn connect(client: &Client, clients: usize) -> Result<(), Failure> {
    let mut greetings = JoinSet::new();
    for index in 0..clients {
        let client = client.only(index);
        greetings
            .spawn(async move { client.send(Method::GET, "/healthz", |request| request).await.map(drop) });
    }
    while let Some(greeted) = greetings.join_next().await {
        greeted.map_err(std::io::Error::other)??;
    }
    Ok(())
}

/// One client.
struct One {
    client: Client,
    work: Work,
    stage: Stage,
    until: Instant,
    next: Arc<AtomicUsize>,
    stop: CancellationToken,
    done: Done,
}

impl One {
    async fn run(mut self) -> Done {
        while Instant::now() < self.until && !self.stop.is_cancelled() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.stage.most {
                break;
            }
            let keyed = self.work.keyed(self.stage.number, number);
            let since = Instant::now();
            match submit(&self.client, &keyed).await {
                Ok(run) => {
                    self.done.latencies.push(since.elapsed());
                    self.done.accepted.push(run);
                }
                Err(refused) => self.refused(keyed, refused).await,
            }
        }
        self.done
    }

    /// Counts it and waits as long as the node asks, but not past the end of the stage.
    async fn refused(&mut self, keyed: Keyed, refused: Refused) {
        *self.done.errors.entry(refused.what).or_default() += 1;
        if refused.unsure {
            self.done.unsure.push(keyed);
        }
        let until = (Instant::now() + refused.wait).min(self.until);
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Why there is no run.
#[derive(Debug)]
pub struct Refused {
    /// Status and code, or that there was no answer.
    pub what: String,
    /// There may be a run all the same.
    pub unsure: bool,
    /// How long to wait before the next.
    pub wait: Duration,
}

/// One submit.
///
/// # Errors
/// [`Refused`].
pub async fn submit(client: &Client, keyed: &Keyed) -> Result<RunId, Refused> {
    let no_answer = |failure: &Failure| {
        let what = match failure {
            Failure::Unreachable { .. } | Failure::Broken { .. } => "no answer",
            _ => "an answer that makes no sense",
        };
        Refused { what: what.to_owned(), unsure: true, wait: PAUSE }
    };
    let response = keyed.send(client).await.map_err(|failure| no_answer(&failure))?;
    let status = response.status();
    if !status.is_success() {
        return Err(refusal(status, response).await);
    }
    let made: RunMade = client.read(response).await.map_err(|failure| no_answer(&failure))?;
    made.id.parse().map_err(|_| no_answer(&client.bad(made.id)))
}

async fn refusal(status: StatusCode, response: Response) -> Refused {
    let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let wait = after.and_then(|text| text.parse().ok()).map_or(PAUSE, Duration::from_secs);
    let code = response.json::<Problem>().await.ok().map(|problem| problem.code);
    let name = code.and_then(|code| Some(serde_json::to_value(code).ok()?.as_str()?.to_owned()));
    let what = format!("{} {}", status.as_u16(), name.as_deref().unwrap_or("without a code"));
    // Everything else that has a code says that nothing was changed.
    Refused { what, unsure: matches!(code, None | Some(Code::OutcomeUnknown | Code::Internal)), wait }
}
