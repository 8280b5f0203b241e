//! This machine as a cluster of one, in this process: the same node as any, with a directory that goes when it ends.
//!
//! What it has of containers, networks and volumes goes, too. Must not know workflows.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors::executor::DockerExecutor;
use actors::remove_tree;
use domain::NodeId;
use raft_store::Store;
use raft_store::disk::LocalDisk;
use tokio::time::Instant;

use super::super::{Client, Failure, table};
use super::abandoned;
use crate::config::{self, Config};
use crate::server::Server;

/// The node's name.
const NAME: &str = "local";
/// How long the node may take until it leads itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a node has when nobody says otherwise: what workflows mostly ask for, when they ask for Linux.
const LABELS: [&str; 6] =
    ["self-hosted", "linux", "ubuntu-latest", "ubuntu-26.04", "ubuntu-24.04", "ubuntu-22.04"];
/// How long the node may take to end.
const ENDING: Duration = Duration::from_secs(5);
/// How long removing what is left may take.
const LAST: Duration = Duration::from_secs(10);
/// Between two tries of it.
const BETWEEN: Duration = Duration::from_millis(100);
/// Looks one after the other at which the engine has to have nothing: what was asked for before the node ended may come after the
/// first.
const LOOKS: u32 = 2;
/// MiB of a file of the log: so short a life needs no more.
const LOG_MIB: u64 = 4;

/// Why this machine runs no jobs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No engine.
    #[error(
        "cannot use the Docker engine, in whose containers jobs run: {why}; start it, or set DOCKER_HOST, and see that `docker ps` \
         works as this user"
    )]
    Engine {
        /// Its words.
        why: String,
    },
    /// The directory.
    #[error("cannot make a directory for this run in {}: {source} (see TMPDIR)", path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// It does not lead itself.
    #[error("the node in this process was not ready within {} s: is the disk of {} very busy?", PATIENCE.as_secs(), path.display())]
    NotReady {
        /// Its directory.
        path: PathBuf,
    },
    /// What is left of a run.
    #[error("not all of this run could be removed: {why}; {} and what `docker ps -a`, `docker network ls` and `docker volume ls` show, \
             each with `--filter label=troupe.node={node}`, is left", dir.display())]
    Left {
        /// The node.
        node: NodeId,
        /// Its directory.
        dir: PathBuf,
        /// Why.
        why: String,
    },
}

/// A node that runs in this process.
pub struct Machine {
    access: Access,
    server: Server,
    leftovers: Leftovers,
    /// That the run lives.
    _alive: File,
}

/// What a run needs of the machine.
#[derive(Clone)]
pub struct Access {
    /// A client of its API.
    pub client: Client,
    /// Its state.
    pub store: Store,
    /// A place for sources, which goes with the machine. Nothing is there yet.
    pub sources: PathBuf,
}

/// What a node leaves: at the engine, and its directory.
pub struct Leftovers {
    node: NodeId,
    engine: Option<DockerExecutor>,
    dir: PathBuf,
}

/// Looks at the engine: fails when there is none, and makes containers run as this process when it could not give them anything else.
///
/// # Errors
/// [`Error::Engine`].
pub async fn look_at_engine(config: &mut Config) -> Result<(), Error> {
    if config.runner.executor == config::Executor::Fake {
        return Ok(());
    }
    let unusable = |error: actors::executor::Error| Error::Engine { why: error.to_string() };
    let engine = DockerExecutor::connect(NodeId(rand::random()), PathBuf::new()).map_err(unusable)?;
    let rootless = engine.is_rootless().await.map_err(unusable)?;
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    if config.runner.user.is_empty() && !user.is_root() && !rootless {
        config.runner.user = format!("{}:{}", user.as_raw(), group.as_raw());
        let user = &config.runner.user;
        table::say(&format!(
            "jobs run as {user}, as this process does; run by root, they run as their images say"
        ));
    }
    Ok(())
}

