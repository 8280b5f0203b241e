//! What a run's parts share: the cluster, its clients, and the record of what happened.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::client::Client;
use crate::cluster::Cluster;
use crate::engine::Engine;
use crate::history::{Claim, Fault, Gap, History, Operation, Sighting};
use crate::node::Node;
use crate::now_nanos;

/// Between two looks at the same thing.
const LOOK: Duration = Duration::from_millis(200);

/// Everything.
pub struct World {
    /// Locked for moments only: nobody waits for anything while it is.
    pub cluster: tokio::sync::Mutex<Cluster>,
    /// The nodes' engine, if it is one of the run's own.
    pub engine: tokio::sync::Mutex<Option<Engine>>,
    /// By node.
    pub clients: Vec<Client>,
    /// Nodes whose process may end: it was asked to.
    pub leaving: Mutex<BTreeSet<usize>>,
    history: Mutex<History>,
    /// Who led when it was last asked, by number.
    leader: AtomicUsize,
    stopped: watch::Sender<bool>,
    broken: AtomicBool,
}

impl World {
    /// Nothing has happened yet but what `history` says.
    #[must_use]
    pub fn new(cluster: Cluster, engine: Option<Engine>, history: History) -> Self {
        let clients = cluster.nodes.iter().map(Client::of).collect();
        Self {
            cluster: tokio::sync::Mutex::new(cluster),
            engine: tokio::sync::Mutex::new(engine),
            clients,
            leaving: Mutex::default(),
            history: Mutex::new(history),
            leader: AtomicUsize::new(0),
            stopped: watch::channel(false).0,
            broken: AtomicBool::new(false),
        }
    }

    /// The record.
    ///
    /// # Panics
    /// Never: nothing panics while it holds it.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    /// Remembers a request.
    pub fn did(&self, operation: Operation) {
        self.history().operations.push(operation);
    }

    /// Remembers what was seen.
    pub fn saw(&self, sighting: Sighting) {
        self.history().sightings.push(sighting);
    }

    /// Remembers a fault that is over.
    pub fn hit(&self, fault: Fault) {
        self.history().faults.push(fault);
    }

    /// Remembers that a process was away, until now.
    pub fn was_away(&self, node: usize, began: u64) {
        self.history().gaps.push(Gap { node, began, ended: now_nanos() });
    }

    /// Remembers a process that did not live as it should; nothing more is done to the nodes.
    pub fn died(&self, words: String) {
        self.history().deaths.push(words);
        self.broken.store(true, Ordering::Relaxed);
        self.stop();
    }

    /// Who led when it was last asked.
    pub fn leader(&self) -> usize {
        self.leader.load(Ordering::Relaxed)
    }

    /// Ends the faults, and then the clients.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Whether that was said.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Waits so long; less when all is stopped.
    pub async fn rest(&self, time: Duration) {
        let mut stopped = self.stopped.subscribe();
        let _ = tokio::time::timeout(time, stopped.wait_for(|stopped| *stopped)).await;
    }

    /// Asks all nodes who leads, until it is dropped.
    pub async fn watch_leaders(&self) {
        loop {
            for (node, client) in self.clients.iter().enumerate() {
                let asked = tokio::time::timeout(LOOK, client.found("/v1/cluster")).await;
                let Some(seen) = asked.ok().flatten() else { continue };
                if seen["is_me"] == true
                    && let Some(term) = seen["term"].as_u64()
                {
                    self.leader.store(node, Ordering::Relaxed);
                    self.history().claims.push(Claim { node, term, at: now_nanos() });
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks for processes that ended by themselves, and for panics, until it is dropped.
    pub async fn watch_processes(&self) {
        loop {
            let mut cluster = self.cluster.lock().await;
            for number in 0..cluster.nodes.len() {
                if self.leaving.lock().unwrap().contains(&number) {
                    continue;
                }
                let node = &mut cluster.nodes[number];
                if let Some(status) = node.has_ended() {
                    self.died(format!("{} ended by itself with {status}:\n{}", node.name, node.last_words()));
                    self.history().gaps.push(Gap { node: number, began: now_nanos(), ended: u64::MAX });
                }
            }
            let said = cluster.nodes.iter().find_map(panic_of);
            drop(cluster);
            if let Some(words) = said.filter(|_| !self.broken.load(Ordering::Relaxed)) {
                self.died(words);
            }
            tokio::time::sleep(LOOK * 5).await;
        }
    }
}

/// A panic within a node need not end its process; it is in its log.
fn panic_of(node: &Node) -> Option<String> {
    let log = fs::read_to_string(node.log_file()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().skip_while(|line| !line.contains("panicked at")).take(6).collect();
    (!lines.is_empty()).then(|| format!("{} says in its log: {}", node.name, lines.join("\n")))
}

/// Asks again and again until there is an answer, or the time is over.
pub async fn within<T>(time: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(LOOK).await;
    }
}
