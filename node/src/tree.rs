//! The actors of a node, put together from its configuration: executor, sources, logs, queue, runners.
//!
//! Must not know HTTP.

use std::sync::Arc;
use std::time::Duration;

use actors::artifacts::{Blobs, Limits};
use actors::attempt::{self, Beyond, Containers};
use actors::executor::{DockerExecutor, DockerOptions, Executor, FakeExecutor};
use actors::logs::LogStore;
use actors::root::{self, Handle, Parts};
use actors::runner::{Sources, reaper};
use actors::shelf::NodeShelf;
use actors::supervisor::Policy;
use actors::vault::Vault;
use actors::workspace::Mirrors;
use actors::{bulk, caches, gateway, init_binary, queue, runner};
use domain::{BootId, Capacity, NodeFacts, NodeId, NodeName, Resources};
use links::{Dialer, Link};
use raft_store::Store;
use tokio::sync::mpsc;

use crate::config::{self, Config};
use crate::output::NodeOutput;

/// Limit for one run of git, a fetch of a large repository among them.
const GIT_TIMEOUT: Duration = Duration::from_secs(600);
/// Patience with another node's shelf.
const SHELF_TIMEOUT: Duration = Duration::from_secs(10);
/// What one attempt may keep.
const ARTIFACTS: Limits = Limits { files: 1000, bytes: 4 << 30 };

/// Files, directories and links of one cache.
const CACHE_ENTRIES: u64 = 500_000;
/// How many times larger than its archive a cache may be: zeros are, and so are bombs.
const CACHE_RATIO: u64 = 1000;

