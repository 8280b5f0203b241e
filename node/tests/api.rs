//! The API over real sockets, against a node alone: rows 1, 6, 9, 11, 15, 25, 51 and 55 of the bad-input list, and what
//! people do every day.

mod support;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Alone, SECRET, sign};

const PUSH: &str = r#"{"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000",
"after":"1111111111111111111111111111111111111111","repository":{"full_name":"demo"},
"sender":{"login":"ann"},"head_commit":{"id":"1111111111111111111111111111111111111111","message":"first"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_needs_its_signature() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    for signature in [None, Some("sha256=zz".to_owned()), Some(sign("another secret", PUSH))] {
        let answer = node.hook("demo", PUSH, "d-1", "push", signature.as_deref()).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{signature:?}");
    }
    assert!(node.store().state().deliveries.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_accepted_once() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    let signature = sign(SECRET, PUSH);
    let mut ids = Vec::new();
    // The second has the same id, the third another id over the same body: the HMAC does not cover the id.
    for id in ["d-1", "d-1", "d-2"] {
        let answer = node.hook("demo", PUSH, id, "push", Some(&signature)).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let body: Value = answer.json().await.unwrap();
        ids.push(body["delivery"].as_str().unwrap().to_owned());
    }
    assert_eq!((&ids[0], &ids[0]), (&ids[1], &ids[2]));
    assert_eq!(node.store().state().deliveries.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_repositorys_body_is_forbidden() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    let body = PUSH.replace("\"demo\"", "\"other/thing\"");
    let answer = node.hook("demo", &body, "d-1", "push", Some(&sign(SECRET, &body))).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_and_unknown_events_have_a_reason_and_no_run() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    let body = r#"{"zen":"x","repository":{"full_name":"demo"}}"#;
    for event in ["ping", "never_heard_of"] {
        let answer = node.hook("demo", body, event, event, Some(&sign(SECRET, body))).await;
        assert_eq!(answer.status(), StatusCode::OK, "{event}");
        let body: Value = answer.json().await.unwrap();
        assert!(!body["reason"].as_str().unwrap().is_empty());
    }
    assert!(node.store().state().deliveries.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_cut_off() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    let declared = node.hook("demo", &"x".repeat(5000), "d", "push", None).await;
    assert_eq!(declared.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // Chunked, and never ending: the answer comes while the client still sends.
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(1000)));
    let request = node.http.post(node.url("/v1/hooks/demo")).body(reqwest::Body::wrap_stream(endless));
    match request.send().await {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE),
        // The server may close before the client has read the answer; it must not go on reading.
        Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
    }
    assert_eq!(node.get("/healthz").await.0, StatusCode::OK);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_headers_idle_connections_and_slow_bodies_end() {
    let node = Alone::start().await;
    for sent in ["GET /healthz HTTP/1.1\r\nHost: x\r\n", ""] {
        assert_eq!(node.raw(sent).await, "", "{sent:?}");
    }
    node.add_repo("demo").await;
    let slow = "POST /v1/hooks/demo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc";
    assert!(node.raw(slow).await.starts_with("HTTP/1.1 408"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_what_they_are_for() {
    let node = Alone::start().await;
    let bare = node.http.get(node.url("/v1/runs")).send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    let wrong = node.http.get(node.url("/v1/runs")).bearer_auth("troupe_00").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let (status, made) = node.post("/v1/tokens", json!({ "name": "ci", "right": "read" })).await;
    assert_eq!(status, StatusCode::CREATED);
    let reader = made["token"].as_str().unwrap().to_owned();
    let read = node.http.get(node.url("/v1/runs")).bearer_auth(&reader).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    let submit = node.http.post(node.url("/v1/runs")).bearer_auth(&reader).json(&json!({ "script": "true" }));
    assert_eq!(submit.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_never_shown_and_schemes_are_few() {
    let node = Alone::start().await;
    let body = json!({ "clone_url": "https://u:s3cret@example.com/demo.git", "webhook_secret": SECRET });
    assert_eq!(node.put("/v1/repos/demo", body).await.0, StatusCode::CREATED);
    for path in ["/v1/repos", "/v1/repos/demo"] {
        let text = node.get(path).await.1.to_string();
        assert!(
            text.contains("example.com/demo.git") && !text.contains("s3cret") && !text.contains(SECRET),
            "{text}"
        );
    }
    for url in ["ext::sh -c x", "file:///etc", "--upload-pack=x"] {
        let (status, problem) =
            node.put("/v1/repos/bad", json!({ "clone_url": url, "webhook_secret": SECRET })).await;
        assert_eq!(
            (status, problem["field"].as_str()),
            (StatusCode::BAD_REQUEST, Some("clone_url")),
            "{url}"
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_parameters_are_named() {
    let node = Alone::start().await;
    for (path, field) in [
        ("/v1/runs?limit=0", "limit"),
        ("/v1/runs?limit=501", "limit"),
        ("/v1/runs?limit=x", "limit"),
        ("/v1/runs?cursor=!", "cursor"),
        ("/v1/runs?outcome=nice", "outcome"),
        ("/v1/runs?limti=5", "limti"),
        ("/v1/runs?limit=5&limit=6", "limit"),
        ("/v1/jobs?state=nice", "state"),
        ("/v1/runs/not-an-id", "run"),
        ("/v1/jobs/1.2.3", "job"),
    ] {
        let (status, problem) = node.get(path).await;
        assert_eq!(
            (status, problem["field"].as_str()),
            (StatusCode::BAD_REQUEST, Some(field)),
            "{path}: {problem}"
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ad_hoc_job_is_submitted_once_listed_in_pages_and_cancelled() {
    let node = Alone::start().await;
    let submit = |key: &'static str, script: &'static str| {
        node.authorized(reqwest::Method::POST, "/v1/runs")
            .header("idempotency-key", key)
            .json(&json!({ "script": script }))
            .send()
    };
    let first: Value = submit("k1", "true").await.unwrap().json().await.unwrap();
    let again: Value = submit("k1", "true").await.unwrap().json().await.unwrap();
    assert_eq!((&first["id"], &again["duplicate"]), (&again["id"], &json!(true)));
    assert_eq!(submit("k1", "false").await.unwrap().status(), StatusCode::CONFLICT);
    for key in ["k2", "k3"] {
        assert_eq!(submit(key, "true").await.unwrap().status(), StatusCode::CREATED);
    }
    let (_, page) = node.get("/v1/runs?limit=2").await;
    let next = page["next"].as_str().unwrap();
    let (_, rest) = node.get(&format!("/v1/runs?limit=2&cursor={next}")).await;
    assert_eq!((page["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (2, 1));
    assert_eq!(rest["next"], Value::Null);
    let id = first["id"].as_str().unwrap();
    assert_eq!(node.post(&format!("/v1/runs/{id}/cancel"), json!({})).await.0, StatusCode::ACCEPTED);
    let (_, run) = node.get(&format!("/v1/runs/{id}")).await;
    assert_eq!(run["outcome"], "cancelled", "{run}");
    let events =
        node.authorized(reqwest::Method::GET, &format!("/v1/runs/{id}/events")).send().await.unwrap();
    assert!(events.text().await.unwrap().contains("\"outcome\":\"cancelled\""));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_when_to_come_again() {
    let node = Alone::with(|config| config.queue.max_open_jobs = 1).await;
    assert_eq!(node.post("/v1/runs", json!({ "script": "true" })).await.0, StatusCode::CREATED);
    let request = node.authorized(reqwest::Method::POST, "/v1/runs").json(&json!({ "script": "true" }));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().contains_key("retry-after"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_cluster_is_not_ready() {
    let node = Alone::without_quorum().await;
    let answer = node.http.get(node.url("/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_past_the_cap_of_an_address_are_closed_and_places_come_back() {
    let node = Alone::with(|config| {
        config.http.max_connections_per_address = 2;
        config.http.header_timeout_ms = 60_000;
    })
    .await;
    let first = node.connect().await;
    let second = node.connect().await;
    // No deadline ends this one: it is closed because the two before it hold the places.
    let refused = node.raw("").await;
    assert_eq!(refused, "");
    drop((first, second));
    // Until the server has seen that they ended; nextest's limit ends this test if it never does.
    while !node
        .raw("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .starts_with("HTTP/1.1 200")
    {}
    node.stop().await;
}

/// Row 10 of docs/bad-input.md: with every place taken, the cluster's own port and what runs here are as before.
#[tokio::test(flavor = "multi_thread")]
async fn connections_past_the_cap_in_all_are_closed_and_builds_go_on() {
    let node = Alone::with(|config| {
        config.node.slots = 1;
        config.http.max_connections = 3;
        config.http.header_timeout_ms = 60_000;
    })
    .await;
    let (status, run) = node.post("/v1/runs", json!({ "script": "true" })).await;
    assert_eq!(status, StatusCode::CREATED);
    let held = [node.connect().await, node.connect().await, node.connect().await];
    assert_eq!(node.raw("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await, "");
    let (id, mut applied) = (run["id"].as_str().unwrap().parse().unwrap(), node.store().applied());
    let store = node.store().clone();
    let over = |_: &u64| store.state().runs.get(&id).is_some_and(|run| run.outcome.is_some());
    applied.wait_for(over).await.unwrap();
    drop(held);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_the_token_that_opened_them() {
    let node = Alone::with(|config| config.node.slots = 1).await;
    // The first takes the slot and runs until it is told to end, the second waits.
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (_, run) = node.post("/v1/runs", json!({ "script": "echo here; sleep 600" })).await;
        runs.push(run["id"].as_str().unwrap().to_owned());
        let store = node.store();
        store.applied().wait_for(|_| store.state().attempts.iter().next().is_some()).await.unwrap();
    }
    let log = format!("/v1/attempts/{}.0/1/log?follow=true", runs[0]);
    let events = format!("/v1/runs/{}/events", runs[1]);
    // Ended by hand, and ended by its time, which is long enough to open two streams.
    for lasts in [None, Some(5)] {
        let wanted = json!({ "name": "watcher", "right": "read", "expires_in_seconds": lasts });
        let (_, made) = node.post("/v1/tokens", wanted).await;
        let mut streams = Vec::new();
        for path in [&log, &events] {
            let request = node.http.get(node.url(path)).bearer_auth(made["token"].as_str().unwrap());
            let mut stream = request.send().await.unwrap();
            assert_eq!(stream.status(), StatusCode::OK, "{path}");
            let first = stream.chunk().await.unwrap().expect("a first event");
            streams.push((path, stream, first.to_vec()));
        }
        if lasts.is_none() {
            let revoke = format!("/v1/tokens/{}", made["id"].as_str().unwrap());
            assert_eq!(node.authorized(reqwest::Method::DELETE, &revoke).send().await.unwrap().status(), 200);
        }
        for (path, mut stream, mut all) in streams {
            while let Some(more) = stream.chunk().await.unwrap() {
                all.extend_from_slice(&more);
            }
            // Broken off: neither the log nor the run has come to its end.
            let text = String::from_utf8(all).unwrap();
            assert!(!text.contains("event:end") && !text.contains("\"outcome\":\""), "{path}: {text}");
        }
    }
    // What runs is ended, so that no process outlives the test.
    for run in &runs {
        assert_eq!(node.post(&format!("/v1/runs/{run}/cancel"), json!({})).await.0, StatusCode::ACCEPTED);
    }
    let store = node.store();
    store
        .applied()
        .wait_for(|_| store.state().runs.iter().all(|(_, run)| run.outcome.is_some()))
        .await
        .unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_of_no_use_later_is_refused_at_once() {
    let node = Alone::start().await;
    let many: Vec<_> = (0..65).map(|n| n.to_string()).collect();
    for (field, value) in [
        ("labels", json!([""])),
        ("labels", json!(["two words"])),
        ("labels", json!(["x".repeat(101)])),
        ("labels", json!(many)),
        ("artifacts", json!(["["])),
        ("artifacts", json!(["../x"])),
        ("name", json!("a\u{1b}]0;x")),
    ] {
        let (status, problem) = node.post("/v1/runs", json!({ "script": "true", field: value })).await;
        assert_eq!((status.as_u16(), problem["field"].as_str()), (400, Some(field)), "{value}: {problem}");
    }
    node.add_repo("demo").await;
    let repo = json!({ "clone_url": "https://h/x.git", "webhook_secret": SECRET, "labels": [""] });
    assert_eq!(node.put("/v1/repos/demo", repo).await.1["field"], "labels");
    let repo = json!({ "clone_url": "https://h/x.git", "webhook_secret": "whsec_***" });
    assert_eq!(node.put("/v1/repos/demo", repo).await.1["field"], "webhook_secret");
    let bad = json!({ "workflow": "a\nb.yml" });
    assert_eq!(node.post("/v1/repos/demo/dispatch", bad).await.1["field"], "workflow");
    let bad = json!({ "workflow": "a.yml", "git_ref": "-x" });
    assert_eq!(node.post("/v1/repos/demo/dispatch", bad).await.1["field"], "git_ref");
    assert_eq!(node.post("/v1/tokens", json!({ "name": "a\nb", "right": "read" })).await.1["field"], "name");
    assert_eq!(node.get("/v1/runs?repo=a//b").await.1["field"], "repo");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_filtered_by_repository_and_outcome() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    for script in ["true", "false"] {
        assert_eq!(node.post("/v1/runs", json!({ "script": script })).await.0, StatusCode::CREATED);
    }
    let (_, all) = node.get("/v1/runs").await;
    let first = all["items"][0]["id"].as_str().unwrap();
    node.post(&format!("/v1/runs/{first}/cancel"), json!({})).await;
    for (filter, count) in [
        ("", 2),
        ("?outcome=open", 1),
        ("?outcome=cancelled", 1),
        ("?outcome=succeeded", 0),
        ("?repo=demo", 0),
        ("?repo=nothing", 0),
    ] {
        let (_, page) = node.get(&format!("/v1/runs{filter}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{filter}: {page:#}");
    }
    for (filter, count) in [("?state=queued", 1), ("?state=finished", 1), ("?state=running", 0)] {
        let (_, page) = node.get(&format!("/v1/jobs{filter}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{filter}: {page:#}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatch_an_event_and_a_rerun_are_made_once_for_each_key() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    let post = async |path: &str, key: &str, body: &Value| {
        let request = node.authorized(reqwest::Method::POST, path).header("idempotency-key", key).json(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (dispatch, event) = (json!({ "workflow": "ci.yml" }), json!({ "event_type": "deploy" }));
    for (path, body, other) in [
        ("/v1/repos/demo/dispatch", &dispatch, json!({ "workflow": "other.yml" })),
        ("/v1/repos/demo/events", &event, json!({ "event_type": "other" })),
    ] {
        let (key, another) = (format!("k {path}"), format!("another {path}"));
        let (status, first) = post(path, &key, body).await;
        assert_eq!((status, &first["duplicate"]), (202, &json!(false)), "{first}");
        let (status, again) = post(path, &key, body).await;
        assert_eq!((status, &again["delivery"]), (202, &first["delivery"]));
        assert_eq!(again["duplicate"], true);
        assert_eq!(post(path, &key, &other).await.0, 409);
        assert_ne!(post(path, &another, body).await.1["delivery"], first["delivery"]);
        let (_, without) = node.post(path, body.clone()).await;
        assert_eq!(without["duplicate"], false);
        assert_eq!(post(path, &"x".repeat(201), body).await.1["field"], "Idempotency-Key");
    }
    let (_, run) = node.post("/v1/runs", json!({ "script": "true" })).await;
    let id = run["id"].as_str().unwrap();
    node.post(&format!("/v1/runs/{id}/cancel"), json!({})).await;
    let path = format!("/v1/runs/{id}/rerun");
    let (status, first) = post(&path, "r", &json!({})).await;
    let (same, again) = post(&path, "r", &json!({})).await;
    assert_eq!((status, same, &first["id"]), (201, 200, &again["id"]));
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    let made = first["id"].as_str().unwrap();
    node.post(&format!("/v1/runs/{made}/cancel"), json!({})).await;
    assert_eq!(post(&format!("/v1/runs/{made}/rerun"), "r", &json!({})).await.0, 409);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_has_a_limit_of_its_own() {
    let node = Alone::with(|config| {
        config.http.max_hook_bytes = 26_214_400;
        config.http.body_timeout_ms = 60_000;
    })
    .await;
    node.add_repo("demo").await;
    let large = |bytes: usize| {
        let message = "x".repeat(bytes);
        PUSH.replace("\"first\"", &format!("\"{message}\""))
    };
    let body = large(20 << 20);
    let answer = node.hook("demo", &body, "d-1", "push", Some(&sign(SECRET, &body))).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    // It is refused for its length, before anything of it is read.
    let head =
        "POST /v1/hooks/demo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 26214401\r\n\r\n";
    let answer = node.raw(head).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("26214400 bytes"), "{answer}");
    let (status, _) = node.post("/v1/repos/demo/events", json!({ "event_type": "x".repeat(5000) })).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    node.stop().await;
}
