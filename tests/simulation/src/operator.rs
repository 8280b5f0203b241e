//! The person who runs the cluster: removes nodes that were lost or are to go, lets in those that come, has another node lead.
//!
//! Tries again until the state says that it is done, as a person would.

use std::sync::Arc;

use domain::{Command, NodeId, Reply, Timestamp, TokenId};
use raft_store::Store;
use raft_store::clock::Clock;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::counts::Counts;
use crate::network::SimNetwork;
use crate::node::{SimNode, Slot, leave, take};

/// Milliseconds between two looks.
const INTERVAL: u64 = 400;
/// Milliseconds that a join token lasts.
const TOKEN: u64 = 3_600_000;

/// What is under way, at a node in one of its lives.
#[derive(Debug)]
struct Work {
    node: usize,
    life: u64,
    done: Slot<()>,
}

/// The person.
#[derive(Debug)]
pub struct Operator {
    rng: SmallRng,
    next: u64,
    work: Option<Work>,
    tokens: u64,
    counts: Counts,
}

impl Operator {
    /// Does nothing at first.
    #[must_use]
    pub fn new(seed: u64, counts: Counts) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed), next: 0, work: None, tokens: 0, counts }
    }

    /// Looks, and does what is to be done.
    pub fn step(&mut self, now: u64, nodes: &mut [SimNode]) {
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        self.learn(nodes);
        let ended = |work: &Work| {
            let life = nodes[work.node].process.as_ref().map(|process| process.life);
            take(&work.done).is_some() || life != Some(work.life)
        };
        if self.work.as_ref().is_some_and(|work| !ended(work)) {
            return;
        }
        self.work = None;
        let lost = nodes.iter().find_map(|node| node.lost);
        let outside = nodes.iter().find(|node| node.outside && node.store().is_some());
        match (lost, outside.and_then(|node| Some((node.index, node.id?)))) {
            (Some(id), _) => self.at_some_node(nodes, |store, done| async move {
                // Whether it was done, the state says.
                drop(store.remove_member(id).await);
                leave(&done, ());
            }),
            (None, Some((index, id))) => {
                self.tokens += 1;
                let number = self.tokens;
                let at = nodes[index].clock.now();
                self.at_some_node(nodes, move |store, done| async move {
                    drop(let_in(&store, index, id, number, at).await);
                    leave(&done, ());
                });
            }
            (None, None) => {}
        }
    }

    /// Has some node lead, or a certain one.
    pub fn transfer(&mut self, nodes: &[SimNode]) -> bool {
        let Some(from) = self.choose(nodes) else { return false };
        let to =
            if self.rng.random_bool(0.5) { None } else { nodes[self.rng.random_range(0..nodes.len())].id };
        let counts = self.counts.clone();
        if let Some(store) = nodes[from].store().cloned() {
            nodes[from].spawn(async move {
                if store.transfer_leader(to).await.is_ok() {
                    counts.add("leadership handed over");
                }
            });
        }
        true
    }

    /// What any node's state says is done.
    fn learn(&mut self, nodes: &mut [SimNode]) {
        let stores: Vec<Store> = nodes.iter().filter_map(|node| node.store().cloned()).collect();
        let any = |test: &dyn Fn(&Store) -> bool| stores.iter().any(test);
        for node in nodes {
            if let Some(id) = node.lost
                && any(&|store| store.state().removed.contains(&id))
            {
                self.counts.add("member removed");
                node.lost = None;
            }
            if let Some(id) = node.id.filter(|_| node.outside && node.store().is_some())
                && any(&|store| store.state().admitted.contains(&id))
            {
                let cluster = stores.iter().find_map(|store| store.state().cluster);
                // Tried again when its disk has failed.
                if cluster.is_some_and(|cluster| node.mark(cluster).is_ok()) {
                    self.counts.add("member let in");
                    (node.outside, node.let_in) = (false, true);
                }
            }
        }
    }

    fn choose(&mut self, nodes: &[SimNode]) -> Option<usize> {
        let begun = |node: &&SimNode| node.store().is_some_and(|store| store.state().cluster.is_some());
        let able: Vec<usize> = nodes.iter().filter(begun).map(|node| node.index).collect();
        (!able.is_empty()).then(|| able[self.rng.random_range(0..able.len())])
    }

    fn at_some_node<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        nodes: &[SimNode],
        work: impl FnOnce(Store, Slot<()>) -> F,
    ) {
        let Some(node) = self.choose(nodes) else { return };
        let Some((store, life)) =
            nodes[node].store().cloned().zip(nodes[node].process.as_ref().map(|p| p.life))
        else {
            return;
        };
        let done = Slot::default();
        nodes[node].spawn(work(store, Arc::clone(&done)));
        self.work = Some(Work { node, life, done });
    }
}

async fn let_in(store: &Store, index: usize, node: NodeId, number: u64, at: Timestamp) -> Option<Reply> {
    let hash = [number as u8; 32];
    let token = Command::CreateJoinToken {
        id: TokenId(u128::from(number)),
        name: format!("token {number}"),
        hash,
        expires_at: at.plus_millis(TOKEN),
    };
    store.propose(token).await.ok()?;
    let join = Command::Join {
        token_hash: hash,
        node,
        name: SimNetwork::name(index).parse().ok()?,
        cluster_addr: SimNetwork::addr(index),
        request: hash,
    };
    store.propose(join).await.ok().map(|committed| committed.reply)
}
