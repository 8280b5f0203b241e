//! Webhooks at several nodes (row 3 of docs/bad-input.md), without a quorum (row 11), and while the git server is down.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use chaos::cluster::Cluster;
use chaos::push::{Webhook, register, run_of};
use chaos::until;
use fixtures::GitServer;
use reqwest::StatusCode;
use serde_json::Value;

// Nobody has the label: the runs wait, which is enough here.
const WORKFLOW: &str = "on: push
jobs:
  build:
    runs-on: no-such-node
    steps:
      - run: 'true'
";

#[tokio::test(flavor = "multi_thread")]
async fn one_delivery_at_all_nodes_at_once_is_one_run() {
    let cluster = Cluster::start(3).await;
    let git = GitServer::start(WORKFLOW).unwrap();
    register(&cluster, &git).await;
    let webhook = Webhook::push(&git.head().unwrap(), "d-1");
    let posts = |node: usize| webhook.accepted(&cluster.nodes[node]);
    let (one, two, three) = tokio::join!(posts(0), posts(1), posts(2));
    assert_eq!((&one, &one), (&two, &three));
    // Later, too.
    assert_eq!(webhook.accepted(&cluster.nodes[1]).await, one);
    let run = run_of(&cluster.nodes[2], &one).await;
    let runs = cluster.nodes[2].get("/v1/runs").await;
    let ids: Vec<_> = runs["items"].as_array().unwrap().iter().map(|run| &run["id"]).collect();
    assert_eq!(ids, [&Value::from(run)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_waits_for_its_git_server_and_says_so() {
    let cluster = Cluster::start(3).await;
    let mut git = GitServer::start(WORKFLOW).unwrap();
    register(&cluster, &git).await;
    git.stop().unwrap();
    let webhook = Webhook::push(&git.head().unwrap(), "d-1");
    let delivery = webhook.accepted(&cluster.nodes[0]).await;
    let waiting = until("the delivery says why it waits", async || {
        let seen = cluster.nodes[1].try_get(&format!("/v1/deliveries/{delivery}")).await?;
        seen["reason"].as_str().is_some_and(|reason| !reason.is_empty()).then_some(seen)
    })
    .await;
    assert_eq!(waiting["state"], "pending");
    let reason = waiting["reason"].as_str().unwrap();
    let url = git.url();
    let host = url.trim_start_matches("git://").split(':').next().unwrap();
    assert!(reason.contains(host) && reason.contains("Connection refused"), "{reason}");
    git.resume().unwrap();
    let run = run_of(&cluster.nodes[2], &delivery).await;
    assert_eq!(cluster.nodes[2].get(&format!("/v1/runs/{run}")).await["commit"], git.head().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_accepted_and_with_one_again_everything_is() {
    let mut cluster = Cluster::start(3).await;
    let git = GitServer::start(WORKFLOW).unwrap();
    register(&cluster, &git).await;
    let leader = cluster.leader().await;
    let (first, second) = cluster.others(leader);
    cluster.nodes[leader].kill();
    cluster.nodes[first].kill();
    let webhook = Webhook::push(&git.head().unwrap(), "d-1");
    let answer = webhook.post(&cluster.nodes[second]).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    // Reads are still answered.
    assert_eq!(cluster.nodes[second].get("/v1/runs").await["items"], Value::Array(Vec::new()));

    cluster.nodes[first].start();
    cluster.leader().await;
    let delivery = webhook.accepted(&cluster.nodes[second]).await;
    let run = run_of(&cluster.nodes[second], &delivery).await;
    // The leader of before finds out what happened without it.
    cluster.nodes[leader].start();
    cluster.nodes[leader].get(&format!("/v1/runs/{run}")).await;
}
