//! The leader is stopped as planned while people submit: it hands over first, and nobody notices.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;

use chaos::cluster::{Cluster, Plan};
use chaos::submits::Submits;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_hands_over_and_no_submit_fails() {
    let mut cluster = Cluster::planned(&Plan::fake(3)).await;
    let mut took = Vec::new();
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let (a, b) = cluster.others(leader);
        // At the nodes that go on: who asks the one that stops is told to ask another.
        let submits = Submits::start([&cluster.nodes[a], &cluster.nodes[b]]);
        submits.more(50).await;
        cluster.nodes[leader].stop();
        submits.more(50).await;
        let seen = submits.end().await;
        assert_eq!(seen.failed, Vec::<String>::new());
        assert_ne!(cluster.leader().await, leader);
        let log = fs::read_to_string(cluster.nodes[leader].log_file()).unwrap();
        let handed = log.lines().rev().find(|line| line.contains("handed over")).expect("it handed over");
        took.push(handed.rsplit_once("millis=").unwrap().1.to_owned());
        cluster.nodes[leader].start();
        cluster.settled().await;
    }
    println!("planned hand-overs, in ms: {}", took.join(", "));
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_given_to_whom_it_is_asked_for() {
    let cluster = Cluster::planned(&Plan::fake(3)).await;
    let (to, ask) = cluster.others(cluster.leader().await);
    let name = cluster.nodes[to].name.clone();
    let said = cluster.nodes[ask].cli(&["cluster", "transfer-leader", &name]).well();
    assert_eq!(said, format!("{name} leads"));
    assert_eq!(cluster.leader().await, to);
    let nobody = cluster.nodes[ask].cli(&["cluster", "transfer-leader", "nobody"]);
    assert_eq!((nobody.code, nobody.err.as_str()), (3, "troupe: no member nobody"));
}
