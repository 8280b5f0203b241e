//! A build is paused: its container stands still, whoever leads, and goes on when it is resumed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use chaos::cluster::Cluster;
use chaos::containers::{Docker, Watch};
use chaos::follower::Follower;
use chaos::until;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_build_stands_still_under_every_leader_and_goes_on_in_the_same_container() {
    let mut cluster = Cluster::start(3).await;
    let (docker, watch) = (Docker::default(), Watch::start());
    let leader = cluster.leader().await;
    let (other, third) = cluster.others(leader);
    let script = "i=0; while [ $i -lt 300 ]; do echo $i; i=$((i + 1)); sleep 0.02; done";
    let label = cluster.nodes[other].name.clone();
    let run = cluster.nodes[third].cli(&["submit", "--label", &label, script]).well();
    let job = format!("{run}.0");
    let follower = Follower::start(&[&cluster.nodes[other], &cluster.nodes[third]], &job);
    follower.sees("20").await;
    let [container] = docker.running(&cluster.ids()).try_into().expect("one container runs");

    let said = cluster.nodes[third].cli(&["run", "pause", &run]);
    assert_eq!((said.code, said.out.contains("being paused")), (0, true), "{said:?}");
    let still = async |cluster: &Cluster, number: usize, wanted: bool| {
        until(format!("node {number} sees it stand still: {wanted}"), async || {
            let job = cluster.nodes[number].try_get(&format!("/v1/jobs/{job}")).await?;
            (job["paused_at"].is_u64() == wanted).then_some(())
        })
        .await;
    };
    still(&cluster, other, true).await;
    assert_eq!(docker.paused(&cluster.ids()).join(" "), container);
    let paused = cluster.nodes[third].get(&format!("/v1/runs/{run}")).await;
    assert_eq!((&paused["outcome"], paused["paused_at"].is_u64()), (&Value::Null, true), "{paused}");
    let seen = follower.lines();

    cluster.nodes[leader].kill();
    until("another leads", async || {
        let seen = cluster.nodes[third].try_get("/v1/cluster").await?;
        cluster.by_id(seen["leader"].as_str()?).filter(|next| *next != leader)
    })
    .await;
    let said = cluster.nodes[third].cli(&["run", "show", &run]).well();
    assert!(said.contains("paused") && said.contains("stands still: its run is paused"), "{said}");
    assert_eq!(docker.paused(&cluster.ids()).join(" "), container);
    let later = follower.lines();
    assert!(later.len() <= seen.len() + 10, "it went on: {} lines, then {}", seen.len(), later.len());

    let said = cluster.nodes[third].cli(&["run", "resume", &run]);
    assert_eq!(said.code, 0, "{said:?}");
    still(&cluster, third, false).await;
    let (status, lines) = follower.ended().await;
    assert!(status.success());
    assert_eq!(lines, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(watch.created(&cluster.ids(), &container).await, [container]);
    let ended = cluster.finished(third, &run).await;
    assert_eq!((&ended["outcome"], &ended["jobs"][0]["attempts"]), (&json!("succeeded"), &json!(1)));
    let late = cluster.nodes[third].cli(&["run", "pause", &run]);
    assert!(late.code != 0 && late.err.contains("finished"), "{late:?}");
}
