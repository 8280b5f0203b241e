//! What was committed is known to every node that is asked for it by its id.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use chaos::cluster::Cluster;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_known_to_every_node_as_soon_as_it_is_made() {
    let cluster = Cluster::start(3).await;
    let job = json!({ "script": "true", "labels": ["no-such-node"] });
    // Several, since a node that is quick enough would know one by itself.
    for turn in 0..12 {
        let made = cluster.nodes[turn % 3].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
        assert_eq!(made.status(), StatusCode::CREATED);
        let id = made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
        for node in &cluster.nodes {
            for path in [format!("/v1/runs/{id}"), format!("/v1/runs/{id}/events")] {
                let answer = node.request(Method::GET, &path).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK, "{path} of turn {turn}");
            }
        }
    }
    let unknown =
        cluster.nodes[1].request(Method::GET, "/v1/runs/01J9ZC3V5W6X7Y8Z9A0B1C2D3E").send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}
