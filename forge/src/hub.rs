//! The shapes that GitHub made and Gitea, Forgejo and Gogs took over: repository, user, push, create, delete.
//!
//! What one of them does otherwise is in its file.

use serde::Deserialize;

use crate::body::{Read, malformed};
use crate::event::{ChangedPaths, Commit, Event, Person, Push, Repository, labels};
use crate::json::{self, Flag, List, Number, Object, Text};
use crate::refs::{self, CommitId};
use crate::{Rejected, What};

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct HubRepository {
    pub full_name: Text,
    clone_url: Text,
    ssh_url: Text,
    html_url: Text,
    default_branch: Text,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct User {
    login: Text,
    username: Text,
    name: Text,
    full_name: Text,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct HubCommit {
    pub id: Text,
    message: Text,
    author: Object<User>,
    added: List<Text>,
    removed: List<Text>,
    modified: List<Text>,
}

/// A label of a pull request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Label {
    pub name: Text,
}

/// The names of labels.
pub(crate) fn label_names(list: List<Object<Label>>) -> Vec<String> {
    labels(list.items.into_iter().filter_map(|label| Some(label.0?.name)))
}

/// What every body has, whatever the event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Envelope {
    pub repository: Object<HubRepository>,
    pub sender: Object<User>,
    pub pusher: Object<User>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HubPush {
    #[serde(rename = "ref")]
    git_ref: Text,
    before: Text,
    after: Text,
    deleted: Flag,
    created: Flag,
    forced: Flag,
    head_commit: Object<HubCommit>,
    pub commits: List<Object<HubCommit>>,
    pub total_commits: Number,
}

/// A ref that came or went.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HubRef {
    #[serde(rename = "ref")]
    name: Text,
    ref_type: Text,
    sha: Text,
}

impl From<HubRepository> for Repository {
    fn from(repository: HubRepository) -> Self {
        Self {
            name: repository.full_name.into_string(),
            http_url: repository.clone_url.into_string(),
            ssh_url: repository.ssh_url.into_string(),
            web_url: repository.html_url.into_string(),
            default_branch: repository.default_branch.into_string(),
        }
    }
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        Self::new(&user.login.or(user.username), &user.name.or(user.full_name))
    }
}

impl From<HubCommit> for Commit {
    fn from(commit: HubCommit) -> Self {
        Self::new(&commit.message, commit.author.or_empty().into())
    }
}

/// Adds what every body says to what an event comes to.
pub(crate) fn read(json: &[u8], what: Vec<What>) -> Result<Read, Rejected> {
    let envelope: Envelope = json::read(json)?;
    let mut sender = Person::from(envelope.sender.or_empty());
    if sender.shown().is_empty() {
        // GitHub's pusher has only a name, and it is the login.
        let pusher = Person::from(envelope.pusher.or_empty());
        sender = Person { login: pusher.shown().to_owned(), name: pusher.name };
    }
    Ok(Read { repository: envelope.repository.or_empty().into(), sender, what })
}

/// A push. `whole` says whether so many listed commits are all of them.
pub(crate) fn push(json: &[u8], whole: impl FnOnce(&HubPush) -> bool) -> Result<What, Rejected> {
    let body: HubPush = json::read(json)?;
    if body.git_ref.is_empty() {
        return Err(malformed("ref is missing, expected refs/heads/... or refs/tags/..."));
    }
    if body.deleted.0 == Some(true) {
        let gone = refs::moved(&body.git_ref, &body.before, &"0".repeat(40))?;
        return Ok(gone.map_or_else(|what| what, |push| What::Event(Event::Push(push))));
    }
    let push = match refs::moved(&body.git_ref, &body.before, &body.after)? {
        Ok(push) => push,
        Err(other) => return Ok(other),
    };
    let whole = whole(&body);
    Ok(What::Event(Event::Push(filled(push, body, whole))))
}

fn filled(mut push: Push, body: HubPush, whole: bool) -> Push {
    push.created |= body.created.0 == Some(true);
    push.forced = body.forced.0;
    let cut = body.commits.cut;
    let commits: Vec<HubCommit> = body.commits.items.into_iter().filter_map(|commit| commit.0).collect();
    let listed = || commits.iter().find(|commit| commit.id.eq_ignore_ascii_case(&push.after)).cloned();
    let head = body.head_commit.0.or_else(listed);
    // Of an annotated tag, `after` is its own id, and this is the commit behind it.
    if push.git_ref.starts_with("refs/tags/")
        && let Some(CommitId::Id(commit)) = head.as_ref().map(|head| CommitId::read(&head.id))
    {
        push.commit = commit;
    }
    push.head = head.map(Commit::from);
    push.changed = changed(commits, whole && !cut);
    push
}

fn changed(commits: Vec<HubCommit>, whole: bool) -> ChangedPaths {
    let mut paths = Vec::new();
    let mut cut = false;
    let none_listed = commits.is_empty();
    for commit in commits {
        for list in [commit.added, commit.removed, commit.modified] {
            cut |= list.cut;
            paths.extend(list.items.into_iter().map(Text::into_string).filter(|path| !path.is_empty()));
        }
    }
    // Without a commit nothing is known: a ref that came into being at a commit that was there lists none.
    ChangedPaths::new(paths, whole && !cut && !none_listed)
}

/// A ref came into being.
pub(crate) fn created(json: &[u8]) -> Result<What, Rejected> {
    Ok(change(json)?.map_or_else(|what| what, |change| What::Event(Event::Created(change))))
}

/// A ref is gone.
pub(crate) fn deleted(json: &[u8]) -> Result<What, Rejected> {
    Ok(change(json)?.map_or_else(|what| what, |change| What::Event(Event::Deleted(change))))
}

pub(crate) fn change(json: &[u8]) -> Result<Result<crate::event::RefChange, What>, Rejected> {
    let body: HubRef = json::read(json)?;
    refs::change(&body.ref_type, &body.name, &body.sha)
}
