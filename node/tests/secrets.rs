//! Secrets and credentials at the HTTP address: taken, sealed, never shown; what is left out stays, null takes it away.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod support;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Alone, SECRET, sign};

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2gta2V5\n-----END OPENSSH PRIVATE KEY-----\n";

/// All that the node has written: log, snapshots, everything.
fn stored(node: &Alone) -> String {
    let mut all = Vec::new();
    let mut left = vec![node.data_dir()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else {
                all.extend(std::fs::read(entry.path()).unwrap());
            }
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_stored_in_clear_or_shown() {
    let node = Alone::start().await;
    let body = json!({
        "clone_url": "https://h/team/app.git", "webhook_secret": "cl34r-webhooks", "token": "cl34r-token",
        "statuses": { "forge": "github", "api_url": "https://api.example.com/", "token": "cl34r-status" },
    });
    assert_eq!(node.put("/v1/repos/team/app", body).await.0, StatusCode::CREATED);
    let put = node.put("/v1/repos/team/app/secrets/DEPLOY_KEY", json!({ "value": "cl34r-deploy" })).await;
    assert_eq!(put, (StatusCode::CREATED, json!({ "name": "DEPLOY_KEY", "existed": false })));
    let put = node.put("/v1/repos/team/app/secrets/DEPLOY_KEY", json!({ "value": "cl34r-deploy-2" })).await;
    assert_eq!(put, (StatusCode::OK, json!({ "name": "DEPLOY_KEY", "existed": true })));
    let mut shown = String::new();
    for path in ["/v1/repos", "/v1/repos/team/app", "/v1/repos/team/app/secrets"] {
        shown += &node.get(path).await.1.to_string();
    }
    assert!(shown.contains("\"cloned_with\":\"token\"") && shown.contains("DEPLOY_KEY"), "{shown}");
    assert!(shown.contains("https://api.example.com"), "{shown}");
    let stored = stored(&node);
    assert!(stored.contains("https://h/team/app.git"), "the log was read");
    assert!(!shown.contains("cl34r") && !stored.contains("cl34r"));
    // They are what they were: the webhook's opens.
    let hook = node.hook("team/app", "{}", "d", "ping", Some(&sign("cl34r-webhooks", "{}"))).await;
    assert_eq!(hook.status(), StatusCode::OK);
    let removed = node.delete("/v1/repos/team/app/secrets/DEPLOY_KEY").await;
    assert_eq!(removed, (StatusCode::OK, json!({ "removed": "DEPLOY_KEY" })));
    assert_eq!(node.get("/v1/repos/team/app/secrets").await.1, json!({ "names": [] }));
    assert_eq!(node.delete("/v1/repos/team/app/secrets/DEPLOY_KEY").await.0, StatusCode::NOT_FOUND);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_stays_null_takes_it_away_and_no_other_server_gets_it() {
    let node = Alone::start().await;
    let seen = async |body: Value| {
        let (status, answer) = node.put("/v1/repos/app", body).await;
        if !status.is_success() {
            return (status, answer["field"].clone(), Value::Null);
        }
        let (_, repo) = node.get("/v1/repos/app").await;
        (status, repo["cloned_with"].clone(), repo["statuses"]["api_url"].clone())
    };
    let url = "https://h/app.git";
    let bad = |field: &str| (StatusCode::BAD_REQUEST, json!(field), Value::Null);
    let ok = |with: &str, api: Value| (StatusCode::OK, json!(with), api);
    let api = "https://api.h";
    let statuses = json!({ "forge": "gitea", "api_url": api, "token": "t" });
    assert_eq!(seen(json!({ "clone_url": url })).await, bad("webhook_secret"));
    let all = json!({ "clone_url": url, "webhook_secret": SECRET, "token": "t", "statuses": statuses });
    assert_eq!(seen(all).await, (StatusCode::CREATED, json!("token"), json!(api)));
    assert_eq!(seen(json!({ "clone_url": url })).await, ok("token", json!(api)));
    assert_eq!(seen(json!({ "clone_url": "https://h/other.git" })).await, ok("token", json!(api)));
    assert_eq!(seen(json!({ "clone_url": "https://evil/app.git" })).await, bad("token"));
    assert_eq!(seen(json!({ "clone_url": "http://h/app.git" })).await, bad("token"));
    assert_eq!(seen(json!({ "clone_url": url, "ssh_key": KEY, "token": "t" })).await, bad("ssh_key"));
    assert_eq!(seen(json!({ "clone_url": url, "ssh_key": KEY })).await, bad("ssh_key"));
    assert_eq!(seen(json!({ "clone_url": "https://a:b@h/app.git", "token": "t" })).await, bad("token"));
    let moved = json!({ "forge": "gitea", "api_url": "https://evil" });
    assert_eq!(seen(json!({ "clone_url": url, "statuses": moved })).await, bad("statuses.token"));
    let same = json!({ "forge": "gitea", "api_url": "https://api.h/" });
    assert_eq!(seen(json!({ "clone_url": url, "statuses": same })).await, ok("token", json!(api)));
    assert_eq!(seen(json!({ "clone_url": url, "token": null })).await, ok("nothing", json!(api)));
    assert_eq!(seen(json!({ "clone_url": "https://a:b@h/app.git" })).await, ok("token", json!(api)));
    let ssh = json!({ "clone_url": "git@h:app.git", "ssh_key": KEY, "statuses": null });
    assert_eq!(seen(ssh).await, ok("ssh_key", Value::Null));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_secret_or_no_credential_is_named() {
    let node = Alone::with(|config| config.http.max_body_bytes = 1 << 20).await;
    node.add_repo("app").await;
    for name in ["lower", "1A", "A-B", "GITHUB_TOKEN", "A%20B", "%C3%84", &"A".repeat(256)] {
        let (status, problem) =
            node.put(&format!("/v1/repos/app/secrets/{name}"), json!({ "value": "x" })).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("secret")), "{name}");
    }
    for (value, status) in [(0, 400), (1, 201), (48 * 1024, 200), (48 * 1024 + 1, 400)] {
        let answer = node.put("/v1/repos/app/secrets/A", json!({ "value": "x".repeat(value) })).await;
        assert_eq!(answer.0.as_u16(), status, "{value} bytes");
    }
    for number in 1..100 {
        let put = node.put(&format!("/v1/repos/app/secrets/A{number}"), json!({ "value": "x" })).await;
        assert_eq!(put.0, StatusCode::CREATED);
    }
    let (status, problem) = node.put("/v1/repos/app/secrets/ONE_MORE", json!({ "value": "x" })).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("name")), "{problem}");
    assert_eq!(node.put("/v1/repos/app/secrets/A1", json!({ "value": "y" })).await.0, StatusCode::OK);
    assert_eq!(node.put("/v1/repos/none/secrets/A", json!({ "value": "y" })).await.0, StatusCode::NOT_FOUND);
    let status = |forge: &str, url: &str, token: &str| json!({ "clone_url": "https://h/x", "statuses": { "forge": forge, "api_url": url, "token": token } });
    for (body, field) in [
        (status("gogs", "https://h", "t"), "statuses.forge"),
        (status("github", "ftp://h", "t"), "statuses.api_url"),
        (status("github", "https://u:p@h", "t"), "statuses.api_url"),
        (status("github", "https://h?x", "t"), "statuses.api_url"),
        (status("github", "https://h", "a b"), "statuses.token"),
        (status("github", "https://h", ""), "statuses.token"),
        (json!({ "clone_url": "https://h/x", "token": "a\nb" }), "token"),
        (json!({ "clone_url": "git://h/x", "token": "t" }), "token"),
        (json!({ "clone_url": "ssh://git@h/x", "ssh_key": "ssh-ed25519 AAAA" }), "ssh_key"),
    ] {
        let (status, problem) = node.put("/v1/repos/app", body.clone()).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{body}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_key_takes_no_secret_and_says_what_to_do() {
    let node = Alone::with(|config| config.secrets.key_file = std::path::PathBuf::new()).await;
    let body = json!({ "clone_url": "https://h/x.git", "webhook_secret": SECRET });
    let (status, problem) = node.put("/v1/repos/app", body).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(status == StatusCode::CONFLICT && detail.contains("secrets.key_file"), "{problem}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_by_webhooks_which_repositories_there_are() {
    let node = Alone::start().await;
    node.add_repo("app").await;
    let body = "{\"ref\":\"refs/heads/main\"}";
    let mut answers = Vec::new();
    for (repo, signature) in [
        ("app", Some(sign("another secret", body))),
        ("app", None),
        ("none", None),
        ("none", Some(sign(SECRET, body))),
    ] {
        let answer = node.hook(repo, body, "d", "push", signature.as_deref()).await;
        answers.push((answer.status(), answer.text().await.unwrap()));
    }
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let listed = node.http.request(Method::GET, node.url("/v1/repos/app/secrets")).send().await.unwrap();
    assert_eq!(listed.status(), StatusCode::UNAUTHORIZED);
    node.stop().await;
}
