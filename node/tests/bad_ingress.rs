//! What forges, clients and strangers may send to the HTTP address and should not: rows 1, 6, 8, 9, 11, 15, 20, 22, 37
//! and 55 of docs/bad-input.md. After each, nothing is stored and the node answers as before.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use support::{Alone, SECRET, sign, sign_bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SHA: &str = "1111111111111111111111111111111111111111";

fn push(git_ref: &str) -> String {
    json!({ "ref": git_ref, "before": "0".repeat(40), "after": SHA, "repository": { "full_name": "demo" },
        "sender": { "login": "ann" }, "head_commit": { "id": SHA, "message": "first" } })
    .to_string()
}

fn mac(parts: &[&str]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part.as_bytes()));
    mac.finalize().into_bytes().to_vec()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A forge's headers for a body, the signature among them last.
fn headers(forge: &str, event: &str, body: &str) -> Vec<(String, String)> {
    let hex = hex::encode(mac(&[body]));
    let pairs = match forge {
        "github" => vec![
            ("x-github-event", event.to_owned()),
            ("x-github-delivery", "d-1".to_owned()),
            ("x-hub-signature-256", format!("sha256={hex}")),
        ],
        "gitea" | "forgejo" => vec![
            ("x-FORGE-event", event.to_owned()),
            ("x-FORGE-delivery", "d-1".to_owned()),
            ("x-FORGE-signature", hex),
        ],
        _ => {
            let time = now().to_string();
            let signed = mac(&["d-1.", &time, ".", body]);
            let signature = format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(signed));
            vec![
                ("webhook-id", "d-1".to_owned()),
                ("webhook-timestamp", time),
                ("webhook-signature", signature),
            ]
        }
    };
    pairs.into_iter().map(|(name, value)| (name.replace("FORGE", forge), value)).collect()
}

async fn post(node: &Alone, headers: &[(String, String)], body: &str) -> Response {
    let mut request = node.http.post(node.url("/v1/hooks/demo")).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await.unwrap()
}

/// An error in the API's form, with its code; its detail.
async fn problem(answer: Response, status: u16, code: &str) -> String {
    assert_eq!(answer.status().as_u16(), status);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{body}");
    body["detail"].as_str().unwrap().to_owned()
}

const FORGES: [&str; 4] = ["github", "gitea", "forgejo", "generic"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_believed_without_a_signature_over_the_very_bytes() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    let github = push("refs/heads/main");
    let generic = json!({ "ref": "refs/heads/main", "after": SHA }).to_string();
    for forge in FORGES {
        let body = if forge == "generic" { &generic } else { &github };
        let good = headers(forge, "push", body);
        let (name, right) = good.last().unwrap();
        let flipped = if right.ends_with('0') { "1" } else { "0" };
        let bad = [
            None,
            Some(String::new()),
            Some("zz".to_owned()),
            Some("sha256=".to_owned()),
            Some("v1,".to_owned()),
            Some(right[..right.len() - 2].to_owned()),
            Some(format!("{right}00")),
            Some(format!("{}{flipped}", &right[..right.len() - 1])).filter(|_| forge != "generic"),
            Some("\u{e9}".to_owned()),
        ];
        for signature in bad {
            let mut sent = good[..2].to_vec();
            sent.extend(signature.clone().map(|signature| (name.clone(), signature)));
            let detail = problem(post(&node, &sent, body).await, 401, "unauthorized").await;
            assert!(!detail.contains(right), "{forge}: {detail}");
        }
        // The same JSON in other bytes, and no JSON at all: the bytes are what is signed, and they come first.
        for other in [format!(" {body}"), body.replace(':', ": "), "no JSON".to_owned()] {
            problem(post(&node, &good, &other).await, 401, "unauthorized").await;
        }
    }
    assert!(node.store().state().deliveries.is_empty());
    let good = post(&node, &headers("github", "push", &github), &github).await;
    assert_eq!(good.status(), StatusCode::ACCEPTED);
    node.stop().await;
}

