//! Runs that somebody asks for, and events that other systems tell: deliveries as any other.

use actors::workspace::check_ref;
use domain::{Command, DeliveryId, Event, EventKind, Reply, RepoName, limits};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use warp::http::StatusCode;

use super::auth::Caller;
use super::dto::{Accepted, Dispatch, Input, MAX_EVENT_BYTES, MAX_WORKFLOW_BYTES, RepositoryEvent};
use super::problem::Problem;
use super::repos::repo_id;
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, json as answer, now, unexpected};

/// Asks for a workflow by hand.
pub(super) async fn dispatch(api: &Api, caller: Caller, request: &mut Request) -> Answer {
    let name: RepoName = request.id("repo")?;
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let wanted: Dispatch = request::json(&body)?;
    check_ref(&wanted.git_ref).map_err(|error| Problem::invalid("git_ref", error))?;
    let workflow = &wanted.workflow;
    if !(1..=MAX_WORKFLOW_BYTES).contains(&workflow.len())
        || workflow.contains("..")
        || workflow.contains(char::is_control)
    {
        let why = format!("1 to {MAX_WORKFLOW_BYTES} bytes without .. or control characters are expected");
        return Err(Problem::invalid("workflow", why));
    }
    let git_ref = wanted.git_ref;
    // A pull request's ref would bring workflows of people who may not push, with the secrets of this repository. Whether a short
    // name is a branch's or a tag's is found out when it is looked up.
    let allowed = ["refs/heads/", "refs/tags/"].iter().any(|kind| git_ref.starts_with(kind));
    if git_ref.starts_with("refs/") && !allowed {
        let why = "the name of a branch or a tag, refs/heads/... or refs/tags/... is expected";
        return Err(Problem::invalid("git_ref", why));
    }
    let inputs = wanted.inputs.into_iter().map(|(name, value)| {
        let value = match value {
            Input::Text(text) => Value::String(text),
            Input::Boolean(value) => Value::Bool(value),
            Input::Number(value) => json!(value),
        };
        (name, value)
    });
    let inputs: serde_json::Map<_, _> = inputs.collect();
    let payload = json!({ "inputs": inputs, "ref": git_ref, "workflow": wanted.workflow });
    let event = Event {
        git_ref,
        sender: caller.sender(),
        payload: payload.to_string(),
        ..Event::of(EventKind::WorkflowDispatch)
    };
    let asked = Asked { key: request.idempotency_key(caller.token)?, body: &body };
    accept(api, &name, asked, (event, wanted.workflow), "inputs").await
}

/// Takes an event of another system.
pub(super) async fn repository_event(api: &Api, caller: Caller, request: &mut Request) -> Answer {
    let name: RepoName = request.id("repo")?;
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let wanted: RepositoryEvent = request::json(&body)?;
    let kind = &wanted.event_type;
    if !(1..=MAX_EVENT_BYTES).contains(&kind.len()) || kind.contains(char::is_control) {
        let why = format!("1 to {MAX_EVENT_BYTES} bytes without control characters are expected");
        return Err(Problem::invalid("event_type", why));
    }
    let payload = json!({ "action": kind, "client_payload": wanted.client_payload });
    let event = Event {
        sender: caller.sender(),
        title: kind.clone(),
        payload: payload.to_string(),
        ..Event::of(EventKind::RepositoryDispatch)
    };
    let asked = Asked { key: request.idempotency_key(caller.token)?, body: &body };
    accept(api, &name, asked, (event, String::new()), "client_payload").await
}

/// How a request may be known again.
struct Asked<'a> {
    /// Its key, scoped by the token; empty for none.
    key: String,
    body: &'a [u8],
}

async fn accept(
    api: &Api,
    name: &RepoName,
    asked: Asked<'_>,
    (event, only_path): (Event, String),
    field: &str,
) -> Answer {
    let most = limits::MAX_PAYLOAD_BYTES;
    if event.payload.len() > most {
        let why = format!("{} bytes with all around it, the limit is {most}", event.payload.len());
        return Err(Problem::invalid(field, why));
    }
    let repo = repo_id(api, name)?;
    api.admit()?;
    let id = DeliveryId::from_parts(now(), rand::random());
    // What is asked for without a key, or with another one, is never a repetition, so its digest is its own.
    let own = if asked.key.is_empty() { id.to_string() } else { asked.key.clone() };
    let digest = Sha256::new_with_prefix(own).chain_update([0]).chain_update(asked.body).finalize().into();
    let key = if asked.key.is_empty() { asked.key } else { format!("api:{}", asked.key) };
    let command = Command::AcceptDelivery { id, repo, key, digest, event, only_path };
    match api.store.propose(command).await?.reply {
        Reply::Delivery { id, duplicate } => {
            let delivery = Some(id.to_string());
            answer(StatusCode::ACCEPTED, &Accepted { delivery, duplicate, reason: None, more: Vec::new() })
        }
        other => Err(unexpected(other)),
    }
}
