//! The bulk links from the leader to both followers are as full as they get: Raft's heartbeats have connections of their own,
//! and nobody begins an election. Prints what it measured; what it asserts is that nothing happened.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chaos::cluster::{Cluster, Plan};
use chaos::node::Node;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Of the file that is fetched again and again.
const BYTES: usize = 256 << 20;
/// Readers at each of two followers, or twice as many at the leader.
const READERS: usize = 4;
/// Of each phase.
const LENGTH: Duration = Duration::from_secs(10);

const HEARTBEATS: &str = "troupe_raft_heartbeat_seconds";

/// The buckets of the leader's heartbeats: how many took at most so many microseconds.
async fn heartbeats(leader: &Node) -> BTreeMap<u64, f64> {
    let head = format!("{HEARTBEATS}_bucket{{le=\"");
    let text =
        reqwest::get(format!("http://{}/metrics", leader.metrics())).await.unwrap().text().await.unwrap();
    let buckets = text.lines().filter_map(|line| {
        let (bound, count) = line.strip_prefix(&head)?.split_once("\"} ")?;
        let micros = bound.parse::<f64>().map_or(u64::MAX, |bound| (bound * 1e6) as u64);
        Some((micros, count.parse().ok()?))
    });
    buckets.collect()
}

/// How many there were between two looks, and the bounds that half of them and 99 of 100 kept.
fn between(before: &BTreeMap<u64, f64>, after: &BTreeMap<u64, f64>) -> (f64, [u64; 2]) {
    let counts: Vec<(u64, f64)> =
        after.iter().map(|(bound, count)| (*bound, count - before.get(bound).unwrap_or(&0.0))).collect();
    let all = counts.last().map_or(0.0, |(_, count)| *count);
    let within =
        |part: f64| counts.iter().find(|(_, count)| *count >= all * part).map_or(0, |(bound, _)| *bound);
    (all, [within(0.5), within(0.99)])
}

/// A finished run on this node that keeps one large file.
async fn large_file(cluster: &Cluster, on: usize) -> String {
    let script = format!("head -c {BYTES} /dev/urandom > large");
    let job = json!({ "script": script, "artifacts": ["large"], "labels": [cluster.nodes[on].name] });
    let answer = cluster.nodes[on].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let run = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let ended = cluster.finished(on, &run).await;
    assert_eq!(ended["outcome"], "succeeded", "{ended}");
    format!("/v1/attempts/{run}.0/1/artifacts/large")
}

/// Reads the file at a follower, which fetches it from the leader, until told to stop.
async fn read(request: reqwest::RequestBuilder, stop: Arc<AtomicBool>, bytes: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let mut answer = request.try_clone().expect("no body").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        while let Some(chunk) = answer.chunk().await.unwrap() {
            bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Reads the file at these nodes for a while; answers the bytes that came.
async fn load(cluster: &Cluster, at: &[usize], file: &str) -> u64 {
    let (stop, bytes, mut readers) = (Arc::new(AtomicBool::new(false)), Arc::default(), JoinSet::new());
    for number in at {
        for _ in 0..2 * READERS / at.len() {
            let request = cluster.nodes[*number].request(Method::GET, file);
            readers.spawn(read(request, Arc::clone(&stop), Arc::clone(&bytes)));
        }
    }
    tokio::time::sleep(LENGTH).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    bytes.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread")]
async fn full_bulk_links_begin_no_election() {
    let cluster = Cluster::planned(&Plan::fake(3)).await;
    let leader = cluster.leader().await;
    let file = large_file(&cluster, leader).await;
    let node = &cluster.nodes[leader];
    let term = node.metric("troupe_raft_term").await.unwrap();
    let (first, second) = cluster.others(leader);

    let mut seen = heartbeats(node).await;
    // The second is as much work for the leader and its machine, and nothing of it goes over a link.
    for (what, at) in
        [("nothing", vec![]), ("at the leader", vec![leader]), ("over bulk", vec![first, second])]
    {
        let carried = load(&cluster, &at, &file).await;
        let now = heartbeats(node).await;
        let (count, [half, most]) = between(&seen, &now);
        seen = now;
        println!(
            "read {what}: {} MiB/s; {count} heartbeats in {} s, half within {half} us, 99 of 100 within {most} us",
            (carried / LENGTH.as_secs()) >> 20,
            LENGTH.as_secs(),
        );
        assert!(count > 0.0 && (at.is_empty() || carried > 0));
    }
    assert_eq!(node.metric("troupe_raft_term").await, Some(term), "somebody began an election");
    assert_eq!(cluster.leader().await, leader);
}
