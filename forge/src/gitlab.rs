//! GitLab.
//!
//! Traps: the header says "System Hook" of everything that a whole installation sends, so the body's `object_kind` is what
//! counts. `after` of an annotated tag is the tag's own id; the commit behind it is `checkout_sha`. A deletion is a push to
//! zeros. A push lists its newest 20 commits at most and says in `total_commits_count` how many there are; it never says
//! whether it was forced. `project.namespace` is the last group's display name, so only `path_with_namespace` names a
//! project in subgroups. A merge request's `update` is anything from new commits (then there is an `oldrev`) to a label. It
//! gives its author's number alone. The numbers that people see are `iid`. A push of more than three refs sends no webhooks.

use serde::Deserialize;
use serde_json::json;

use crate::body::{Read, malformed, no_pull_request, not_asked_for};
use crate::event::{
    Action, ChangedPaths, Commit, Event, Person, PullRequest, Push, Repository, Side, labels, line,
};
use crate::json::{self, Flag, List, Number, Object, Text};
use crate::refs::{self, CommitId};
use crate::status::{self, Request, State, Status};
use crate::{Rejected, What};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    object_kind: Text,
    event_name: Text,
    project: Object<Project>,
    // Of a push.
    #[serde(rename = "ref")]
    git_ref: Text,
    before: Text,
    after: Text,
    checkout_sha: Text,
    user_username: Text,
    user_name: Text,
    commits: List<Object<ListedCommit>>,
    total_commits_count: Number,
    // Of a merge request.
    user: Object<User>,
    object_attributes: Object<MergeRequest>,
    labels: List<Object<Label>>,
    changes: Object<Changes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Project {
    path_with_namespace: Text,
    git_http_url: Text,
    git_ssh_url: Text,
    web_url: Text,
    default_branch: Text,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct User {
    id: Number,
    name: Text,
    username: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListedCommit {
    id: Text,
    message: Text,
    author: Object<User>,
    added: List<Text>,
    removed: List<Text>,
    modified: List<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MergeRequest {
    iid: Number,
    title: Text,
    description: Text,
    labels: List<Object<Label>>,
    action: Text,
    state: Text,
    oldrev: Text,
    author_id: Number,
    source_branch: Text,
    target_branch: Text,
    source_project_id: Number,
    target_project_id: Number,
    source: Object<Project>,
    target: Object<Project>,
    last_commit: Object<ListedCommit>,
    draft: Flag,
    work_in_progress: Flag,
}

/// What an update changed: each has `previous` and `current`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Changes {
    draft: Object<Changed>,
    title: Object<Changed>,
    description: Object<Changed>,
    target_branch: Object<Changed>,
    labels: Object<ChangedLabels>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Changed {
    current: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChangedLabels {
    previous: List<Object<Label>>,
    current: List<Object<Label>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Label {
    title: Text,
}

fn names(list: &List<Object<Label>>) -> Vec<String> {
    labels(list.items.iter().filter_map(|label| Some(label.0.as_ref()?.title.clone())))
}

impl ChangedLabels {
    /// The one that came or went, when it is one.
    fn one(&self) -> Option<String> {
        let (previous, current) = (names(&self.previous), names(&self.current));
        let only = |of: &[String], others: &[String]| {
            of.iter().filter(|name| !others.contains(name)).cloned().collect()
        };
        let (gone, come): (Vec<_>, Vec<_>) = (only(&previous, &current), only(&current, &previous));
        match (&gone[..], &come[..]) {
            ([one], []) | ([], [one]) => Some(one.clone()),
            _ => None,
        }
    }
}

impl From<Project> for Repository {
    fn from(project: Project) -> Self {
        Self {
            name: project.path_with_namespace.into_string(),
            http_url: project.git_http_url.into_string(),
            ssh_url: project.git_ssh_url.into_string(),
            web_url: project.web_url.into_string(),
            default_branch: project.default_branch.into_string(),
        }
    }
}

pub(crate) fn read(json: &[u8]) -> Result<Read, Rejected> {
    let mut body: Body = json::read(json)?;
    let repository = body.project.0.take().unwrap_or_default().into();
    let user = body.user.0.clone().unwrap_or_default();
    let sender =
        Person::new(&body.user_username.clone().or(user.username), &body.user_name.clone().or(user.name));
    // System hooks of old installations have only the second.
    let kind = body.object_kind.clone().or(body.event_name.clone());
    let what = match &*kind {
        "push" | "tag_push" => push(body)?,
        "merge_request" => merge_request(body, &sender)?,
        other => not_asked_for(other),
    };
    Ok(Read { repository, sender, what: vec![what] })
}

fn push(body: Body) -> Result<What, Rejected> {
    if body.git_ref.is_empty() {
        return Err(malformed("ref is missing, expected refs/heads/... or refs/tags/..."));
    }
    let mut push = match refs::moved(&body.git_ref, &body.before, &body.after)? {
        Ok(push) => push,
        Err(other) => return Ok(other),
    };
    if let CommitId::Id(commit) = CommitId::read(&body.checkout_sha) {
        push.commit = commit;
    }
    Ok(What::Event(Event::Push(filled(push, body.commits, body.total_commits_count))))
}

fn filled(mut push: Push, commits: List<Object<ListedCommit>>, total: Number) -> Push {
    let listed = commits.items.len() as u64;
    let mut whole = !commits.cut && listed > 0 && total.0 == Some(listed);
    let mut paths = Vec::new();
    for commit in commits.items.into_iter().filter_map(|commit| commit.0) {
        if commit.id.eq_ignore_ascii_case(&push.commit) {
            let author = commit.author.or_empty();
            let author = Person::new(&author.username, &author.name);
            push.head = Some(Commit::new(&commit.message, author));
        }
        for list in [commit.added, commit.removed, commit.modified] {
            whole &= !list.cut;
            paths.extend(list.items.into_iter().map(Text::into_string).filter(|path| !path.is_empty()));
        }
    }
    push.changed = ChangedPaths::new(paths, whole);
    push
}

fn merge_request(body: Body, sender: &Person) -> Result<What, Rejected> {
    let user = body.user.or_empty();
    let Some(attributes) = body.object_attributes.0 else { return Ok(no_pull_request("merge_request")) };
    let Some(number) = attributes.iid.0 else { return Ok(no_pull_request("merge_request")) };
    let changes = body.changes.or_empty();
    let action = action(&attributes, &changes);
    let labelled = matches!(action, Action::Labeled | Action::Unlabeled);
    let label = changes.labels.0.filter(|_| labelled).and_then(|changed| changed.one());
    // Whoever opens it is its author. Later only the author's number is told, which may be the sender's.
    let by_author =
        &*attributes.action == "open" || user.id.0.is_some() && user.id.0 == attributes.author_id.0;
    let (source, target) = (attributes.source_project_id.0, attributes.target_project_id.0);
    let commit = attributes.last_commit.or_empty().id;
    let head = side(attributes.source_branch, attributes.source, &commit)?;
    let base = side(attributes.target_branch, attributes.target, "")?;
    Ok(What::Event(Event::PullRequest(Box::new(PullRequest {
        action,
        number,
        title: line(&attributes.title),
        body: attributes.description.into_string(),
        labels: names(if attributes.labels.items.is_empty() { &body.labels } else { &attributes.labels }),
        label: label.unwrap_or_default(),
        author: if by_author { sender.clone() } else { Person::default() },
        head,
        base,
        from_fork: source.is_none() || source != target,
        draft: attributes.draft.0.or(attributes.work_in_progress.0) == Some(true),
        merged: &*attributes.state == "merged",
        before: CommitId::read(&attributes.oldrev).or_empty(),
        fetch_ref: format!("refs/merge-requests/{number}/head"),
    }))))
}

fn side(branch: Text, project: Object<Project>, commit: &str) -> Result<Side, Rejected> {
    refs::branch(&branch)?;
    Ok(Side {
        branch: branch.into_string(),
        commit: CommitId::read(commit).or_empty(),
        repository: project.or_empty().path_with_namespace.into_string(),
    })
}

fn action(request: &MergeRequest, changes: &Changes) -> Action {
    match &*request.action {
        "open" => Action::Opened,
        "reopen" => Action::Reopened,
        "close" | "merge" => Action::Closed,
        "update" if !request.oldrev.is_empty() => Action::Synchronize,
        "update" => updated(changes),
        other => Action::from_name(other),
    }
}

/// What an update without new commits is. A draft's mark is part of its title, so it is looked for first.
fn updated(changes: &Changes) -> Action {
    if let Some(draft) = changes.draft.0.as_ref().and_then(|draft| draft.current.0) {
        return if draft { Action::ConvertedToDraft } else { Action::ReadyForReview };
    }
    let texts = [&changes.title, &changes.description, &changes.target_branch];
    if texts.iter().any(|changed| changed.0.is_some()) {
        return Action::Edited;
    }
    match &changes.labels.0 {
        Some(labels) if labels.current.items.len() < labels.previous.items.len() => Action::Unlabeled,
        Some(_) => Action::Labeled,
        None => Action::Unlisted("update".to_owned()),
    }
}

/// A commit status. The project's whole path is one part of the URL. Its URL for people must not be longer than 255
/// characters, and may be left out.
pub(crate) fn status(status: &Status<'_>) -> Request {
    let state = match status.state {
        State::Pending => "pending",
        State::Running => "running",
        State::Success => "success",
        State::Failure | State::Error => "failed",
        State::Cancelled => "canceled",
    };
    let mut body = json!({
        "state": state,
        "name": status::name(status.context, 255),
        "description": status::cut(status.description, 255),
    });
    if status.target_url.len() <= 255 {
        body["target_url"] = status.target_url.into();
    }
    let path = format!("/projects/{}/statuses/{}", status::part(status.repository), status.commit);
    status::post(status, &path, "Bearer", "application/json", &body)
}
