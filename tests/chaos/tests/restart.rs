//! Every process is killed at once and started again: runs, logs and artifacts are as before, and a build that ran goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use chaos::cluster::Cluster;
use chaos::containers::Watch;
use chaos::follower::Follower;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn submit(cluster: &Cluster, job: Value) -> String {
    let answer = cluster.nodes[0].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_is_there_again() {
    let mut cluster = Cluster::start(3).await;
    let watch = Watch::start();
    let done = submit(
        &cluster,
        json!({ "script": "echo some words; head -c 70000 /dev/zero > zeros", "artifacts": ["zeros"] }),
    )
    .await;
    let failed = submit(&cluster, json!({ "script": "echo bad news; exit 3" })).await;
    let paths = [
        format!("/v1/attempts/{done}.0/1/log"),
        format!("/v1/attempts/{done}.0/1/artifacts/zeros"),
        format!("/v1/attempts/{failed}.0/1/log"),
    ];
    assert_eq!(cluster.finished(0, &done).await["outcome"], "succeeded");
    assert_eq!(cluster.finished(0, &failed).await["outcome"], "failed");
    let runs = cluster.nodes[0].get("/v1/runs").await;
    let mut bytes = Vec::new();
    for path in &paths {
        bytes.push(cluster.nodes[0].bytes(path).await);
    }
    assert_eq!(bytes[0], b"some words\n");
    assert_eq!(bytes[1], [0; 70_000]);

    let long = submit(
        &cluster,
        json!({ "script": "i=0; while [ $i -lt 300 ]; do echo $i; i=$((i + 1)); sleep 0.02; done" }),
    )
    .await;
    let follower = Follower::start(&cluster.nodes.iter().collect::<Vec<_>>(), &format!("{long}.0"));
    follower.sees("50").await;
    let [container] = cluster.docker().running(&cluster.ids()).try_into().expect("one container runs");

    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.start_all();
    cluster.settled().await;

    let (status, lines) = follower.ended().await;
    assert!(status.success());
    assert_eq!(lines, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
    let created = watch.created(&cluster.ids(), &container).await;
    assert_eq!((created.len(), created.last()), (3, Some(&container)), "one container for each job");
    for number in 0..3 {
        let ended = cluster.finished(number, &long).await;
        assert_eq!((&ended["outcome"], &ended["jobs"][0]["attempts"]), (&json!("succeeded"), &json!(1)));
        let node = &cluster.nodes[number];
        let mut seen = node.get("/v1/runs").await;
        let items = seen["items"].as_array_mut().unwrap();
        items.retain(|run| run["id"] != *long);
        assert_eq!(seen, runs, "as {} shows them", node.name);
        for (path, bytes) in paths.iter().zip(&bytes) {
            assert_eq!(node.bytes(path).await, *bytes, "{path} from {}", node.name);
        }
    }
    // Asked to, nodes end by themselves, and in order.
    cluster.nodes.iter_mut().for_each(chaos::node::Node::stop);
}
