//! A file that says what happened: a forge's payload of a push or pull request, or the few fields that a person writes by hand.
//!
//! Must not know what is done with the event.

use std::path::Path;

use domain::{Event, EventKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Failure;
use super::submit::bytes_of;

/// What a file tells.
#[derive(Debug)]
pub struct Told {
    /// What happened. Its ref is empty where the file names none.
    pub event: Event,
    /// The paths that changed, where the file names them.
    pub changed: Option<Vec<String>>,
}

/// Reads a file; `-` is the standard input.
///
/// # Errors
/// [`Failure::Input`].
pub fn read(path: &Path) -> Result<Told, Failure> {
    parse(&bytes_of(path)?).map_err(|why| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, why);
        Failure::Input { path: path.to_owned(), source }
    })
}

/// The fields of either form.
#[derive(Debug, Default, Deserialize)]
struct File {
    event: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    sha: Option<String>,
    before: Option<String>,
    after: Option<String>,
    actor: Option<String>,
    base_ref: Option<String>,
    changed: Option<Vec<String>>,
    payload: Option<Map<String, Value>>,
    pull_request: Option<Value>,
}

fn parse(bytes: &[u8]) -> Result<Told, String> {
    let whole: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("expected a JSON object: {error}"))?;
    let told: File = serde_json::from_value(whole.clone()).map_err(|error| error.to_string())?;
    let kinds = [
        EventKind::Push,
        EventKind::PullRequest,
        EventKind::Schedule,
        EventKind::WorkflowDispatch,
        EventKind::RepositoryDispatch,
        EventKind::WorkflowRun,
    ];
    let name = told.event.clone().unwrap_or_else(|| {
        let default = if told.pull_request.is_some() { EventKind::PullRequest } else { EventKind::Push };
        default.as_str().to_owned()
    });
    let kind = kinds.into_iter().find(|kind| kind.as_str() == name);
    let kind = kind.ok_or_else(|| {
        format!("event: {name:?} is not one of {}", kinds.map(EventKind::as_str).join(", "))
    })?;
    let of_forge = told.event.is_none();
    let payload = match told.payload {
        Some(payload) => Value::Object(payload),
        None if of_forge => whole.clone(),
        None => json!({}),
    };
    let deep = |path: &str| whole.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let heads = |branch: Option<String>| {
        branch.map(|branch| match branch.starts_with("refs/") {
            true => branch,
            false => format!("refs/heads/{branch}"),
        })
    };
    let event = Event {
        git_ref: told.git_ref.unwrap_or_default(),
        commit: told.sha.or(told.after).or_else(|| deep("/pull_request/head/sha")).unwrap_or_default(),
        before: told.before.unwrap_or_default(),
        sender: told.actor.or_else(|| deep("/sender/login")).unwrap_or_default(),
        base_ref: heads(told.base_ref.or_else(|| deep("/pull_request/base/ref"))).unwrap_or_default(),
        payload: payload.to_string(),
        ..Event::of(kind)
    };
    Ok(Told { event, changed: told.changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forges_payload_and_a_few_fields_tell_of_the_same() {
        let forge =
            r#"{"ref": "refs/heads/x", "before": "aa", "after": "bb", "sender": {"login": "me"}, "more": 1}"#;
        let fields = r#"{"event": "push", "ref": "refs/heads/x", "before": "aa", "sha": "bb", "actor": "me", "changed": ["y"]}"#;
        let (forge, fields) = (parse(forge.as_bytes()).unwrap(), parse(fields.as_bytes()).unwrap());
        assert_eq!(fields.event.payload, "{}", "only a forge's payload is the event's own");
        assert_eq!(Event { payload: "{}".to_owned(), ..forge.event.clone() }, fields.event);
        assert!(forge.event.payload.contains("more"));
        assert_eq!((forge.changed, fields.changed), (None, Some(vec!["y".to_owned()])));
        assert_eq!(fields.event.before, "aa");
        let unknown = parse(b"{\"event\": \"x\"}").unwrap_err();
        assert!(unknown.contains("\"x\" is not one of push"), "{unknown}");
    }
}
