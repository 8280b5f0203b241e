//! A byte of a node's log has changed: it does not start, and one command makes a new node of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;

use chaos::cluster::{Cluster, Plan, text};
use chaos::submits::Submits;
use chaos::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_damaged_log_is_refused_and_seeded_anew_by_one_command() {
    let mut cluster = Cluster::planned(&Plan { signs: true, ..Plan::fake(3) }).await;
    let submits = Submits::start(&cluster.nodes);
    submits.more(100).await;
    let accepted = submits.end().await.accepted;
    let old = cluster.nodes[2].id().unwrap();
    cluster.nodes[2].stop();

    let mut files: Vec<_> =
        fs::read_dir(cluster.nodes[2].data().join("log")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&files[0], bytes).unwrap();

    let config = cluster.nodes[2].dir.join("config.toml");
    let refused = cluster.nodes[2].cli(&["node", "--config", text(&config)]);
    assert_ne!(refused.code, 0);
    assert!(
        refused.err.contains("is damaged") && refused.err.contains("docs/operations.md"),
        "{}",
        refused.err
    );

    // While it is away the others go on; asked through one of them, it becomes a new node.
    let reseed = ["cluster", "reseed", "--config", text(&config)];
    let said = cluster.nodes[0].cli(&reseed);
    assert_eq!(said.code, 0, "{said:?}");
    cluster.nodes[2].start();
    until("it votes, under a new id", async || {
        let seen = cluster.nodes[2].try_get("/v1/cluster").await?;
        (seen["voters"].as_array()?.len() == 3).then_some(())
    })
    .await;
    assert_ne!(cluster.nodes[2].id().unwrap(), old);
    cluster.settled().await;
    for run in &accepted {
        cluster.nodes[2].get(&format!("/v1/runs/{run}")).await;
    }
}
