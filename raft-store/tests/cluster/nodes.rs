//! Stores with their ports and directories, started and stopped at will.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{ClusterState, Command, NodeId, TokenId};
use links::{Dialer, Files, Identity, Limits, Port, Protocol, ca};
use raft_store::clock::SystemClock;
use raft_store::disk::LocalDisk;
use raft_store::{Compaction, LogSizes, Options, Store, Timings, Voting, identity};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long a condition may take to come true on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    store: Store,
    stop: CancellationToken,
    port: JoinSet<()>,
}

struct Node {
    name: String,
    addr: String,
    files: Files,
    running: Option<Running>,
}

pub struct Nodes {
    dir: tempfile::TempDir,
    ca: PathBuf,
    expect: usize,
    seeds: Vec<String>,
    nodes: Vec<Node>,
    pub voting: Voting,
}

impl Nodes {
    /// `count` nodes that wait for `expect`; none runs yet.
    pub fn new(count: usize, expect: usize) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ca = dir.path().join("ca");
        ca::init(&ca)?;
        Self::with(dir, ca, "n", count, expect, Vec::new())
    }

    /// More nodes of the same CA, with one of the others as a seed.
    pub fn beside(other: &Nodes, count: usize, expect: usize) -> Result<Self> {
        Self::with(tempfile::tempdir()?, other.ca.clone(), "m", count, expect, other.seeds.clone())
    }

    fn with(
        dir: tempfile::TempDir,
        ca: PathBuf,
        prefix: &str,
        count: usize,
        expect: usize,
        mut seeds: Vec<String>,
    ) -> Result<Self> {
        let mut nodes = Vec::new();
        for n in 0..count {
            let name = format!("{prefix}{n}");
            // Free now; a port is chosen before its node runs, because all must know all.
            let addr = free_addr()?;
            let files = ca::issue(&ca, &dir.path().join(&name).join("tls"), &name.parse()?, 30)?;
            seeds.push(addr.clone());
            nodes.push(Node { name, addr, files, running: None });
        }
        Ok(Self { dir, ca, expect, seeds, nodes, voting: Voting::default() })
    }

    pub fn data_dir(&self, n: usize) -> PathBuf {
        self.dir.path().join(&self.nodes[n].name).join("data")
    }

    /// One more node, which is let in by the cluster and does not run yet: what a token does, without one.
    pub async fn admit(&mut self, name: &str) -> Result<usize> {
        let n = self.nodes.len();
        let addr = free_addr()?;
        let files = ca::issue(&self.ca, &self.dir.path().join(name).join("tls"), &name.parse()?, 30)?;
        self.nodes.push(Node { name: name.to_owned(), addr: addr.clone(), files, running: None });
        let data_dir = self.data_dir(n);
        let node = identity::load_or_create(&LocalDisk, &data_dir)?;
        let leader = self.leader().await?;
        let store = self.store(leader);
        let cluster = store.state().cluster.ok_or("no cluster")?;
        std::fs::write(data_dir.join("joined"), format!("{cluster}\n"))?;
        let hash = Sha256::digest(name).into();
        let expires_at = store.state().now.plus_millis(60_000);
        let token =
            Command::CreateJoinToken { id: TokenId(n as u128), name: name.to_owned(), hash, expires_at };
        store.propose(token).await?.accepted()?;
        let (name, request) = (name.parse()?, [1; 32]);
        let join = Command::Join { token_hash: hash, node, name, cluster_addr: addr, request };
        store.propose(join).await?.accepted()?;
        Ok(n)
    }

    /// The id of a node.
    pub fn id(&self, n: usize) -> Result<NodeId> {
        Ok(identity::load_or_create(&LocalDisk, &self.data_dir(n))?)
    }

    /// Its cluster port.
    pub fn addr(&self, n: usize) -> &str {
        &self.nodes[n].addr
    }

    /// The node gets another address; it does not run.
    pub fn move_away(&mut self, n: usize) -> Result {
        self.nodes[n].addr = free_addr()?;
        Ok(())
    }

    /// Waits until a node sees the cluster as wanted.
    pub async fn sees(&self, n: usize, what: &str, wanted: impl Fn(&Store) -> bool) -> Result {
        let look = async {
            while !wanted(self.store(n)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let status = || format!("in vain waited for: {what}; {:?}", self.store(n).status());
        tokio::time::timeout(PATIENCE, look).await.map_err(|_| status().into())
    }

    pub async fn start_all(&mut self) -> Result {
        for n in 0..self.nodes.len() {
            self.start(n).await?;
        }
        Ok(())
    }

    pub async fn start(&mut self, n: usize) -> Result {
        let data_dir = self.data_dir(n);
        let (seeds, expect) = (self.seeds.clone(), self.expect);
        let node = &mut self.nodes[n];
        node.running = Some(start(node, &data_dir, (seeds, expect), self.voting).await?);
        Ok(())
    }

    pub async fn stop(&mut self, n: usize) {
        if let Some(mut running) = self.nodes[n].running.take() {
            running.store.shutdown().await;
            running.stop.cancel();
            while running.port.join_next().await.is_some() {}
        }
    }

    pub async fn stop_all(&mut self) {
        for n in 0..self.nodes.len() {
            self.stop(n).await;
        }
    }

    pub fn store(&self, n: usize) -> &Store {
        &self.nodes[n].running.as_ref().expect("the node runs").store
    }

    pub fn stores(&self) -> impl Iterator<Item = &Store> {
        self.nodes.iter().filter_map(|node| node.running.as_ref()).map(|running| &running.store)
    }

    /// The running node that leads, once one does.
    pub async fn leader(&self) -> Result<usize> {
        let running = self.nodes.iter().enumerate().filter_map(|(n, node)| Some((n, node.running.as_ref()?)));
        let waits: Vec<_> = running
            .map(|(n, running)| {
                let mut leadership = running.store.leadership();
                Box::pin(async move { leadership.wait_for(|l| l.is_me).await.map(|_| n) })
            })
            .collect();
        let (leader, _) = tokio::time::timeout(PATIENCE, futures::future::select_ok(waits)).await??;
        Ok(leader)
    }

    /// Waits until every running node's state is as wanted.
    pub async fn all_have(&self, wanted: impl Fn(&ClusterState) -> bool) -> Result {
        for store in self.stores() {
            let mut applied = store.applied();
            let reached = applied.wait_for(|_| wanted(&store.state()));
            tokio::time::timeout(PATIENCE, reached).await??;
        }
        Ok(())
    }

    /// Waits until all running nodes are at one index, and compares their hashes there.
    pub async fn hashes_agree(&self) -> Result {
        let check = async {
            loop {
                let seen: Vec<_> = self.stores().map(|store| store.view().current()).collect();
                if seen.windows(2).all(|pair| pair[0].index == pair[1].index) {
                    return seen.windows(2).all(|pair| pair[0].state.hash() == pair[1].state.hash());
                }
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, check).await? {
            Ok(())
        } else {
            Err("hashes differ at one index".into())
        }
    }
}

/// On an address of this process alone (all of 127.0.0.0/8 is this machine): a port that is let go until its node binds it is
/// nobody else's meanwhile.
fn free_addr() -> Result<String> {
    let [_, _, high, low] = (std::process::id() % 64_000).to_be_bytes();
    let own = std::net::Ipv4Addr::new(127, 2 + high, low, 250);
    Ok(std::net::TcpListener::bind((own, 0))?.local_addr()?.to_string())
}

async fn start(
    node: &Node,
    data_dir: &Path,
    (seeds, expect): (Vec<String>, usize),
    voting: Voting,
) -> Result<Running> {
    let identity = Identity::load(node.files.clone())?;
    let port = Port::bind(&node.addr, identity.clone(), Limits::default()).await?;
    let incoming = port.incoming(Protocol::Raft)?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(port.run(stop.clone()));
    let store = Store::open(Options {
        data_dir: data_dir.to_owned(),
        node: identity::load_or_create(&LocalDisk, data_dir)?,
        name: node.name.parse()?,
        cluster_addr: node.addr.clone(),
        seeds,
        bootstrap_expect: expect,
        transport: Arc::new(Dialer::new(identity)),
        incoming: Box::new(incoming),
        disk: Arc::new(LocalDisk),
        clock: Arc::new(SystemClock),
        timings: Timings { propose: Duration::from_secs(8), ..Timings::default() },
        voting,
        log_sizes: LogSizes::default(),
        min_free: 0,
        compaction: Compaction::default(),
    })
    .await?;
    Ok(Running { store, stop, port: tasks })
}
