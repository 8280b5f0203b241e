//! A Docker engine that is not there when a node starts, as after a reboot of the machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::os::unix::fs::symlink;

use chaos::cluster::{Cluster, Plan};
use chaos::containers::Docker;
use chaos::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_without_its_engine_and_serves_when_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    symlink("/var/run/docker.sock", &socket).unwrap();
    let docker = Docker { socket: Some(socket.clone()) };
    let mut cluster = Cluster::planned(&Plan { docker, ..Plan::docker(1) }).await;
    cluster.nodes[0].stop();
    std::fs::remove_file(&socket).unwrap();
    cluster.start_node(0);
    // It is a member, with or without an engine.
    until("it leads", async || {
        assert!(cluster.nodes[0].has_ended().is_none(), "{}", cluster.nodes[0].last_words());
        cluster.nodes[0].try_get("/v1/cluster").await?["is_me"].as_bool()?.then_some(())
    })
    .await;
    symlink("/var/run/docker.sock", &socket).unwrap();
    until("it serves", async || {
        let nodes = cluster.nodes[0].try_get("/v1/nodes").await?;
        (nodes["items"][0]["lost"] == false).then_some(())
    })
    .await;
}