/// Why the actors of a node do not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The init for containers.
    #[error("cannot install the init for containers below {}: {source} (see node.data_dir)", path.display())]
    Init {
        /// Where.
        path: std::path::PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The executor.
    #[error("{0} (see runner.executor)")]
    Executor(#[from] actors::executor::Error),
    /// The supervision tree.
    #[error(transparent)]
    Start(#[from] root::StartError),
}

/// Who a node is and how it reaches others.
pub(crate) struct Place {
    pub(crate) node: NodeId,
    pub(crate) name: NodeName,
    pub(crate) cluster_addr: String,
    pub(crate) http_addr: String,
    pub(crate) dialer: Dialer,
    pub(crate) actors: mpsc::Receiver<Link>,
    pub(crate) bulk: mpsc::Receiver<Link>,
    pub(crate) vault: Vault,
}

/// Starts the actors of this node.
pub(crate) async fn start(
    config: &Config,
    store: &Store,
    place: Place,
) -> Result<(Handle, NodeOutput), Error> {
    let Place { node, name, cluster_addr, http_addr, dialer, actors, bulk, vault } = place;
    let replica: actors::replica::SharedReplica = Arc::new(store.clone());
    // Docker binds directories by absolute paths only.
    let data = std::path::absolute(&config.node.data_dir)
        .map_err(|source| Error::Init { path: config.node.data_dir.clone(), source })?;
    let attempts = data.join("attempts");
    let logs = LogStore::new(attempts.clone(), config.runner.max_log_bytes);
    let blobs = Blobs::new(data.join("blobs"));
    let mirrors = Mirrors::new(data.join("mirrors"), GIT_TIMEOUT).with_vault(vault.clone());
    let init = init_binary::install(&data).map_err(|source| Error::Init { path: data.clone(), source })?;
    let executor: Arc<dyn Executor> = match config.runner.executor {
        config::Executor::Docker => {
            Arc::new(DockerExecutor::connect_with(node, init, docker_options(config))?)
        }
        config::Executor::Fake => Arc::new(FakeExecutor::new(init)),
    };
    let work = Containers::new(
        attempt_options(config, node, name.clone(), attempts.clone()),
        Arc::clone(&replica),
        executor,
        logs.clone(),
        blobs.clone(),
        mirrors.clone(),
    )
    .with_secrets(secrets(vault.clone()));
    let client = bulk::Client::new(dialer.clone(), Arc::clone(&replica), SHELF_TIMEOUT);
    let work = work.reaching(Beyond {
        others: Arc::new(client.clone()),
        cache: caches::Limits {
            entries: CACHE_ENTRIES,
            bytes: config.caches.cache_mib << 20,
            ratio: CACHE_RATIO,
        },
        caches_bytes: config.caches.repository_mib << 20,
    });
    let shelf = Arc::new(NodeShelf::new(logs, blobs.clone()));
    let boot = BootId(rand::random());
    let lease = Duration::from_millis(config.leases.leader_ms);
    let runs_url = runs_url(&config.http, &http_addr);
    let facts = NodeFacts {
        node,
        name: name.clone(),
        boot,
        cluster_addr,
        http_addr,
        labels: config.node.labels.iter().cloned().collect(),
        capacity: capacity(&config.node),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let handle = root::start(Parts {
        replica: Arc::clone(&replica),
        work: Arc::new(work),
        sources: Sources { mirrors },
        wire: Some(gateway::Wire { dialer: dialer.clone(), incoming: actors }),
        bulk: Some(bulk::child(Arc::clone(&shelf) as _, bulk, bulk::Options::default())),
        gateway: gateway::Options::new(node, name, boot),
        queue: queue::Options {
            lease,
            retention: Duration::from_secs(config.queue.retention_hours * 3600),
            outbox: queue::outbox::Options { runs_url, vault, ..Default::default() },
            ..queue::Options::default()
        },
        runner: runner::Options {
            facts,
            attempts,
            heartbeat: heartbeat(config),
            first_lease: lease,
            margin: lease - Duration::from_millis(config.leases.node_ms),
            reaper: reaper::Options::new(blobs),
        },
        policy: Policy::default(),
    })
    .await?;
    Ok((handle, NodeOutput::new(node, shelf, client, store.clone())))
}

/// What jobs are given of their repository's secrets.
fn secrets(vault: Vault) -> attempt::Secrets {
    Arc::new(move |state, repo, event| {
        actors::secrets::secrets(&vault, state, repo, event).map_err(|error| error.to_string())
    })
}

/// What links to runs begin with. There is no page of a run yet: this is what the API says of it.
fn runs_url(http: &config::Http, http_addr: &str) -> String {
    match http.public_url.trim_end_matches('/') {
        "" => format!("http://{http_addr}/v1/runs/"),
        public => format!("{public}/v1/runs/"),
    }
}

/// Often enough that several may be lost before the lease runs out.
fn heartbeat(config: &Config) -> Duration {
    Duration::from_millis((config.leases.node_ms / 10).clamp(50, 2000))
}

fn attempt_options(
    config: &Config,
    node: NodeId,
    name: NodeName,
    attempts: std::path::PathBuf,
) -> attempt::Options {
    attempt::Options {
        node,
        name,
        attempts,
        default_image: config.runner.default_image.clone(),
        images: config.runner.images.clone(),
        grace: Duration::from_millis(config.runner.grace_ms),
        pids: config.runner.pids,
        git_timeout: GIT_TIMEOUT,
        artifacts: ARTIFACTS,
        public_url: config.http.public_url.trim_end_matches('/').to_owned(),
    }
}

fn docker_options(config: &Config) -> DockerOptions {
    let user = &config.runner.user;
    DockerOptions { user: (!user.is_empty()).then(|| user.clone()), ..DockerOptions::default() }
}

/// What the node offers: as configured, or by what the machine has.
fn capacity(node: &config::Node) -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let info = rustix::system::sysinfo();
    let total_mib = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit)) >> 20;
    let memory_mib = match node.memory_mib {
        0 => u32::try_from(total_mib / 4 * 3).unwrap_or(u32::MAX),
        configured => configured,
    };
    let cpu_millis = match node.cpu_millis {
        0 => u32::try_from(cpus * 1000).unwrap_or(u32::MAX),
        configured => configured,
    };
    Capacity { resources: Resources { cpu_millis, memory_mib }, slots: node.slots }
}
