//! The sections of the configuration; their doc comments become `config/reference.toml`.
//!
//! Must not know how they are read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Name, unique in the cluster; the certificate carries it. 1 to 63 characters of a-z, 0-9 and -.
    pub name: String,
    /// Directory of log, state, mirrors, attempts. One process at a time.
    pub data_dir: PathBuf,
    /// Labels that jobs may ask for with `runs-on`.
    pub labels: Vec<String>,
    /// Thousandths of a cpu for jobs; 0 means all that the machine has.
    pub cpu_millis: u32,
    /// MiB of memory for jobs; 0 means three quarters of the machine's.
    pub memory_mib: u32,
    /// Attempts at one time, 0 to 1024; 0 means that this node runs no jobs.
    pub slots: u16,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: "node-1".to_owned(),
            data_dir: PathBuf::from("data"),
            labels: vec!["linux".to_owned()],
            cpu_millis: 0,
            memory_mib: 0,
            slots: 4,
        }
    }
}

/// The HTTP API and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address to listen on, IP:PORT.
    pub listen: String,
    /// Address that others are told, host:port; empty means `listen`.
    pub advertise: String,
    /// Where people reach the API, as in `https://ci.example.com`: what links on commits begin with. The same on all nodes;
    /// empty means `http://` and the address that others are told.
    pub public_url: String,
    /// Largest request body in bytes, 1 KiB to 64 MiB; more is answered with 413.
    pub max_body_bytes: u64,
    /// Largest body of a webhook in bytes, 1 KiB to 64 MiB: GitHub sends up to 25 MiB, and never again what was refused. All that
    /// are read at one time have 256 MiB; past that, webhooks are answered with 503.
    pub max_hook_bytes: u64,
    /// Milliseconds for all headers of a request, and between two requests of one connection, 10 to 60000.
    pub header_timeout_ms: u64,
    /// Milliseconds for a whole request body, 10 to 600000.
    pub body_timeout_ms: u64,
    /// Connections at one time, 1 to 1000000.
    pub max_connections: usize,
    /// Connections of one address at one time, 1 to 1000000.
    pub max_connections_per_address: usize,
}

impl Http {
    /// The limit for a whole request body.
    #[must_use]
    pub fn body_timeout(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.body_timeout_ms)
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7070".to_owned(),
            advertise: String::new(),
            public_url: String::new(),
            max_body_bytes: 2 << 20,
            max_hook_bytes: 25 << 20,
            header_timeout_ms: 10_000,
            body_timeout_ms: 10_000,
            max_connections: 8192,
            max_connections_per_address: 1024,
        }
    }
}

/// The cluster port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Address to listen on, IP:PORT.
    pub listen: String,
    /// Address that other nodes are told, host:port; empty means `listen`.
    pub advertise: String,
    /// Cluster ports of nodes to begin with.
    pub seeds: Vec<String>,
    /// A new cluster begins when exactly so many new nodes see each other, 1 to 7.
    pub bootstrap_expect: usize,
    /// The CA's certificate.
    pub ca: PathBuf,
    /// This node's certificate, from `troupe ca issue`.
    pub cert: PathBuf,
    /// This node's key.
    pub key: PathBuf,
    /// The CA's key, on nodes that let others in (`troupe token create NAME --right join`); empty on those that do not have it.
    pub ca_key: PathBuf,
    /// Nodes that vote, at most: 1, 3, 5 or 7, the same on all nodes; the rest have everything and do not vote.
    pub max_voters: usize,
    /// Milliseconds after which a voter that cannot be reached gives its place to a node that can, 1000 to 604800000; the same
    /// on all nodes.
    pub dead_after_ms: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7071".to_owned(),
            advertise: String::new(),
            seeds: Vec::new(),
            bootstrap_expect: 1,
            ca: PathBuf::from("ca.pem"),
            cert: PathBuf::from("node-1.pem"),
            key: PathBuf::from("node-1-key.pem"),
            ca_key: PathBuf::new(),
            max_voters: 5,
            dead_after_ms: 600_000,
        }
    }
}

/// What secrets are sealed with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// File with a key in each line, 32 bytes in base64 or hexadecimal (`openssl rand -base64 32`): the first one seals, all open.
    /// The same on all nodes; without it no repository can be registered.
    pub key_file: PathBuf,
}

/// Raft's times; the same on all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Raft {
    /// Milliseconds between two heartbeats of the leader, 10 to 60000.
    pub heartbeat_ms: u64,
    /// Milliseconds without the leader before an election; at least 3 heartbeats.
    pub election_ms: u64,
    /// Milliseconds that a change waits for a leader, 100 to 600000; then 503.
    pub propose_timeout_ms: u64,
    /// MiB that are to stay free on the disk of the data directory, 1 to 1048576: with less, new work is answered with 507;
    /// with less than a quarter of it, every change.
    pub min_free_mib: u64,
    /// MiB of a file of the log, 1 to 1024; two of them are reserved at any time.
    pub log_segment_mib: u64,
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            heartbeat_ms: 150,
            election_ms: 600,
            propose_timeout_ms: 10_000,
            min_free_mib: 512,
            log_segment_mib: 64,
        }
    }
}

