//! A real Prometheus scrapes three nodes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::process::{Child, Command, Stdio};

use chaos::cluster::Cluster;
use chaos::until;
use serde_json::Value;

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
}
