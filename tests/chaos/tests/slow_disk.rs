//! A disk that takes a second for each sync (row 49 of docs/bad-input.md): it is said, nobody who has a quorum without it waits,
//! and nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::time::Duration;

use chaos::cluster::{Cluster, Plan};
use chaos::node::Node;
use chaos::submits::Submits;
use chaos::until;

/// Longer than an election takes, and than a node's log keeps silent about.
const LONG: Duration = Duration::from_millis(1200);

fn plan() -> Plan {
    Plan { shim: true, ..Plan::fake(3) }
}

/// Makes a node's disk slow, or as it was.
fn disk(node: &Node, longer: Duration) {
    node.shim.as_ref().expect("planned with a shim").sync_takes(longer);
}

/// Until the node's log says that its disk is slow.
async fn says_so(node: &Node) {
    until(format!("{} says that its disk is slow", node.name), async || {
        fs::read_to_string(node.log_file()).ok()?.contains("the disk is slow").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_with_a_slow_disk_delays_nobody_and_catches_up() {
    let cluster = Cluster::planned(&plan()).await;
    let leader = cluster.leader().await;
    let (slow, other) = cluster.others(leader);
    disk(&cluster.nodes[slow], LONG);
    let pair = Submits::start([&cluster.nodes[leader], &cluster.nodes[other]]);
    pair.more(200).await;
    says_so(&cluster.nodes[slow]).await;
    let seen = pair.end().await;
    assert_eq!(seen.failed, Vec::<String>::new(), "the two others are a quorum");
    assert_eq!(cluster.leader().await, leader);
    disk(&cluster.nodes[slow], Duration::ZERO);
    seen.all_are_in(&cluster.nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_slow_disk_loses_nothing_that_it_acknowledged() {
    let cluster = Cluster::planned(&plan()).await;
    let leader = cluster.leader().await;
    let all = Submits::start(&cluster.nodes);
    all.more(30).await;
    disk(&cluster.nodes[leader], LONG);
    says_so(&cluster.nodes[leader]).await;
    all.more(10).await;
    disk(&cluster.nodes[leader], Duration::ZERO);
    all.more(30).await;
    all.end().await.all_are_in(&cluster.nodes).await;
}
