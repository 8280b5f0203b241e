//! Bitbucket Data Center, which was Bitbucket Server, which was Stash.
//!
//! Traps: one push may tell of several refs. Names are `PROJECT/repository` in webhooks, while clone URLs have the project in
//! lower case; personal projects begin with `~`. Dates are numbers in some versions and texts in others. Commits come with a
//! push only since version 8, and without paths. The test of a webhook is `diagnostics:ping`, whose body names nothing. It
//! does not repeat a webhook that failed.

use serde::Deserialize;
use serde_json::json;

use crate::body::{Read, no_pull_request, no_run, not_asked_for, several};
use crate::event::{Action, Commit, Event, Person, PullRequest, Repository, Side, line};
use crate::json::{self, Flag, List, Number, Object, Text};
use crate::refs::{self, CommitId};
use crate::status::{self, Request, State, Status, Unsendable};
use crate::{Rejected, What};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    actor: Object<User>,
    repository: Object<StashRepository>,
    changes: List<Object<Change>>,
    to_commit: Object<ToCommit>,
    pull_request: Object<StashPullRequest>,
    previous_from_hash: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct User {
    name: Text,
    display_name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StashRepository {
    slug: Text,
    id: Number,
    project: Object<Project>,
    links: Object<Links>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Project {
    key: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Links {
    clone: List<Object<Link>>,
    #[serde(rename = "self")]
    page: List<Object<Link>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link {
    href: Text,
    name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Change {
    ref_id: Text,
    from_hash: Text,
    to_hash: Text,
}

/// The commit that a push ended at.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct ToCommit {
    id: Text,
    message: Text,
    author: Object<Author>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Author {
    name: Text,
    display_name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StashPullRequest {
    id: Number,
    title: Text,
    description: Text,
    state: Text,
    draft: Flag,
    author: Object<Participant>,
    from_ref: Object<StashRef>,
    to_ref: Object<StashRef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Participant {
    user: Object<User>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StashRef {
    id: Text,
    latest_commit: Text,
    repository: Object<StashRepository>,
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        Self::new(&user.name, &user.display_name)
    }
}

impl StashRepository {
    fn name(&self) -> String {
        match &self.project.0 {
            Some(project) => format!("{}/{}", &*project.key, &*self.slug),
            None => self.slug.to_string(),
        }
    }
}

impl From<StashRepository> for Repository {
    fn from(repository: StashRepository) -> Self {
        let name = repository.name();
        let links = repository.links.or_empty();
        let clone = |kind: &str| {
            let mut all = links.clone.items.iter().filter_map(|link| link.0.as_ref());
            all.find(|link| link.name.starts_with(kind)).map(|link| link.href.to_string()).unwrap_or_default()
        };
        let page = links.page.items.iter().filter_map(|link| link.0.as_ref()).next();
        Self {
            name,
            http_url: clone("http"),
            ssh_url: clone("ssh"),
            web_url: page.map(|link| link.href.to_string()).unwrap_or_default(),
            default_branch: String::new(),
        }
    }
}

pub(crate) fn read(event: &str, json: &[u8]) -> Result<Read, Rejected> {
    let body: Body = json::read(json)?;
    let before = CommitId::read(&body.previous_from_hash).or_empty();
    let mut repository = body.repository;
    let action = match event {
        "pr:opened" => Some(Action::Opened),
        "pr:from_ref_updated" => Some(Action::Synchronize),
        "pr:modified" => Some(Action::Edited),
        "pr:merged" | "pr:declined" | "pr:deleted" => Some(Action::Closed),
        "pr:reopened" => Some(Action::Reopened),
        _ => None,
    };
    let what = match (event, action) {
        ("repo:refs_changed", _) => {
            let head = body.to_commit.or_empty();
            several(body.changes, |one| change(&one, &head))?
        }
        ("diagnostics:ping", _) => vec![no_run("a ping: the webhook works")],
        (_, Some(action)) => {
            let (what, to) = pull_request(event, body.pull_request, action, before)?;
            // A pull request's webhook names its repository nowhere else.
            repository.0 = repository.0.or(to);
            vec![what]
        }
        (other, None) => {
            let to = body.pull_request.or_empty().to_ref.or_empty().repository;
            repository.0 = repository.0.or(to.0);
            vec![not_asked_for(other)]
        }
    };
    Ok(Read { repository: named(repository), sender: body.actor.or_empty().into(), what })
}

fn named(repository: Object<StashRepository>) -> Repository {
    repository.0.map(Repository::from).unwrap_or_default()
}

fn change(change: &Change, head: &ToCommit) -> Result<What, Rejected> {
    Ok(refs::moved(&change.ref_id, &change.from_hash, &change.to_hash)?.map_or_else(
        |other| other,
        |mut push| {
            if head.id.eq_ignore_ascii_case(&push.after) {
                let author = head.author.clone().or_empty();
                let author = Person::new("", &author.display_name.or(author.name));
                push.head = Some(Commit::new(&head.message, author));
            }
            What::Event(Event::Push(push))
        },
    ))
}

type OfRepository = Option<StashRepository>;

fn pull_request(
    event: &str,
    request: Object<StashPullRequest>,
    action: Action,
    before: String,
) -> Result<(What, OfRepository), Rejected> {
    let Some(pr) = request.0 else { return Ok((no_pull_request(event), None)) };
    let Some(number) = pr.id.0 else { return Ok((no_pull_request(event), None)) };
    let (from, to) = (pr.from_ref.or_empty(), pr.to_ref.or_empty());
    let ids = [&from, &to].map(|one| one.repository.0.as_ref().and_then(|repository| repository.id.0));
    let what = What::Event(Event::PullRequest(Box::new(PullRequest {
        action,
        number,
        title: line(&pr.title),
        body: pr.description.into_string(),
        labels: Vec::new(),
        label: String::new(),
        author: pr.author.or_empty().user.or_empty().into(),
        head: side(&from)?,
        base: side(&to)?,
        from_fork: ids[0].is_none() || ids[0] != ids[1],
        draft: pr.draft.0 == Some(true),
        merged: &*pr.state == "MERGED",
        before,
        fetch_ref: format!("refs/pull-requests/{number}/from"),
    })));
    Ok((what, to.repository.0))
}

fn side(side: &StashRef) -> Result<Side, Rejected> {
    let branch = side.id.strip_prefix("refs/heads/").unwrap_or(&side.id);
    refs::branch(branch)?;
    Ok(Side {
        branch: branch.to_owned(),
        commit: CommitId::read(&side.latest_commit).or_empty(),
        repository: side.repository.0.as_ref().map(StashRepository::name).unwrap_or_default(),
    })
}

/// A build status, as versions since 7.4 take it: of a repository. It must have a URL, of at most 450 characters.
pub(crate) fn status(status: &Status<'_>) -> Result<Request, Unsendable> {
    let Some((project, repository)) = status.repository.split_once('/') else {
        return Err(status::field("repository", "PROJECT/name"));
    };
    if status.target_url.len() > 450 {
        return Err(status::field("target_url", "at most 450 bytes"));
    }
    let state = match status.state {
        State::Pending | State::Running => "INPROGRESS",
        State::Success => "SUCCESSFUL",
        State::Failure | State::Error => "FAILED",
        State::Cancelled => "CANCELLED",
    };
    let body = json!({
        "key": status::name(status.context, 255),
        "state": state,
        "name": status::name(status.context, 255),
        "description": status::cut(status.description, 255),
        "url": status.target_url,
    });
    let (project, repository) = (status::part(project), status::part(repository));
    let path = format!("/projects/{project}/repos/{repository}/commits/{}/builds", status.commit);
    Ok(status::post(status, &path, "Bearer", "application/json", &body))
}
