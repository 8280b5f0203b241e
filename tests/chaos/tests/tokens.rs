//! Secrets of tokens stay at the node that made or checked them (row 54 of docs/bad-input.md).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::path::{Path, PathBuf};

use chaos::cluster::Cluster;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The files below `dir` that hold these bytes.
fn holding(dir: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            found.extend(holding(&path, bytes));
        } else if kind.is_file() && fs::read(&path).unwrap().windows(bytes.len()).any(|part| part == bytes) {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_written_nowhere_but_in_the_file_of_the_first_one() {
    let cluster = Cluster::start(3).await;
    let (follower, _) = cluster.others(cluster.leader().await);
    let node = &cluster.nodes[follower];
    // Made at a follower, so that it is the leader who appends it; used there, so that the submit is forwarded.
    let body = json!({ "name": "ci", "right": "submit" });
    let made = node.request(Method::POST, "/v1/tokens").json(&body).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let secret = made.json::<Value>().await.unwrap()["token"].as_str().expect("shown once").to_owned();
    let submit = reqwest::Client::new().post(node.url() + "/v1/runs").bearer_auth(&secret);
    let job = json!({ "script": "echo a-word-that-is-replicated", "labels": ["no-such-node"] });
    assert_eq!(submit.json(&job).send().await.unwrap().status(), StatusCode::CREATED);

    let dir = cluster.dir.path();
    assert_eq!(holding(dir, secret.as_bytes()), Vec::<PathBuf>::new());
    let files = holding(dir, node.token.as_bytes());
    assert!(files.len() == 1 && files[0].ends_with("data/admin-token"), "{files:?}");
    // The search would have found it: what was replicated is in a node's log.
    assert!(!holding(dir, b"a-word-that-is-replicated").is_empty());
}
