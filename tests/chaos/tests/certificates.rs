//! All certificates of a cluster, and its CA, are replaced while it works: no submit fails, and nobody is started again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::path::{Path, PathBuf};

use chaos::cluster::{Cluster, Plan, text, troupe};
use chaos::node::Node;
use chaos::submits::Submits;
use chaos::until;
use rustix::process::Signal;

const EXPIRY: &str = "troupe_certificate_expiry_timestamp_seconds";

/// As an operator does it: beside it, then over it.
fn replace(old: &Path, bytes: &[u8]) {
    let aside = old.with_extension("new");
    fs::write(&aside, bytes).unwrap();
    fs::rename(aside, old).unwrap();
}

fn pki(node: &Node, file: &str) -> PathBuf {
    node.dir.join("pki").join(file)
}

/// Gives a node another certificate of this CA and waits until it says that it uses it. Told by a signal, or found by itself.
async fn renew(cluster: &Cluster, node: &Node, ca: &str, days: u32, tell: bool) {
    let before = node.metric(EXPIRY).await.unwrap();
    let out = cluster.dir.path().join(format!("{}-{ca}-{days}", node.name));
    let ca = cluster.dir.path().join(ca);
    let days = days.to_string();
    troupe(&["ca", "issue", &node.name, "--ca", text(&ca), "--out", text(&out), "--days", &days]);
    for file in [format!("{}-key.pem", node.name), format!("{}.pem", node.name)] {
        replace(&pki(node, &file), &fs::read(out.join(&file)).unwrap());
    }
    if tell {
        node.signal(Signal::HUP);
    }
    until(format!("{} uses its new certificate", node.name), async || {
        (node.metric(EXPIRY).await? != before).then_some(())
    })
    .await;
}

/// The words about a reload that each node has said.
fn reloads(node: &Node) -> usize {
    let log = fs::read_to_string(node.log_file()).unwrap();
    log.lines().filter(|line| line.contains("the node's certificate was read again")).count()
}

/// Gives all nodes these certificates of CAs.
async fn trust(cluster: &Cluster, bundle: &[u8]) {
    for node in &cluster.nodes {
        let before = reloads(node);
        replace(&pki(node, "ca.pem"), bundle);
        node.signal(Signal::HUP);
        until(format!("{} has read its files", node.name), async || (reloads(node) > before).then_some(()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_the_ca_are_replaced_under_load_and_no_submit_fails() {
    let mut cluster = Cluster::planned(&Plan::fake(3)).await;
    let submits = Submits::start(&cluster.nodes);
    submits.more(20).await;

    // Each certificate for a longer one: the first is found by the node itself.
    for (number, node) in cluster.nodes.iter().enumerate() {
        renew(&cluster, node, "ca", 1000, number > 0).await;
        submits.more(20).await;
    }
    // What does not stand is refused, and nothing else happens.
    let node = &cluster.nodes[0];
    let good = fs::read(pki(node, "node-1.pem")).unwrap();
    let end = node.metric(EXPIRY).await.unwrap();
    replace(&pki(node, "node-1.pem"), b"no certificate");
    node.signal(Signal::HUP);
    until("node-1 says that it does not use it", async || {
        let log = fs::read_to_string(node.log_file()).unwrap();
        log.contains("the files of the node's certificate are not used").then_some(())
    })
    .await;
    assert_eq!(node.metric(EXPIRY).await, Some(end));
    submits.more(20).await;
    replace(&pki(node, "node-1.pem"), &good);

    // Another CA: known to all, then used by all, then alone.
    let other = cluster.dir.path().join("other");
    troupe(&["ca", "init", "--dir", text(&other)]);
    let new = fs::read(other.join("ca.pem")).unwrap();
    let both = [fs::read(cluster.dir.path().join("ca/ca.pem")).unwrap(), new.clone()].concat();
    trust(&cluster, &both).await;
    for node in &cluster.nodes {
        renew(&cluster, node, "other", 100, true).await;
        submits.more(20).await;
    }
    trust(&cluster, &new).await;
    submits.more(20).await;
    let seen = submits.end().await;
    assert_eq!(seen.failed, Vec::<String>::new());

    // All links anew: by the leader's end, and by a start with the new CA alone.
    let leader = cluster.leader().await;
    cluster.nodes[leader].stop();
    cluster.nodes[leader].start();
    cluster.settled().await;
    let submits = Submits::start(&cluster.nodes);
    submits.more(30).await;
    let later = submits.end().await;
    seen.all_are_in(&cluster.nodes).await;
    later.all_are_in(&cluster.nodes).await;
}
