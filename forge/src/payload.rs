//! Reads the bodies of genuine webhooks: typed, with serde_json's depth limit; what is not needed is not kept.

use std::borrow::Cow;

use domain::{Event, EventKind};
use serde::Deserialize;

use crate::{Forge, Rejected, What};

/// Title kept from a commit's message, in characters.
const MAX_TITLE: usize = 200;

pub(crate) struct Parsed {
    pub repository: String,
    pub what: What,
}

#[derive(Deserialize)]
struct Repository {
    full_name: Option<String>,
}

#[derive(Deserialize)]
struct User {
    login: Option<String>,
    username: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Commit {
    message: Option<String>,
}

/// A push as GitHub, Gitea and Forgejo write it.
#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    git_ref: String,
    before: Option<String>,
    after: String,
    #[serde(default)]
    deleted: bool,
    head_commit: Option<Commit>,
    sender: Option<User>,
    pusher: Option<User>,
    repository: Option<Repository>,
}

/// A push as anyone may write it for the generic webhook.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenericPush {
    #[serde(rename = "ref")]
    git_ref: String,
    after: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    sender: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    repository: String,
}

/// Any other event: only whose repository it is about.
#[derive(Deserialize)]
struct Other {
    repository: Option<Repository>,
}

pub(crate) fn read(forge: Forge, event: &str, content_type: &str, body: &[u8]) -> Result<Parsed, Rejected> {
    let body = unwrapped(content_type, body)?;
    if forge == Forge::Generic {
        return generic(&body);
    }
    match event {
        "push" => push(&body),
        "ping" => Ok(Parsed { repository: repository(&body)?, what: no_run("a ping: the webhook works") }),
        other => {
            let what = no_run(&format!("no workflow can ask for the event {other:?} yet"));
            Ok(Parsed { repository: repository(&body)?, what })
        }
    }
}

/// The JSON of a body that may be form-encoded, as forges send it when told to.
fn unwrapped<'a>(content_type: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Rejected> {
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return Ok(Cow::Borrowed(body));
    }
    let payload = form_urlencoded::parse(body).find(|(key, _)| key == "payload");
    payload
        .map(|(_, value)| Cow::Owned(value.into_owned().into_bytes()))
        .ok_or_else(|| malformed("a form without the field payload"))
}

fn malformed(why: impl ToString) -> Rejected {
    Rejected::Malformed { why: why.to_string() }
}

fn no_run(reason: &str) -> What {
    What::NoRun(reason.to_owned())
}

fn repository(body: &[u8]) -> Result<String, Rejected> {
    let other: Other = serde_json::from_slice(body).map_err(malformed)?;
    Ok(other.repository.and_then(|r| r.full_name).unwrap_or_default())
}

fn push(body: &[u8]) -> Result<Parsed, Rejected> {
    let push: Push = serde_json::from_slice(body).map_err(malformed)?;
    let name = |user: User| user.login.or(user.username).or(user.name);
    // Who pushed, as the forge states it; what a commit says of its author proves nothing.
    let sender = push.sender.and_then(name).or(push.pusher.and_then(name)).unwrap_or_default();
    let title = push.head_commit.and_then(|commit| commit.message).unwrap_or_default();
    let what = if push.deleted {
        no_run(&format!("{} was deleted", shown(&push.git_ref)))
    } else {
        event(push.git_ref, push.after, push.before.unwrap_or_default(), sender, &title)?
    };
    Ok(Parsed { repository: push.repository.and_then(|r| r.full_name).unwrap_or_default(), what })
}

fn generic(body: &[u8]) -> Result<Parsed, Rejected> {
    let push: GenericPush = serde_json::from_slice(body).map_err(malformed)?;
    let what = event(push.git_ref, push.after, push.before, push.sender, &push.message)?;
    Ok(Parsed { repository: push.repository, what })
}

fn event(
    git_ref: String,
    after: String,
    before: String,
    sender: String,
    message: &str,
) -> Result<What, Rejected> {
    check_ref(&git_ref)?;
    let commit_id = |text: &str| matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !commit_id(&after) {
        return Err(malformed(format!("after is {:?}, expected 40 or 64 hexadecimal digits", shown(&after))));
    }
    if !before.is_empty() && !commit_id(&before) {
        return Err(malformed(format!(
            "before is {:?}, expected 40 or 64 hexadecimal digits",
            shown(&before)
        )));
    }
    if after.bytes().all(|b| b == b'0') {
        return Ok(no_run(&format!("{} was deleted", shown(&git_ref))));
    }
    let before = if before.bytes().all(|b| b == b'0') { String::new() } else { before.to_ascii_lowercase() };
    Ok(What::Event(Event {
        kind: EventKind::Push,
        git_ref,
        commit: after.to_ascii_lowercase(),
        before,
        sender: sender.chars().take(200).collect(),
        title: message.lines().next().unwrap_or_default().chars().take(MAX_TITLE).collect(),
    }))
}

/// A full ref that git cannot take for anything else.
fn check_ref(git_ref: &str) -> Result<(), Rejected> {
    let bad = |why: &str| Err(malformed(format!("ref is {:?}, {why}", shown(git_ref))));
    if git_ref.len() > 255 {
        return bad("expected at most 255 bytes");
    }
    if !git_ref.starts_with("refs/heads/") && !git_ref.starts_with("refs/tags/") {
        return bad("expected refs/heads/... or refs/tags/...");
    }
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let bad_part = |part: &str| part.is_empty() || part.starts_with(['.', '-']) || part.ends_with(".lock");
    if git_ref.contains(forbidden) || git_ref.contains("..") || git_ref.split('/').any(bad_part) {
        return bad("which git does not allow");
    }
    Ok(())
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
