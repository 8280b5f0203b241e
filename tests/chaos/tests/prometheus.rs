//! A real Prometheus scrapes three nodes; its linter has nothing to say about what they show.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use chaos::cluster::Cluster;
use chaos::push::{Webhook, register, run_of};
use chaos::until;
use fixtures::GitServer;
use serde_json::Value;

const WORKFLOW: &str = "on: push
jobs:
  build:
    runs-on: linux
    steps:
      - run: 'true'
";

/// What is there from the start, and is not looked at more closely here.
const FAMILIES: [&str; 12] = [
    "process_resident_memory_bytes",
    "troupe_http_connections_refused_total",
    "troupe_http_request_duration_seconds_count",
    "troupe_http_requests_total",
    "troupe_nodes_lost_total",
    "troupe_peers_up",
    "troupe_queue_jobs",
    "troupe_raft_append_seconds_count",
    "troupe_raft_applied_index",
    "troupe_raft_lag_entries",
    "troupe_raft_last_log_index",
    "troupe_self_fenced_total",
];

/// A Prometheus that ends when this is dropped.
struct Prometheus {
    process: Child,
    url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(cluster: &Cluster) -> Self {
        let targets: Vec<_> = cluster.nodes.iter().map(chaos::node::Node::metrics).collect();
        let config = cluster.dir.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
             scrape_configs: [{{ job_name: troupe, static_configs: [{{ targets: {targets:?} }}] }}]\n"
        );
        fs::write(&config, text).unwrap();
        let address = format!("{}:9090", cluster.network.other());
        let log = fs::File::create(cluster.dir.path().join("prometheus.log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", cluster.dir.path().join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed (scripts/test.sh does it)");
        Self { process, url: format!("http://{address}/api/v1/query") }
    }

    /// The values of a query, in some order, once it has this many.
    async fn values(&self, query: &str, count: usize) -> Vec<f64> {
        until(format!("prometheus has {count} values of {query}"), async || {
            let answer =
                reqwest::Client::new().get(&self.url).query(&[("query", query)]).send().await.ok()?;
            let answer: Value = answer.json().await.ok()?;
            let value = |sample: &Value| sample["value"][1].as_str()?.parse().ok();
            let values: Vec<f64> = answer["data"]["result"].as_array()?.iter().filter_map(value).collect();
            (values.len() == count).then_some(values)
        })
        .await
    }

    /// Until a query has this one value.
    async fn shows(&self, query: &str, expected: f64) {
        until(format!("{query} is {expected}"), async || {
            let value = *self.values(query, 1).await.first()?;
            ((value - expected).abs() < 1e-9).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_every_node() {
    let cluster = Cluster::start(3).await;
    let prometheus = Prometheus::start(&cluster);
    prometheus.shows("sum(up{job='troupe'})", 3.0).await;
    prometheus.shows("sum(troupe_raft_leader)", 1.0).await;
    prometheus.shows("sum(troupe_runner_slots{state='idle'})", 6.0).await;
    let terms = prometheus.values("troupe_raft_term", 3).await;
    assert!(terms.iter().all(|term| *term >= 1.0), "{terms:?}");
    // After a push and its run, each family has been counted, somewhere.
    let git = GitServer::start(WORKFLOW).unwrap();
    register(&cluster, &git).await;
    let delivery = Webhook::push(&git.head().unwrap(), "d-1").accepted(&cluster.nodes[0]).await;
    let run = run_of(&cluster.nodes[0], &delivery).await;
    assert_eq!(cluster.finished(0, &run).await["outcome"], "succeeded");
    prometheus.shows("sum(troupe_attempts_total{outcome='succeeded'})", 1.0).await;
    prometheus.shows("sum(troupe_placements_total)", 1.0).await;
    prometheus.shows("sum(troupe_webhooks_total{forge='github',outcome='accepted'})", 1.0).await;
    for histogram in ["troupe_job_queued", "troupe_job_placed", "troupe_job_run"] {
        prometheus.shows(&format!("sum({histogram}_seconds_count)"), 1.0).await;
    }
    let links = prometheus.values("troupe_links_total{outcome='accepted'}", 3).await;
    assert!(links.iter().all(|links| *links >= 1.0), "{links:?}");
    for family in FAMILIES {
        prometheus.values(&format!("count({family})"), 1).await;
    }
    for node in &cluster.nodes {
        let text =
            reqwest::get(format!("http://{}/metrics", node.metrics())).await.unwrap().text().await.unwrap();
        lint(&text);
    }
}

/// Prometheus' own linter has nothing to say.
fn lint(metrics: &str) {
    let mut lint = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lint.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = lint.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}\n{metrics}");
}
