//! What a run on this machine is for: an event that a file tells, a dispatch, or a push of what is checked out.
//!
//! Must not know how the run is made.

use std::path::Path;

use actors::workspace::check_ref;
use domain::{Event, EventKind};
use serde_json::{Map, Value, json};
use workflow::model::Workflow;

use super::super::{Failure, told};
use super::checkout::Checkout;

/// Characters of a title.
const MAX_TITLE: usize = 200;

/// The event, but for the commit, which is not made yet.
///
/// # Errors
/// [`Failure`].
pub fn event(
    file: Option<&Path>,
    inputs: &[(String, String)],
    checkout: &Checkout,
    model: Option<&Workflow>,
) -> Result<Event, Failure> {
    let has = |kind: EventKind| {
        model.is_some_and(|model| model.on.iter().any(|one| one.event.value == kind.as_str()))
    };
    let (push, by_hand) = (EventKind::Push, EventKind::WorkflowDispatch);
    let mut event = match file {
        Some(file) => told::read(file)?.event,
        None if !inputs.is_empty() || (has(by_hand) && !has(push)) => dispatch(inputs, checkout),
        None => Event::of(push),
    };
    if event.git_ref.is_empty() {
        event.git_ref = match event.kind {
            EventKind::PullRequest => format!("refs/pull/{}/head", number(&event.payload)),
            EventKind::Schedule | EventKind::RepositoryDispatch | EventKind::WorkflowRun => {
                checkout.default.clone()
            }
            _ => checkout.git_ref.clone(),
        };
    }
    if !event.git_ref.starts_with("refs/") {
        event.git_ref = format!("refs/heads/{}", event.git_ref);
    }
    if event.kind == EventKind::PullRequest && event.base_ref.is_empty() {
        event.base_ref.clone_from(&checkout.default);
    }
    check_ref(&event.git_ref).map_err(|error| Failure::NotMade { why: format!("its ref: {error}") })?;
    if event.sender.is_empty() {
        let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        event.sender = user.filter(|user| !user.is_empty()).unwrap_or_else(|| "somebody".to_owned());
    }
    Ok(event)
}

/// The number of a pull request, as forges tell it.
fn number(payload: &str) -> u64 {
    let payload: Value = serde_json::from_str(payload).unwrap_or_default();
    let told = [&payload["number"], &payload["pull_request"]["number"]];
    told.into_iter().find_map(Value::as_u64).unwrap_or(1)
}

fn dispatch(inputs: &[(String, String)], checkout: &Checkout) -> Event {
    let text = |(name, value): &(String, String)| (name.clone(), Value::String(value.clone()));
    let inputs: Map<_, _> = inputs.iter().map(text).collect();
    let payload = json!({ "inputs": inputs, "ref": checkout.git_ref, "workflow": checkout.workflow });
    Event { payload: payload.to_string(), ..Event::of(EventKind::WorkflowDispatch) }
}

/// The event with its commit, whose message is known.
#[must_use]
pub fn at(event: Event, checkout: &Checkout, commit: &str, message: &str) -> Event {
    let title = message.lines().next().unwrap_or_default().chars().take(MAX_TITLE).collect();
    let payload = match event.payload.as_str() {
        "" => payload(&event, checkout, commit, message).to_string(),
        told => told.to_owned(),
    };
    Event { commit: commit.to_owned(), title, payload, ..event }
}

/// What a forge says of a push, as far as a checkout knows it.
fn payload(event: &Event, checkout: &Checkout, commit: &str, message: &str) -> Value {
    let branch = checkout.default.trim_start_matches("refs/heads/");
    let name = checkout.name.as_str();
    json!({
        "ref": event.git_ref,
        "before": checkout.head.as_deref().unwrap_or_default(),
        "after": commit,
        "head_commit": { "id": commit, "message": message },
        "pusher": { "name": event.sender },
        "sender": { "login": event.sender },
        "repository": {
            "name": name.rsplit('/').next().unwrap_or(name),
            "full_name": name,
            "default_branch": branch,
        },
    })
}
