//! Pushes whose repository holds what it should not: rows 17, 18, 19, 20, 21, 22, 25 and 37 of docs/bad-input.md, through
//! a real git server. Whoever pushed sees what is wrong and where; nothing of it runs.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use fixtures::GitServer;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Alone, SECRET, sign};

const GOOD: &str = "on: push\njobs:\n  a:\n    runs-on: no-such-node\n    steps:\n      - run: 'true'\n";

async fn push(node: &Alone, commit: &str) -> String {
    let body = json!({ "ref": "refs/heads/main", "after": commit, "repository": { "full_name": "demo" },
        "sender": { "login": "ann" } })
    .to_string();
    let answer = node.hook("demo", &body, commit, "push", Some(&sign(SECRET, &body))).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    answer.json::<Value>().await.unwrap()["delivery"].as_str().unwrap().to_owned()
}

/// The delivery once this is so; nextest ends a test that waits for ever.
async fn until(node: &Alone, delivery: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut applied = node.store().applied();
    loop {
        let (_, seen) = node.get(&format!("/v1/deliveries/{delivery}")).await;
        if wanted(&seen) {
            return seen;
        }
        applied.changed().await.unwrap();
    }
}

async fn register(node: &Alone, url: &str) {
    let body = json!({ "clone_url": url, "webhook_secret": SECRET });
    assert_eq!(node.put("/v1/repos/demo", body).await.0, StatusCode::CREATED);
}

