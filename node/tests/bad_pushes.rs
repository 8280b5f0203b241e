//! Pushes and pull requests of people who mean no good, from the signed webhook to the job's output: rows 12, 13, 14 and 16 of
//! docs/bad-input.md. What they wrote is data, wherever it comes to stand; what runs for a fork is the base's.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod support;

use std::path::Path;

use fixtures::{GitServer, git};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Alone, SECRET, sign};

/// Writes what it was told, a line each, and what is in its directory.
const TELLS: &str = "on: [push, pull_request]
run-name: ${{ github.event.pull_request.title || github.event.head_commit.message }}
jobs:
  tell:
    runs-on: linux
    env:
      MESSAGE: ${{ github.event.head_commit.message }}
      TITLE: ${{ github.event.pull_request.title }}
      KEY: ${{ secrets.KEY }}
    steps:
      - run: |
          printf '<%s>\\n' \"$GITHUB_REF\" \"$GITHUB_REF_NAME\" \"$GITHUB_HEAD_REF\" \"$GITHUB_ACTOR\" \"$MESSAGE\" \"$TITLE\" \"$KEY\"
          ls -A
";

async fn runner() -> Alone {
    Alone::with(|config| {
        config.node.slots = 1;
        config.http.max_body_bytes = 2 << 20;
        config.http.max_hook_bytes = 2 << 20;
    })
    .await
}

async fn register(node: &Alone, git: &GitServer) {
    let body = json!({ "clone_url": git.url(), "webhook_secret": SECRET });
    assert_eq!(node.put("/v1/repos/demo", body).await.0, StatusCode::CREATED);
    let secret = node.put("/v1/repos/demo/secrets/KEY", json!({ "value": "k3y" })).await;
    assert_eq!(secret.0, StatusCode::CREATED);
}

/// Tells the node of an event, and waits until it is runs; their ids.
async fn told(node: &Alone, event: &str, id: &str, body: &Value) -> Vec<String> {
    let body = body.to_string();
    let answer = node.hook("demo", &body, id, event, Some(&sign(SECRET, &body))).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Value = answer.json().await.unwrap();
    let path = format!("/v1/deliveries/{}", answer["delivery"].as_str().unwrap());
    let mut applied = node.store().applied();
    loop {
        let (_, seen) = node.get(&path).await;
        assert_eq!(seen["reason"], "", "it waits");
        if seen["state"] == "expanded" {
            let runs = seen["runs"].as_array().unwrap().iter();
            return runs.map(|run| run.as_str().unwrap().to_owned()).collect();
        }
        applied.changed().await.unwrap();
    }
}

/// What the one job of a run wrote, once the run has ended well.
async fn output(node: &Alone, run: &str) -> String {
    let mut applied = node.store().applied();
    loop {
        let (_, seen) = node.get(&format!("/v1/runs/{run}")).await;
        if seen["outcome"].is_string() {
            assert_eq!(seen["outcome"], "succeeded", "{seen:#}");
            break;
        }
        applied.changed().await.unwrap();
    }
    let log = node.authorized(Method::GET, &format!("/v1/attempts/{run}.0/1/log")).send().await.unwrap();
    assert_eq!(log.status(), StatusCode::OK);
    log.text().await.unwrap()
}

/// Text that makes a file in `dir`, should anybody ever take it for a command.
fn hostile(dir: &Path) -> (String, String) {
    let file = dir.join("pwned").display().to_string();
    // A branch has no spaces; a message has anything.
    let branch = format!("x';\"$(touch${{IFS}}{file})`touch${{IFS}}{file}`;${{{{github}}}}|&");
    let message = format!("$(touch {file}) `touch {file}` \"; touch {file} #' ${{{{ secrets.KEY }}}} %0A");
    (branch, message)
}

/// Commits to a branch with a message, by an author who is somebody else.
fn commit(server: &GitServer, branch: &str, message: &str) -> String {
    let repo = server.repo();
    git(&repo, &["checkout", "-q", "-b", branch]).unwrap();
    let author = ["-c", "user.name=admin", "-c", "user.email=admin@example.com"];
    git(&repo, &[&author[..], &["commit", "-q", "--allow-empty", "-m", message]].concat()).unwrap();
    git(&repo, &["rev-parse", "HEAD"]).unwrap().trim().to_owned()
}

fn repository(name: &str) -> Value {
    json!({ "full_name": name, "default_branch": "main" })
}

/// Rows 12 and 14.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_branch_and_a_message_say_is_data_and_who_pushed_is_who_the_forge_says() {
    let node = runner().await;
    let server = GitServer::start(TELLS).unwrap();
    register(&node, &server).await;
    let dir = tempfile::Builder::new().prefix("hostile").tempdir().unwrap();
    let (branch, message) = hostile(dir.path());
    let lines = format!("{message}\n$(touch {}/pwned)\n", dir.path().display());
    let sha = commit(&server, &branch, &lines);
    let body = json!({
        "ref": format!("refs/heads/{branch}"), "before": "0".repeat(40), "after": sha, "repository": repository("demo"),
        "sender": { "login": "eve" }, "pusher": { "name": "eve" },
        "head_commit": { "id": sha, "message": lines, "author": { "name": "admin", "username": "admin" } },
    });
    let runs = told(&node, "push", "d-1", &body).await;
    let log = output(&node, &runs[0]).await;
    let wanted = [&format!("refs/heads/{branch}"), &branch, "", "eve", lines.as_str(), "", "***"];
    let wanted: String = wanted.iter().map(|text| format!("<{text}>\n")).collect();
    assert_eq!(log, wanted);
    let (_, run) = node.get(&format!("/v1/runs/{}", runs[0])).await;
    assert_eq!((&run["sender"], &run["title"]), (&json!("eve"), &json!(message)));
    assert!(!dir.path().join("pwned").exists(), "it was run");
    node.stop().await;
}

