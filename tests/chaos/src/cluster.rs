//! A cluster of N processes with Docker: started, looked at, and removed with all that it made.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::addresses::Network;
use crate::containers::Docker;
use crate::node::Node;
use crate::shim::Shim;
use crate::small_disk::SmallDisk;
use crate::wires::{Pair, Wires};
use crate::{binary, until};

/// The image that jobs run in; made by `scripts/base-image.sh`.
pub const IMAGE: &str = "troupe/busybox:local";

/// What a cluster is to be like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes.
    pub size: usize,
    /// `docker`, or `fake` for tests that are about nodes and not about jobs: no engine is needed then.
    pub executor: &'static str,
    /// The binary of its nodes; that of this build, unless it is said otherwise.
    pub binary: Option<PathBuf>,
    /// More settings of `raft`, each with a comma in front.
    pub raft: String,
    /// More settings of `cluster`, each with a comma in front.
    pub cluster: String,
    /// The first node has the CA's key: it signs certificates of machines that join.
    pub signs: bool,
    /// Where its directory is made; where temporary files are, unless it is said otherwise.
    pub within: Option<PathBuf>,
    /// Nodes reach each other through relays, which can be cut.
    pub wires: bool,
    /// The nodes' disks can be made slow, and their clocks wrong.
    pub shim: bool,
    /// MiB of a disk of its own for each node's data, which can be filled up; needs the right to mount.
    pub small_disks: Option<u64>,
    /// The engine that the nodes use.
    pub docker: Docker,
    /// More lines for every node's configuration.
    pub more: String,
}

impl Plan {
    /// So many nodes with Docker.
    #[must_use]
    pub fn docker(size: usize) -> Self {
        Self {
            size,
            executor: "docker",
            binary: None,
            raft: String::new(),
            cluster: String::new(),
            signs: false,
            within: None,
            wires: false,
            shim: false,
            small_disks: None,
            docker: Docker::default(),
            more: String::new(),
        }
    }

    /// So many nodes whose jobs are plain processes.
    #[must_use]
    pub fn fake(size: usize) -> Self {
        Self { executor: "fake", ..Self::docker(size) }
    }

    fn config(&self, network: Network, dir: &Path, number: usize) -> String {
        let Self { size, executor, raft, cluster, more, .. } = self;
        let key = dir.join("ca/ca-key.pem");
        let signs =
            if self.signs && number == 1 { format!(", ca_key = '{}'", text(&key)) } else { String::new() };
        let name = name(number);
        let (address, home, pki) = (network.node(number), dir.join(&name), pki(dir, &name));
        let reached = |number| if self.wires { network.relay(number) } else { network.node(number) };
        let seeds: Vec<_> = (1..=*size).map(|number| format!("\"{}:7071\"", reached(number))).collect();
        format!(
            "node = {{ name = '{name}', data_dir = '{home}/data', slots = 2, labels = ['linux', '{name}'], \
                       cpu_millis = 4000, memory_mib = 2048 }}\n\
             http = {{ listen = '{address}:7070' }}\n\
             metrics = {{ listen = '{address}:7072' }}\n\
             runner = {{ executor = '{executor}', default_image = '{IMAGE}', grace_ms = 1000 }}\n\
             secrets = {{ key_file = '{keys}/secrets.key' }}\n\
             raft = {{ propose_timeout_ms = 3000{raft} }}\n\
             cluster = {{ listen = '{address}:7071', advertise = '{advertise}:7071', seeds = [{seeds}], bootstrap_expect = {size}, \
                          ca = '{pki}/ca.pem', cert = '{pki}/{name}.pem', key = '{pki}/{name}-key.pem'{signs}{cluster} }}\n\
             {more}",
            home = home.display(),
            keys = dir.display(),
            pki = pki.display(),
            seeds = seeds.join(", "),
            advertise = reached(number),
        )
    }
}

fn name(number: usize) -> String {
    format!("node-{number}")
}

/// Where a node's certificates are.
fn pki(dir: &Path, node: &str) -> PathBuf {
    dir.join(node).join("pki")
}

/// A cluster. Dropped, it leaves no process, container or network behind; a test that failed leaves its logs in the output.
pub struct Cluster {
    /// By number, from 0.
    pub nodes: Vec<Node>,
    /// Its addresses.
    pub network: Network,
    /// Between its nodes, if that was planned.
    wires: Option<Wires>,
    /// Those of its nodes, if that was planned.
    pub disks: Vec<SmallDisk>,
    /// Its directory.
    pub dir: tempfile::TempDir,
    plan: Plan,
}

impl Cluster {
    /// Starts `size` nodes with Docker and waits until all know a leader and each other.
    ///
    /// # Panics
    /// When that takes longer than anything may.
    pub async fn start(size: usize) -> Self {
        Self::planned(&Plan::docker(size)).await
    }

