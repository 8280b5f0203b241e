//! Puts a node together: identity, cluster port, store, HTTP, metrics; and takes it apart on a signal, in order.
//!
//! Must not know requests or commands.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors::vault::Vault;
use domain::NodeName;
use raft_store::clock::SystemClock;
use raft_store::disk::LocalDisk;
use raft_store::{Compaction, LogSizes, Options, Store, Timings, Voting};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Api, Routes};
use crate::config::{Config, OnStop};
use crate::{telemetry, tree};

/// How long requests under way may take when the node stops.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at the files of certificates.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(10);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name in the configuration cannot be a node's.
    #[error(transparent)]
    Name(#[from] domain::ParseIdError),
    /// The data directory.
    #[error("cannot use the data directory {}: {source} (see node.data_dir)", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Another process has the data directory.
    #[error("the data directory {} is used by another process; stop it, or choose another node.data_dir", path.display())]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// The node's id.
    #[error(transparent)]
    Identity(#[from] raft_store::identity::Error),
    /// The cluster port.
    #[error(transparent)]
    Links(#[from] links::Error),
    /// Certificates that cannot be used.
    #[error(
        "cannot use the certificates of cluster.ca, cluster.cert and cluster.key: {0}; make them with `troupe ca init` and `troupe ca issue`"
    )]
    Certificates(#[source] links::Error),
    /// The certificate is another node's.
    #[error(
        "the certificate is for {certificate:?}, but node.name is {name:?}; issue one with `troupe ca issue`"
    )]
    WrongCertificate {
        /// The name in the certificate.
        certificate: String,
        /// The configured name.
        name: String,
    },
    /// Log and state.
    #[error(transparent)]
    Store(#[from] raft_store::OpenError),
    /// The keys for secrets.
    #[error(transparent)]
    Secrets(#[from] actors::vault::BadKeyFile),
    /// The actors.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// They ended by themselves.
    #[error("this node ends, for its actors cannot be kept alive: {why}; its log says more")]
    GaveUp {
        /// Which one, and its last words.
        why: String,
    },
    /// Raft has stopped for good.
    #[error("this node can be no member any more: {why} (look at the disk of {}; then start it again)", data_dir.display())]
    NoMember {
        /// Raft's words.
        why: String,
        /// Where its log is.
        data_dir: PathBuf,
    },
    /// The CA's key cannot be used.
    #[error(
        "cannot use the CA's key of cluster.ca_key with cluster.ca: {0}; leave cluster.ca_key empty where the key is not"
    )]
    CaKey(#[source] links::Error),
    /// This node was removed from its cluster.
    #[error(
        "this node, {name} with the id {node}, was removed from its cluster, and its id is never used again; to let the \
         machine in again: `troupe token create NAME --right join` there, then here move {} and the certificate and key \
         away, and run `troupe node --join TOKEN`",
        data_dir.display()
    )]
    Removed {
        /// Its id.
        node: domain::NodeId,
        /// Its name.
        name: String,
        /// Where its data is.
        data_dir: PathBuf,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {addr}: {source} (another process may use it; see {field})")]
    Bind {
        /// Which setting.
        field: &'static str,
        /// Which address.
        addr: String,
        /// The system's words.
        source: std::io::Error,
    },
}

/// A node that runs.
pub struct Server {
    /// Where its API listens.
    pub http_addr: std::net::SocketAddr,
    /// Its id.
    pub node: domain::NodeId,
    /// The replicated state.
    pub store: Store,
    actors: actors::root::Handle,
    data_dir: PathBuf,
    on_stop: OnStop,
    links: Arc<dyn Fn() -> links::Counters + Send + Sync>,
    identity: links::Identity,
    reload: Arc<Notify>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    streams: TaskTracker,
    /// Held as long as the node lives: the lock of the data directory ends with it.
    _lock: File,
}

