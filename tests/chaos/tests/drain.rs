//! Nodes that drain, with a deadline and without, and nodes that are asked to stop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use chaos::cluster::Cluster;
use chaos::node::Node;
use chaos::{binary, until};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A job that never ends by itself.
const ENDLESS: &str = "echo begun; sleep 1000";
/// A job that ends when its container has this file.
const WAITS: &str = "echo begun; until test -e /tmp/over; do sleep 0.1; done";

async fn submit(node: &Node, script: &str, label: &str) -> String {
    let job = json!({ "script": script, "labels": [label] });
    let answer = node.request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

/// Waits until the job of a run is in this state; gives its view.
async fn until_job(node: &Node, run: &str, state: &str) -> Value {
    until(format!("the job of {run} is {state}"), async || {
        let seen = node.try_get(&format!("/v1/jobs/{run}.0")).await?;
        (seen["state"] == state).then_some(seen)
    })
    .await
}

async fn attempts(node: &Node, run: &str) -> Vec<Value> {
    node.get(&format!("/v1/jobs/{run}.0/attempts")).await["items"].as_array().unwrap().clone()
}

/// Ends a job that waits.
fn end(container: &str) {
    let ended = Command::new("docker").args(["exec", container, "touch", "/tmp/over"]).status();
    assert!(ended.unwrap().success());
}

/// The container that runs, once it is the only one. (A job counts as running from when its container is about to start.)
async fn the_container(cluster: &Cluster) -> String {
    until("one container runs", async || {
        let [container] = <[String; 1]>::try_from(cluster.docker().running(&cluster.ids())).ok()?;
        Some(container)
    })
    .await
}

/// On which node the job of a run runs.
async fn runner(cluster: &Cluster, ask: usize, run: &str) -> usize {
    let job = until_job(&cluster.nodes[ask], run, "running").await;
    cluster.by_id(job["node"].as_str().unwrap()).unwrap()
}

/// Starts a node again with this `runner.on_stop`.
async fn restart_with(cluster: &mut Cluster, node: usize, on_stop: &str) {
    let config = cluster.nodes[node].dir.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let changed = text.replace("grace_ms = 1000", &format!("grace_ms = 1000, on_stop = '{on_stop}'"));
    assert_ne!(text, changed);
    fs::write(&config, changed).unwrap();
    cluster.nodes[node].stop();
    cluster.nodes[node].start();
    cluster.settled().await;
}

async fn until_leaving(cluster: &Cluster, ask: usize, node: usize) {
    let path = format!("/v1/nodes/{}", cluster.nodes[node].name);
    until(format!("node {node} leaves"), async || {
        (cluster.nodes[ask].try_get(&path).await?["leaving"] == true).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_at_the_deadline_runs_elsewhere_and_that_is_never_too_often() {
    let cluster = Cluster::start(3).await;
    let run = submit(&cluster.nodes[0], ENDLESS, "linux").await;
    // More often than a job may be lost.
    let deadlines = [&["--deadline", "1s"][..], &["--now"], &["--now"], &["--now"]];
    for (number, deadline) in (1..).zip(deadlines) {
        let at = runner(&cluster, 0, &run).await;
        let name = cluster.nodes[at].name.clone();
        let container = the_container(&cluster).await;
        let args = [&["drain", &name, "--wait"], deadline].concat();
        let said = cluster.nodes[0].cli(&args);
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.contains("takes no more jobs") && said.out.contains("queued again"), "{}", said.out);
        assert!(!cluster.docker().running(&cluster.ids()).contains(&container), "it waited");
        let ended = &attempts(&cluster.nodes[0], &run).await[number - 1];
        assert_eq!(
            (&ended["outcome"], &ended["reason"]),
            (&json!("lost"), &json!("its node drains")),
            "{ended}"
        );
        assert_ne!(runner(&cluster, 0, &run).await, at);
        drop(cluster.nodes[0].cli(&["drain", &name, "--off"]).well());
    }
    let answer =
        cluster.nodes[0].request(Method::POST, &format!("/v1/runs/{run}/cancel")).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    assert_eq!(cluster.finished(0, &run).await["outcome"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_deadline_a_drain_is_waited_for_as_long_as_jobs_run() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let run = submit(node, WAITS, "linux").await;
    until_job(node, &run, "running").await;
    let mut drain = Command::new(binary::troupe())
        .args(["drain", &node.name, "--wait"])
        .env("TROUPE_ADDR", node.url())
        .env("TROUPE_TOKEN", &node.token)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = BufReader::new(drain.stderr.take().unwrap()).lines();
    assert!(words.next().unwrap().unwrap().contains("1 job still runs there"));
    assert!(drain.try_wait().unwrap().is_none());
    end(&the_container(&cluster).await);
    assert!(drain.wait().unwrap().success());
    assert_eq!(cluster.finished(0, &run).await["outcome"], "succeeded");
    assert_eq!(node.get(&format!("/v1/nodes/{}", node.name)).await["busy"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_requeues_at_its_stop_gives_its_jobs_to_others_and_takes_jobs_again_by_itself() {
    let mut cluster = Cluster::start(3).await;
    let run = submit(&cluster.nodes[0], ENDLESS, "linux").await;
    let at = runner(&cluster, 0, &run).await;
    let (other, _) = cluster.others(at);
    // The job is taken up by the next start, which happens to have another configuration.
    restart_with(&mut cluster, at, "requeue").await;
    assert_eq!(attempts(&cluster.nodes[other], &run).await.len(), 1, "a stop that leaves it");
    let container = the_container(&cluster).await;
    cluster.nodes[at].stop();
    assert!(!cluster.docker().running(&cluster.ids()).contains(&container));
    assert_ne!(runner(&cluster, other, &run).await, at);
    let seen = attempts(&cluster.nodes[other], &run).await;
    assert_eq!(
        (seen.len(), &seen[0]["outcome"], &seen[0]["reason"]),
        (2, &json!("lost"), &json!("its node drains"))
    );
    cluster.nodes[at].start();
    cluster.settled().await;
    let name = cluster.nodes[at].name.clone();
    let small = submit(&cluster.nodes[at], "true", &name).await;
    assert_eq!(cluster.finished(at, &small).await["outcome"], "succeeded");
    // One that somebody drained drains still.
    drop(cluster.nodes[at].cli(&["drain", &name]).well());
    cluster.nodes[at].stop();
    cluster.nodes[at].start();
    let seen = until("its next life is known", async || {
        let seen = cluster.nodes[at].try_get(&format!("/v1/nodes/{name}")).await?;
        (seen["leaving"] == false).then_some(seen)
    })
    .await;
    assert_eq!((&seen["drain"], &seen["busy"]), (&json!(true), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_at_its_stop_ends_with_its_last_job_or_at_a_second_signal() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (other, _) = cluster.others(leader);
    // The leader: it hands over first.
    restart_with(&mut cluster, leader, "wait").await;
    let name = cluster.nodes[leader].name.clone();
    let run = submit(&cluster.nodes[other], WAITS, &name).await;
    until_job(&cluster.nodes[other], &run, "running").await;
    let container = the_container(&cluster).await;
    cluster.nodes[leader].signal(Signal::TERM);
    until_leaving(&cluster, other, leader).await;
    let late = submit(&cluster.nodes[other], "true", &name).await;
    assert_eq!(cluster.docker().running(&cluster.ids()), std::slice::from_ref(&container));
    cluster.nodes[leader].signal(Signal::TERM);
    assert_eq!(cluster.nodes[leader].ended().await, 0);
    assert_eq!(cluster.docker().running(&cluster.ids()), std::slice::from_ref(&container), "it was left");
    // The next start takes it up, and takes jobs again.
    cluster.nodes[leader].start();
    cluster.settled().await;
    assert_eq!(cluster.finished(other, &late).await["outcome"], "succeeded");
    assert_eq!(cluster.docker().running(&cluster.ids()), std::slice::from_ref(&container), "it was taken up");
    cluster.nodes[leader].signal(Signal::TERM);
    until_leaving(&cluster, other, leader).await;
    end(&container);
    assert_eq!(cluster.nodes[leader].ended().await, 0);
    let seen = cluster.finished(other, &run).await;
    assert_eq!((&seen["outcome"], &seen["jobs"][0]["attempts"]), (&json!("succeeded"), &json!(1)));
    assert!(cluster.docker().running(&cluster.ids()).is_empty());
}
