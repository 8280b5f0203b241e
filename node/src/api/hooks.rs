//! Webhooks: the signature is checked over the raw bytes, then the delivery is committed, then 202.
//!
//! Must not know how forges spell their events (forge/).

use std::sync::Arc;

use actors::vault::Purpose;
use domain::{Command, Reply, RepoId, RepoName};
use forge::{Delivery, Received, Rejected};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use warp::http::{HeaderMap, StatusCode};

use super::dto::Accepted;
use super::problem::{Code, Problem};
use super::request::Request;
use super::routes::Api;
use super::{Answer, json, now, unexpected};
use crate::telemetry::WEBHOOKS;

/// Bytes of webhooks in memory at one time: whoever has no secret can make a node hold these.
const ROOM: usize = 256 << 20;

/// Room for as many bytes of webhooks as a node holds at one time.
#[must_use]
pub fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ROOM))
}

struct Headers<'a>(&'a HeaderMap);

impl forge::Headers for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.to_str().ok())
    }
}

fn count(forge: &'static str, outcome: &'static str) {
    metrics::counter!(WEBHOOKS, "forge" => forge, "outcome" => outcome).increment(1);
}

/// Takes a webhook of a repository.
pub(super) async fn receive(api: &Api, request: &mut Request) -> Answer {
    let name: RepoName = request.id("repo")?;
    let (limit, timeout) = (api.http.max_hook_bytes, api.http.body_timeout());
    let (body, _held) =
        request.bytes_within(limit, timeout, &api.hook_room).await.inspect_err(|refused| {
            if refused.code == Code::Unavailable {
                count("unknown", "no_room");
            }
        })?;
    let known = api.store.state().find_repo(&name).map(|(id, record)| (id, record.clone()));
    // What no repository's secret has signed is answered in one way, so that nobody learns which repositories there are.
    let secret = match &known {
        Some((_, record)) => opened(api, record)?,
        None => hex::encode(rand::random::<[u8; 32]>()),
    };
    let seconds = now().0 / 1000;
    let received = read(std::mem::take(&mut request.headers), body, secret, seconds)
        .await?
        .inspect_err(|why| {
            tracing::debug!(repository = %name, known = known.is_some(), %why, "a webhook is rejected");
            count("unknown", "rejected");
        })
        .map_err(rejected)?;
    let Some((repo, record)) = known else { return Err(unsigned()) };
    let forge = received.forge.as_str();
    if !is_about(&received.repository, &record) {
        count(forge, "wrong_repository");
        let detail = format!("the payload is about {:?}, not about {name}", received.repository.name);
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let told = received.deliveries();
    let reason = told.reason();
    if told.all.is_empty() {
        count(forge, "no_run");
        let answer = Accepted { delivery: None, duplicate: false, reason, more: Vec::new() };
        return json(StatusCode::OK, &answer);
    }
    // One after the other, so that they are built in the order of the push. Where one cannot be accepted, the forge is told so
    // and sends all of them again: those before it are known by their keys then.
    let mut ids = Vec::new();
    let mut duplicate = true;
    for delivery in told.all {
        let (id, known) = accept(api, forge, repo, delivery).await?;
        ids.push(id);
        duplicate &= known;
    }
    let first = (!ids.is_empty()).then(|| ids.remove(0));
    json(StatusCode::ACCEPTED, &Accepted { delivery: first, duplicate, reason, more: ids })
}

/// Checks and reads a webhook beside what answers requests: of one of many MiB that takes a while.
async fn read(
    headers: HeaderMap,
    body: Vec<u8>,
    secret: String,
    seconds: u64,
) -> Result<Result<Received, Rejected>, Problem> {
    let read =
        tokio::task::spawn_blocking(move || forge::receive(&Headers(&headers), &body, &secret, seconds));
    read.await
        .map_err(|_| Problem::new(Code::Internal, "reading the webhook broke off; the node's log says more"))
}

/// Commits one delivery: its id, and whether it was accepted before.
async fn accept(
    api: &Api,
    forge: &'static str,
    repo: RepoId,
    delivery: Delivery,
) -> Result<(String, bool), Problem> {
    api.admit().inspect_err(|refused| {
        count(forge, if refused.code == Code::NoSpace { "no_space" } else { "queue_full" });
    })?;
    // The forge's digest is over event and body; a key is per repository.
    let mut digest = Sha256::new();
    digest.update(repo.to_string());
    digest.update(delivery.digest);
    let command = Command::AcceptDelivery {
        id: domain::DeliveryId::from_parts(now(), rand::random()),
        repo,
        key: delivery.key,
        digest: digest.finalize().into(),
        event: delivery.event,
        only_path: String::new(),
    };
    let committed = api.store.propose(command).await.inspect_err(|_| count(forge, "unavailable"))?;
    match committed.reply {
        Reply::Delivery { id, duplicate } => {
            count(forge, if duplicate { "duplicate" } else { "accepted" });
            Ok((id.to_string(), duplicate))
        }
        other => {
            count(forge, "refused");
            Err(unexpected(other))
        }
    }
}

/// The secret of a repository's webhooks. To a stranger, that it cannot be opened is only that nothing can be checked.
fn opened(api: &Api, record: &domain::Repo) -> Result<String, Problem> {
    let name = record.name.as_str();
    api.vault.open(name, Purpose::Webhooks, &record.webhook_secret.0).map_err(|why| {
        tracing::warn!(repository = name, %why, "the secret of a repository's webhooks cannot be opened");
        count("unknown", "sealed");
        Problem::new(Code::Unavailable, "this node can check no signatures now; its log says more")
    })
}

fn unsigned() -> Problem {
    let detail = "signature: it is missing or wrong, or there is no repository of this name";
    Problem::new(Code::Unauthorized, detail)
}

fn rejected(why: Rejected) -> Problem {
    let detail = why.to_string();
    match why {
        Rejected::UnknownForge => Problem::invalid("headers", detail),
        Rejected::Unauthorized { .. } => unsigned(),
        Rejected::Malformed { .. } => Problem::invalid("body", detail),
    }
}

/// True when the payload names this repository: by its name here, or by the end of its clone URL's path. A payload
/// that names none is about the one whose secret signed it.
fn is_about(told: &forge::Repository, repo: &domain::Repo) -> bool {
    told.name.is_empty() || repo.name.as_str() == told.name || told.is_cloned_from(&repo.clone_url)
}