/// Rows 13 and 14.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_has_the_bases_workflow_once_approved_and_no_secret_and_its_texts_are_data() {
    let node = runner().await;
    let server = GitServer::start(TELLS).unwrap();
    register(&node, &server).await;
    let dir = tempfile::Builder::new().prefix("hostile").tempdir().unwrap();
    let (branch, first) = hostile(dir.path());
    let title = format!("{first}\n::add-mask::{first}\ntouch {}/pwned", dir.path().display());
    let base = server.head().unwrap();
    commit(&server, "of-a-fork", "one");
    let stolen = TELLS.replace("printf", "echo stolen; printf");
    let head = server.commit(".github/workflows/ci.yml", &stolen).unwrap();
    server.commit(".github/workflows/more.yml", &stolen).unwrap();
    git(&server.repo(), &["update-ref", "refs/pull/7/head", &head]).unwrap();
    git(&server.repo(), &["checkout", "-q", "main"]).unwrap();
    let body = json!({ "action": "opened", "number": 7, "sender": { "login": "eve" }, "repository": repository("demo"),
        "pull_request": { "number": 7, "title": title, "user": { "login": "ann" }, "merged": false,
            "head": { "ref": branch, "sha": head, "repo": repository("eve/demo") },
            "base": { "ref": "main", "sha": base, "repo": repository("demo") } } });
    let runs = told(&node, "pull_request", "d-1", &body).await;
    assert_eq!(runs.len(), 1, "the workflows are the base's");
    let path = format!("/v1/runs/{}", runs[0]);
    let (_, held) = node.get(&path).await;
    assert_eq!(
        (&held["needs_approval"], &held["outcome"], &held["jobs"][0]["attempts"]),
        (&json!(true), &Value::Null, &json!(0))
    );
    assert_eq!(node.post(&format!("{path}/approve"), json!({})).await.0, StatusCode::ACCEPTED);
    let log = output(&node, &runs[0]).await;
    let wanted = ["refs/pull/7/head", "7/head", &branch, "eve", "", &first, ""];
    let wanted: String = wanted.iter().map(|text| format!("<{text}>\n")).collect();
    assert_eq!(log, wanted);
    assert!(!dir.path().join("pwned").exists(), "it was run");
    node.stop().await;
}

/// Row 16.
#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_is_a_bomb_is_a_run_that_failed_and_the_next_push_runs() {
    let jobs = "jobs:\n  a:\n    runs-on: linux\n    steps:\n      - run: 'true'\n";
    let mut bomb = "on: push\nenv:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("  a{level}: &a{level} [{before}]\n");
    }
    let cases = [
        ("aliases", format!("{bomb}{jobs}")),
        ("circle", format!("on: push\nenv: &a\n  b: *a\n{jobs}")),
        ("twice", format!("on: push\n{jobs}{jobs}")),
        ("steps", format!("on: push\n{jobs}{}", "      - run: x\n".repeat(60_000))),
        ("large", format!("on: push\n# {}\n{jobs}", "x".repeat(10 << 20))),
        ("deep", format!("on: push\nenv: {}{}\n{jobs}", "[".repeat(100_000), "]".repeat(100_000))),
    ];
    let node = runner().await;
    let server = GitServer::start(TELLS).unwrap();
    register(&node, &server).await;
    let mut sha = String::new();
    for (name, text) in &cases {
        sha = server.commit(&format!(".github/workflows/{name}.yml"), text).unwrap();
    }
    let push = |sha: &str| {
        json!({ "ref": "refs/heads/main", "before": "0".repeat(40), "after": sha, "repository": repository("demo"),
            "sender": { "login": "eve" } })
    };
    let runs = told(&node, "push", "d-1", &push(&sha)).await;
    assert_eq!(runs.len(), cases.len() + 1, "the good one, too");
    let mut seen = std::collections::BTreeMap::new();
    for run in &runs {
        let (_, run) = node.get(&format!("/v1/runs/{run}")).await;
        seen.insert(run["path"].as_str().unwrap().to_owned(), run);
    }
    for (name, _) in &cases {
        let run = &seen[&format!(".github/workflows/{name}.yml")];
        assert_eq!(run["outcome"], "failed", "{name}: {run}");
        let error = run["error"].as_str().unwrap();
        assert!(
            (1..2000).contains(&error.len()) && error.contains(&format!("{name}.yml")),
            "{name}: {error}"
        );
    }
    let good = seen[".github/workflows/ci.yml"]["id"].as_str().unwrap();
    assert!(output(&node, good).await.contains("<refs/heads/main>"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_workflow_files_are_a_run_that_failed_and_the_next_push_runs() {
    let node = runner().await;
    let git = GitServer::start(TELLS).unwrap();
    register(&node, &git).await;
    let good = git.head().unwrap();
    let folder = git.repo().join(".github/workflows");
    for number in 0..100 {
        std::fs::write(folder.join(format!("more-{number}.yml")), TELLS).unwrap();
    }
    let bad = git.commit(".github/workflows/last.yml", TELLS).unwrap();
    let push = |commit: &str| {
        json!({ "ref": "refs/heads/main", "after": commit, "repository": { "full_name": "demo" },
            "sender": { "login": "ann" } })
    };
    let runs = told(&node, "push", "many", &push(&bad)).await;
    assert_eq!(runs.len(), 1);
    let (_, run) = node.get(&format!("/v1/runs/{}", runs[0])).await;
    let error = run["error"].as_str().unwrap();
    assert!(run["outcome"] == "failed" && error.contains("100"), "{run}");
    let runs = told(&node, "push", "good", &push(&good)).await;
    output(&node, &runs[0]).await;
    node.stop().await;
}
