//! Configuration of a node: one TOML file, overridden by `TROUPE_SECTION__KEY` variables, checked before anything starts.
//!
//! Must not know what the values are used for.

mod reference;
mod sections;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use reference::reference;
pub use sections::{
    Caches, Cluster, Executor, Http, Leases, Log, LogFormat, Metrics, Node, OnStop, Queue, Raft, Runner,
    Secrets,
};

/// Everything that a node is configured with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This node: its name, its directory, what it offers to jobs.
    pub node: Node,
    /// The address for people and forges, and its limits.
    pub http: Http,
    /// The address for other nodes, and how a cluster begins.
    pub cluster: Cluster,
    /// What secrets are sealed with.
    pub secrets: Secrets,
    /// Raft's times.
    pub raft: Raft,
    /// How long a node that is not heard keeps its jobs.
    pub leases: Leases,
    /// How jobs are run.
    pub runner: Runner,
    /// What jobs keep for later ones.
    pub caches: Caches,
    /// Bounds of the queue.
    pub queue: Queue,
    /// The address that Prometheus scrapes.
    pub metrics: Metrics,
    /// What is logged, and how.
    pub log: Log,
}

/// Why a configuration is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there; figment would silently take defaults.
    #[error("cannot read the configuration {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a wrong type; the text names key and source.
    #[error("configuration: {0}")]
    Parse(#[from] Box<figment::Error>),
    /// A value that is out of its limits.
    #[error("configuration: {field} is {found}: {expected}")]
    Invalid {
        /// `section.key`.
        field: &'static str,
        /// As found.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
}

impl Config {
    /// Reads a file (none means only defaults), then the environment, then checks every value.
    ///
    /// # Errors
    /// [`Error`], naming the field.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = path {
            std::fs::metadata(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        // Variables without `__` (TROUPE_ADDR, TROUPE_TOKEN) are the client's, not the node's.
        let overrides = Env::prefixed("TROUPE_").filter(|key| key.as_str().contains("__")).split("__");
        let config: Self = figment.merge(overrides).extract().map_err(Box::new)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        let invalid = |field, found: &dyn std::fmt::Display, expected| {
            Err(Error::Invalid { field, found: found.to_string(), expected })
        };
        if self.node.name.parse::<domain::NodeName>().is_err() {
            return invalid(
                "node.name",
                &self.node.name,
                "1 to 63 characters of a-z, 0-9 and - are expected",
            );
        }
        if self.node.data_dir.as_os_str().is_empty() {
            return invalid("node.data_dir", &"empty", "a directory is expected");
        }
        for (field, addr) in [
            ("http.listen", &self.http.listen),
            ("cluster.listen", &self.cluster.listen),
            ("metrics.listen", &self.metrics.listen),
        ] {
            if addr.parse::<std::net::SocketAddr>().is_err() {
                return invalid(field, addr, "IP:PORT is expected, as in 127.0.0.1:7070");
            }
        }
        let url = &self.http.public_url;
        if !(url.is_empty() || url.starts_with("http://") || url.starts_with("https://")) {
            return invalid("http.public_url", url, "a URL is expected, as in https://ci.example.com");
        }
        let user = &self.runner.user;
        let numbers = user.split_once(':').is_some_and(|(uid, gid)| {
            let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u32>().is_ok();
            number(uid) && number(gid)
        });
        if !(user.is_empty() || numbers) {
            return invalid("runner.user", user, "UID:GID is expected, as in 1000:1000");
        }
        for (field, number, from, to) in self.ranges() {
            if !(from..=to).contains(&number) {
                return invalid(field, &number, sections::range_text(field));
            }
        }
        if ![1, 3, 5, 7].contains(&self.cluster.max_voters) {
            return invalid("cluster.max_voters", &self.cluster.max_voters, "1, 3, 5 or 7 is expected");
        }
        if self.raft.election_ms < 3 * self.raft.heartbeat_ms {
            return invalid(
                "raft.election_ms",
                &self.raft.election_ms,
                "at least 3 times raft.heartbeat_ms is expected",
            );
        }
        // The rest is for clocks that do not run alike and for the killing itself.
        if self.leases.node_ms.saturating_mul(5) > self.leases.leader_ms.saturating_mul(4) {
            return invalid(
                "leases.node_ms",
                &self.leases.node_ms,
                "at most four fifths of leases.leader_ms is expected: a node must have given up before",
            );
        }
        Ok(())
    }

    fn ranges(&self) -> [(&'static str, u64, u64, u64); 21] {
        [
            ("node.slots", u64::from(self.node.slots), 0, 1024),
            ("cluster.bootstrap_expect", self.cluster.bootstrap_expect as u64, 1, 7),
            ("cluster.dead_after_ms", self.cluster.dead_after_ms, 1000, 604_800_000),
            ("http.max_body_bytes", self.http.max_body_bytes, 1024, 64 << 20),
            ("http.max_hook_bytes", self.http.max_hook_bytes, 1024, 64 << 20),
            ("http.header_timeout_ms", self.http.header_timeout_ms, 10, 60_000),
            ("http.body_timeout_ms", self.http.body_timeout_ms, 10, 600_000),
            ("http.max_connections", self.http.max_connections as u64, 1, 1_000_000),
            ("http.max_connections_per_address", self.http.max_connections_per_address as u64, 1, 1_000_000),
            ("raft.heartbeat_ms", self.raft.heartbeat_ms, 10, 60_000),
            ("raft.propose_timeout_ms", self.raft.propose_timeout_ms, 100, 600_000),
            ("raft.min_free_mib", self.raft.min_free_mib, 1, 1 << 20),
            ("raft.log_segment_mib", self.raft.log_segment_mib, 1, 1024),
            ("queue.max_open_jobs", u64::from(self.queue.max_open_jobs), 1, 10_000_000),
            ("leases.node_ms", self.leases.node_ms, 100, 600_000),
            ("runner.pids", u64::from(self.runner.pids), 16, 1_000_000),
            ("runner.grace_ms", self.runner.grace_ms, 100, 600_000),
            ("runner.max_log_bytes", self.runner.max_log_bytes, 1024, 1 << 40),
            ("caches.repository_mib", self.caches.repository_mib, 1, 1 << 24),
            ("caches.cache_mib", self.caches.cache_mib, 1, 1 << 24),
            ("queue.retention_hours", self.queue.retention_hours, 1, 876_000),
        ]
    }
}
