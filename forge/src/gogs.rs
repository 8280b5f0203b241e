//! Gogs.
//!
//! Traps: a tag that is pushed comes as `create` alone, without a push and without commits, and old versions do not even name
//! the commit; a branch that is pushed comes as `create` and as `push`. A push lists the newest few commits and does not say
//! how many there are. A pull request names branches, and no commits at all. There is no API for commit statuses.

use serde::Deserialize;

use crate::body::{Read, no_pull_request, not_asked_for};
use crate::event::{Event, PullRequest, Push, Side, line};
use crate::hub::{self, HubRepository, Label, User};
use crate::json::{self, Flag, List, Number, Object, Text};
use crate::refs::{self, CommitId};
use crate::{Rejected, What, gitea};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    action: Text,
    number: Number,
    pull_request: Object<GogsPullRequest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GogsPullRequest {
    number: Number,
    title: Text,
    body: Text,
    labels: List<Object<Label>>,
    user: Object<User>,
    head_branch: Text,
    head_repo: Object<HubRepository>,
    base_branch: Text,
    base_repo: Object<HubRepository>,
    merged: Flag,
}

pub(crate) fn read(event: &str, json: &[u8]) -> Result<Read, Rejected> {
    let what = match event {
        "push" => hub::push(json, |_| false)?,
        "create" => created(json)?,
        "delete" => hub::deleted(json)?,
        "pull_request" => pull_request(event, json)?,
        other => not_asked_for(other),
    };
    hub::read(json, vec![what])
}

/// A tag that comes into being is all that is heard of its push.
fn created(json: &[u8]) -> Result<What, Rejected> {
    let change = match hub::change(json)? {
        Ok(change) => change,
        Err(other) => return Ok(other),
    };
    if !change.git_ref.starts_with("refs/tags/") {
        return Ok(What::Event(Event::Created(change)));
    }
    let after = CommitId::read(&change.commit);
    Ok(What::Event(Event::Push(Push::new(change.git_ref, &CommitId::Zero, &after))))
}

fn pull_request(event: &str, json: &[u8]) -> Result<What, Rejected> {
    let body: Body = json::read(json)?;
    let Some(pr) = body.pull_request.0 else { return Ok(no_pull_request(event)) };
    let Some(number) = pr.number.0.or(body.number.0) else { return Ok(no_pull_request(event)) };
    let head = side(pr.head_branch, pr.head_repo)?;
    let base = side(pr.base_branch, pr.base_repo)?;
    Ok(What::Event(Event::PullRequest(Box::new(PullRequest {
        action: gitea::action(&body.action),
        number,
        title: line(&pr.title),
        body: pr.body.into_string(),
        labels: hub::label_names(pr.labels),
        label: String::new(),
        author: pr.user.or_empty().into(),
        from_fork: head.is_fork_of(&base),
        head,
        base,
        draft: false,
        merged: pr.merged.0 == Some(true),
        before: String::new(),
        fetch_ref: format!("refs/pull/{number}/head"),
    }))))
}

fn side(branch: Text, repository: Object<HubRepository>) -> Result<Side, Rejected> {
    refs::branch(&branch)?;
    let repository = repository.or_empty().full_name.into_string();
    Ok(Side { branch: branch.into_string(), commit: String::new(), repository })
}