/// Leases of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Leases {
    /// Milliseconds after its last heartbeat when the leader counts a node as lost.
    pub leader_ms: u64,
    /// Milliseconds without renewal when a node kills its own containers, 100 to 600000; at most four fifths of `leader_ms`.
    pub node_ms: u64,
}

impl Default for Leases {
    fn default() -> Self {
        Self { leader_ms: 30_000, node_ms: 20_000 }
    }
}

/// What runs the jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// Containers of the local Docker engine.
    #[default]
    Docker,
    /// Plain processes without any isolation: for tests only.
    Fake,
}

/// What becomes of jobs that run when their node is asked to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStop {
    /// They go on in their containers, and the next start takes them up.
    #[default]
    Leave,
    /// The node takes no more and waits for their ends.
    Wait,
    /// They are ended and queued again, for other nodes.
    Requeue,
}

/// How jobs are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Runner {
    /// "docker", or "fake" (plain processes, no isolation, for tests).
    pub executor: Executor,
    /// Image of jobs that name none.
    pub default_image: String,
    /// Image by label, for jobs that name none; the first label of the job that is found here wins.
    pub images: BTreeMap<String, String>,
    /// `UID:GID` of containers whose workflow names no user, as in `1000:1000`; empty means the users of their images. A node that does
    /// not run as root needs its own here, or an engine that is rootless: else it cannot give checkouts to root. Services run as their
    /// images say.
    pub user: String,
    /// Milliseconds between TERM and KILL, 100 to 600000.
    pub grace_ms: u64,
    /// What becomes of jobs that run when the node gets SIGTERM or SIGINT: "leave" (they go on, the next start takes them up),
    /// "wait" (the node stops when they have ended), "requeue" (they are ended and queued again). A second signal leaves them.
    pub on_stop: OnStop,
    /// Processes and threads of one attempt at one time, 16 to 1000000.
    pub pids: u32,
    /// Bytes of output kept of one attempt, 1 KiB to 1 TiB.
    pub max_log_bytes: u64,
}

impl Default for Runner {
    fn default() -> Self {
        Self {
            executor: Executor::Docker,
            default_image: "debian:bookworm".to_owned(),
            images: BTreeMap::new(),
            user: String::new(),
            grace_ms: 10_000,
            on_stop: OnStop::Leave,
            pids: 4096,
            max_log_bytes: 1 << 30,
        }
    }
}

/// Caches of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Caches {
    /// MiB of a repository's caches, on all nodes together, 1 to 16777216; past that, those used longest ago go. The same on
    /// all nodes.
    pub repository_mib: u64,
    /// MiB of the files of one cache, before they are compressed, 1 to 16777216.
    pub cache_mib: u64,
}

impl Default for Caches {
    fn default() -> Self {
        Self { repository_mib: 10 * 1024, cache_mib: 20 * 1024 }
    }
}

/// Bounds of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Jobs not finished, 1 to 10000000; past that, submits are answered with 429.
    pub max_open_jobs: u32,
    /// Hours that finished runs are kept, 1 to 876000.
    pub retention_hours: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_open_jobs: 100_000, retention_hours: 30 * 24 }
    }
}

/// Metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Address to listen on, IP:PORT; serves /metrics and nothing else.
    pub listen: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7072".to_owned() }
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The node's own log, on stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// "text" or "json".
    pub format: LogFormat,
    /// Levels as in `info` or `info,raft_store=debug`; openraft and ractor say only warnings unless they are named.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// The allowed range of a number, in words.
pub(super) fn range_text(field: &str) -> &'static str {
    match field {
        "node.slots" => "0 to 1024 are allowed",
        "cluster.bootstrap_expect" => "1 to 7 are allowed",
        "cluster.dead_after_ms" => "1000 to 604800000 are allowed",
        "http.max_body_bytes" | "http.max_hook_bytes" => "1024 to 67108864 are allowed",
        "http.header_timeout_ms" | "raft.heartbeat_ms" => "10 to 60000 are allowed",
        "http.body_timeout_ms" => "10 to 600000 are allowed",
        "raft.min_free_mib" => "1 to 1048576 are allowed",
        "raft.log_segment_mib" => "1 to 1024 are allowed",
        "raft.propose_timeout_ms" => "100 to 600000 are allowed",
        "queue.max_open_jobs" => "1 to 10000000 are allowed",
        "queue.retention_hours" => "1 to 876000 are allowed",
        "runner.pids" => "16 to 1000000 are allowed",
        "runner.grace_ms" | "leases.node_ms" => "100 to 600000 are allowed",
        "caches.repository_mib" | "caches.cache_mib" => "1 to 16777216 are allowed",
        "runner.max_log_bytes" => "1024 to 1099511627776 are allowed",
        _ => "1 to 1000000 are allowed",
    }
}
