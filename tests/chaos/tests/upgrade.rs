//! Nodes of two builds in one cluster (row 50 of docs/bad-input.md): one after the other is upgraded under load, and one is
//! taken back again; at every step all of them work together, and nothing that was acknowledged is lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::PathBuf;

use chaos::cluster::{Cluster, Plan};
use chaos::previous;
use chaos::submits::Submits;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Runs a job on each node, submitted at and read from another: every protocol between nodes is used.
async fn jobs_run_everywhere(cluster: &Cluster) {
    for (number, node) in cluster.nodes.iter().enumerate() {
        let (first, second) = cluster.others(number);
        let job = json!({ "script": format!("echo run by {}", node.name), "labels": [node.name] });
        let answer = cluster.nodes[first].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let run = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
        let ended = cluster.finished(second, &run).await;
        assert_eq!(ended["outcome"], "succeeded", "{ended}");
        let log = cluster.nodes[second].bytes(&format!("/v1/attempts/{run}.0/1/log")).await;
        assert_eq!(String::from_utf8(log).unwrap(), format!("run by {}\n", node.name));
    }
}

async fn replace(cluster: &mut Cluster, number: usize, binary: Option<PathBuf>) {
    let node = &mut cluster.nodes[number];
    node.stop();
    node.binary = binary;
    node.start();
    cluster.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_after_the_other_is_upgraded_and_one_taken_back_and_nothing_is_lost() {
    let previous = match previous::binary() {
        Ok(previous) => previous,
        Err(why) => return println!("skipped: {why}"),
    };
    println!("previous build: commit {}", previous.commit);
    let plan = Plan { binary: Some(previous.binary.clone()), ..Plan::fake(3) };
    let mut cluster = Cluster::planned(&plan).await;
    let submits = Submits::start(&cluster.nodes);
    submits.more(30).await;
    for number in 0..3 {
        replace(&mut cluster, number, None).await;
        submits.more(30).await;
        jobs_run_everywhere(&cluster).await;
    }
    let leader = cluster.leader().await;
    replace(&mut cluster, leader, Some(previous.binary)).await;
    submits.more(30).await;
    jobs_run_everywhere(&cluster).await;
    let seen = submits.end().await;
    seen.all_are_in(&cluster.nodes).await;
    // Not acknowledged is what a node was asked that was just stopped, or what was on its way to a leader that was.
    println!("{} acknowledged, {} not: {:?}", seen.accepted.len(), seen.failed.len(), seen.failed);
}
