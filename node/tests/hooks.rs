//! Webhooks of several forges at the HTTP address, and what a node makes of one that tells of several refs.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod support;

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Alone, SECRET, sign, sign_bytes};

const OLD: &str = "2222222222222222222222222222222222222222";
const NEW: &str = "1111111111111111111111111111111111111111";
const ZERO: &str = "0000000000000000000000000000000000000000";

async fn post(node: &Alone, headers: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
    let mut request = node.http.post(node.url("/v1/hooks/demo")).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn data_center(node: &Alone, id: &str, body: &str) -> (StatusCode, Value) {
    let signature = sign(SECRET, body);
    let headers =
        [("x-event-key", "repo:refs_changed"), ("x-request-id", id), ("x-hub-signature", &*signature)];
    post(node, &headers, body).await
}

fn change(git_ref: &str, to: &str) -> Value {
    json!({ "refId": git_ref, "fromHash": OLD, "toHash": to })
}

/// The project in upper case, as a Data Center has it in webhooks and not in URLs.
fn push(changes: &[Value]) -> String {
    json!({ "actor": { "name": "ann" }, "changes": changes,
        "repository": { "slug": "demo", "project": { "key": "TEAM" } } })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_several_refs_is_a_delivery_for_each_and_none_is_lost() {
    let node = Alone::start().await;
    let repo = json!({ "clone_url": "https://git.example/scm/team/demo.git", "webhook_secret": SECRET });
    assert_eq!(node.put("/v1/repos/demo", repo).await.0, StatusCode::CREATED);
    let body = push(&[
        change("refs/heads/a", NEW),
        change("refs/heads/gone", ZERO),
        change("refs/heads/b", NEW),
        change("refs/tags/v1", NEW),
    ]);
    let (status, first) = data_center(&node, "d-1", &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    assert_eq!(first["duplicate"], false);
    assert_eq!(first["reason"], "refs/heads/gone was deleted");
    let ids = |answer: &Value| {
        let more = answer["more"].as_array().unwrap().iter();
        more.chain([&answer["delivery"]]).map(|id| id.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(&first).len(), 3);
    let refs = || -> BTreeSet<String> {
        let state = node.store().state();
        state.deliveries.iter().map(|(_, delivery)| delivery.event.git_ref.clone()).collect()
    };
    let all = ["refs/heads/a", "refs/heads/b", "refs/tags/v1"].map(str::to_owned);
    assert_eq!(refs(), BTreeSet::from(all));
    // The same webhook again, and the same body under another id: the deliveries of before.
    for id in ["d-1", "d-2"] {
        let (status, again) = data_center(&node, id, &body).await;
        assert_eq!((status, &again["duplicate"]), (StatusCode::ACCEPTED, &json!(true)), "{again}");
        assert_eq!(ids(&again), ids(&first));
    }
    assert_eq!(refs().len(), 3);
    // One alone has no others, and none at all is no delivery.
    let (_, alone) = data_center(&node, "d-3", &push(&[change("refs/heads/c", NEW)])).await;
    assert!(alone["more"].is_null() && alone["reason"].is_null(), "{alone}");
    let (status, none) = data_center(&node, "d-4", &push(&[change("refs/heads/gone", ZERO)])).await;
    assert_eq!((status, &none["delivery"]), (StatusCode::OK, &Value::Null), "{none}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlabs_token_is_taken_and_another_repositorys_payload_is_not() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    let body = |project: &str| {
        json!({ "object_kind": "push", "ref": "refs/heads/main", "before": ZERO, "after": NEW, "checkout_sha": NEW,
            "user_username": "ann", "project": { "path_with_namespace": project } })
        .to_string()
    };
    let headers = [("x-gitlab-event", "Push Hook"), ("idempotency-key", "d-1"), ("x-gitlab-token", SECRET)];
    let (status, answer) = post(&node, &headers, &body("demo")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let (status, answer) = post(&node, &headers, &body("group/other")).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (403, Some("forbidden")), "{answer}");
    let wrong = [headers[0], headers[1], ("x-gitlab-token", "another secret")];
    let (status, answer) = post(&node, &wrong, &body("demo")).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (401, Some("unauthorized")), "{answer}");
    assert_eq!(node.store().state().deliveries.iter().count(), 1);
    node.stop().await;
}

/// Rows 12, 13 and 14 of docs/bad-input.md: who did it is who the forge says, a fork's commits are known as such, and texts of
/// others are data.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_of_a_fork_is_a_delivery_that_says_so_and_its_texts_are_data() {
    let node = Alone::start().await;
    node.add_repo("team/demo").await;
    let (hostile, branch) = ("$(touch x) `id`\"; rm -rf / #", "x$(id)`id`;\"'");
    let body = json!({ "action": "synchronize", "number": 7, "before": OLD, "sender": { "login": "eve" },
        "repository": { "full_name": "team/demo" },
        "pull_request": { "number": 7, "title": hostile, "user": { "login": "eve" }, "merged": false,
            "head": { "ref": branch, "sha": NEW, "repo": { "full_name": "eve/demo" } },
            "base": { "ref": "main", "sha": OLD, "repo": { "full_name": "team/demo" } } } })
    .to_string();
    let answer = node.hook("team/demo", &body, "d-1", "pull_request", Some(&sign(SECRET, &body))).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let state = node.store().state();
    let (_, delivery) = state.deliveries.iter().next().unwrap();
    let event = &delivery.event;
    assert_eq!((event.kind.as_str(), event.from_fork, &*event.sender), ("pull_request", true, "eve"));
    assert_eq!(
        (&*event.git_ref, &*event.base_ref, &*event.commit),
        ("refs/pull/7/head", "refs/heads/main", NEW)
    );
    assert_eq!(event.title, hostile);
    let payload: Value = serde_json::from_str(&event.payload).unwrap();
    assert_eq!(payload["pull_request"]["head"]["ref"], branch);
    assert_eq!((&payload["action"], &payload["before"]), (&json!("synchronize"), &json!(OLD)));
    node.stop().await;
}

/// Row 7 of docs/bad-input.md: nothing is inflated.
#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_webhook_is_not_read() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    // 64 MiB, in less than a kilobyte.
    let bomb = "head -c 67108864 /dev/zero | gzip | gzip";
    let bomb = std::process::Command::new("sh").args(["-c", bomb]).output().unwrap().stdout;
    assert!((1..4096).contains(&bomb.len()), "{} bytes", bomb.len());
    for signed in [false, true] {
        let mut request = node.http.post(node.url("/v1/hooks/demo")).header("x-github-event", "push");
        if signed {
            request = request.header("x-hub-signature-256", sign_bytes(SECRET, &bomb));
        }
        let answer =
            request.header("content-encoding", "gzip, gzip").body(bomb.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip"] {
        let headers = [("x-github-event", "push"), ("content-encoding", encoding)];
        let (status, problem) = post(&node, &headers, "{}").await;
        assert_eq!((status.as_u16(), &problem["code"]), (415, &json!("unsupported_encoding")), "{encoding}");
    }
    node.stop().await;
}
