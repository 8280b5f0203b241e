//! What a node answers in the life of repositories, runs, jobs and tokens is what `/v1/openapi.json` says.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod openapi_support;
mod support;

use openapi_support::Description;
use reqwest::Method;
use serde_json::{Value, json};
use support::{Alone, SECRET, sign};

/// Nothing listens there, so that an expansion fails at once and without any network.
const NOWHERE: &str = "http://127.0.0.1:1/app.git";

const PUSH: &str = r#"{"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000",
"after":"1111111111111111111111111111111111111111","repository":{"full_name":"team/app"},
"sender":{"login":"ann"},"head_commit":{"id":"1111111111111111111111111111111111111111","message":"first"}}"#;

/// A node that runs jobs as plain processes, and its description.
async fn runner() -> (Alone, Description) {
    let node = Alone::with(|config| config.node.slots = 2).await;
    let description = Description::of(&node).await;
    (node, description)
}

/// Submits a script and waits for the end of its run.
async fn run_to_its_end(node: &Alone, description: &Description, body: Value) -> String {
    let made = description.call(node, "POST", "/v1/runs", Some(body)).await;
    assert_eq!(made.status, 201);
    let id = made.body["id"].as_str().unwrap().to_owned();
    let events = description.call(node, "GET", &format!("/v1/runs/{id}/events"), None).await;
    assert_eq!(events.kind, "text/event-stream");
    let runs: Vec<Value> = events
        .text
        .lines()
        .filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data:")?).unwrap()))
        .collect();
    for run in &runs {
        description.check("a run's event", &json!({ "$ref": "#/components/schemas/RunView" }), run);
    }
    assert!(!runs.last().unwrap()["outcome"].is_null(), "{events:?}");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_hooks_and_deliveries() {
    let (node, description) = runner().await;
    let call = async |method, path: &str, body| description.call(&node, method, path, body).await;
    let repo = json!({ "clone_url": NOWHERE, "webhook_secret": SECRET, "labels": ["linux"] });
    for (status, existed) in [(201, false), (200, true)] {
        let put = call("PUT", "/v1/repos/team%2Fapp", Some(repo.clone())).await;
        assert_eq!((put.status, put.body), (status, json!({ "name": "team/app", "existed": existed })));
    }
    assert_eq!(call("GET", "/v1/repos", None).await.body["items"][0]["name"], "team/app");
    assert_eq!(call("GET", "/v1/repos/team%2Fapp", None).await.body["clone_url"], NOWHERE);
    assert_eq!(call("GET", "/v1/repos/nothing", None).await.is(), (404, "not_found"));
    assert_eq!(call("GET", "/v1/repos/-x", None).await.is(), (400, "invalid"));
    let dispatch = json!({ "workflow": "ci.yml", "git_ref": "main" });
    let accepted = call("POST", "/v1/repos/team%2Fapp/dispatch", Some(dispatch.clone())).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(call("POST", "/v1/repos/x/dispatch", Some(dispatch)).await.is(), (404, "not_found"));
    let operation = description.operation("POST", "/v1/hooks/{repo}");
    let good = sign(SECRET, PUSH);
    let elsewhere = PUSH.replace("team/app", "other/app");
    for (repo, body, event, signature, wanted) in [
        ("team/app", PUSH, "push", good.clone(), (202, "")),
        ("team%2Fapp", PUSH, "push", good.clone(), (202, "")),
        ("team/app", PUSH, "ping", good.clone(), (200, "")),
        ("team/app", PUSH, "push", sign("another", PUSH), (401, "unauthorized")),
        ("team/app", &elsewhere, "push", sign(SECRET, &elsewhere), (403, "forbidden")),
        ("team/other", PUSH, "push", good.clone(), (401, "unauthorized")),
        ("team/app", "{", "push", sign(SECRET, "{"), (400, "invalid")),
    ] {
        let response = node.hook(repo, body, "d-1", event, Some(&signature)).await;
        let answer = description.expect(&operation, response).await;
        assert_eq!(answer.is(), wanted, "{repo} {event} {body}");
        if answer.status == 202 {
            let delivery = answer.body["delivery"].as_str().unwrap();
            let state = call("GET", &format!("/v1/deliveries/{delivery}"), None).await;
            assert_eq!((state.status, &state.body["id"]), (200, &json!(delivery)));
        }
    }
    let secret = json!({ "value": "x" });
    assert_eq!(call("PUT", "/v1/repos/team%2Fapp/secrets/A", Some(secret.clone())).await.status, 201);
    assert_eq!(call("PUT", "/v1/repos/team%2Fapp/secrets/A", Some(secret)).await.status, 200);
    assert_eq!(call("GET", "/v1/repos/team%2Fapp/secrets", None).await.body, json!({ "names": ["A"] }));
    assert_eq!(call("DELETE", "/v1/repos/team%2Fapp/secrets/A", None).await.status, 200);
    assert_eq!(call("DELETE", "/v1/repos/team%2Fapp/secrets/A", None).await.is(), (404, "not_found"));
    let caches = call("GET", "/v1/repos/team%2Fapp/caches?limit=1&key=a", None).await;
    assert_eq!((caches.status, caches.body), (200, json!({ "items": [], "next": null })));
    let removed = call("DELETE", "/v1/repos/team%2Fapp/caches?scope=x", None).await;
    assert_eq!((removed.status, removed.body), (200, json!({ "removed": 0 })));
    assert_eq!(call("GET", "/v1/repos/nothing/caches", None).await.is(), (404, "not_found"));
    let removed = call("DELETE", "/v1/repos/team%2Fapp", None).await;
    assert_eq!((removed.status, removed.body), (200, json!({ "removed": "team/app" })));
    assert_eq!(call("DELETE", "/v1/repos/team%2Fapp", None).await.is(), (404, "not_found"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_its_job_its_log_and_its_artifact() {
    let (node, description) = runner().await;
    let call = async |method, path: &str, body| description.call(&node, method, path, body).await;
    let script = "printf 'out\\0\\377put'; mkdir -p out; printf kept >out/report.txt";
    let body = json!({
        "name": "whole", "script": script, "env": { "A": "b" }, "cpu_millis": 100, "memory_mib": 16,
        "priority": -100, "timeout_seconds": 60, "artifacts": ["out/*"], "labels": [], "image": "",
    });
    let id = run_to_its_end(&node, &description, body).await;
    let run = call("GET", &format!("/v1/runs/{id}"), None).await.body;
    assert_eq!((&run["outcome"], run["jobs"].as_array().unwrap().len()), (&json!("succeeded"), 1), "{run:#}");
    let job = format!("{id}.0");
    for path in ["/v1/runs?outcome=succeeded&limit=1", "/v1/jobs?state=finished&limit=1"] {
        let page = call("GET", path, None).await.body;
        assert_eq!(page["items"].as_array().unwrap().len(), 1, "{path}: {page:#}");
    }
    assert_eq!(call("GET", &format!("/v1/jobs/{job}"), None).await.body["outcome"], "succeeded");
    let attempts = call("GET", &format!("/v1/jobs/{job}/attempts"), None).await.body;
    let attempt = call("GET", &format!("/v1/attempts/{job}/1"), None).await.body;
    assert_eq!(attempts["items"], json!([attempt]));
    assert_eq!(attempt["steps"][0]["exit_code"], 0, "{attempt:#}");
    let log = call("GET", &format!("/v1/attempts/{job}/1/log"), None).await;
    assert_eq!((log.status, log.kind.as_str()), (200, "text/plain; charset=utf-8"));
    assert!(log.text.contains("out\0\u{fffd}put"), "{log:?}");
    let followed = call("GET", &format!("/v1/attempts/{job}/1/log?follow=true&from=3"), None).await;
    assert_eq!(followed.kind, "text/event-stream");
    assert!(followed.text.contains("event:output") && followed.text.contains("event:end"), "{followed:?}");
    let artifacts = call("GET", &format!("/v1/attempts/{job}/1/artifacts"), None).await.body;
    assert_eq!(artifacts["items"], attempt["artifacts"]);
    assert_eq!(artifacts["items"][0]["path"], "out/report.txt", "{artifacts:#}");
    let kept = call("GET", &format!("/v1/attempts/{job}/1/artifacts/out%2Freport.txt"), None).await;
    assert_eq!(
        (kept.status, kept.kind.as_str(), kept.text.as_str()),
        (200, "application/octet-stream", "kept")
    );
    for path in ["/9", "/9/log", "/9/artifacts", "/1/artifacts/nothing"] {
        let missing = call("GET", &format!("/v1/attempts/{job}{path}"), None).await;
        assert_eq!(missing.is(), (404, "not_found"), "{path}");
    }
    for path in ["/x", "/-1/log", "/65536/artifacts"] {
        let bad = call("GET", &format!("/v1/attempts/{job}{path}"), None).await;
        assert_eq!((bad.is(), &bad.body["field"]), ((400, "invalid"), &json!("number")), "{path}");
    }
    let again = call("POST", &format!("/v1/runs/{id}/rerun"), None).await;
    assert_eq!(again.status, 201);
    assert_eq!(call("POST", &format!("/v1/runs/{id}/cancel"), None).await.is(), (409, "conflict"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_submitted_twice_wait_fail_or_are_cancelled() {
    // Without slots nothing is placed.
    let node = Alone::with(|config| config.queue.max_open_jobs = 1).await;
    let description = Description::of(&node).await;
    let call = async |method, path: &str, body| description.call(&node, method, path, body).await;
    let submit = description.operation("POST", "/v1/runs");
    let keyed = async |key: &str, script: &str| {
        let request = node.authorized(Method::POST, "/v1/runs").header("idempotency-key", key);
        description.send(&submit, request.json(&json!({ "script": script }))).await
    };
    let first = keyed("k", "true").await;
    let again = keyed("k", "true").await;
    assert_eq!((first.status, again.status, &again.body["id"]), (201, 200, &first.body["id"]));
    assert_eq!(keyed("k", "false").await.is(), (409, "conflict"));
    assert_eq!(keyed("other", "true").await.is(), (429, "queue_full"));
    assert_eq!(keyed(&"x".repeat(201), "true").await.body["field"], "Idempotency-Key");
    let large = node.authorized(Method::POST, "/v1/runs").body("x".repeat(5000));
    assert_eq!(description.send(&submit, large).await.is(), (413, "too_large"));
    let packed = node.authorized(Method::POST, "/v1/runs").header("content-encoding", "gzip").body("x");
    assert_eq!(description.send(&submit, packed).await.is(), (415, "unsupported_encoding"));
    let id = first.body["id"].as_str().unwrap();
    assert_eq!(call("GET", "/v1/runs?outcome=open", None).await.body["items"][0]["id"], id);
    assert_eq!(call("GET", "/v1/jobs", None).await.body["items"][0]["state"], "queued");
    // Whatever would make more jobs waits until there is room.
    assert_eq!(call("POST", &format!("/v1/runs/{id}/rerun"), None).await.is(), (429, "queue_full"));
    node.add_repo("team/app").await;
    let dispatch = json!({ "workflow": "ci.yml" });
    let full = call("POST", "/v1/repos/team%2Fapp/dispatch", Some(dispatch)).await;
    assert_eq!(full.is(), (429, "queue_full"));
    let hook = node.hook("team/app", PUSH, "d-1", "push", Some(&sign(SECRET, PUSH))).await;
    let full = description.expect(&description.operation("POST", "/v1/hooks/{repo}"), hook).await;
    assert_eq!(full.is(), (429, "queue_full"));
    let cancelled = call("POST", &format!("/v1/runs/{}/cancel", id.to_ascii_lowercase()), None).await;
    assert_eq!((cancelled.status, cancelled.body), (202, json!({ "cancelling": id })));
    assert_eq!(call("GET", &format!("/v1/runs/{id}"), None).await.body["outcome"], "cancelled");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_cluster_and_tokens() {
    let (node, description) = runner().await;
    let call = async |method, path: &str, body| description.call(&node, method, path, body).await;
    assert_eq!(call("GET", "/healthz", None).await.text, "ok\n");
    assert_eq!(call("GET", "/readyz", None).await.body, json!({ "ready": true }));
    assert_eq!(call("GET", "/v1/openapi.json", None).await.body["info"]["title"], "Troupe");
    let cluster = call("GET", "/v1/cluster", None).await.body;
    assert_eq!((&cluster["is_me"], &cluster["leader"]), (&json!(true), &cluster["voters"][0]));
    // The node of the actors joins the state a moment after the cluster begins.
    let store = node.store();
    store.applied().wait_for(|_| !store.state().nodes.is_empty()).await.unwrap();
    let nodes = call("GET", "/v1/nodes", None).await.body;
    let id = nodes["items"][0]["id"].as_str().unwrap();
    for name in [id, "alone"] {
        assert_eq!(call("GET", &format!("/v1/nodes/{name}"), None).await.body["name"], "alone");
        let drained = call("POST", &format!("/v1/nodes/{name}/drain"), Some(json!({ "drain": true }))).await;
        assert_eq!((drained.status, drained.body), (200, json!({ "drain": true })));
    }
    let drain = async |body: Value| call("POST", "/v1/nodes/alone/drain", Some(body)).await;
    let shown = async || call("GET", "/v1/nodes/alone", None).await.body["drain_until"].clone();
    assert_eq!(shown().await, Value::Null);
    let until = json!({ "drain": true, "deadline_seconds": 600 });
    assert_eq!(drain(until.clone()).await.body, until);
    let set = shown().await.as_u64().unwrap();
    assert_eq!(drain(json!({ "drain": true, "deadline_seconds": 0 })).await.status, 200);
    assert!(shown().await.as_u64().is_some_and(|now| now < set), "the last one holds");
    let refused = drain(json!({ "drain": false, "deadline_seconds": 0 })).await;
    assert_eq!((refused.is(), &refused.body["field"]), ((400, "invalid"), &json!("deadline_seconds")));
    assert_eq!(drain(json!({ "drain": false })).await.status, 200);
    assert_eq!(shown().await, Value::Null);
    assert_eq!(call("GET", "/v1/nodes/0000000000000000", None).await.is(), (404, "not_found"));
    assert_eq!(call("GET", "/v1/nodes/nobody", None).await.is(), (404, "not_found"));
    assert_eq!(call("GET", "/v1/nodes/No_Name", None).await.is(), (400, "invalid"));
    let wanted = json!({ "name": "ci", "right": "submit", "expires_in_seconds": 3600 });
    let made = call("POST", "/v1/tokens", Some(wanted)).await;
    assert_eq!(made.status, 201);
    let list = call("GET", "/v1/tokens", None).await.body;
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list:#}");
    let path = format!("/v1/tokens/{}", made.body["id"].as_str().unwrap());
    let revoked = call("DELETE", &path, None).await;
    assert_eq!((revoked.status, revoked.body), (200, json!({ "revoked": made.body["id"] })));
    assert_eq!(call("DELETE", &path, None).await.is(), (404, "not_found"));
    let last = list["items"].as_array().unwrap().iter().find(|token| token["id"] != made.body["id"]).unwrap();
    let last = call("DELETE", &format!("/v1/tokens/{}", last["id"].as_str().unwrap()), None).await;
    assert_eq!(last.is(), (409, "conflict"));
    node.stop().await;
    let lonely = Alone::without_quorum().await;
    assert_eq!(description.call(&lonely, "GET", "/readyz", None).await.is(), (503, "unavailable"));
    lonely.stop().await;
}