impl Server {
    /// Starts a node.
    ///
    /// # Errors
    /// [`Error`]; what was started before the error is stopped by being dropped.
    pub async fn start(config: &Config) -> Result<Self, Error> {
        let name: NodeName = config.node.name.parse()?;
        let files = links::Files {
            ca: config.cluster.ca.clone(),
            cert: config.cluster.cert.clone(),
            key: config.cluster.key.clone(),
        };
        let identity = links::Identity::load(files).map_err(Error::Certificates)?;
        if identity.name().as_str() != name.as_str() {
            let certificate = identity.name().as_str().to_owned();
            return Err(Error::WrongCertificate { certificate, name: name.to_string() });
        }
        let vault = vault(config)?;
        let lock = lock(&config.node.data_dir)?;
        // Before the store applies anything.
        #[cfg(feature = "test-faults")]
        actors::plant_faults();
        let node = raft_store::identity::load_or_create(&LocalDisk, &config.node.data_dir)?;
        // Bound before the store is opened: a busy port is found while nothing has begun.
        let http = bind("http.listen", &config.http.listen).await?;
        let http_addr = http.local_addr().map_err(|source| Error::Bind {
            field: "http.listen",
            addr: config.http.listen.clone(),
            source,
        })?;
        let port =
            links::Port::bind(&config.cluster.listen, identity.clone(), links::Limits::default()).await?;
        let local = port.local_addr()?.to_string();
        let cluster_addr =
            if config.cluster.advertise.is_empty() { local } else { config.cluster.advertise.clone() };
        let incoming = port.incoming(links::Protocol::Raft)?;
        let of_actors = port.incoming(links::Protocol::Actors)?;
        let of_bulk = port.incoming(links::Protocol::Bulk)?;
        let (strangers, signer) = (port.strangers()?, signer(config)?);
        let dialer = links::Dialer::new(identity.clone());
        let (shutdown, tasks, streams) = (CancellationToken::new(), TaskTracker::new(), TaskTracker::new());
        let links = Arc::new(port.counters());
        tasks.spawn(port.run(shutdown.child_token()));
        let reload = Arc::new(Notify::new());
        let watched = (identity.clone(), Arc::clone(&reload), shutdown.child_token());
        tasks.spawn(async move { watched.0.watch(LOOK_AT_CERTIFICATES, &watched.1, &watched.2).await });
        let store = Store::open(Options {
            data_dir: config.node.data_dir.clone(),
            node,
            name: name.clone(),
            cluster_addr: cluster_addr.clone(),
            seeds: config.cluster.seeds.clone(),
            bootstrap_expect: config.cluster.bootstrap_expect,
            transport: Arc::new(dialer.clone()),
            incoming: Box::new(incoming),
            disk: Arc::new(LocalDisk),
            clock: Arc::new(SystemClock),
            timings: timings(config),
            log_sizes: LogSizes { segment: config.raft.log_segment_mib << 20, ..LogSizes::default() },
            min_free: config.raft.min_free_mib << 20,
            voting: voting(config),
            compaction: Compaction::default(),
        })
        .await?;
        store.let_in(strangers, signer);
        let http_local = http_addr.to_string();
        let advertised = &config.http.advertise;
        let place = tree::Place {
            node,
            name,
            cluster_addr,
            http_addr: if advertised.is_empty() { http_local } else { advertised.clone() },
            dialer,
            actors: of_actors,
            bulk: of_bulk,
            vault: vault.clone(),
        };
        let (actors, output) = tree::start(config, &store, place).await?;
        let api = Api {
            store: store.clone(),
            http: config.http.clone(),
            hook_room: crate::api::hook_room(),
            queue: config.queue.clone(),
            output: Arc::new(output),
            actors: actors.board().clone(),
            identity: identity.clone(),
            vault,
            tasks: streams.clone(),
            shutdown: shutdown.clone(),
        };
        tasks.spawn(crate::api::serve(http, config.http.clone(), Routes::new(api), shutdown.clone(), GRACE));
        tracing::info!(%node, %http_addr, "the node runs");
        let data_dir = config.node.data_dir.clone();
        Ok(Self {
            http_addr,
            node,
            store,
            actors,
            data_dir,
            on_stop: config.runner.on_stop,
            links,
            identity,
            reload,
            shutdown,
            tasks,
            streams,
            _lock: lock,
        })
    }

