//! `troupe bench`: its figures add up, and it leaves nothing behind. How fast anything is, is not tested.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod cli_support;
mod support;

use cli_support::{Done, StandIn, bytes, troupe};
use node::config::Config;
use serde_json::{Value, json};
use support::Alone;

/// A node, a token made for the bench, and a directory for the base line.
struct Bench {
    node: Alone,
    token: String,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let node = Alone::with(change).await;
        let (_, made) = node.post("/v1/tokens", json!({ "name": "bench", "right": "admin" })).await;
        let token = made["token"].as_str().unwrap().to_owned();
        Self { node, token, dir: tempfile::tempdir().unwrap() }
    }

    async fn troupe(&self, args: &[&str]) -> Done {
        troupe(&[&self.node.url("")], &self.token, args).await
    }

    async fn submit(&self, args: &[&str]) -> Done {
        let disk = ["--disk", self.dir.path().to_str().unwrap()];
        self.troupe(&[&["--json", "bench", "submit"], &disk[..], args].concat()).await
    }

    async fn submit_over_http(&self, args: &[&str]) -> Done {
        self.submit(&[&["--http"], args].concat()).await
    }

    /// Runs that have not ended.
    async fn open(&self) -> usize {
        self.node.get("/v1/runs?outcome=open").await.1["items"].as_array().unwrap().len()
    }

    /// Runs that were cancelled, of the newest 500.
    async fn cancelled(&self) -> usize {
        self.node.get("/v1/runs?outcome=cancelled&limit=500").await.1["items"].as_array().unwrap().len()
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_submits_add_up_and_nothing_stays_queued() {
    let bench = Bench::with(|_| {}).await;
    let metrics = StandIn::start(|_, nth| {
        let text = format!(
            "# TYPE synced_seconds histogram\nsynced_seconds_bucket{{le=\"0.5\"}} {nth}\n\
            synced_seconds_sum {nth}\nsynced_seconds_count {nth}\n"
        );
        bytes(text.as_bytes())
    })
    .await;
    let scraped = format!("{}/metrics", metrics.addr);
    // Time is no limit here: a stage ends when it has its submits.
    let args = ["--clients", "1,4", "--seconds", "300", "--max", "40", "--metrics", &scraped];
    let done = bench.submit_over_http(&args).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    let report = done.json();
    let stages = report["stages"].as_array().unwrap();
    assert_eq!(stages.iter().map(|stage| &stage["clients"]).collect::<Vec<_>>(), [1, 4]);
    for stage in stages {
        assert_eq!(
            (&stage["submits"], &stage["accepted"], &stage["errors"]),
            (&json!(40), &json!(40), &json!({}))
        );
        let (latency, disk) = (&stage["latency"], &stage["fdatasync"]);
        assert_eq!(latency["count"], 40);
        let order = ["p50_ms", "p95_ms", "p99_ms", "max_ms"].map(|name| number(&latency[name]));
        assert!(order.is_sorted() && order[0] > 0.0, "{latency}");
        let rate = number(&stage["submits_per_second"]);
        assert!((rate * number(&stage["seconds"]) - 40.0).abs() < 1e-6, "{stage}");
        let ratio = number(&stage["submits_per_fdatasync"]) * number(&disk["per_second"]);
        assert!((ratio - rate).abs() < 1e-6 * rate, "{stage}");
        let ratio = number(&stage["latency_over_fdatasync"]) * number(&disk["latency"]["p50_ms"]);
        assert!((ratio - order[0]).abs() < 1e-6 * order[0], "{stage}");
        assert_eq!((&stage["withdrawn"]["cancelled"], &stage["withdrawn"]["left"]), (&json!(40), &json!(0)));
        let change = json!({ "series": "synced_seconds", "count": 1.0, "mean": 1.0, "p50_at_most": 0.5,
            "p99_at_most": 0.5 });
        assert_eq!(stage["nodes"], json!([{ "metrics": scraped, "changes": [change] }]));
    }
    assert_eq!((bench.open().await, bench.cancelled().await), (0, 80));
    // The base line's file is gone, too.
    assert_eq!(bench.dir.path().read_dir().unwrap().count(), 0);
    bench.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submits_over_links_are_runs_like_others_and_nothing_stays_queued() {
    let bench = Bench::with(|_| {}).await;
    let links = bench.node.links();
    let mut args: Vec<&str> = links.iter().map(String::as_str).collect();
    args.extend(["--clients", "1,8", "--seconds", "300", "--max", "40"]);
    let done = bench.submit(&args).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    let report = done.json();
    assert_eq!(report["through"], "links");
    for stage in report["stages"].as_array().unwrap() {
        assert_eq!((&stage["accepted"], &stage["errors"]), (&json!(40), &json!({})));
        assert_eq!(stage["latency"]["count"], 40);
        assert_eq!((&stage["withdrawn"]["cancelled"], &stage["withdrawn"]["left"]), (&json!(40), &json!(0)));
    }
    // Each with a specification as long as the base line's records.
    let specs: Vec<usize> = bench.node.store().state().specs.iter().map(|(_, spec)| spec.0.len()).collect();
    assert_eq!(specs, [512; 80]);
    assert_eq!((bench.open().await, bench.cancelled().await), (0, 80));
    bench.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_counted_and_what_was_accepted_is_withdrawn() {
    let bench = Bench::with(|config| config.queue.max_open_jobs = 5).await;
    let done = bench.submit_over_http(&["--clients", "4", "--seconds", "3", "--max", "9"]).await;
    assert_eq!(done.code, 1, "{}", done.stderr);
    let stage = &done.json()["stages"][0];
    let refused = stage["errors"]["429 queue_full"].as_u64().unwrap();
    assert_eq!(stage["accepted"], 5);
    assert_eq!(stage["submits"].as_u64().unwrap(), 5 + refused);
    assert_eq!(stage["latency"]["count"], 5, "what was refused has no latency");
    assert_eq!((bench.open().await, bench.cancelled().await), (0, 5));
    bench.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_measured_is_refused() {
    let bench = Bench::with(|_| {}).await;
    for (args, code) in [
        (vec!["bench", "submit", "--http", "--clients", "4097"], 2),
        (vec!["bench", "submit", "--http", "--seconds", "0"], 2),
        (vec!["bench", "submit", "--http", "--disk", "/nowhere/at/all"], 2),
        // Neither of the ways in, both, and half of one.
        (vec!["bench", "submit"], 2),
        (vec!["bench", "submit", "--http", "--nodes", "x:1", "--ca", "x", "--cert", "x", "--key", "x"], 2),
        (vec!["bench", "submit", "--nodes", "x:1"], 2),
        (vec!["bench", "submit", "--nodes", "x:1", "--ca", "/no", "--cert", "/no", "--key", "/no"], 6),
        (vec!["bench", "jobs"], 2),
        (vec!["bench", "jobs", "--image", "x", "--at-once", "65"], 2),
        (vec!["bench", "jobs", "--image", "x", "--docker", "/nowhere/docker"], 1),
    ] {
        let done = bench.troupe(&args).await;
        assert_eq!(done.code, code, "{args:?}: {}", done.stderr);
    }
    assert_eq!(bench.open().await, 0);
    bench.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_be_made_to_go_is_said_and_nothing_stays_queued() {
    let bench = Bench::with(|_| {}).await;
    let (links, disk) = (bench.node.links(), bench.dir.path().to_str().unwrap());
    let mut args = vec!["bench", "failover", "--disk", disk, "--end"];
    args.push("test \"$TROUPE_LEADER\" = alone && exit 7");
    args.extend(links.iter().map(String::as_str));
    let done = bench.troupe(&args).await;
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("ended with exit status: 7"), "{}", done.stderr);
    assert_eq!(bench.open().await, 0);
    assert!(bench.cancelled().await > 0);
    bench.node.stop().await;
}

/// Stands in for docker: the second call fails, and every one checks what it is told to do.
const DOCKER: &str = "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 9\n[ \"$*\" = 'run --rm some/image true' ] || exit 8\n\
    mkdir first 2>/dev/null && exit 0\nmkdir second 2>/dev/null || exit 0\necho 'no more room' >&2\nexit 7\n";

#[tokio::test(flavor = "multi_thread")]
async fn failures_beside_jobs_are_counted_and_said() {
    use std::os::unix::fs::PermissionsExt as _;

    let bench = Bench::with(|config| config.node.slots = 2).await;
    let docker = bench.dir.path().join("docker");
    std::fs::write(&docker, DOCKER).unwrap();
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let docker = docker.to_str().unwrap();
    let args =
        ["--json", "bench", "jobs", "--image", "some/image", "--docker", docker, "--cpu-millis", "100"];
    let done = bench.troupe(&[&args[..], &["--at-once", "2", "--jobs", "5", "--rounds", "2"]].concat()).await;
    assert_eq!(done.code, 1, "{}", done.stderr);
    let report = done.json();
    assert_eq!(report["room"], 2);
    let stage = &report["stages"][0];
    let (docker, troupe) = (&stage["docker"], &stage["troupe"]);
    assert_eq!((&docker["succeeded"], &docker["failed"]), (&json!(4), &json!(1)));
    assert!(docker["reasons"][0].as_str().unwrap().ends_with("7: no more room"), "{docker}");
    assert_eq!((&troupe["succeeded"], &troupe["failed"]), (&json!(5), &json!(0)), "{troupe}");
    assert_eq!((&docker["latency"]["count"], &troupe["latency"]["count"]), (&json!(4), &json!(5)));
    let ratio = number(&stage["p50_ratio"]) * number(&docker["latency"]["p50_ms"]);
    assert!((ratio - number(&troupe["latency"]["p50_ms"])).abs() < 1e-6 * ratio, "{stage}");
    for phase in stage["phases"].as_array().unwrap() {
        assert_eq!(phase["latency"]["count"], 5, "{phase}");
    }
    assert_eq!(bench.open().await, 0);
    bench.node.stop().await;
}
