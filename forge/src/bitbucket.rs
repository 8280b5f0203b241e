//! Bitbucket Cloud.
//!
//! Traps: one push may tell of several refs, each with `new: null` where it was deleted and `old: null` where it is new. No
//! paths are listed. Commits of pull requests are cut to 12 digits. `pullrequest:updated` is sent for new commits and for new
//! words alike. There is no ref under which git would find a fork's pull request. `source.repository` is null when the fork is
//! gone. Names that people gave themselves are not theirs alone; since `username` went from most payloads, `account_id` is.

use serde::Deserialize;
use serde_json::json;

use crate::body::{Read, no_pull_request, no_run, not_asked_for, several};
use crate::event::{Action, Commit, Event, Person, PullRequest, RefKind, Repository, Side, line};
use crate::json::{self, Flag, List, Number, Object, Text};
use crate::refs;
use crate::status::{self, Request, State, Status};
use crate::{Rejected, What};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    repository: Object<CloudRepository>,
    actor: Object<Account>,
    push: Object<Changes>,
    pullrequest: Object<CloudPullRequest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CloudRepository {
    full_name: Text,
    links: Object<Links>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Links {
    html: Object<Link>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link {
    href: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    username: Text,
    account_id: Text,
    uuid: Text,
    display_name: Text,
    nickname: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Changes {
    changes: List<Object<Change>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Change {
    old: Object<Point>,
    new: Object<Point>,
    forced: Flag,
}

/// Where a ref is, or was.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Point {
    #[serde(rename = "type")]
    kind: Text,
    name: Text,
    target: Object<Target>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    hash: Text,
    message: Text,
    author: Object<Author>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Author {
    /// `Name <address>`
    raw: Text,
    user: Object<Account>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CloudPullRequest {
    id: Number,
    title: Text,
    description: Text,
    state: Text,
    author: Object<Account>,
    source: Object<CloudSide>,
    destination: Object<CloudSide>,
    draft: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CloudSide {
    branch: Object<Branch>,
    commit: Object<Target>,
    repository: Object<CloudRepository>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Branch {
    name: Text,
}

impl From<Account> for Person {
    fn from(account: Account) -> Self {
        let login = account.username.or(account.account_id).or(account.uuid);
        Self::new(&login, &account.display_name.or(account.nickname))
    }
}

impl From<CloudRepository> for Repository {
    fn from(repository: CloudRepository) -> Self {
        let page = repository.links.or_empty().html.or_empty().href.into_string();
        let http_url = if page.is_empty() { String::new() } else { format!("{page}.git") };
        Self { name: repository.full_name.into_string(), http_url, web_url: page, ..Self::default() }
    }
}

pub(crate) fn read(event: &str, json: &[u8]) -> Result<Read, Rejected> {
    let body: Body = json::read(json)?;
    let what = match event {
        "repo:push" => several(body.push.or_empty().changes, change)?,
        "pullrequest:created" => vec![pull_request(event, body.pullrequest, Action::Opened)?],
        "pullrequest:updated" => vec![pull_request(event, body.pullrequest, Action::Synchronize)?],
        "pullrequest:fulfilled" | "pullrequest:rejected" => {
            vec![pull_request(event, body.pullrequest, Action::Closed)?]
        }
        other => vec![not_asked_for(other)],
    };
    Ok(Read { repository: body.repository.or_empty().into(), sender: body.actor.or_empty().into(), what })
}

fn change(change: Change) -> Result<What, Rejected> {
    let zero = "0".repeat(40);
    let (was_there, is_there) = (change.old.0.is_some(), change.new.0.is_some());
    let (old, new) = (change.old.or_empty(), change.new.or_empty());
    let (old_target, new_target) = (old.target.or_empty(), new.target.or_empty());
    let (named, kind) = if is_there { (new.name, new.kind) } else { (old.name, old.kind) };
    let kind = match &*kind {
        "branch" | "named_branch" => RefKind::Branch,
        "tag" | "annotated_tag" => RefKind::Tag,
        other => return Ok(no_run(format!("a {other:?} is neither a branch nor a tag"))),
    };
    let before: &str = if was_there { &old_target.hash } else { &zero };
    let after: &str = if is_there { &new_target.hash } else { &zero };
    Ok(refs::moved(&refs::full(kind, &named)?, before, after)?.map_or_else(
        |other| other,
        |mut push| {
            push.forced = change.forced.0;
            let author = author(new_target.author.or_empty());
            push.head = Some(Commit::new(&new_target.message, author));
            What::Event(Event::Push(push))
        },
    ))
}

fn author(author: Author) -> Person {
    let name = author.raw.split('<').next().unwrap_or_default().trim().to_owned();
    let account = Person::from(author.user.or_empty());
    Person::new(&account.login, if account.name.is_empty() { &name } else { &account.name })
}

fn pull_request(event: &str, request: Object<CloudPullRequest>, action: Action) -> Result<What, Rejected> {
    let Some(pr) = request.0 else { return Ok(no_pull_request(event)) };
    let Some(number) = pr.id.0 else { return Ok(no_pull_request(event)) };
    let (head, base) = (side(pr.source.or_empty())?, side(pr.destination.or_empty())?);
    Ok(What::Event(Event::PullRequest(Box::new(PullRequest {
        action,
        number,
        title: line(&pr.title),
        body: pr.description.into_string(),
        labels: Vec::new(),
        label: String::new(),
        author: pr.author.or_empty().into(),
        from_fork: head.is_fork_of(&base),
        head,
        base,
        draft: pr.draft.0 == Some(true),
        merged: &*pr.state == "MERGED",
        before: String::new(),
        fetch_ref: String::new(),
    }))))
}

fn side(side: CloudSide) -> Result<Side, Rejected> {
    let branch = side.branch.or_empty().name;
    refs::branch(&branch)?;
    Ok(Side {
        branch: branch.into_string(),
        commit: refs::beginning(&side.commit.or_empty().hash),
        repository: side.repository.or_empty().full_name.into_string(),
    })
}

/// A build status. It must have a URL, and its key at most 40 characters; the name may be longer.
pub(crate) fn status(status: &Status<'_>) -> Request {
    let state = match status.state {
        State::Pending | State::Running => "INPROGRESS",
        State::Success => "SUCCESSFUL",
        State::Failure | State::Error => "FAILED",
        State::Cancelled => "STOPPED",
    };
    let body = json!({
        "key": status::name(status.context, 40),
        "state": state,
        "name": status::name(status.context, 255),
        "description": status::cut(status.description, 255),
        "url": status.target_url,
    });
    let repository = status::parts(status.repository);
    let path = format!("/repositories/{repository}/commit/{}/statuses/build", status.commit);
    status::post(status, &path, "Bearer", "application/json", &body)
}
