//! A cluster of N processes with Docker: started, looked at, and removed with all that it made.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::addresses::Network;
use crate::node::Node;
use crate::{binary, containers, until};

/// The image that jobs run in; made by `scripts/base-image.sh`.
pub const IMAGE: &str = "troupe/busybox:local";

/// A cluster. Dropped, it leaves no process, container or network behind; a test that failed leaves its logs in the output.
pub struct Cluster {
    /// By number, from 0.
    pub nodes: Vec<Node>,
    /// Its addresses.
    pub network: Network,
    /// Its directory.
    pub dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts `size` nodes and waits until all know a leader and each other.
    ///
    /// # Panics
    /// When that takes longer than anything may.
    pub async fn start(size: usize) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        let network = Network::unique();
        let pki = dir.path().join("pki");
        troupe(&["ca", "init", "--dir", text(&pki)]);
        let seeds: Vec<_> = (1..=size).map(|number| format!("\"{}:7071\"", network.node(number))).collect();
        let nodes = (1..=size).map(|number| {
            let name = format!("node-{number}");
            troupe(&["ca", "issue", &name, "--ca", text(&pki), "--out", text(&pki)]);
            let address = network.node(number);
            let home = dir.path().join(&name);
            let config = format!(
                "node = {{ name = '{name}', data_dir = '{home}/data', slots = 2, labels = ['linux', '{name}'], \
                           cpu_millis = 4000, memory_mib = 2048 }}\n\
                 http = {{ listen = '{address}:7070' }}\n\
                 metrics = {{ listen = '{address}:7072' }}\n\
                 runner = {{ default_image = '{IMAGE}', grace_ms = 1000 }}\n\
                 raft = {{ propose_timeout_ms = 3000 }}\n\
                 cluster = {{ listen = '{address}:7071', seeds = [{seeds}], bootstrap_expect = {size}, \
                              ca = '{pki}/ca.pem', cert = '{pki}/{name}.pem', key = '{pki}/{name}-key.pem' }}\n",
                home = home.display(),
                pki = pki.display(),
                seeds = seeds.join(", "),
            );
            Node::new(&name, home, address, &config)
        });
        let mut cluster = Self { nodes: nodes.collect(), network, dir };
        cluster.start_all();
        let token = until("a node has written the first token", async || cluster.first_token()).await;
        for node in &mut cluster.nodes {
            node.token.clone_from(&token);
        }
        cluster.settled().await;
        cluster
    }

    /// Starts every node that does not run.
    pub fn start_all(&mut self) {
        self.nodes.iter_mut().filter(|node| !node.runs()).for_each(Node::start);
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
        containers::remove_all(&ids);
        eprint!("{words}");
    }
}

/// Runs the command line.
fn troupe(args: &[&str]) {
    let output = Command::new(binary::troupe()).args(args).output().unwrap();
    assert!(output.status.success(), "troupe {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories are UTF-8")
}