    /// Serves metrics too.
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub async fn serve_metrics(
        &self,
        listen: &str,
        handle: metrics_exporter_prometheus::PrometheusHandle,
    ) -> Result<(), Error> {
        let listener = bind("metrics.listen", listen).await?;
        let (links, identity) = (Arc::clone(&self.links), self.identity.clone());
        let collect = move || telemetry::record_links(&links(), identity.expires());
        self.tasks.spawn(telemetry::serve(listener, handle, collect, self.shutdown.clone()));
        Ok(())
    }

    /// Reads the node's certificate, its key and the CA's certificates again; what does not stand is refused with a word in
    /// the log.
    pub fn reload_certificates(&self) {
        self.reload.notify_one();
    }

    /// Resolves when the actors gave up or Raft has: the node must end, and its service manager start it again.
    pub async fn failed(&mut self) -> Error {
        tokio::select! {
            why = self.actors.failed() => Error::GaveUp { why },
            removed = self.store.removed() => Error::Removed {
                node: removed.node,
                name: removed.name,
                data_dir: self.data_dir.clone(),
            },
            why = self.store.failed() => Error::NoMember { why, data_dir: self.data_dir.clone() },
        }
    }

    /// Ends what runs here: this node was removed, and nobody asks for it any more. Bounded.
    pub async fn end_attempts(&self) {
        if tokio::time::timeout(GRACE, self.actors.runners().end_all()).await.is_err() {
            tracing::warn!("attempts did not end in time; their containers may run on");
        }
    }

    /// Sees to what runs here before a stop as planned, as `runner.on_stop` says, while this node still serves; hands over first when it
    /// leads. May take as long as jobs do. Dropped, it leaves what still runs to the next start.
    pub fn leave(&self) -> impl Future<Output = ()> + Send + use<> {
        let (store, on_stop) = (self.store.clone(), self.on_stop);
        let left = self.actors.leave(on_stop == OnStop::Requeue);
        async move {
            if on_stop == OnStop::Leave {
                return;
            }
            store.hand_over().await;
            tracing::info!("this node takes no more jobs; what runs here is waited for");
            match left.await {
                Ok(()) => tracing::info!("nothing runs here any more"),
                Err(error) => {
                    tracing::warn!(%error, "this node cannot say that it stops: what runs here goes on")
                }
            }
        }
    }

    /// Hands over when this node leads, while it still serves; then ends streams and requests, the actors, the store.
    /// Containers go on.
    pub async fn stop(self) {
        self.store.hand_over().await;
        self.shutdown.cancel();
        self.streams.close();
        self.streams.wait().await;
        self.actors.shutdown().await;
        self.tasks.close();
        self.tasks.wait().await;
        self.store.shutdown().await;
    }
}

/// The keys for secrets, where there are any.
fn vault(config: &Config) -> Result<Vault, Error> {
    let file = &config.secrets.key_file;
    if file.as_os_str().is_empty() {
        tracing::warn!(
            "there is no key for secrets (secrets.key_file): no repository can be registered at this node"
        );
        return Ok(Vault::default());
    }
    Ok(Vault::read(file)?)
}

fn voting(config: &Config) -> Voting {
    let dead_after = Duration::from_millis(config.cluster.dead_after_ms);
    Voting { max_voters: config.cluster.max_voters, dead_after }
}

/// What signs certificates of nodes that join, where this node has the CA's key.
fn signer(config: &Config) -> Result<Option<links::ca::Signer>, Error> {
    let (ca, key) = (&config.cluster.ca, &config.cluster.ca_key);
    if key.as_os_str().is_empty() {
        return Ok(None);
    }
    links::ca::Signer::load(ca, key).map(Some).map_err(Error::CaKey)
}

fn timings(config: &Config) -> Timings {
    Timings {
        heartbeat: Duration::from_millis(config.raft.heartbeat_ms),
        election: Duration::from_millis(config.raft.election_ms),
        propose: Duration::from_millis(config.raft.propose_timeout_ms),
    }
}

async fn bind(field: &'static str, addr: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(addr).await.map_err(|source| Error::Bind { field, addr: addr.to_owned(), source })
}

/// One process per data directory.
pub(crate) fn lock(path: &std::path::Path) -> Result<File, Error> {
    let failed = |source| Error::DataDir { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    let file =
        File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
