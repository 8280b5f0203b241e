//! Two nodes of one cluster: the same delivery at both (row 3), and no quorum (row 11).

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Alone, SECRET, pair, sign};

const PUSH: &str = r#"{"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000",
"after":"1111111111111111111111111111111111111111","repository":{"full_name":"demo"},
"sender":{"login":"ann"},"head_commit":{"id":"1111111111111111111111111111111111111111","message":"first"}}"#;

/// Until this node has applied what makes `condition` true.
async fn until(node: &Alone, condition: impl Fn(&domain::ClusterState) -> bool) {
    let store = node.store().clone();
    store.applied().wait_for(|_| condition(&store.state())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_delivery_at_two_nodes_at_once_is_one() {
    let (one, two) = Box::pin(pair(10_000)).await;
    one.add_repo("demo").await;
    until(&two, |state| !state.repos.is_empty()).await;
    let signature = sign(SECRET, PUSH);
    let (first, second) = tokio::join!(
        one.hook("demo", PUSH, "d-1", "push", Some(&signature)),
        two.hook("demo", PUSH, "d-1", "push", Some(&signature)),
    );
    assert_eq!((first.status(), second.status()), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    let (first, second): (Value, Value) = (first.json().await.unwrap(), second.json().await.unwrap());
    assert_eq!(first["delivery"], second["delivery"]);
    // Whichever leads, both have applied by then what was committed before.
    for node in [&one, &two] {
        node.store().linearizable().await.unwrap();
        assert_eq!(node.store().state().deliveries.len(), 1);
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_change_is_answered_503_and_when_to_come_again() {
    let (one, two) = Box::pin(pair(500)).await;
    two.stop().await;
    let request = one.authorized(reqwest::Method::POST, "/v1/runs").json(&json!({ "script": "true" }));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(one.store().state().runs.is_empty());
    one.stop().await;
}