/// A workflow whose one job, and its one step, have these lines beside the usual.
fn workflow(job: &str, step: &str) -> String {
    let (job, step) = (job.replace('\n', "\n    "), step.replace('\n', "\n        "));
    format!(
        "on: push\njobs:\n  a:\n    runs-on: linux\n    {job}\n    steps:\n      - run: 'true'\n        {step}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_asks_for_too_much_is_a_run_that_failed_where_it_is_wrong() {
    let long = "x".repeat(4096);
    let long_artifact = format!("x-troupe: {{artifacts: {long}}}");
    let long_id = format!("id: {long}");
    let cases = [
        // Keys that are not supported, expressions, the graph.
        (
            "strategy",
            workflow("strategy: {matrix: {os: '${{ github.ref }}'}}", ""),
            "5:24: matrix.os must be a list",
        ),
        (
            "too-many",
            workflow(&format!("strategy: {{matrix: {{a: [{}1]}}}}", "1, ".repeat(300)), ""),
            "the limit is 256",
        ),
        (
            "group",
            workflow("", "").replace("runs-on: linux", "runs-on: {group: g}"),
            "4:22: groups of runners are not",
        ),
        (
            "action",
            workflow("", "").replace("run: 'true'", "uses: a/b@v1"),
            "7:15: the action \"a/b@v1\" is not",
        ),
        (
            "expression",
            workflow("env: {A: '${{ secret.X }}'}", ""),
            "5:14: Unrecognized named-value: 'secret'",
        ),
        ("condition", workflow("if: github.ref = 'x'", ""), "5:9: "),
        ("wrong-type", workflow("if: fromJSON(github.ref)", ""), "5:9: "),
        ("nested-deep", workflow(&format!("if: {}1{}", "(".repeat(60), ")".repeat(60)), ""), "5:9: "),
        ("needs", workflow("needs: zz", ""), "5:12: job \"a\" needs \"zz\""),
        ("circle", workflow("needs: a", ""), "the needs of job \"a\" lead in a circle"),
        // Anything that would give the container the machine.
        (
            "socket",
            workflow("container: {image: x, volumes: ['/var/run/docker.sock:/s']}", ""),
            "5:37: volumes are by name",
        ),
        ("extension", workflow("x-troupe: {privileged: true}", ""), "5:16: \"privileged\" is not supported"),
        // Names that could be taken for places.
        ("id-climbs", workflow("", "id: ../x"), "a step's id is \"../x\""),
        ("id-encoded", workflow("", "id: '%2e%2e'"), "a step's id is \"%2e%2e\""),
        ("id-nul", workflow("", "id: \"a\\0b\""), "a step's id is"),
        ("id-long", workflow("", &long_id), "a step's id is"),
        ("artifact-climbs", workflow("x-troupe: {artifacts: a/../../x}", ""), "5:27: x-troupe.artifacts has"),
        (
            "artifact-encoded",
            workflow("x-troupe: {artifacts: '%2e%2e/x'}", ""),
            "5:27: x-troupe.artifacts has",
        ),
        ("artifact-nul", workflow("x-troupe: {artifacts: \"a\\0b\"}", ""), "5:27: x-troupe.artifacts has"),
        ("artifact-long", workflow(&long_artifact, ""), "5:27: x-troupe.artifacts has"),
    ];
    let node = Alone::start().await;
    let git = GitServer::start(GOOD).unwrap();
    register(&node, &git.url()).await;
    let mut commit = String::new();
    for (name, text, _) in &cases {
        commit = git.commit(&format!(".github/workflows/{name}.yml"), text).unwrap();
    }
    let delivery = push(&node, &commit).await;
    let expanded = until(&node, &delivery, |seen| seen["state"] == "expanded").await;
    assert_eq!(expanded["runs"].as_array().unwrap().len(), cases.len() + 1, "the good one, too");
    let (_, listed) = node.get("/v1/runs").await;
    let runs = listed["items"].as_array().unwrap();
    for (name, text, wanted) in &cases {
        let path = format!(".github/workflows/{name}.yml");
        let run = runs.iter().find(|run| run["path"] == path.as_str()).unwrap();
        assert_eq!(run["outcome"], "failed", "{name}: {run}");
        let error = run["error"].as_str().unwrap();
        let place = error.strip_prefix(&format!("{path}:")).unwrap_or_else(|| panic!("{name}: {error}"));
        let numbers: Vec<_> = place.splitn(3, ':').take(2).map(str::parse::<u32>).collect();
        assert!(numbers.iter().all(Result::is_ok), "line and column: {error}");
        assert!(error.contains(wanted), "{name}: {error}\n{text}");
        assert!(error.len() < 2000, "{name}: {} bytes", error.len());
        let id = run["id"].as_str().unwrap();
        assert!(node.get(&format!("/v1/runs/{id}")).await.1.get("jobs").is_none(), "nothing of it runs");
    }
    // One bad file is no reason not to run a good one.
    let good = runs.iter().find(|run| run["path"] == ".github/workflows/ci.yml").unwrap();
    assert_eq!(good["outcome"], Value::Null);
    node.stop().await;
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Every process's command line on this machine that this user may see.
fn command_lines() -> String {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let bytes = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " ") + "\n")
    });
    all.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credentials_of_a_clone_url_are_shown_nowhere() {
    // Put together here, so that this test's own command line is not found.
    let password = ["s3", "cret", "-of-a-test"].concat();
    let lines = Lines::default();
    let sink = lines.clone();
    // Everything of ours; below it, libraries write what comes over their wires.
    let filter = "trace,hyper_util=info,reqwest=info,h2=info,rustls=info,openraft=info,ractor_cluster=warn";
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || sink.clone()).init();

    // A git server that is asked, and says nothing for as long as we look.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let node = Alone::start().await;
    register(&node, &format!("http://ann:{password}@127.0.0.1:{port}/demo.git")).await;
    let delivery = push(&node, &"1".repeat(40)).await;
    let (mut asked, _) = listener.accept().await.unwrap();
    let seen = command_lines();
    assert!(seen.contains(&format!("127.0.0.1:{port}/demo.git")), "git runs now, and its arguments are seen");
    let encoded = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("ann:{password}"))
    };
    assert!(!seen.contains(&password) && !seen.contains(&encoded), "{seen}");
    // They are used all the same, when the server asks for them.
    let mut request = vec![0; 4096];
    let size = tokio::io::AsyncReadExt::read(&mut asked, &mut request).await.unwrap();
    assert!(!String::from_utf8_lossy(&request[..size]).contains(&encoded));
    let who = "HTTP/1.1 401 who\r\nwww-authenticate: Basic realm=\"x\"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut asked, who.as_bytes()).await.unwrap();
    drop(asked);
    let (mut asked, _) = listener.accept().await.unwrap();
    let seen = command_lines();
    assert!(seen.contains(&format!("127.0.0.1:{port}/demo.git")), "git runs now, and its arguments are seen");
    assert!(!seen.contains(&password) && !seen.contains(&encoded), "{seen}");
    let size = tokio::io::AsyncReadExt::read(&mut asked, &mut request).await.unwrap();
    assert!(String::from_utf8_lossy(&request[..size]).contains(&encoded));
    // The server says them back, as some do, and goes.
    let body = format!("no access for ann:{password}");
    let answer = format!("HTTP/1.1 403 {body}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    tokio::io::AsyncWriteExt::write_all(&mut asked, answer.as_bytes()).await.unwrap();
    drop((asked, listener));
    let waits = until(&node, &delivery, |seen| !seen["reason"].as_str().unwrap().is_empty()).await;
    let (_, repos) = node.get("/v1/repos").await;
    let (_, repo) = node.get("/v1/repos/demo").await;
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("cannot be expanded now"), "the log was read: {log}");
    for (what, text) in [
        ("delivery", waits.to_string()),
        ("repositories", repos.to_string()),
        ("repository", repo.to_string()),
        ("log", log),
    ] {
        assert!(!text.contains(&password) && !text.contains(&encoded), "{what}: {text}");
    }
    assert!(repo["clone_url"].as_str().unwrap().contains(&format!("127.0.0.1:{port}/demo.git")));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_that_are_no_place_to_clone_from_are_refused() {
    let node = Alone::start().await;
    for url in [
        "ext::sh -c touch% /tmp/x",
        "ext::sh",
        "fd::17/x",
        "file:///etc/passwd",
        "/etc/passwd",
        "../demo",
        "-x",
        "--upload-pack=touch /tmp/x",
        "ssh://-oProxyCommand=touch/x",
        "ssh://-x@host/y",
        "http://host/-x",
        "ftp://host/x",
        "https://host/x?a=b",
        "https://",
        "javascript:alert(1)",
        "https://host/a b",
        "https://host/a\nb",
        &format!("https://host/{}", "x".repeat(3000)),
    ] {
        let body = json!({ "clone_url": url, "webhook_secret": SECRET });
        let (status, answer) = node.put("/v1/repos/demo", body).await;
        assert_eq!((status.as_u16(), answer["field"].as_str()), (400, Some("clone_url")), "{url}: {answer}");
    }
    assert!(node.store().state().repos.is_empty());
    node.stop().await;
}