    /// Starts a cluster as planned, and waits until all know a leader and each other.
    ///
    /// # Panics
    /// When that takes longer than anything may.
    pub async fn planned(plan: &Plan) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let dir = plan.within.as_ref().map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
        let network = Network::unique();
        let wires = if plan.wires { Some(Wires::start(network, plan.size).await) } else { None };
        fs::write(dir.path().join("secrets.key"), "0123456789abcdef".repeat(4)).unwrap();
        let ca = dir.path().join("ca");
        troupe(&["ca", "init", "--dir", text(&ca)]);
        let library = plan.shim.then(|| Shim::library(dir.path()));
        let mut disks = Vec::new();
        let nodes = (1..=plan.size).map(|number| {
            let name = name(number);
            troupe(&["ca", "issue", &name, "--ca", text(&ca), "--out", text(&pki(dir.path(), &name))]);
            let config = plan.config(network, dir.path(), number);
            let mut node = Node::new(&name, dir.path().join(&name), network.node(number), &config);
            node.binary.clone_from(&plan.binary);
            node.environment.extend(plan.docker.environment());
            node.shim = library.as_ref().map(|library| Shim::new(library, &node.dir));
            if let Some(mib) = plan.small_disks {
                fs::create_dir_all(node.data()).unwrap();
                disks.push(SmallDisk::mount(&node.data(), mib).expect("the right to mount"));
            }
            node
        });
        let nodes = nodes.collect();
        let mut cluster = Self { nodes, network, wires, disks, plan: plan.clone(), dir };
        cluster.start_all();
        let token = until("a node has written the first token", async || cluster.first_token()).await;
        for node in &mut cluster.nodes {
            node.token.clone_from(&token);
        }
        cluster.settled().await;
        cluster
    }

    /// One machine more, which has a configuration as the nodes have that began the cluster, and no certificate. It does not
    /// run yet.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn machine(&mut self) -> usize {
        let number = self.nodes.len() + 1;
        let (name, address) = (name(number), self.network.node(number));
        let config = self.plan.config(self.network, self.dir.path(), number);
        let mut node = Node::new(&name, self.dir.path().join(&name), address, &config);
        node.binary.clone_from(&self.plan.binary);
        node.token.clone_from(&self.nodes[0].token);
        self.nodes.push(node);
        number - 1
    }

    /// Cuts the wires between these nodes, from the first of each pair to the second.
    ///
    /// # Panics
    /// In a cluster without wires.
    pub fn cut(&self, pairs: &[Pair]) {
        self.tell_wires();
        self.wires().cut(pairs);
    }

    /// Mends all of them.
    ///
    /// # Panics
    /// In a cluster without wires.
    pub fn heal(&self) {
        self.wires().heal();
    }

    /// What is between its nodes.
    ///
    /// # Panics
    /// In a cluster without wires.
    #[must_use]
    pub fn wires(&self) -> &Wires {
        self.wires.as_ref().expect("planned with wires")
    }

    /// The engine that its nodes use.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        &self.plan.docker
    }

    /// Starts one node. What is cut stays cut for its new process.
    pub fn start_node(&mut self, number: usize) {
        self.nodes[number].start();
        self.tell_wires();
    }

    /// Who is who.
    fn tell_wires(&self) {
        let process = |(number, node): (usize, &Node)| Some((node.process()?, number));
        if let Some(wires) = &self.wires {
            wires.know(self.nodes.iter().enumerate().filter_map(process).collect());
        }
    }

    /// Starts every node that does not run.
    pub fn start_all(&mut self) {
        self.nodes.iter_mut().filter(|node| !node.runs()).for_each(Node::start);
        self.tell_wires();
    }

    /// Until every node that runs knows a leader, and all nodes.
    pub async fn settled(&self) {
        for node in self.nodes.iter().filter(|node| node.runs()) {
            until(format!("{} knows a leader and all nodes", node.name), async || {
                let leader = node.try_get("/v1/cluster").await?["leader"].is_string();
                let all = node.try_get("/v1/nodes").await?["items"].as_array()?.len() == self.nodes.len();
                (leader && all).then_some(())
            })
            .await;
        }
    }

    /// Which node leads, in the words of one that runs and whom that one is.
    pub async fn leader(&self) -> usize {
        until("a node that runs leads", async || {
            for node in self.nodes.iter().filter(|node| node.runs()) {
                let seen = node.try_get("/v1/cluster").await;
                let leader = seen.and_then(|seen| self.by_id(seen["leader"].as_str()?));
                if let Some(leader) = leader.filter(|leader| self.nodes[*leader].runs()) {
                    return Some(leader);
                }
            }
            None
        })
        .await
    }

    /// The two others of three.
    ///
    /// # Panics
    /// In a cluster of another size.
    #[must_use]
    pub fn others(&self, than: usize) -> (usize, usize) {
        assert_eq!(self.nodes.len(), 3);
        ((than + 1) % 3, (than + 2) % 3)
    }

    /// Which node has this id.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id().as_deref() == Some(id))
    }

    /// The ids of all nodes.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.nodes.iter().filter_map(Node::id).collect()
    }

    /// A run as `node` sees it once it has ended there.
    pub async fn finished(&self, node: usize, run: &str) -> Value {
        until(format!("run {run} has ended"), async || {
            let seen = self.nodes[node].try_get(&format!("/v1/runs/{run}")).await?;
            seen["outcome"].is_string().then_some(seen)
        })
        .await
    }

    fn first_token(&self) -> Option<String> {
        let read = |node: &Node| fs::read_to_string(node.data().join("admin-token")).ok();
        Some(self.nodes.iter().find_map(read)?.trim().to_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut words = String::new();
        if std::thread::panicking() {
            for node in &self.nodes {
                let _ = writeln!(words, "--- the end of {}'s log\n{}", node.name, node.last_words());
            }
        }
        let ids = self.ids();
        // Killed, not stopped: whatever a failed test left half done must not be waited for.
        self.nodes.clear();
        self.plan.docker.remove_all(&ids);
        self.disks.clear();
        eprint!("{words}");
    }
}

/// Runs the command line.
///
/// # Panics
/// When it fails.
pub fn troupe(args: &[&str]) {
    let output = Command::new(binary::troupe()).args(args).output().unwrap();
    assert!(output.status.success(), "troupe {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A path as an argument.
///
/// # Panics
/// When it is no UTF-8.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories are UTF-8")
}