/// Resident memory of this process, in bytes; the node is in it.
fn memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_named_and_never_held() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    let large = "x".repeat(5000);
    for (method, path) in [
        (Method::POST, "/v1/hooks/demo"),
        (Method::POST, "/v1/runs"),
        (Method::PUT, "/v1/repos/other"),
        (Method::POST, "/v1/repos/demo/dispatch"),
        (Method::POST, "/v1/tokens"),
        (Method::POST, "/v1/nodes/alone/drain"),
    ] {
        let answer = node.authorized(method, path).body(large.clone()).send().await.unwrap();
        let detail = problem(answer, 413, "too_large").await;
        assert!(detail.contains("4096"), "{path}: {detail}");
    }
    // Without end, on several connections: each is cut off long before this much was sent.
    const MOST: usize = 64 << 20;
    let before = memory();
    let endless = async || {
        let mut stream = node.connect().await;
        let head = "POST /v1/hooks/demo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        let mut sent = 0;
        while sent < MOST && stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        let mut answer = Vec::new();
        // A reset may overtake the answer: that is an end, too.
        drop(stream.read_to_end(&mut answer).await);
        (sent, String::from_utf8(answer).unwrap())
    };
    let all = futures::future::join_all((0..4).map(|_| endless())).await;
    for (sent, answer) in &all {
        assert!(*sent < MOST, "all of it was taken");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert!(node.store().state().deliveries.is_empty());
    assert_eq!(node.get("/v1/runs").await.1["items"], json!([]));
    node.stop().await;
}

