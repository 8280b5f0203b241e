//! Bodies as each forge writes them, and what is read from them.

use forge::{Event, Forge, PullRequest, Push, Received, Rejected, What};
use serde_json::{Value, json};

use super::{SHA, send};

pub const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";
pub const ZERO: &str = "0000000000000000000000000000000000000000";

/// A push as the forge writes it, under the name that it gives the event.
pub fn push(forge: Forge) -> (&'static str, Value) {
    let hub = json!({ "ref": "refs/heads/main", "before": OTHER, "after": SHA, "total_commits": 1,
        "head_commit": { "id": SHA, "message": "title\n\nrest", "author": { "name": "An Author", "username": "author" } },
        "commits": [{ "id": SHA, "message": "title\n\nrest", "author": { "name": "An Author", "username": "author" },
            "added": ["b"], "removed": [], "modified": ["a", "b"] }],
        "repository": { "full_name": "o/r", "clone_url": "https://forge.example/o/r.git", "default_branch": "main" },
        "pusher": { "name": "ada" }, "sender": { "login": "ada" } });
    match forge {
        Forge::GitHub | Forge::Gitea | Forge::Forgejo | Forge::Gogs => ("push", hub),
        Forge::GitLab => (
            "Push Hook",
            json!({ "object_kind": "push", "ref": "refs/heads/main", "before": OTHER, "after": SHA, "checkout_sha": SHA,
                "user_username": "ada", "user_name": "Ada", "total_commits_count": 1,
                "project": { "path_with_namespace": "o/r", "git_http_url": "https://forge.example/o/r.git",
                    "default_branch": "main" },
                "commits": [{ "id": SHA, "message": "title\n\nrest", "author": { "name": "An Author" },
                    "added": ["b"], "removed": [], "modified": ["a", "b"] }] }),
        ),
        Forge::Bitbucket => (
            "repo:push",
            json!({ "actor": { "username": "ada" },
                "repository": { "full_name": "o/r", "links": { "html": { "href": "https://forge.example/o/r" } } },
                "push": { "changes": [{ "forced": false,
                    "old": { "type": "branch", "name": "main", "target": { "hash": OTHER } },
                    "new": { "type": "branch", "name": "main", "target": { "hash": SHA, "message": "title\n\nrest",
                        "author": { "raw": "An Author <a@forge.example>" } } } }] } }),
        ),
        Forge::BitbucketDataCenter => (
            "repo:refs_changed",
            json!({ "actor": { "name": "ada" },
                "repository": { "slug": "r", "id": 1, "project": { "key": "o" },
                    "links": { "clone": [{ "name": "http", "href": "https://forge.example/o/r.git" }] } },
                "changes": [{ "refId": "refs/heads/main", "fromHash": OTHER, "toHash": SHA, "type": "UPDATE" }],
                "toCommit": { "id": SHA, "message": "title\n\nrest", "author": { "displayName": "An Author" } } }),
        ),
        Forge::Generic => (
            "push",
            json!({ "ref": "refs/heads/main", "before": OTHER, "after": SHA, "message": "title\n\nrest",
                "sender": "ada", "repository": "o/r" }),
        ),
    }
}

/// A pull request from a fork, as the forge writes it, that somebody just opened.
pub fn pull_request(forge: Forge) -> Option<(&'static str, Value)> {
    let repository = |name: &str| json!({ "full_name": name });
    let hub = json!({ "action": "opened", "number": 7, "repository": repository("o/r"), "sender": { "login": "eve" },
        "pull_request": { "number": 7, "title": "Please", "user": { "login": "eve" }, "merged": false,
            "head": { "ref": "topic", "sha": SHA, "repo": repository("eve/r") },
            "base": { "ref": "main", "sha": OTHER, "repo": repository("o/r") } } });
    let stash = |owner: &str, id: u64| json!({ "slug": "r", "id": id, "project": { "key": owner } });
    Some(match forge {
        Forge::GitHub | Forge::Gitea | Forge::Forgejo => ("pull_request", hub),
        Forge::Gogs => (
            "pull_request",
            json!({ "action": "opened", "number": 7, "repository": repository("o/r"), "sender": { "login": "eve" },
                "pull_request": { "number": 7, "title": "Please", "user": { "login": "eve" },
                    "head_branch": "topic", "head_repo": repository("eve/r"),
                    "base_branch": "main", "base_repo": repository("o/r") } }),
        ),
        Forge::GitLab => (
            "Merge Request Hook",
            json!({ "object_kind": "merge_request", "user": { "id": 3, "username": "eve" },
                "project": { "path_with_namespace": "o/r" },
                "object_attributes": { "iid": 7, "title": "Please", "action": "open", "state": "opened", "author_id": 3,
                    "source_branch": "topic", "source_project_id": 9, "source": { "path_with_namespace": "eve/r" },
                    "target_branch": "main", "target_project_id": 8, "target": { "path_with_namespace": "o/r" },
                    "last_commit": { "id": SHA } } }),
        ),
        Forge::Bitbucket => (
            "pullrequest:created",
            json!({ "actor": { "username": "eve" }, "repository": repository("o/r"),
                "pullrequest": { "id": 7, "title": "Please", "state": "OPEN", "author": { "username": "eve" },
                    "source": { "branch": { "name": "topic" }, "commit": { "hash": &SHA[..12] },
                        "repository": repository("eve/r") },
                    "destination": { "branch": { "name": "main" }, "commit": { "hash": &OTHER[..12] },
                        "repository": repository("o/r") } } }),
        ),
        Forge::BitbucketDataCenter => (
            "pr:opened",
            json!({ "actor": { "name": "eve" },
                "pullRequest": { "id": 7, "title": "Please", "state": "OPEN", "author": { "user": { "name": "eve" } },
                    "fromRef": { "id": "refs/heads/topic", "latestCommit": SHA, "repository": stash("eve", 2) },
                    "toRef": { "id": "refs/heads/main", "latestCommit": OTHER, "repository": stash("o", 1) } } }),
        ),
        Forge::Generic => return None,
    })
}

pub fn sent(forge: Forge, event: &str, body: &Value) -> Result<Received, Rejected> {
    send(forge, event, body.to_string().as_bytes())
}

pub fn only_push(received: &Received) -> &Push {
    match &received.what[..] {
        [What::Event(Event::Push(push))] => push,
        other => panic!("{other:?}"),
    }
}

pub fn only_request(received: &Received) -> &PullRequest {
    match &received.what[..] {
        [What::Event(Event::PullRequest(request))] => request,
        other => panic!("{other:?}"),
    }
}

/// A body of GitHub and those that write as it does.
pub fn hub(body: Value) -> Value {
    let mut body = body;
    body["repository"] = json!({ "full_name": "o/r" });
    body["sender"] = json!({ "login": "ada" });
    body
}

/// Every place in a body, as JSON pointers.
pub fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let here = format!("{at}/{name}");
                all.push(here.clone());
                places(field, &here, all);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let here = format!("{at}/{index}");
                all.push(here.clone());
                places(item, &here, all);
            }
        }
        _ => {}
    }
}