impl Machine {
    /// Starts it. Of the configuration, what is about jobs is taken; `images` are those of labels beside it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn start(mut config: Config, images: &[(String, Option<String>)]) -> Result<Self, Failure> {
        let temporary = std::env::temp_dir();
        let made = abandoned::make(&temporary);
        let (dir, alive) = made.map_err(|source| Error::Directory { path: temporary, source })?;
        alone(&mut config, dir.path())?;
        let (known, more) = (config.runner.images.keys().cloned().collect::<Vec<_>>(), images);
        config.node.labels.extend(LABELS.map(str::to_owned).into_iter().chain(known));
        for (label, image) in more {
            config.node.labels.push(label.clone());
            if let Some(image) = image {
                config.runner.images.insert(label.clone(), image.clone());
            }
        }
        let server = Server::start(&config).await?;
        let store = server.store.clone();
        let mut applied = store.applied();
        let led = tokio::time::timeout(PATIENCE, applied.wait_for(|_| store.state().cluster.is_some())).await;
        let path = dir.path().to_owned();
        let Ok(Ok(_)) = led else { return Err(Error::NotReady { path }.into()) };
        let token = std::fs::read_to_string(config.node.data_dir.join(raft_store::TOKEN_FILE))?;
        let client = Client::new(&[format!("http://{}", server.http_addr)], &token)?;
        let engine = engine(server.node, &config.runner.executor)?;
        let access = Access { client, store, sources: dir.path().join("sources") };
        // From here on, it is removed with what else there is.
        let leftovers = Leftovers { node: server.node, engine, dir: dir.keep() };
        Ok(Self { access, server, leftovers, _alive: alive })
    }

    /// What a run needs.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// Resolves when the node cannot go on.
    pub async fn failed(&mut self) -> Failure {
        self.server.failed().await.into()
    }

    /// Ends it, whatever still runs, and what it left behind.
    ///
    /// # Errors
    /// [`Error::Left`].
    pub async fn stop(self) -> Result<(), Error> {
        // What has not ended by then is looked for below.
        let _in_time = tokio::time::timeout(ENDING, self.server.stop()).await;
        self.leftovers.remove().await
    }
}

impl Leftovers {
    /// Those of a run that does not live any more, by its directory.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn found(dir: PathBuf, executor: &config::Executor) -> Result<Self, Failure> {
        let node = raft_store::identity::load_or_create(&LocalDisk, &dir.join(abandoned::DATA));
        let node = node.map_err(crate::server::Error::from)?;
        Ok(Self { node, engine: engine(node, executor)?, dir })
    }

    /// Removes containers, networks, volumes and the directory. What is refused (for somebody else removes it just now, or still
    /// writes there) is tried again for some seconds.
    ///
    /// # Errors
    /// [`Error::Left`].
    pub async fn remove(&self) -> Result<(), Error> {
        let end = Instant::now() + LAST;
        let mut looks = 0;
        loop {
            let tried = tokio::time::timeout_at(end, self.try_to_remove(&mut looks)).await;
            let why = match tried {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(why)) => why,
                Err(_) => format!("it was not done within {} s", LAST.as_secs()),
            };
            if Instant::now() + BETWEEN >= end {
                return Err(Error::Left { node: self.node, dir: self.dir.clone(), why });
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// The directory last: by it, a later run finds the rest. `looks` are those in a row at which the engine had nothing.
    async fn try_to_remove(&self, looks: &mut u32) -> Result<(), String> {
        while let (Some(engine), true) = (&self.engine, *looks < LOOKS) {
            if *looks > 0 {
                tokio::time::sleep(BETWEEN).await;
            }
            let had = engine.remove_all().await.map_err(|error| error.to_string())?;
            if !had.is_empty() {
                *looks = 0;
                return Err(format!("the engine still had {}", had.join(", ")));
            }
            *looks += 1;
        }
        let dir = self.dir.clone();
        // Jobs leave what no plain removal gets through: directories without rights, and very deep ones.
        let removed = tokio::task::spawn_blocking(move || remove_tree(&dir));
        let removed = removed.await.unwrap_or_else(|join| Err(std::io::Error::other(join)));
        removed.map_err(|error| error.to_string())
    }
}

/// What has a node's containers, if any has.
fn engine(node: NodeId, executor: &config::Executor) -> Result<Option<DockerExecutor>, Error> {
    match executor {
        config::Executor::Fake => Ok(None),
        config::Executor::Docker => {
            let engine = DockerExecutor::connect(node, PathBuf::new());
            engine.map(Some).map_err(|error| Error::Engine { why: error.to_string() })
        }
    }
}

/// Makes the configuration that of a cluster of one, below a directory.
fn alone(config: &mut Config, dir: &Path) -> Result<(), Failure> {
    let name = NAME.parse::<links::PeerName>().map_err(links::Error::from)?;
    links::ca::init(dir)?;
    let files = links::ca::issue(dir, dir, &name, 1)?;
    let key = dir.join("secrets.key");
    std::fs::write(&key, hex::encode(rand::random::<[u8; 32]>()))?;
    config.node.name = NAME.to_owned();
    config.node.data_dir = dir.join(abandoned::DATA);
    config.http.listen = "127.0.0.1:0".to_owned();
    config.http.advertise = String::new();
    config.cluster = config::Cluster {
        listen: "127.0.0.1:0".to_owned(),
        ca: files.ca,
        cert: files.cert,
        key: files.key,
        ..config::Cluster::default()
    };
    config.secrets.key_file = key;
    config.raft.log_segment_mib = LOG_MIB;
    Ok(())
}
