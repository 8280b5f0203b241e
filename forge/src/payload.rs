//! What workflows see as `github.event`: an object shaped as GitHub's payload, made of what is known of the event, whatever forge
//! it is of.
//!
//! Its keys and their meaning are GitHub's (<https://docs.github.com/en/webhooks/webhook-events-and-payloads>), but for `changed_paths`.
//! All texts are data of others, whatever they hold: never shell text.

use domain::limits::MAX_PAYLOAD_BYTES;
use serde_json::{Value, json};

use crate::event::{Person, PullRequest, Push, Repository, Side};
use crate::{Action, Received};

const ZEROS: &str = "0000000000000000000000000000000000000000";

/// Of a push.
pub(crate) fn push(received: &Received, push: &Push) -> String {
    let head = push.head.as_ref().map(|head| {
        json!({ "id": push.commit, "message": head.message, "author": {
            "name": head.author.name, "username": head.author.login } })
    });
    let before = if push.created && push.before.is_empty() { ZEROS } else { &push.before };
    let mut payload = json!({
        "ref": push.git_ref,
        "before": before,
        "after": push.after,
        "created": push.created,
        "deleted": false,
        "forced": push.forced,
        "head_commit": head,
        "pusher": { "name": received.sender.shown() },
        "sender": person(&received.sender),
        "repository": repository(&received.repository),
    });
    if push.changed.whole {
        payload["changed_paths"] = json!(push.changed.paths);
    }
    capped(payload)
}

/// Of something that was done with a pull request.
pub(crate) fn pull_request(received: &Received, request: &PullRequest) -> String {
    let closed = request.merged || request.action == Action::Closed;
    let mut payload = json!({
        "action": request.action.as_str(),
        "number": request.number,
        "pull_request": {
            "number": request.number,
            "title": request.title,
            "body": Some(&request.body).filter(|body| !body.is_empty()),
            "labels": request.labels.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
            "state": if closed { "closed" } else { "open" },
            "draft": request.draft,
            "merged": request.merged,
            "user": person(&request.author),
            "head": side(&request.head, request.from_fork),
            "base": side(&request.base, false),
        },
        "sender": person(&received.sender),
        "repository": repository(&received.repository),
    });
    if !request.label.is_empty() {
        payload["label"] = json!({ "name": request.label });
    }
    if request.action == Action::Synchronize {
        payload["before"] = json!(request.before);
        payload["after"] = json!(request.head.commit);
    }
    capped(payload)
}

fn person(person: &Person) -> Value {
    json!({ "login": person.shown(), "name": person.name })
}

/// A repository that is gone is null, as on GitHub.
fn side(side: &Side, fork: bool) -> Value {
    let repo = match side.repository.as_str() {
        "" => Value::Null,
        name => json!({ "full_name": name, "fork": fork }),
    };
    json!({ "ref": side.branch, "sha": side.commit, "repo": repo })
}

fn repository(repository: &Repository) -> Value {
    let (owner, name) = repository.name.rsplit_once('/').unwrap_or(("", &repository.name));
    json!({
        "name": name,
        "full_name": repository.name,
        "owner": { "login": owner, "name": owner },
        "default_branch": repository.default_branch,
        "html_url": repository.web_url,
        "clone_url": repository.http_url,
        "ssh_url": repository.ssh_url,
    })
}

/// As text that is not too long: long lists go first, then what is known of the repository, then everything.
fn capped(mut payload: Value) -> String {
    for dropped in ["changed_paths", "repository"] {
        let text = payload.to_string();
        if text.len() <= MAX_PAYLOAD_BYTES {
            return text;
        }
        if let Some(object) = payload.as_object_mut() {
            object.remove(dropped);
        }
    }
    Some(payload.to_string()).filter(|text| text.len() <= MAX_PAYLOAD_BYTES).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Forge;
    use crate::event::ChangedPaths;

    fn received(web_url: &str) -> Received {
        Received {
            forge: Forge::GitLab,
            key: String::new(),
            event_name: String::new(),
            repository: Repository {
                name: "group/sub/app".to_owned(),
                web_url: web_url.to_owned(),
                ..Repository::default()
            },
            sender: Person { login: "ann".to_owned(), name: "Ann $(id)".to_owned() },
            digest: [0; 32],
            what: Vec::new(),
        }
    }

    fn pushed(paths: Vec<String>) -> Push {
        Push {
            git_ref: "refs/heads/`id`".to_owned(),
            before: String::new(),
            after: "a".repeat(40),
            commit: "a".repeat(40),
            created: true,
            forced: None,
            head: None,
            changed: ChangedPaths { paths, whole: true },
        }
    }

    #[test]
    fn long_lists_go_first_and_nothing_is_longer_than_it_may_be() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let few = read(&push(&received("https://h"), &pushed(vec!["a\nb".to_owned()])));
        assert_eq!((&few["changed_paths"][0], &few["ref"]), (&json!("a\nb"), &json!("refs/heads/`id`")));
        assert_eq!((few["before"].as_str(), &few["forced"]), (Some(ZEROS), &Value::Null));
        assert_eq!(few["repository"]["owner"]["login"], "group/sub");
        let many = read(&push(&received("https://h"), &pushed(vec!["x".repeat(100); 3000])));
        assert!(many["changed_paths"].is_null() && many["repository"]["html_url"] == "https://h");
        let large = read(&push(&received(&"x".repeat(MAX_PAYLOAD_BYTES)), &pushed(Vec::new())));
        assert!(large["repository"].is_null() && large["sender"]["login"] == "ann");
        let huge = Push { git_ref: "x".repeat(MAX_PAYLOAD_BYTES), ..pushed(Vec::new()) };
        assert_eq!(push(&received(""), &huge), "");
    }
}
