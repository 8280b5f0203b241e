//! GitHub.
//!
//! Traps: a push's list of commits ends at 2048 and nothing says so. Tags that are pushed more than three at a time come
//! without any event. A ref that is deleted comes as a push with `deleted`, and again as `delete`. The repository of a pull
//! request's head is null when it was deleted. A review of a pull request is an event of another name.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{Read, no_pull_request, no_run, not_asked_for};
use crate::event::{Action, Event, PullRequest, Side, line};
use crate::hub::{self, HubRepository, Label, User};
use crate::json::{self, Flag, List, Number, Object, Text};
use crate::refs::{self, CommitId};
use crate::status::{self, Request, State, Status};
use crate::{Rejected, What};

/// Commits that one push lists at most.
const MOST_COMMITS: usize = 2048;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    pub action: Text,
    number: Number,
    before: Text,
    label: Object<Label>,
    pull_request: Object<HubPullRequest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HubPullRequest {
    number: Number,
    title: Text,
    body: Text,
    labels: List<Object<Label>>,
    user: Object<User>,
    head: Object<HubSide>,
    base: Object<HubSide>,
    draft: Flag,
    merged: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HubSide {
    #[serde(rename = "ref")]
    branch: Text,
    sha: Text,
    repo: Object<HubRepository>,
}

pub(crate) fn read(event: &str, json: &[u8]) -> Result<Read, Rejected> {
    let what = match event {
        "push" => hub::push(json, |push| push.commits.items.len() < MOST_COMMITS)?,
        "create" => hub::created(json)?,
        "delete" => hub::deleted(json)?,
        "pull_request" => {
            let body: Body = json::read(json)?;
            let action = Action::from_name(&body.action);
            pull_request(event, body, action)?
        }
        "ping" => no_run("a ping: the webhook works"),
        other => not_asked_for(other),
    };
    hub::read(json, vec![what])
}

/// A pull request as GitHub, Gitea and Forgejo write it.
pub(crate) fn pull_request(event: &str, body: Body, action: Action) -> Result<What, Rejected> {
    let Some(pr) = body.pull_request.0 else { return Ok(no_pull_request(event)) };
    let Some(number) = pr.number.0.or(body.number.0) else { return Ok(no_pull_request(event)) };
    let (head, base) = (side(pr.head.or_empty())?, side(pr.base.or_empty())?);
    Ok(What::Event(Event::PullRequest(Box::new(PullRequest {
        action,
        number,
        title: line(&pr.title),
        body: pr.body.into_string(),
        labels: hub::label_names(pr.labels),
        label: line(&body.label.or_empty().name),
        author: pr.user.or_empty().into(),
        from_fork: head.is_fork_of(&base),
        head,
        base,
        draft: pr.draft.0 == Some(true),
        merged: pr.merged.0 == Some(true),
        before: CommitId::read(&body.before).or_empty(),
        fetch_ref: format!("refs/pull/{number}/head"),
    }))))
}

fn side(side: HubSide) -> Result<Side, Rejected> {
    refs::branch(&side.branch)?;
    Ok(Side {
        branch: side.branch.into_string(),
        commit: CommitId::read(&side.sha).or_empty(),
        repository: side.repo.or_empty().full_name.into_string(),
    })
}

/// A commit status. GitHub knows no "running", and of a cancelled one nothing but that it did not come to an end. 1000 statuses
/// of one name and commit are all that it takes.
pub(crate) fn status(status: &Status<'_>) -> Request {
    let path = format!("/repos/{}/statuses/{}", status::parts(status.repository), status.commit);
    status::post(status, &path, "Bearer", "application/vnd.github+json", &hub_status(status, 140))
}

/// The body, for which Gitea and Forgejo have the same words.
pub(crate) fn hub_status(status: &Status<'_>, longest_description: usize) -> Value {
    let state = match status.state {
        State::Pending | State::Running => "pending",
        State::Success => "success",
        State::Failure => "failure",
        State::Error | State::Cancelled => "error",
    };
    json!({
        "state": state,
        "target_url": status.target_url,
        "description": status::cut(status.description, longest_description),
        "context": status::name(status.context, 255),
    })
}
