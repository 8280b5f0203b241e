//! Wall clocks that are wrong (row 48 of docs/bad-input.md).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use chaos::cluster::{Cluster, Plan};
use chaos::push::{Webhook, register, run_of};
use chaos::until;
use fixtures::GitServer;
use reqwest::{Method, StatusCode};
use serde_json::json;

// Nobody has the label: the run waits, which is enough here.
const WORKFLOW: &str = "on: push
jobs:
  build:
    runs-on: no-such-node
    steps:
      - run: 'true'
";
const HOUR_MS: i64 = 3_600_000;

/// The leader's clock was an hour ahead for a moment, and so is the cluster's time for an hour; what is pushed meanwhile is
/// expanded all the same.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the dispatcher of deliveries compares replicated times with its own clock: see actors/src/queue/expansions.rs"]
async fn a_clock_that_was_ahead_for_a_moment_holds_nothing_up() {
    let cluster = Cluster::planned(&Plan { shim: true, ..Plan::fake(3) }).await;
    let git = GitServer::start(WORKFLOW).unwrap();
    register(&cluster, &git).await;
    let leader = cluster.leader().await;
    let shim = cluster.nodes[leader].shim.as_ref().expect("planned with a shim");
    shim.clock_is_ahead(HOUR_MS);
    // Any entry carries the time.
    until("a submit is accepted", async || {
        let request = cluster.nodes[leader].request(Method::POST, "/v1/runs");
        let body = json!({ "script": "true", "labels": ["no-such-node"] });
        let answer = request.json(&body).send().await.ok()?;
        (answer.status() == StatusCode::CREATED).then_some(())
    })
    .await;
    shim.clock_is_ahead(0);
    let delivery = Webhook::push(&git.head().unwrap(), "d-1").accepted(&cluster.nodes[leader]).await;
    run_of(&cluster.nodes[leader], &delivery).await;
}
