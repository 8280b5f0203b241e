//! Members and join tokens over HTTP, at a node that is a cluster of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::Alone;

async fn delete(node: &Alone, path: &str) -> (StatusCode, Value) {
    let answer = node.authorized(Method::DELETE, path).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn the_only_member_leads_and_cannot_be_removed() {
    let node = Alone::start().await;
    let (status, list) = node.get("/v1/cluster/members").await;
    let members = list["items"].as_array().unwrap();
    assert_eq!((status, members.len()), (StatusCode::OK, 1));
    assert_eq!((&members[0]["name"], &members[0]["role"]), (&json!("alone"), &json!("leader")));
    assert_eq!((&members[0]["behind"], &members[0]["leaving"]), (&json!(0), &json!(false)));
    let id = members[0]["id"].as_str().unwrap();
    for member in ["alone", id] {
        let (status, problem) = delete(&node, &format!("/v1/cluster/members/{member}")).await;
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("conflict")));
        assert!(problem["detail"].as_str().unwrap().contains("the only voter"), "{problem}");
    }
    let (status, _) = delete(&node, "/v1/cluster/members/nobody").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(node.store().state().removed.is_empty());
}

#[tokio::test]
async fn leadership_goes_nowhere_where_nobody_else_is() {
    let node = Alone::start().await;
    let path = "/v1/cluster/transfer-leader";
    let (status, leads) = node.post(path, json!({ "to": "alone" })).await;
    assert_eq!((status, &leads["name"]), (StatusCode::OK, &json!("alone")));
    let (status, problem) = node.post(path, json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("no other voter"), "{problem}");
    assert_eq!(node.post(path, json!({ "to": "nobody" })).await.0, StatusCode::NOT_FOUND);
    assert_eq!(node.post(path, json!({ "whom": "alone" })).await.0, StatusCode::BAD_REQUEST);
    // It still accepts: a hand-over that was refused was not begun.
    assert_eq!(node.post("/v1/tokens", json!({ "name": "t", "right": "read" })).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn a_join_token_opens_nothing_here_ends_within_an_hour_and_is_bounded() {
    let node = Alone::start().await;
    let make = async |body: Value| node.post("/v1/tokens", body).await;
    let (status, made) = make(json!({ "name": "n2", "right": "join" })).await;
    assert_eq!(status, StatusCode::CREATED);
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("troupe-join."), "{token}");
    let read = node.http.get(node.url("/v1/runs")).bearer_auth(token).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::UNAUTHORIZED);
    let (_, list) = node.get("/v1/tokens").await;
    let listed = list["items"].as_array().unwrap().iter().find(|t| t["id"] == made["id"]).unwrap();
    assert_eq!((&listed["right"], &listed["used_by"]), (&json!("join"), &Value::Null));
    let lasts = listed["expires_at"].as_u64().unwrap() - listed["created_at"].as_u64().unwrap();
    assert!((3_590_000..=3_600_000).contains(&lasts), "{lasts}");

    for (body, field) in [
        (json!({ "name": "n2", "right": "join", "expires_in_seconds": 604_801 }), "expires_in_seconds"),
        (json!({ "name": "n2", "right": "join", "expires_in_seconds": 0 }), "expires_in_seconds"),
        (json!({ "name": "", "right": "join" }), "name"),
        (json!({ "name": "x".repeat(101), "right": "join" }), "name"),
        (json!({ "name": "a\u{1b}", "right": "join" }), "name"),
    ] {
        let (status, problem) = make(body).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{problem}");
    }
    let (status, _) = delete(&node, &format!("/v1/tokens/{}", made["id"].as_str().unwrap())).await;
    assert_eq!(status, StatusCode::OK);
    assert!(node.store().state().join_tokens.is_empty());
}
