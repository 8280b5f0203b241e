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

/// A node comes back with its clock an hour ahead, and adopts a job that may take a minute: it still may.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_ends_no_job_that_is_adopted() {
    let mut cluster = Cluster::planned(&Plan { shim: true, ..Plan::docker(1) }).await;
    let body = json!({ "script": "echo begun; sleep 12; echo done", "timeout_seconds": 60 });
    let answer = cluster.nodes[0].request(Method::POST, "/v1/runs").json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let run = answer.json::<serde_json::Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let log = format!("/v1/attempts/{run}.0/1/log");
    until("the job has begun", async || {
        let answer = cluster.nodes[0].request(Method::GET, &log).send().await.ok()?;
        answer.text().await.ok()?.contains("begun").then_some(())
    })
    .await;
    cluster.nodes[0].kill();
    cluster.nodes[0].shim.as_ref().expect("planned with a shim").clock_is_ahead(HOUR_MS);
    cluster.nodes[0].start();
    let seen = cluster.finished(0, &run).await;
    assert_eq!(seen["outcome"], "succeeded", "{}", seen["jobs"][0]["reason"]);
}

/// The leader's clock is an hour ahead, right again, and ahead again: each time of a schedule comes once, and of those that it
/// jumped over the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_comes_once_however_the_clock_jumps() {
    let cluster = Cluster::planned(&Plan { shim: true, ..Plan::fake(1) }).await;
    let git =
        GitServer::start(&WORKFLOW.replace("on: push", "on: {push: , schedule: [{cron: '* * * * *'}]}"))
            .unwrap();
    register(&cluster, &git).await;
    let node = &cluster.nodes[0];
    let shim = node.shim.as_ref().expect("planned with a shim");
    let delivery = Webhook::push(&git.head().unwrap(), "d-1").accepted(node).await;
    run_of(node, &delivery).await;
    // The minutes in which scheduled runs came, by the cluster's time, once there are more than before.
    let mut known = 0;
    for ahead in [HOUR_MS, 0, HOUR_MS + 120_000, 0, HOUR_MS + 180_000] {
        shim.clock_is_ahead(ahead);
        if ahead == 0 {
            // The cluster's time stands still now, and any entry carries the clock's.
            let body = json!({ "script": "true", "labels": ["no-such-node"] });
            let answer = node.request(Method::POST, "/v1/runs").json(&body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::CREATED);
            continue;
        }
        let minutes = until("a scheduled run comes", async || {
            let page = node.try_get("/v1/runs?limit=500&repo=demo").await?;
            let runs = page["items"].as_array()?.iter().filter(|run| run["event"] == "schedule");
            let minutes: Vec<u64> =
                runs.filter_map(|run| Some(run["created_at"].as_u64()? / 60_000)).collect();
            (minutes.len() > known).then_some(minutes)
        })
        .await;
        known = minutes.len();
        let distinct: std::collections::BTreeSet<_> = minutes.iter().collect();
        assert_eq!(distinct.len(), known, "one in each minute: {minutes:?}");
        assert!(known <= 6, "an hour was jumped over, and not made up for: {minutes:?}");
    }
}