/// Sends a byte at a time until the server closes; what it answered.
async fn trickle(node: &Alone, begin: &str, byte: &[u8]) -> String {
    let (mut read, mut write) = tokio::io::split(node.connect().await);
    write.write_all(begin.as_bytes()).await.unwrap();
    let mut clock = tokio::time::interval(Duration::from_millis(10));
    let mut answer = Vec::new();
    let writes = async {
        loop {
            clock.tick().await;
            if write.write_all(byte).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = read.read_to_end(&mut answer) => {}
        () = writes => {}
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slowness_has_an_end_even_when_something_always_comes() {
    let defaults = node::config::Config::default().http;
    assert!(defaults.header_timeout_ms <= 10_000 && defaults.body_timeout_ms <= 10_000);
    let node = Alone::start().await;
    node.add_repo("demo").await;
    let headers = trickle(&node, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"x").await;
    assert!(headers.is_empty() || headers.starts_with("HTTP/1.1 408"), "{headers}");
    let body = "POST /v1/hooks/demo HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n";
    assert!(trickle(&node, body, b"x").await.starts_with("HTTP/1.1 408"));
    let chunks = "POST /v1/hooks/demo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(trickle(&node, chunks, b"1\r\nx\r\n").await.starts_with("HTTP/1.1 408"));
    // Idle after a request was answered, and never a word: the end of the stream is awaited here.
    let answered = node.raw("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    assert_eq!(node.raw("").await, "");
    assert!(node.store().state().deliveries.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_takes_nothing_that_makes_jobs() {
    let node = Alone::with(|config| config.queue.max_open_jobs = 1).await;
    node.add_repo("demo").await;
    let (_, made) = node.post("/v1/runs", json!({ "script": "true" })).await;
    let rerun = format!("/v1/runs/{}/rerun", made["id"].as_str().unwrap());
    let body = push("refs/heads/main");
    let answers = [
        post(&node, &headers("github", "push", &body), &body).await,
        node.authorized(Method::POST, "/v1/runs").json(&json!({ "script": "true" })).send().await.unwrap(),
        node.authorized(Method::POST, &rerun).send().await.unwrap(),
        node.authorized(Method::POST, "/v1/repos/demo/dispatch")
            .json(&json!({ "workflow": "x.yml" }))
            .send()
            .await
            .unwrap(),
    ];
    for answer in answers {
        assert!(answer.headers().contains_key("retry-after"));
        let detail = problem(answer, 429, "queue_full").await;
        assert!(detail.contains('1'), "the limit: {detail}");
    }
    assert!(node.store().state().deliveries.is_empty());
    assert_eq!(node.get("/v1/runs").await.1["items"].as_array().unwrap().len(), 1);
    node.stop().await;
}

/// Row 8.
#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_deep_or_no_text_or_has_huge_numbers_is_refused_by_its_field() {
    let node = Alone::with(|config| config.http.max_hook_bytes = 2 << 20).await;
    node.add_repo("demo").await;
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let pairs = format!("{}1{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
    let with = |field: &str, value: &str| {
        push("refs/heads/main").replacen('{', &format!("{{\"{field}\":{value},"), 1)
    };
    let without = |field: &str| push("refs/heads/main").replace(&format!("\"{field}\""), "\"other\"");
    let mut cases = vec![
        (deep.clone().into_bytes(), "expected"),
        (pairs.clone().into_bytes(), "ref is missing"),
        (without("ref").replacen('{', &format!("{{\"ref\":{deep},"), 1).into_bytes(), "ref"),
        (without("after").replacen('{', &format!("{{\"after\":{pairs},"), 1).into_bytes(), "after"),
        (without("ref").replacen('{', "{\"ref\":1e999999,", 1).into_bytes(), "number"),
        (
            without("after")
                .replacen('{', &format!("{{\"after\":{},", "9".repeat(1_000_000)), 1)
                .into_bytes(),
            "number",
        ),
    ];
    let mut broken = push("refs/heads/main").into_bytes();
    let at = broken.windows(4).position(|part| part == b"main").unwrap();
    broken[at] = 0xff;
    cases.push((broken, "unicode"));
    for (body, words) in cases {
        let answer = node
            .http
            .post(node.url("/v1/hooks/demo"))
            .header("x-github-event", "push")
            .header("x-github-delivery", "d-1")
            .header("x-hub-signature-256", sign_bytes(SECRET, &body))
            .body(body.clone())
            .send()
            .await
            .unwrap();
        let shown = String::from_utf8_lossy(&body[..60]).into_owned();
        let detail = problem(answer, 400, "invalid").await;
        assert!(detail.contains(words) && detail.len() < 1000, "{shown}: {detail}");
    }
    assert!(node.store().state().deliveries.is_empty());
    // In a field that nobody reads, none of it costs anything.
    for (number, value) in [deep, pairs, "9".repeat(1_000_000), "1e400".to_owned()].iter().enumerate() {
        let body = with("unread", value);
        let answer =
            node.hook("demo", &body, &format!("d-{number}"), "push", Some(&sign(SECRET, &body))).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{value:.20}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_run_follows_is_answered_with_a_reason() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    for forge in &FORGES[..3] {
        for (event, action) in [
            ("ping", "none"),
            ("never_heard_of", "none"),
            ("pull_request", "never_heard_of"),
            ("issues", "opened"),
            ("push\u{9}x", "none"),
        ] {
            let body = json!({ "action": action, "repository": { "full_name": "demo" } }).to_string();
            let answer = post(&node, &headers(forge, event, &body), &body).await;
            assert_eq!(answer.status(), StatusCode::OK, "{forge} {event}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!(
                (&body["delivery"], &body["duplicate"]),
                (&Value::Null, &json!(false)),
                "{forge} {event}"
            );
            assert!(!body["reason"].as_str().unwrap().is_empty(), "{forge} {event}");
        }
    }
    assert!(node.store().state().deliveries.is_empty());
    assert!(node.store().state().runs.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refs_that_git_could_take_for_something_else_are_refused_where_they_come_in() {
    let node = Alone::start().await;
    node.add_repo("demo").await;
    for bad in ["refs/heads/-x", "refs/heads/--upload-pack=touch", "-x", "refs/heads/a\nb", "refs/heads/a..b"]
    {
        let body = push(bad);
        let detail =
            problem(post(&node, &headers("github", "push", &body), &body).await, 400, "invalid").await;
        assert!(detail.contains("ref"), "{bad:?}: {detail}");
    }
    for bad in ["-x", "--upload-pack=touch", "a\nb", "", &"x".repeat(300)] {
        let wanted = json!({ "workflow": "x.yml", "git_ref": bad });
        let (status, body) = node.post("/v1/repos/demo/dispatch", wanted).await;
        assert_eq!((status.as_u16(), body["field"].as_str()), (400, Some("git_ref")), "{bad:?}: {body}");
    }
    assert!(node.store().state().deliveries.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ad_hoc_job_may_not_ask_for_is_refused_by_its_field() {
    let node = Alone::start().await;
    let long = "x".repeat(1025);
    for (field, value, words) in [
        ("artifacts", json!(["../x"]), "\"../x\""),
        ("artifacts", json!(["a/../../b"]), ".."),
        ("artifacts", json!(["/etc/passwd"]), "relative"),
        ("artifacts", json!(["a\0b"]), "control"),
        ("artifacts", json!([long]), "1024"),
        ("artifacts", json!(vec!["x"; 65]), "64"),
        ("labels", json!(["two words"]), "spaces"),
        ("cpu_millis", json!(0), "100"),
        ("memory_mib", json!(15), "16"),
        ("priority", json!(101), "100"),
        ("timeout_seconds", json!(0), "604800"),
        ("name", json!("a\nb"), "control"),
        ("image", json!("-v /:/host"), "-"),
        ("env", json!({ "A=B": "x" }), "="),
        ("script", json!(" "), "empty"),
    ] {
        let mut wanted = json!({ "script": "true" });
        wanted[field] = value;
        let (status, body) = node.post("/v1/runs", wanted).await;
        assert_eq!((status.as_u16(), body["field"].as_str()), (400, Some(field)), "{body}");
        assert!(body["detail"].as_str().unwrap().contains(words), "{words:?} in {body}");
    }
    // There is no field for anything that would give a container the machine.
    for field in ["privileged", "devices", "volumes", "network", "pid", "options", "cap_add", "user"] {
        let (status, body) = node.post("/v1/runs", json!({ "script": "true", field: true })).await;
        assert_eq!(status.as_u16(), 400, "{body}");
        assert!(body["detail"].as_str().unwrap().contains(field), "{body}");
    }
    assert!(node.store().state().runs.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_parameter_filter_and_id_is_named() {
    let node = Alone::start().await;
    let (_, made) = node.post("/v1/runs", json!({ "script": "true" })).await;
    let run = made["id"].as_str().unwrap();
    let job = format!("{run}.0");
    let mut fields = BTreeSet::new();
    for (path, field) in [
        ("/v1/runs?limit=-1".to_owned(), "limit"),
        ("/v1/runs?limit=99999999999999999999".to_owned(), "limit"),
        ("/v1/runs?cursor=".to_owned(), "cursor"),
        (format!("/v1/runs?cursor={job}"), "cursor"),
        ("/v1/runs?repo=%ff".to_owned(), "repo"),
        ("/v1/runs?repo=../x".to_owned(), "repo"),
        ("/v1/runs?outcome=Failed".to_owned(), "outcome"),
        ("/v1/jobs?limit=0".to_owned(), "limit"),
        (format!("/v1/jobs?cursor={run}"), "cursor"),
        ("/v1/jobs?state=opened".to_owned(), "state"),
        ("/v1/repos?cursor=%00".to_owned(), "cursor"),
        ("/v1/repos?limit=501".to_owned(), "limit"),
        ("/v1/repos/..%2f..".to_owned(), "repo"),
        ("/v1/nodes?limit=1".to_owned(), "limit"),
        ("/v1/nodes/No%20Such".to_owned(), "node"),
        ("/v1/tokens?x".to_owned(), "x"),
        ("/v1/deliveries/%F0%9F%8E%AD".to_owned(), "delivery"),
        (format!("/v1/runs/{run}?verbose=1"), "verbose"),
        (format!("/v1/runs/{}", "z".repeat(4096)), "run"),
        ("/v1/jobs/x".to_owned(), "job"),
        (format!("/v1/jobs/{job}/attempts?x=1"), "x"),
        (format!("/v1/attempts/{job}/-1"), "number"),
        (format!("/v1/attempts/{job}/65536"), "number"),
        (format!("/v1/attempts/{job}/1/log?from=-1"), "from"),
        (format!("/v1/attempts/{job}/1/log?follow=yes"), "follow"),
        (format!("/v1/attempts/{job}/1/log?tail=1"), "tail"),
    ] {
        let answer = node.authorized(Method::GET, &path).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        assert_eq!((status, body["field"].as_str()), (400, Some(field)), "{path}: {body}");
        assert!(body["detail"].as_str().unwrap().len() < 500, "{path}: {body}");
        fields.insert(field);
    }
    assert_eq!(fields.len(), 15);
    let resumed = node.authorized(Method::GET, &format!("/v1/attempts/{job}/1/log?follow=true"));
    let (status, body) = {
        let answer = resumed.header("last-event-id", "x").send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!((status, body["field"].as_str()), (400, Some("Last-Event-ID")), "{body}");
    let key = node.authorized(Method::POST, "/v1/runs").header("idempotency-key", "");
    let answer = key.json(&json!({ "script": "true" })).send().await.unwrap();
    let detail = problem(answer, 400, "invalid").await;
    assert!(detail.contains("Idempotency-Key"), "{detail}");
    let (status, body) = node.post("/v1/tokens", json!({ "name": "x", "right": "root" })).await;
    assert!(status == 400 && body["detail"].as_str().unwrap().contains("root"), "{body}");
    node.stop().await;
}
