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
    // A pull request's ref would bring workflows of people who may not push, with the secrets of this repository.
    let elsewhere = |name: &str| !name.starts_with("refs/heads/") && !name.starts_with("refs/tags/");
    let git_ref = if wanted.git_ref.starts_with("refs/") {
        if elsewhere(&wanted.git_ref) {
            return Err(Problem::invalid("git_ref", "a branch, refs/heads/... or refs/tags/... is expected"));
        }
        wanted.git_ref
    } else {
        format!("refs/heads/{}", wanted.git_ref)
    };
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
    accept(api, &name, event, wanted.workflow, "inputs").await
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
    accept(api, &name, event, String::new(), "client_payload").await
}

async fn accept(api: &Api, name: &RepoName, event: Event, only_path: String, field: &str) -> Answer {
    let most = limits::MAX_PAYLOAD_BYTES;
    if event.payload.len() > most {
        let why = format!("{} bytes with all around it, the limit is {most}", event.payload.len());
        return Err(Problem::invalid(field, why));
    }
    let repo = repo_id(api, name)?;
    api.admit()?;
    let id = DeliveryId::from_parts(now(), rand::random());
    // What is asked for is never a repetition of another, so its digest is its own.
    let digest = Sha256::digest(id.to_string()).into();
    let command = Command::AcceptDelivery { id, repo, key: String::new(), digest, event, only_path };
    match api.store.propose(command).await?.reply {
        Reply::Delivery { id, duplicate } => {
            let delivery = Some(id.to_string());
            answer(StatusCode::ACCEPTED, &Accepted { delivery, duplicate, reason: None, more: Vec::new() })
        }
        other => Err(unexpected(other)),
    }
}
