//! The ways in for what a bench submits: the HTTP API, or the cluster's links as a node that forwards uses them.
//!
//! Must not know clients, stages or figures.

use std::path::PathBuf;
use std::time::Duration;

use domain::{Command, NewRun, Reply, RunId};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::{Client, Failure};
use super::work::Keyed;
use crate::api::dto::RunMade;
use crate::api::{Code, Problem};

/// What a refused client waits when it is not told how long.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a proposal may wait for a leader.
const PATIENCE: Duration = Duration::from_secs(10);
/// The bound of the queue is the nodes' to choose, and not what is measured over links.
const MAX_OPEN_JOBS: u32 = 10_000_000;

/// Options for the cluster's links.
#[derive(Debug, Clone, clap::Args)]
pub struct Links {
    /// Cluster ports of nodes, divided by commas: submits go over the cluster's links, as from a node that forwards.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    pub nodes: Vec<String>,
    /// The cluster's CA.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// A certificate of that CA, of a name that no node has: `troupe ca issue bench`.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

impl Links {
    /// Opens them.
    ///
    /// # Errors
    /// [`Failure`] for certificates that cannot be used.
    pub fn open(&self) -> Result<raft_store::Client, Failure> {
        let (ca, cert, key) = (self.ca.clone(), self.cert.clone(), self.key.clone());
        let identity = links::Identity::load(links::Files { ca, cert, key })?;
        let dialer = links::Dialer::new(identity);
        let options = raft_store::ClientOptions {
            transport: std::sync::Arc::new(dialer),
            nodes: self.nodes.clone(),
            propose: PATIENCE,
        };
        Ok(raft_store::Client::open(options))
    }
}

/// A way in.
#[derive(Debug, Clone)]
pub enum Door {
    /// The API: each client has a connection of its own.
    Http(Client),
    /// Links: all clients share them, and their batches.
    Links(raft_store::Client),
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

impl Door {
    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Links(_) => "links",
        }
    }

    /// The door for one client, the `index`th.
    #[must_use]
    pub fn only(&self, index: usize) -> Self {
        match self {
            Self::Http(client) => Self::Http(client.only(index)),
            Self::Links(client) => Self::Links(client.clone()),
        }
    }

    /// Opens the connection: opening it is no part of a submit.
    ///
    /// # Errors
    /// [`Failure`] when the node, or a leader, cannot be reached.
    pub async fn greet(&self) -> Result<(), Failure> {
        match self {
            Self::Http(client) => client.send(Method::GET, "/healthz", |request| request).await.map(drop),
            Self::Links(client) => {
                let mut leadership = client.leadership();
                let led = leadership.wait_for(|known| known.leader.is_some());
                match tokio::time::timeout(PATIENCE, led).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(_)) | Err(_) => Err(Failure::Problem(Problem::new(
                        Code::Unavailable,
                        "none of --nodes said who leads",
                    ))),
                }
            }
        }
    }

    /// One submit.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn submit(&self, keyed: &Keyed) -> Result<RunId, Refused> {
        match self {
            Self::Http(client) => over_http(client, keyed).await,
            Self::Links(client) => over_links(client, keyed).await,
        }
    }

    /// Cancels a run.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn cancel(&self, run: RunId) -> Result<(), Failure> {
        match self {
            Self::Http(client) => {
                client.call(Method::POST, &format!("/v1/runs/{run}/cancel"), &json!({})).await.map(drop)
            }
            Self::Links(client) => {
                let committed = client
                    .propose(Command::CancelRun { run, force: false })
                    .await
                    .map_err(|e| Failure::Problem(e.into()))?;
                committed.accepted().map(drop).map_err(|refusal| Failure::Problem(refusal.into()))
            }
        }
    }

    /// The failure that a refusal is for whoever cannot go on.
    #[must_use]
    pub fn failure(&self, refused: Refused) -> Failure {
        match self {
            Self::Http(client) => client.bad(refused.what),
            Self::Links(_) => Failure::Problem(Problem::new(Code::OutcomeUnknown, refused.what)),
        }
    }
}

async fn over_links(client: &raft_store::Client, keyed: &Keyed) -> Result<RunId, Refused> {
    let run = NewRun { id: RunId::from_parts(crate::api::now(), rand::random()), ..(*keyed.run).clone() };
    let command = Command::SubmitRun {
        digest: Sha256::digest(keyed.body.as_bytes()).into(),
        key: keyed.key.clone(),
        sender: "bench".to_owned(),
        run,
        max_open_jobs: MAX_OPEN_JOBS,
    };
    let refused = |what: String, unsure, wait| Refused { what, unsure, wait };
    match client.propose(command).await {
        Ok(committed) => match committed.reply {
            Reply::Run { id, .. } => Ok(id),
            Reply::Refused(refusal) => Err(refused(refusal.to_string(), false, PAUSE)),
            _ => Err(refused("an answer that makes no sense".to_owned(), true, PAUSE)),
        },
        // It has waited for a leader as long as it could.
        Err(error) => {
            let unsure = error == raft_store::ProposeError::Unknown;
            Err(refused(error.to_string(), unsure, Duration::ZERO))
        }
    }
}

async fn over_http(client: &Client, keyed: &Keyed) -> Result<RunId, Refused> {
    let no_answer = |failure: &Failure| {
        let what = match failure {
            Failure::Unreachable { .. } | Failure::Broken { .. } => "no answer",
            _ => "an answer that makes no sense",
        };
        Refused { what: what.to_owned(), unsure: true, wait: PAUSE }
    };
    let with = |request: RequestBuilder| {
        request.header(header::CONTENT_TYPE, "application/json").body(keyed.body.to_string())
    };
    let response =
        client.try_once("/v1/runs", &keyed.key, with).await.map_err(|failure| no_answer(&failure))?;
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
