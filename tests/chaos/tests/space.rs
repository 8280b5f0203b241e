//! A disk that fills up: new work is refused before the end, reads go on, and with room again all goes on without a restart.

use std::fs;
use std::process::Command;

use chaos::cluster::{Cluster, Plan};
use chaos::node::Node;
use chaos::small_disk::SmallDisk;
use chaos::until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const DISK_MIB: u64 = 160;
const MIN_FREE_MIB: u64 = 48;

async fn submit(node: &Node) -> (StatusCode, Value) {
    let request = node.request(Method::POST, "/v1/runs");
    let sent = request.json(&json!({ "script": "true", "labels": ["no-such-node"] })).send().await;
    let response = sent.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

/// Until a submit at this node is answered so; those accepted meanwhile are remembered.
async fn until_submit(node: &Node, status: StatusCode, accepted: &mut Vec<String>) -> Value {
    until(format!("{} answers a submit with {status}", node.name), async || {
        let (found, body) = submit(node).await;
        if found == StatusCode::CREATED {
            accepted.push(body["id"].as_str().expect("its id").to_owned());
        }
        (found == status).then_some(body)
    })
    .await
}

#[tokio::test]
async fn a_full_disk_refuses_new_work_and_recovers_without_a_restart() {
    let at = tempfile::tempdir().expect("a directory");
    let Some(disk) = SmallDisk::mount(at.path(), DISK_MIB) else {
        eprintln!("skipped: no right to mount a disk here");
        return;
    };
    let plan = Plan {
        raft: format!(", min_free_mib = {MIN_FREE_MIB}, log_segment_mib = 1"),
        within: Some(disk.path().to_owned()),
        ..Plan::fake(3)
    };
    let cluster = Cluster::planned(&plan).await;
    let mut accepted = Vec::new();
    for node in &cluster.nodes {
        until_submit(node, StatusCode::CREATED, &mut accepted).await;
    }

    // Nearly full: no new work anywhere, but what is there can be ended.
    disk.leave(MIN_FREE_MIB / 2);
    for node in &cluster.nodes {
        let problem = until_submit(node, StatusCode::INSUFFICIENT_STORAGE, &mut accepted).await;
        assert_eq!(problem["code"], "no_space", "{problem}");
        assert!(
            problem["detail"].as_str().is_some_and(|words| words.contains("raft.min_free_mib")),
            "{problem}"
        );
    }
    let cancel = format!("/v1/runs/{}/cancel", accepted[0]);
    let sent = cluster.nodes[0].request(Method::POST, &cancel).send().await.expect("an answer");
    assert!(sent.status().is_success(), "{}", sent.status());

    // Full: nothing at all, and everything can still be read.
    disk.leave(2);
    let cancel = format!("/v1/runs/{}/cancel", accepted[1]);
    for node in &cluster.nodes {
        until(format!("{} refuses every change", node.name), async || {
            let sent = node.request(Method::POST, &cancel).send().await.ok()?;
            (sent.status() == StatusCode::INSUFFICIENT_STORAGE).then_some(())
        })
        .await;
        for run in &accepted {
            assert!(node.try_get(&format!("/v1/runs/{run}")).await.is_some(), "{run} cannot be read");
        }
    }

    // Nobody starts a node again here: one that had ended would not answer.
    disk.empty();
    for node in &cluster.nodes {
        until_submit(node, StatusCode::CREATED, &mut accepted).await;
    }
    for node in &cluster.nodes {
        for run in &accepted {
            let path = format!("/v1/runs/{run}");
            until(format!("{} has run {run}", node.name), async || node.try_get(&path).await).await;
        }
    }
}

#[tokio::test]
async fn a_leader_whose_disk_is_nearly_full_lets_another_lead_and_new_work_goes_on() {
    let at = tempfile::tempdir().expect("a directory");
    let Some(disk) = SmallDisk::mount(at.path(), DISK_MIB) else {
        eprintln!("skipped: no right to mount a disk here");
        return;
    };
    let plan =
        Plan { raft: format!(", min_free_mib = {MIN_FREE_MIB}, log_segment_mib = 1"), ..Plan::fake(3) };
    let mut cluster = Cluster::planned(&plan).await;
    // The data of one goes to the small disk while it is stopped.
    let data = cluster.nodes[0].data();
    cluster.nodes[0].stop();
    let moved = disk.path().join("data");
    let copied = Command::new("cp").arg("-a").args([&data, &moved]).status().expect("cp");
    assert!(copied.success());
    fs::remove_dir_all(&data).expect("it was there");
    std::os::unix::fs::symlink(&moved, &data).expect("a link in its place");
    cluster.nodes[0].start();
    cluster.settled().await;
    until("it leads", async || {
        // Refused while another has not heard of it: asked again.
        let asked = cluster.nodes[0].cli(&["cluster", "transfer-leader", "node-1"]);
        (asked.code == 0 && cluster.leader().await == 0).then_some(())
    })
    .await;
    let mut accepted = Vec::new();
    until_submit(&cluster.nodes[0], StatusCode::CREATED, &mut accepted).await;

    disk.leave(MIN_FREE_MIB / 2);
    until("another leads", async || (cluster.leader().await != 0).then_some(())).await;
    for other in &cluster.nodes[1..] {
        until_submit(other, StatusCode::CREATED, &mut accepted).await;
    }
    // Through itself it takes none: its own copy of the queue has no room.
    until_submit(&cluster.nodes[0], StatusCode::INSUFFICIENT_STORAGE, &mut accepted).await;
    // Still it has what the others accepted.
    for run in &accepted {
        let path = format!("/v1/runs/{run}");
        until(format!("it has run {run}"), async || cluster.nodes[0].try_get(&path).await).await;
    }
}
