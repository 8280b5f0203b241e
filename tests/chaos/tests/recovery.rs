//! The drill of docs/operations.md, "A majority is lost for good": step by step what it says, on real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;

use chaos::cluster::{Cluster, Plan, text};
use chaos::submits::Submits;
use chaos::until;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_are_destroyed_and_the_third_goes_on_as_a_new_cluster() {
    let mut cluster = Cluster::planned(&Plan { signs: true, ..Plan::fake(3) }).await;
    let submits = Submits::start(&cluster.nodes);
    submits.more(100).await;
    let accepted = submits.end().await.accepted;
    let old = cluster.nodes[0].get("/v1/cluster").await["id"].as_str().unwrap().to_owned();
    // What was acknowledged is on a majority; the node that has the most is the one to recover. Here it is the first.
    for run in &accepted {
        cluster.nodes[0].get(&format!("/v1/runs/{run}")).await;
    }

    // 1. The others are gone for good.
    for lost in [1, 2] {
        cluster.nodes[lost].kill();
        fs::remove_dir_all(cluster.nodes[lost].data()).unwrap();
    }
    // 2. The survivor is stopped, and shows what it has; nothing is changed by that.
    let config = cluster.nodes[0].dir.join("config.toml");
    let show = ["cluster", "recover", "--config", text(&config), "--json"];
    let running = cluster.nodes[0].cli(&show);
    assert!(running.code == 6 && running.err.contains("used by another process"), "{running:?}");
    cluster.nodes[0].stop();
    let looked = cluster.nodes[0].cli(&show);
    assert_eq!(looked.code, 4, "{looked:?}");
    assert!(looked.err.contains("nothing was changed"), "{}", looked.err);
    let found: Value = serde_json::from_str(&looked.out).unwrap();
    assert_eq!((found["cluster"].as_str(), found["members"].as_array().unwrap().len()), (Some(&*old), 3));
    assert_eq!(found["new_cluster"], Value::Null);
    // 3. It becomes a cluster of its own.
    let done = cluster.nodes[0].cli(&[&show[..], &["--yes"]].concat()).well();
    let new = serde_json::from_str::<Value>(&done).unwrap()["new_cluster"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    cluster.nodes[0].start();
    until("it leads the new cluster", async || {
        let seen = cluster.nodes[0].try_get("/v1/cluster").await?;
        (seen["id"] == new && seen["is_me"] == true).then_some(())
    })
    .await;
    // All that was acknowledged is there, and it accepts more.
    for run in &accepted {
        assert!(cluster.nodes[0].try_get(&format!("/v1/runs/{run}")).await.is_some(), "run {run} is lost");
    }
    let more = Submits::start(&cluster.nodes[..1]);
    more.more(10).await;
    assert_eq!(more.end().await.failed, Vec::<String>::new());
    // 4. New nodes join; the old names are free.
    for joining in [1, 2] {
        let name = cluster.nodes[joining].name.clone();
        fs::remove_dir_all(cluster.nodes[joining].dir.join("pki")).unwrap();
        let token = cluster.nodes[0].cli(&["token", "create", &name, "--right", "join"]).well();
        cluster.nodes[joining].join(&token);
    }
    until("three vote", async || {
        let seen = cluster.nodes[0].try_get("/v1/cluster").await?;
        (seen["voters"].as_array()?.len() == 3).then_some(())
    })
    .await;
    cluster.settled().await;
    for run in &accepted {
        cluster.nodes[2].get(&format!("/v1/runs/{run}")).await;
    }
}
