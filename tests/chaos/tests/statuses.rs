//! A private repository from its push to its commit statuses, while leaders die; and with a token that is wrong. The tokens are
//! nowhere: in no log, and in nothing that a node keeps.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chaos::cluster::{Cluster, Plan};
use chaos::push::{Webhook, run_of};
use chaos::until;
use fixtures::{FakeForge, PrivateGit, Told};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Longer than any election.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "the secret of a demo";

/// The token, put together here, so that no command line of this test has it.
fn token(of: &str) -> String {
    ["t0k", "en-", of].concat()
}

fn workflow(label: &str, go: &Path) -> String {
    let go = go.display();
    format!(
        "on: push\njobs:\n  build:\n    runs-on: {label}\n    steps:\n      - run: until test -f {go}; do sleep 0.05; done\n"
    )
}

async fn register(cluster: &Cluster, git: &PrivateGit, forge: &FakeForge, clone_token: &str) {
    let body = json!({
        "clone_url": git.url(), "webhook_secret": SECRET, "token": clone_token,
        "statuses": { "forge": "gitlab", "api_url": forge.api_url("gitlab"), "token": token("status") },
    });
    let request = cluster.nodes[0].request(Method::PUT, "/v1/repos/demo").json(&body);
    assert!(request.send().await.unwrap().status().is_success());
    for node in &cluster.nodes {
        node.get("/v1/repos/demo").await;
    }
}

async fn told(forge: &Arc<FakeForge>, state: &'static str) -> Vec<Told> {
    let forge = Arc::clone(forge);
    let seen = move || forge.wait(PATIENCE, |told, _| told.last().is_some_and(|last| last.state == state));
    tokio::task::spawn_blocking(seen).await.unwrap().unwrap()
}

async fn drain(cluster: &Cluster, node: usize, drain: bool) {
    let path = format!("/v1/nodes/{}/drain", cluster.nodes[node].name);
    let request = cluster.nodes[node].request(Method::POST, &path).json(&json!({ "drain": drain }));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

/// Files below a directory that hold any of these.
fn holding(directory: &Path, needles: &[String], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            holding(&path, needles, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes);
            if needles.iter().any(|needle| text.contains(needle)) {
                found.push(path.display().to_string());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_come_in_order_although_leaders_die_and_no_token_is_anywhere() {
    let mut cluster = Cluster::planned(&Plan::fake(3)).await;
    let (leader, go) = (cluster.leader().await, tempfile::tempdir().unwrap());
    let (runner, _) = cluster.others(leader);
    let go = go.path().join("go");
    let git =
        PrivateGit::start(&workflow(&cluster.nodes[runner].name, &go), "x-access-token", &token("right"))
            .unwrap();
    let forge = Arc::new(FakeForge::start(&token("status")).unwrap());
    // With the wrong one, the delivery waits and says why.
    register(&cluster, &git, &forge, &token("wrong")).await;
    let commit = git.commit("file", "x").unwrap();
    let delivery = Webhook::push(&commit, "d-1").accepted(&cluster.nodes[runner]).await;
    let reason = until("the delivery says why it waits", async || {
        let seen = cluster.nodes[runner].try_get(&format!("/v1/deliveries/{delivery}")).await?;
        Some(seen["reason"].as_str()?.to_owned()).filter(|reason| !reason.is_empty())
    })
    .await;
    assert!(reason.contains("Authentication failed") && !reason.contains("t0ken"), "{reason}");
    // With the right one it goes on; its job waits for its node.
    drain(&cluster, runner, true).await;
    register(&cluster, &git, &forge, &token("right")).await;
    let run = run_of(&cluster.nodes[runner], &delivery).await;
    told(&forge, "pending").await;
    drain(&cluster, runner, false).await;
    told(&forge, "running").await;
    cluster.nodes[leader].kill();
    std::fs::create_dir_all(go.parent().unwrap()).unwrap();
    std::fs::write(&go, "").unwrap();
    let all = told(&forge, "success").await;
    let states: Vec<&str> = all.iter().map(|one| one.state.as_str()).collect();
    assert_eq!(states, ["pending", "running", "success"]);
    for one in &all {
        assert_eq!((one.repository.as_str(), &one.commit), ("team/demo", &commit));
        assert!(one.target_url.ends_with(&format!("/v1/runs/{run}")), "{}", one.target_url);
    }
    let seen = cluster.nodes[runner].get(&format!("/v1/runs/{run}")).await;
    assert_eq!(seen["outcome"], Value::from("succeeded"));
    let (mut found, needles) = (Vec::new(), ["right", "wrong", "status"].map(token));
    holding(cluster.dir.path(), &needles, &mut found);
    assert_eq!(found, Vec::<String>::new(), "these hold a token");
    holding(cluster.dir.path(), &[git.url()], &mut found);
    assert!(found.len() >= 3, "what nodes keep was read: {found:?}");
}
