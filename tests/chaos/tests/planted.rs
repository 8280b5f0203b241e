//! Bugs that can be planted (actors/src/faults.rs) do what they are for: each is seen from outside, and without it nothing is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::process::Command;

use chaos::cluster::{Cluster, Plan};
use chaos::faulty::{self, inject};
use chaos::node::Node;
use chaos::until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A job that ends when its container has this file.
const WAITS: &str = "echo begun; until test -e /tmp/over; do sleep 0.1; done";

async fn submit(node: &Node, label: &str) -> String {
    let job = json!({ "script": WAITS, "labels": [label] });
    let answer = node.request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

async fn attempts(node: &Node, run: &str) -> Vec<Value> {
    node.get(&format!("/v1/jobs/{run}.0/attempts")).await["items"].as_array().unwrap().clone()
}

/// The container that runs, once it is the only one.
async fn the_container(cluster: &Cluster) -> String {
    until("one container runs", async || {
        let [container] = <[String; 1]>::try_from(cluster.docker().running(&cluster.ids())).ok()?;
        Some(container)
    })
    .await
}

/// Ends the job of a run, whichever container it is in by now, and waits for its end.
async fn end(cluster: &Cluster, ask: usize, run: &str) -> Value {
    until(format!("run {run} ends"), async || {
        for container in cluster.docker().running(&cluster.ids()) {
            // One that is gone by now does not matter.
            drop(Command::new("docker").args(["exec", &container, "touch", "/tmp/over"]).output().unwrap());
        }
        let seen = cluster.nodes[ask].try_get(&format!("/v1/runs/{run}")).await?;
        seen["outcome"].is_string().then_some(seen)
    })
    .await
}

/// A cluster with short leases and none of the bugs yet.
async fn cluster(tools: &tempfile::TempDir, size: usize) -> Cluster {
    let plan = Plan {
        binary: Some(faulty::binary(tools.path())),
        more: "leases = { leader_ms = 5000, node_ms = 4000 }".to_owned(),
        wires: size > 1,
        ..Plan::docker(size)
    };
    Cluster::planned(&plan).await
}

/// A node that runs a job is cut off until the job runs elsewhere: whether both containers ran at one time.
async fn cut_off(cluster: &Cluster, bug: &str) -> bool {
    let leader = cluster.leader().await;
    let (node, other) = cluster.others(leader);
    inject(&cluster.nodes[node], bug);
    for drained in [leader, other] {
        drop(cluster.nodes[leader].cli(&["drain", &cluster.nodes[drained].name]).well());
    }
    let run = submit(&cluster.nodes[leader], "linux").await;
    let first = the_container(cluster).await;
    for drained in [leader, other] {
        drop(cluster.nodes[leader].cli(&["drain", "--off", &cluster.nodes[drained].name]).well());
    }
    cluster.cut(&[(node, leader), (leader, node), (node, other), (other, node)]);
    until(format!("the job runs elsewhere with {bug:?}"), async || {
        cluster.docker().running(&cluster.ids()).into_iter().find(|container| *container != first)
    })
    .await;
    let both = cluster.docker().running(&cluster.ids()).contains(&first);
    cluster.heal();
    assert_eq!(end(cluster, leader, &run).await["outcome"], "succeeded");
    both
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_runs_what_runs_elsewhere_with_this_bug() {
    let tools = tempfile::tempdir().unwrap();
    for bug in ["", "bug:lease-too-long"] {
        let cluster = cluster(&tools, 3).await;
        assert_eq!(cut_off(&cluster, bug).await, !bug.is_empty(), "{bug:?}");
    }
}

/// A node that has had this bug from its start.
async fn one_with(tools: &tempfile::TempDir, bug: &str) -> Cluster {
    let mut cluster = cluster(tools, 1).await;
    inject(&cluster.nodes[0], bug);
    cluster.nodes[0].stop();
    cluster.nodes[0].start();
    cluster.settled().await;
    cluster
}

/// A node loses its lease, and what it has to say of its attempt comes when the next attempt runs: the node's last words, if it ends
/// by that.
async fn late_report(tools: &tempfile::TempDir, bug: &str) -> Option<String> {
    let mut cluster = one_with(tools, bug).await;
    let node = &cluster.nodes[0];
    let run = submit(node, "linux").await;
    the_container(&cluster).await;
    let late = format!("{bug},stall:kept:20000");
    inject(node, &format!("{late},stall:heart:8000"));
    until("the first attempt is lost", async || {
        attempts(node, &run).await.first()?["outcome"].is_string().then_some(())
    })
    .await;
    inject(node, &late);
    until("the next attempt runs", async || {
        let job = node.try_get(&format!("/v1/jobs/{run}.0")).await?;
        (job["state"] == "running" && job["attempts"] != 1).then_some(())
    })
    .await;
    inject(node, bug);
    if !bug.is_empty() {
        assert_ne!(cluster.nodes[0].ended().await, 0);
        return Some(cluster.nodes[0].last_words());
    }
    until("the first attempt's end is refused", async || {
        (node.metric("troupe_reports_refused_total").await? > 0.0).then_some(())
    })
    .await;
    assert_eq!(end(&cluster, 0, &run).await["outcome"], "succeeded");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_attempt_says_ends_the_present_one_with_this_bug() {
    let tools = ["", "bug:no-fence-check"].map(|bug| (tempfile::tempdir().unwrap(), bug));
    let [none, unchecked] = tools.each_ref().map(|(tools, bug)| late_report(tools, bug));
    let (none, unchecked) = tokio::join!(none, unchecked);
    assert_eq!(none, None);
    let words = unchecked.unwrap();
    // The state checks itself in a build such as this.
    assert!(words.contains(r#"Violation { number: "J-2""#), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_comes_twice_changes_what_is_finished_with_this_bug() {
    let tools = tempfile::tempdir().unwrap();
    let mut cluster = one_with(&tools, "bug:double-report").await;
    let job = json!({ "script": "true" });
    let answer = cluster.nodes[0].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_ne!(cluster.nodes[0].ended().await, 0);
    let words = cluster.nodes[0].last_words();
    assert!(words.contains("a finished job never changes"), "{words}");
}

/// The node of a job dies: how the job ends where it is tried next.
async fn tried_elsewhere(tools: &tempfile::TempDir, bug: &str) -> Value {
    let mut cluster = cluster(tools, 3).await;
    let leader = cluster.leader().await;
    let (node, other) = cluster.others(leader);
    for number in [leader, other] {
        drop(cluster.nodes[leader].cli(&["drain", &cluster.nodes[number].name]).well());
    }
    for number in [node, other] {
        inject(&cluster.nodes[number], bug);
    }
    let run = submit(&cluster.nodes[leader], "linux").await;
    the_container(&cluster).await;
    cluster.nodes[node].kill();
    drop(cluster.nodes[leader].cli(&["drain", "--off", &cluster.nodes[other].name]).well());
    end(&cluster, leader, &run).await["outcome"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_the_name_of_a_job_is_taken_for_its_attempt_with_this_bug() {
    let tools = ["", "bug:adopt-by-name"].map(|bug| (tempfile::tempdir().unwrap(), bug));
    for ((tools, bug), outcome) in tools.iter().zip(["succeeded", "failed"]) {
        assert_eq!(tried_elsewhere(tools, bug).await, outcome, "{bug:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reaper_removes_what_runs_with_this_bug() {
    let tools = tempfile::tempdir().unwrap();
    // It is in a hurry from its start.
    let cluster = one_with(&tools, "bug:reap-the-living").await;
    let run = submit(&cluster.nodes[0], "linux").await;
    let ended = until("an attempt has ended by itself", async || {
        let first = attempts(&cluster.nodes[0], &run).await.first()?.clone();
        first["outcome"].is_string().then_some(first)
    })
    .await;
    assert_eq!(ended["outcome"], "lost", "{ended}");
    inject(&cluster.nodes[0], "");
    assert_eq!(end(&cluster, 0, &run).await["outcome"], "succeeded");
}
